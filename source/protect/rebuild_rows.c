/*
 * MRMR: rebuilding: the parity blocks that were on the lost member.
 *
 * After its files, so that what these need is there to be read. Some stripes to
 * a commit. Most lack nothing but this row, of which the hash is known: that is
 * computed whole, in threads, and put elsewhere. The others, and those in which
 * that does not come out right, are looked at and mended one after another.
 *
 * With a unit less, a stripe may have data on all that are left: there is no
 * unit for its parity then. So one of its slots leaves it, for the parity to come
 * to that unit, and its files' bytes come into other stripes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/decode.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/stripes.h>

#include "rebuild_private.h"

#define BATCH_STRIPES 64
#define BATCH_PIECES 8192 /* of files, which a commit has in memory */

static struct mrmr_row *lost_row(const struct rebuild *r,
				 struct mrmr_stripe *stripe)
{
	uint32_t i;

	for (i = 0; i < stripe->num_rows; i++) {
		if (stripe->rows[i].member == r->number) {
			return &stripe->rows[i];
		}
	}
	return NULL;
}

static uint64_t count_pieces(const struct mrmr_stripe *stripe)
{
	uint64_t num = 0;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		num += stripe->slots[i].num_pieces;
	}
	return num;
}

/* The next stripes with a row on the lost member, above *after. */
static int take_stripes(struct rebuild *r, uint64_t *after, uint64_t *ids,
			uint64_t *lens, size_t *num)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t num_pieces = 0;

	*num = 0;
	while (*num < BATCH_STRIPES && num_pieces < BATCH_PIECES) {
		const struct mrmr_row *row = NULL;

		if (mrmr_catalog_next_stripe(r->engine->catalog, r, *after,
					     &stripe) == -1) {
			return errno == ENOENT ? 0 : -1;
		}
		*after = stripe->id;
		row = lost_row(r, stripe);
		if (row != NULL) {
			ids[*num] = stripe->id;
			lens[*num] = row->len_bytes;
			(*num)++;
			num_pieces += count_pieces(stripe);
		}
		TALLOC_FREE(stripe);
	}
	return 0;
}

static bool is_mended(struct rebuild *r, uint64_t id)
{
	struct mrmr_stripe *stripe = NULL;
	bool is_whole;

	if (mrmr_catalog_get_stripe(r->engine->catalog, r, id, &stripe) == -1) {
		return errno == ENOENT;
	}
	is_whole = lost_row(r, stripe) == NULL;
	talloc_free(stripe);
	return is_whole;
}

/* --- computing them in threads ---------------------------------------------------- */

struct row_job {
	struct rebuild_job job;
	struct mrmr_stripes *work;
	struct mrmr_decode *decode;
	struct mrmr_stripe *stripe;
	struct mrmr_row *row; /* the stripe's */
	bool is_put;
};

struct mending {
	struct rebuild *r;
	struct mrmr_stripes *work;
	uint64_t ids[BATCH_STRIPES]; /* that are to be looked at */
	size_t num;
	struct mrmr_error *err;
};

static void run_row(struct rebuild_job *job, uint8_t *buf)
{
	struct row_job *row = (struct row_job *)job;

	row->is_put = buf != NULL && mrmr_decode_run(row->decode, buf) == 0 &&
		      mrmr_stripes_put_row(row->work, row->stripe, row->row,
					   buf) == 1;
}

static int take_back(struct mending *m, struct row_job *row)
{
	int ret = 0;

	if (!row->is_put) {
		m->ids[m->num++] = row->stripe->id;
	} else if (mrmr_catalog_put_stripe(m->r->engine->catalog, row->stripe,
					   NULL) == -1) {
		ret = mrmr_error_set(m->err, errno,
				     "the catalogue cannot be changed: %s",
				     mrmr_catalog_why(errno));
	}
	talloc_free(row);
	return ret;
}

static int take_jobs(struct mending *m, bool all)
{
	struct rebuild_job *job = NULL;
	int ret = 0;

	while ((job = rebuild_work_take(m->r->work,
					all || rebuild_work_is_full(
						       m->r->work))) != NULL) {
		if (take_back(m, (struct row_job *)job) == -1) {
			ret = -1;
		}
	}
	return ret;
}

static int add_job(struct mending *m, uint64_t id)
{
	struct rebuild *r = m->r;
	struct row_job *row = talloc_zero(m->work, struct row_job);

	if (row == NULL) {
		return mrmr_error_set(m->err, ENOMEM, "not enough memory");
	}
	if (mrmr_catalog_get_stripe(r->engine->catalog, row, id,
				    &row->stripe) == 0) {
		row->row = lost_row(r, row->stripe);
	}
	if (row->row == NULL ||
	    !mrmr_stripes_lacks_only(m->work, row->stripe, row->row->row)) {
		m->ids[m->num++] = id;
		talloc_free(row);
		return 0;
	}
	row->work = m->work;
	row->decode = mrmr_decode_row_at_once(row, r->engine, row->stripe,
					      row->row, m->err);
	if (row->decode == NULL) {
		talloc_free(row);
		return -1;
	}
	row->job.run = run_row;
	row->job.buffer_bytes = mrmr_decode_len(row->decode);
	rebuild_work_add(r->work, &row->job);
	return 0;
}

static int compute_all(struct mending *m, const uint64_t *ids, size_t num)
{
	size_t i;
	int ret = 0;

	for (i = 0; i < num && ret == 0; i++) {
		if (mrmr_fault("rebuild-row") != 0) {
			ret = mrmr_error_set(m->err, errno, "%s",
					     strerror(errno));
			break;
		}
		ret = take_jobs(m, false);
		if (ret == 0) {
			ret = add_job(m, ids[i]);
		}
	}
	return take_jobs(m, true) == 0 ? ret : -1;
}

static int mend_all(struct rebuild *r, struct mrmr_stripes *work,
		    const uint64_t *ids, size_t num, struct mrmr_error *err)
{
	struct mending m = {.r = r, .work = work, .err = err};
	size_t i;

	if (compute_all(&m, ids, num) == -1) {
		return -1;
	}
	for (i = 0; i < m.num; i++) {
		bool changed = false;

		if (mrmr_stripes_mend(work, m.ids[i], &changed, err) == -1) {
			return -1;
		}
	}
	return mrmr_stripes_sync(work, err);
}

/* --- a commit -------------------------------------------------------------------- */

static int mend(struct rebuild *r, const uint64_t *ids, size_t num,
		struct mrmr_error *err)
{
	struct mrmr_catalog *catalog = r->engine->catalog;
	struct mrmr_stripes *work = NULL;
	int saved_errno;
	int ret;

	if (mrmr_catalog_begin(catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(errno));
	}
	work = mrmr_stripes_new(r, r->engine, NULL);
	ret = work != NULL ? mend_all(r, work, ids, num, err)
			   : mrmr_error_set(err, ENOMEM, "not enough memory");
	if (ret == 0) {
		ret = mrmr_catalog_commit(catalog, err);
	} else {
		saved_errno = errno;
		mrmr_catalog_cancel(catalog);
		errno = saved_errno;
	}
	saved_errno = errno;
	if (work != NULL && ret == 0) {
		mrmr_stripes_finish(work);
	} else if (work != NULL) {
		mrmr_stripes_abort(work);
	}
	talloc_free(work);
	errno = saved_errno;
	return ret;
}

/* --- stripes that are too wide --------------------------------------------------- */

struct narrowing {
	struct rebuild *r;
	void *mem_ctx;
	struct mrmr_stripes *work;
	struct mrmr_change *changes;
	size_t num;
	struct mrmr_error *err;
};

/* The slot with the fewest bytes, on a member that can take parity instead. */
static const struct mrmr_slot *choose_slot(const struct rebuild *r,
					   const struct mrmr_stripe *stripe)
{
	const struct mrmr_slot *best = NULL;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];
		const struct mrmr_member *member =
			mrmr_engine_online(r->engine, slot->member);

		if (member != NULL && !member->read_only &&
		    member->config->role != MRMR_ROLE_DATA &&
		    (best == NULL || slot->len_bytes < best->len_bytes)) {
			best = slot;
		}
	}
	return stripe->num_slots > 1 ? best : NULL;
}

static int add_change(struct narrowing *n, struct mrmr_live_member *member,
		      const struct mrmr_slot *slot,
		      const struct mrmr_piece *piece)
{
	struct mrmr_engine *engine = n->r->engine;
	struct mrmr_change *change = &n->changes[n->num];
	struct mrmr_node *node = NULL;
	uint32_t got = 0;

	if (mrmr_catalog_get(engine->catalog, n->mem_ctx, piece->file, &node) ==
		    -1 ||
	    mrmr_catalog_get_extents(engine->catalog, piece->file, piece->index,
				     &change->old, 1, &got) == -1 ||
	    got != 1 ||
	    mrmr_live_open_on(n->mem_ctx, engine, member, node, true,
			      &change->was) == -1) {
		return -1;
	}
	change->file = piece->file;
	change->member = slot->member;
	change->index = piece->index;
	change->offset = (uint64_t)piece->index * node->grid_bytes;
	change->has_old = true;
	n->num++;
	return 0;
}

static int list_changes(struct narrowing *n, const struct mrmr_slot *slot)
{
	struct mrmr_live_member *member =
		mrmr_live_member_open(n->mem_ctx, n->r->engine, slot->member);
	uint32_t i;

	n->changes = talloc_zero_array(n->mem_ctx, struct mrmr_change,
				       slot->num_pieces);
	if (member == NULL || n->changes == NULL) {
		return -1;
	}
	for (i = 0; i < slot->num_pieces; i++) {
		if (slot->pieces[i].file != MRMR_ID_NONE &&
		    add_change(n, member, slot, &slot->pieces[i]) == -1) {
			return -1;
		}
	}
	return 0;
}

/* What has left finds no other place: bare, it is worse off than with the rows
   that are left of the stripe, if there are any. */
static int check_changes(struct narrowing *n, const struct mrmr_stripe *stripe)
{
	size_t i;

	for (i = 0; i < n->num; i++) {
		int error = n->changes[i].error;

		if (error == EILSEQ) {
			return mrmr_error_set(n->err, error,
					      "stripe %llu stays as it is: "
					      "what would leave it does not "
					      "have the bytes that it should",
					      (unsigned long long)stripe->id);
		}
		if (error != 0 && (error != ENOSPC || stripe->num_rows > 1)) {
			return mrmr_error_set(n->err, error,
					      "what leaves stripe %llu finds "
					      "no "
					      "other one: %s",
					      (unsigned long long)stripe->id,
					      strerror(error));
		}
	}
	return 0;
}

/* In two steps: in one, they would stay where they are. */
static int change_stripe(struct narrowing *n, const struct mrmr_stripe *stripe)
{
	size_t i;

	mrmr_stripes_keep_all(n->work, true);
	if (mrmr_stripes_apply(n->work, n->changes, n->num, n->err) == -1) {
		return -1;
	}
	for (i = 0; i < n->num; i++) {
		struct mrmr_change *change = &n->changes[i];

		change->now = change->was;
		change->was = NULL;
		change->len_bytes = change->old.len_bytes;
		change->has_old = false;
		change->only_moves = true;
	}
	if (mrmr_stripes_apply(n->work, n->changes, n->num, n->err) == -1) {
		return -1;
	}
	if (check_changes(n, stripe) == -1) {
		return -1;
	}
	for (i = 0; i < n->num; i++) {
		n->r->result->bare_extents += n->changes[i].error != 0;
	}
	return mrmr_stripes_sync(n->work, n->err);
}

static int narrow_in_transaction(struct narrowing *n, uint64_t id)
{
	struct mrmr_stripe *stripe = NULL;
	const struct mrmr_slot *slot = NULL;

	if (mrmr_catalog_get_stripe(n->r->engine->catalog, n->mem_ctx, id,
				    &stripe) == -1) {
		return errno == ENOENT
			       ? 0
			       : mrmr_error_set(n->err, errno,
						"the catalogue cannot be "
						"read: %s",
						strerror(errno));
	}
	slot = choose_slot(n->r, stripe);
	if (slot == NULL || list_changes(n, slot) == -1) {
		return 0;
	}
	return change_stripe(n, stripe);
}

/* 0 also if it can't be done: it is counted as left then. */
static int narrow(struct rebuild *r, uint64_t id, struct mrmr_error *err)
{
	struct mrmr_catalog *catalog = r->engine->catalog;
	struct narrowing n = {.r = r, .err = err};
	bool is_left;
	int saved_errno;
	int ret;

	if (mrmr_catalog_begin(catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(errno));
	}
	n.mem_ctx = talloc_new(r);
	n.work = mrmr_stripes_new(n.mem_ctx, r->engine, NULL);
	ret = n.work != NULL ? narrow_in_transaction(&n, id)
			     : mrmr_error_set(err, ENOMEM, "not enough memory");
	is_left = ret == -1 && (err->code == EIO || err->code == ENOSPC ||
				err->code == EILSEQ);
	if (ret == 0) {
		ret = mrmr_catalog_commit(catalog, err);
	} else {
		saved_errno = errno;
		mrmr_catalog_cancel(catalog);
		errno = saved_errno;
	}
	saved_errno = errno;
	if (n.work != NULL && ret == 0) {
		mrmr_stripes_finish(n.work);
	} else if (n.work != NULL) {
		mrmr_stripes_abort(n.work);
	}
	talloc_free(n.mem_ctx);
	if (is_left) {
		mrmr_log(MRMR_LOG_WARNING, "%s", err->text);
		err->code = 0;
		return 0;
	}
	errno = saved_errno;
	return ret;
}

static int narrow_all(struct rebuild *r, const uint64_t *ids, size_t num,
		      struct mrmr_error *err)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (!is_mended(r, ids[i]) && narrow(r, ids[i], err) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- all of them ---------------------------------------------------------------------- */

static void count(struct rebuild *r, const uint64_t *ids, const uint64_t *lens,
		  size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (is_mended(r, ids[i])) {
			r->result->stripes++;
			r->result->parity_bytes += lens[i];
		} else {
			r->result->stripes_left++;
		}
		r->progress.done_bytes += lens[i];
	}
	if (r->options->progress != NULL) {
		r->options->progress(&r->progress, r->options->private_data);
	}
}

int rebuild_rows(struct rebuild *r, struct mrmr_error *err)
{
	struct mrmr_catalog_sums sums = {0};
	uint64_t ids[BATCH_STRIPES];
	uint64_t lens[BATCH_STRIPES];
	uint64_t after = 0;
	size_t num;

	mrmr_catalog_sums(r->engine->catalog, r->number, &sums);
	r->progress.is_parity = true;
	r->progress.done_bytes = 0;
	r->progress.todo_bytes = sums.parity_bytes;
	while (!rebuild_should_stop(r)) {
		if (take_stripes(r, &after, ids, lens, &num) == -1) {
			return mrmr_error_set(err, errno,
					      "the catalogue cannot be read: "
					      "%s",
					      mrmr_catalog_why(errno));
		}
		if (num == 0) {
			return 0;
		}
		if (mend(r, ids, num, err) == -1 ||
		    narrow_all(r, ids, num, err) == -1) {
			return -1;
		}
		count(r, ids, lens, num);
		mrmr_pool_look_at_space(r->pool);
		if (rebuild_between(r, err) == -1) {
			return -1;
		}
	}
	return 0;
}
