/*
 * MRMR: rebuilding: the parity blocks that were on the lost member.
 *
 * After its files, so that what these need is there to be read. Some stripes to
 * a commit. Most lack nothing but this row, of which the hash is known: that is
 * computed whole, in threads, and put elsewhere. The others, and those in which
 * that does not come out right, are looked at and mended one after another. What
 * has no unit for its parity becomes narrower (rebuild_narrow.c).
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

bool rebuild_row_is_mended(struct rebuild *r, uint64_t id)
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
	struct mrmr_stripes *work = NULL;
	int saved_errno;
	int ret;

	if (mrmr_catalog_begin(r->engine->catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(errno));
	}
	work = mrmr_stripes_new(r, r->engine, NULL);
	ret = work != NULL ? mend_all(r, work, ids, num, err)
			   : mrmr_error_set(err, ENOMEM, "not enough memory");
	ret = rebuild_end_change(r, work, ret, err);
	saved_errno = errno;
	talloc_free(work);
	errno = saved_errno;
	return ret;
}

/* --- all of them ---------------------------------------------------------------------- */

static void count(struct rebuild *r, const uint64_t *ids, const uint64_t *lens,
		  size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (rebuild_row_is_mended(r, ids[i])) {
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
		    rebuild_narrow(r, ids, num, err) == -1) {
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
