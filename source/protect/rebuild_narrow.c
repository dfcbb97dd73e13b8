/*
 * MRMR: rebuilding: stripes that are too wide for what is left of the pool.
 *
 * With a unit less, a stripe may have data on all that are left: there is no
 * unit for its parity then. So one of its slots leaves it, for the parity to come
 * to that unit, and its files' bytes come into other stripes. Some stripes to a
 * commit, so that threads have their parity to compute; where that can't be done
 * for all of them, one after another.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/log.h>
#include <mrmr/stripes.h>

#include "rebuild_private.h"

/* Stripes to a commit: threads compute their parity side by side. */
#define NARROW_TOGETHER 4

struct narrowing {
	struct rebuild *r;
	void *mem_ctx;
	struct mrmr_stripes *work;
	const uint64_t *ids;
	size_t num_ids;
	struct mrmr_change *changes;
	size_t num;
	size_t most_rows; /* that one of the stripes has left */
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
	struct mrmr_change *more =
		talloc_realloc(n->mem_ctx, n->changes, struct mrmr_change,
			       n->num + slot->num_pieces);
	uint32_t i;

	if (more != NULL) {
		n->changes = more;
		memset(more + n->num, 0, slot->num_pieces * sizeof(*more));
	}
	if (member == NULL || more == NULL) {
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
   that are left of its stripe, if there are any. */
static int check_changes(struct narrowing *n)
{
	size_t i;

	for (i = 0; i < n->num; i++) {
		int error = n->changes[i].error;

		if (error == EILSEQ) {
			return mrmr_error_set(n->err, error,
					      "stripe %llu stays as it is: "
					      "what would leave it does not "
					      "have the bytes that it should",
					      (unsigned long long)n->ids[0]);
		}
		if (error != 0 && (error != ENOSPC || n->most_rows > 1)) {
			return mrmr_error_set(n->err, error,
					      "what leaves stripe %llu finds "
					      "no "
					      "other one: %s",
					      (unsigned long long)n->ids[0],
					      strerror(error));
		}
	}
	return 0;
}

/* In two steps: in one, they would stay where they are. */
static int change_stripes(struct narrowing *n)
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
	if (mrmr_stripes_apply(n->work, n->changes, n->num, n->err) == -1 ||
	    check_changes(n) == -1) {
		return -1;
	}
	for (i = 0; i < n->num; i++) {
		n->r->result->bare_extents += n->changes[i].error != 0;
	}
	return mrmr_stripes_sync(n->work, n->err);
}

static int add_stripe(struct narrowing *n, uint64_t id)
{
	struct mrmr_stripe *stripe = NULL;
	const struct mrmr_slot *slot = NULL;
	size_t before = n->num;

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
		n->num = before;
	} else if (stripe->num_rows > n->most_rows) {
		n->most_rows = stripe->num_rows;
	}
	return 0;
}

static int narrow_in_transaction(struct narrowing *n)
{
	size_t i;

	for (i = 0; i < n->num_ids; i++) {
		if (add_stripe(n, n->ids[i]) == -1) {
			return -1;
		}
	}
	return n->num > 0 ? change_stripes(n) : 0;
}

/* 1: it can't be done, and *err says why. */
static int narrow(struct rebuild *r, const uint64_t *ids, size_t num,
		  struct mrmr_error *err)
{
	struct narrowing n = {
		.r = r,
		.ids = ids,
		.num_ids = num,
		.err = err,
	};
	uint64_t bare_extents = r->result->bare_extents;
	bool is_left;
	int saved_errno;
	int ret;

	if (mrmr_catalog_begin(r->engine->catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(errno));
	}
	n.mem_ctx = talloc_new(r);
	n.work = mrmr_stripes_new(n.mem_ctx, r->engine, NULL);
	ret = n.work != NULL ? narrow_in_transaction(&n)
			     : mrmr_error_set(err, ENOMEM, "not enough memory");
	is_left = ret == -1 && (err->code == EIO || err->code == ENOSPC ||
				err->code == EILSEQ);
	ret = rebuild_end_change(r, n.work, ret, err);
	saved_errno = errno;
	talloc_free(n.mem_ctx);
	if (is_left) {
		r->result->bare_extents = bare_extents;
		return 1;
	}
	errno = saved_errno;
	return ret;
}

/* Those for which it can't be done are counted as left. */
static int narrow_one_by_one(struct rebuild *r, const uint64_t *ids, size_t num,
			     struct mrmr_error *err)
{
	size_t i;

	for (i = 0; i < num; i++) {
		int ret = narrow(r, &ids[i], 1, err);

		if (ret == -1) {
			return -1;
		}
		if (ret == 1) {
			mrmr_log(MRMR_LOG_WARNING, "%s", err->text);
			err->code = 0;
		}
	}
	return 0;
}

static int narrow_together(struct rebuild *r, const uint64_t *ids, size_t num,
			   struct mrmr_error *err)
{
	int ret = num > 1 ? narrow(r, ids, num, err) : 1;

	err->code = ret == 1 ? 0 : err->code;
	return ret == 1 ? narrow_one_by_one(r, ids, num, err) : ret;
}

int rebuild_narrow(struct rebuild *r, const uint64_t *ids, size_t num,
		   struct mrmr_error *err)
{
	uint64_t wide[NARROW_TOGETHER];
	size_t num_wide = 0;
	size_t i;

	for (i = 0; i < num; i++) {
		if (!rebuild_row_is_mended(r, ids[i])) {
			wide[num_wide++] = ids[i];
		}
		if (num_wide == NARROW_TOGETHER) {
			if (narrow_together(r, wide, num_wide, err) == -1) {
				return -1;
			}
			num_wide = 0;
		}
	}
	return narrow_together(r, wide, num_wide, err);
}
