/*
 * MRMR: stripes being made and changed: making changes.
 *
 * Each change becomes one item or two: bytes that replace others at the same
 * place, if they fit there; else some that leave a stripe, and some that look for
 * one. All is planned before anything is done, so that each stripe is changed
 * once. Extents are put into the catalogue at the end: until then it says what
 * was, which is what lost bytes are computed by.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/log.h>

#include "stripes_private.h"

struct apply {
	struct mrmr_stripes *work;
	void *frame;
	struct jobs jobs;
	size_t num_done;     /* of the jobs */
	struct item **to_go; /* talloc: items that look for a place */
	size_t num_to_go;
};

/* --- items ----------------------------------------------------------------------------- */

static struct item *new_item(struct apply *a, enum item_kind kind,
			     struct mrmr_change *change)
{
	struct item *item = talloc_zero(a->frame, struct item);

	if (item == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	item->kind = kind;
	item->change = change;
	item->old_slot = change->old.slot;
	item->old_offset = change->old.slot_offset;
	return item;
}

static int add_to_go(struct apply *a, struct item *item)
{
	struct item **list = a->to_go;

	if (item == NULL) {
		return -1;
	}
	if (a->num_to_go == talloc_array_length(list)) {
		list = talloc_realloc(a->frame, list, struct item *,
				      2 * a->num_to_go + 64);
		if (list == NULL) {
			errno = ENOMEM;
			return -1;
		}
		a->to_go = list;
	}
	list[a->num_to_go++] = item;
	return 0;
}

static bool has_new_bytes(const struct mrmr_change *change)
{
	return change->now != NULL && change->len_bytes > 0;
}

/* Where the stripe has it, if record and extent agree. */
static struct layout_piece *find_old(struct job *job,
				     const struct mrmr_change *change,
				     struct layout_slot **slot)
{
	struct layout_piece *piece = NULL;

	*slot = layout_slot(&job->layout, change->old.slot);
	if (*slot != NULL) {
		piece = layout_find(*slot, change->old.slot_offset);
	}
	if (piece == NULL || piece->file != change->file ||
	    piece->index != change->index ||
	    piece->len_bytes != change->old.len_bytes) {
		return NULL;
	}
	return piece;
}

/* 1: its new bytes take the place of the old ones. */
static int swap_in_place(struct apply *a, struct job *job,
			 struct layout_slot *slot, struct mrmr_change *change)
{
	uint32_t max_bytes = a->work->block_bytes > slot->len_bytes
				     ? a->work->block_bytes
				     : slot->len_bytes;
	struct item *item = NULL;
	int ret;

	if (!has_new_bytes(change) || slot->member != change->member) {
		return 0;
	}
	ret = layout_resize(slot, change->old.slot_offset, change->len_bytes,
			    max_bytes);
	if (ret != 1) {
		return ret;
	}
	item = new_item(a, ITEM_SWAPS, change);
	if (item == NULL) {
		return -1;
	}
	item->slot = item->old_slot;
	item->offset = item->old_offset;
	layout_find(slot, item->offset)->item = item;
	return job_add_item(job, item) == -1 ? -1 : 1;
}

/* Its parity would be taken for garbage by who goes on, and so would be all that the
   stripe had of other files. */
static int fail_lost(const struct mrmr_change *change)
{
	mrmr_log(MRMR_LOG_ERROR,
		 "the catalogue is damaged: it has no stripe %llu, in which "
		 "files are protected; run 'mrmr-admin recover'",
		 (unsigned long long)change->old.stripe);
	errno = EILSEQ;
	return -1;
}

/* 1: nothing is left to do for its new bytes. */
static int plan_old(struct apply *a, struct mrmr_change *change)
{
	struct layout_piece *piece = NULL;
	struct layout_slot *slot = NULL;
	struct item *item = NULL;
	struct job *job = NULL;
	int ret;

	job = jobs_get(a->work, &a->jobs, change->old.stripe);
	if (job == NULL) {
		return errno == ENOENT ? fail_lost(change) : -1;
	}
	piece = find_old(job, change, &slot);
	if (piece == NULL) {
		return 0;
	}
	ret = swap_in_place(a, job, slot, change);
	if (ret != 0) {
		return ret;
	}
	/* the attempt may have moved it in the list of pieces */
	piece = find_old(job, change, &slot);
	item = new_item(a, ITEM_LEAVES, change);
	if (piece == NULL || item == NULL) {
		errno = item == NULL ? ENOMEM : EILSEQ;
		return -1;
	}
	layout_take_out(piece);
	return job_add_item(job, item);
}

static int plan_change(struct apply *a, struct mrmr_change *change)
{
	int ret = 0;

	memset(&change->extent, 0, sizeof(change->extent));
	change->error = 0;
	if (change->has_old && change->old.state == MRMR_EXTENT_IN_STRIPE) {
		ret = plan_old(a, change);
	}
	if (ret != 0 || !has_new_bytes(change)) {
		return ret == -1 ? -1 : 0;
	}
	if (stripes_member(a->work, change->member) == NULL) {
		change->extent.len_bytes = change->len_bytes;
		change->error = ENODEV;
		return 0;
	}
	return add_to_go(a, new_item(a, ITEM_COMES, change));
}

/* --- places ---------------------------------------------------------------------------- */

/* What no stripe can take is known by its hash at least. */
static int leave_bare(struct apply *a, struct item *item, struct buffer *buffer,
		      struct mrmr_hashes *hashes)
{
	struct new_bytes to = {.hashes = hashes};
	struct mrmr_change *change = item->change;
	struct mrmr_extent *extent = &change->extent;

	*extent = (struct mrmr_extent){.len_bytes = change->len_bytes};
	if (buffer_need(buffer, change->len_bytes) == -1) {
		return -1;
	}
	to.data = buffer->data;
	if (read_new(a->work, item, &to) == -1) {
		change->error = errno;
		return 0;
	}
	memcpy(extent->sha256, item->sha256, sizeof(extent->sha256));
	extent->checksum = item->checksum;
	if (to.is_zero) {
		extent->state = MRMR_EXTENT_ZERO;
	} else {
		change->error = ENOSPC;
	}
	return 0;
}

static void postpone_block(const struct block *block)
{
	uint32_t i;

	for (i = 0; i < block->slot.num_pieces; i++) {
		struct mrmr_change *change = block->slot.pieces[i].item->change;

		change->extent = (struct mrmr_extent){
			.len_bytes = change->len_bytes,
		};
		change->error = EAGAIN;
	}
}

static int leave_block_bare(struct apply *a, const struct block *block)
{
	struct mrmr_hashes *hashes = mrmr_hashes_new();
	struct buffer buffer = {0};
	uint32_t i;
	int ret = 0;

	for (i = 0; ret == 0 && i < block->slot.num_pieces; i++) {
		ret = leave_bare(a, block->slot.pieces[i].item, &buffer,
				 hashes);
	}
	mrmr_hashes_free(hashes);
	buffer_free(&buffer);
	return ret;
}

static int plan_places(struct apply *a, bool may_join)
{
	void *frame = talloc_new(a->frame);
	struct block *blocks = NULL;
	size_t num = 0;
	size_t i;
	int ret;

	for (i = a->num_done; i < a->jobs.num; i++) {
		job_plan_rows(a->work, a->jobs.list[i]);
	}
	ret = pack_items(a->work, &a->jobs, a->to_go, a->num_to_go, may_join,
			 frame, &blocks, &num);
	if (ret == 0) {
		ret = plan_blocks(a->work, &a->jobs, blocks, num, may_join);
	}
	for (i = 0; ret == 0 && i < num; i++) {
		if (blocks[i].is_postponed) {
			postpone_block(&blocks[i]);
		} else if (!blocks[i].is_placed && a->work->is_limited) {
			errno = ENOSPC;
			ret = -1;
		} else if (!blocks[i].is_placed) {
			ret = leave_block_bare(a, &blocks[i]);
		}
	}
	for (i = 0; i < a->work->num_members; i++) {
		a->work->members[i].planned_bytes = 0;
	}
	a->num_to_go = 0;
	talloc_free(frame);
	return ret;
}

static uint32_t stripe_len(const struct mrmr_stripe *stripe)
{
	uint32_t len_bytes = 0;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		if (stripe->slots[i].len_bytes > len_bytes) {
			len_bytes = stripe->slots[i].len_bytes;
		}
	}
	return len_bytes;
}

/* By the plan: is what comes within the limit? */
static bool is_within_limit(const struct apply *a)
{
	uint64_t before_bytes = 0;
	uint64_t bytes = 0;
	size_t i;

	for (i = a->num_done; i < a->jobs.num; i++) {
		const struct job *job = a->jobs.list[i];
		uint32_t rows = job->planned_rows;

		if (job->num_items == 0) {
			continue;
		}
		if (job->old != NULL) {
			rows = job->old->num_rows;
			before_bytes += (uint64_t)rows * stripe_len(job->old);
		}
		if (rows < a->work->rows) {
			return false;
		}
		bytes += (uint64_t)rows * layout_len(&job->layout);
	}
	return bytes < before_bytes + a->work->limit_bytes;
}

/* --- extents ----------------------------------------------------------------------------- */

static int compare_places(const void *a_void, const void *b_void)
{
	const struct mrmr_change *a = *(struct mrmr_change *const *)a_void;
	const struct mrmr_change *b = *(struct mrmr_change *const *)b_void;

	if (a->file != b->file) {
		return a->file < b->file ? -1 : 1;
	}
	return a->index < b->index ? -1 : a->index > b->index;
}

static int sort_changes(struct apply *a, struct mrmr_change *changes,
			size_t num)
{
	size_t i;

	a->work->by_place =
		talloc_array(a->frame, struct mrmr_change *, num + 1);
	if (a->work->by_place == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num; i++) {
		a->work->by_place[i] = &changes[i];
	}
	a->work->num_changes = num;
	qsort(a->work->by_place, num, sizeof(a->work->by_place[0]),
	      compare_places);
	return 0;
}

static bool is_as_before(const struct mrmr_change *change)
{
	const struct mrmr_extent *a = &change->old;
	const struct mrmr_extent *b = &change->extent;

	return change->has_old && a->state == b->state &&
	       a->len_bytes == b->len_bytes && a->checksum == b->checksum &&
	       memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0 &&
	       (a->state != MRMR_EXTENT_IN_STRIPE ||
		(a->stripe == b->stripe && a->slot == b->slot &&
		 a->slot_offset == b->slot_offset));
}

/* Extents that go may have been cut off already. */
static int put_extent(struct apply *a, const struct mrmr_change *change,
		      struct mrmr_error *err)
{
	struct mrmr_catalog *catalog = a->work->engine->catalog;

	if (is_as_before(change)) {
		return 0;
	}
	if (!has_new_bytes(change)) {
		struct mrmr_extent there;
		uint32_t got = 0;

		if (mrmr_catalog_get_extents(catalog, change->file,
					     change->index, &there, 1,
					     &got) == -1) {
			return errno == ENOENT ? 0 : stripes_fail_catalog(err);
		}
		if (got == 0) {
			return 0;
		}
	}
	if (mrmr_catalog_put_extents(catalog, change->file, change->index,
				     &change->extent, 1) == -1) {
		return stripes_fail_catalog(err);
	}
	return 0;
}

/* Several of a file at once: they share records. */
#define RUN_MAX 64

static size_t put_run(struct apply *a, size_t i, struct mrmr_error *err)
{
	struct mrmr_change **list = a->work->by_place;
	struct mrmr_extent run[RUN_MAX];
	size_t n = 0;

	while (n < RUN_MAX && i + n < a->work->num_changes &&
	       list[i + n]->file == list[i]->file &&
	       list[i + n]->index == list[i]->index + n &&
	       has_new_bytes(list[i + n]) && !is_as_before(list[i + n])) {
		run[n] = list[i + n]->extent;
		n++;
	}
	if (n < 2) {
		return put_extent(a, list[i], err) == -1 ? 0 : 1;
	}
	if (mrmr_catalog_put_extents(a->work->engine->catalog, list[i]->file,
				     list[i]->index, run, (uint32_t)n) == -1) {
		stripes_fail_catalog(err);
		return 0;
	}
	return n;
}

static int put_extents(struct apply *a, struct mrmr_error *err)
{
	size_t i = 0;

	while (i < a->work->num_changes) {
		size_t n = put_run(a, i, err);

		if (n == 0) {
			return -1;
		}
		i += n;
	}
	return 0;
}

/* --- all of it ----------------------------------------------------------------------------- */

static int apply(struct apply *a, struct mrmr_change *changes, size_t num,
		 struct mrmr_error *err)
{
	bool may_join = true;
	size_t i;

	if (sort_changes(a, changes, num) == -1) {
		return stripes_no_memory(err);
	}
	for (i = 0; i < num; i++) {
		if (plan_change(a, &changes[i]) == -1) {
			return stripes_fail_catalog(err);
		}
	}
	do {
		if (plan_places(a, may_join) == -1) {
			return stripes_fail_catalog(err);
		}
		if (a->work->is_limited && may_join && !is_within_limit(a)) {
			return mrmr_error_set(err, ENOSPC,
					      "it would take too much parity");
		}
		if (run_jobs(a->work, &a->jobs, &a->num_done, err) == -1) {
			return -1;
		}
		/* those whose stripe could not take them look again */
		for (i = 0; i < a->jobs.num_given_up; i++) {
			if (add_to_go(a, a->jobs.given_up[i]) == -1) {
				return stripes_no_memory(err);
			}
		}
		a->jobs.num_given_up = 0;
		may_join = false;
	} while (a->num_to_go > 0);
	if (put_extents(a, err) == -1) {
		return -1;
	}
	if (open_slots_save(a->work) == -1) {
		return stripes_fail_catalog(err);
	}
	return 0;
}

int mrmr_stripes_apply(struct mrmr_stripes *work, struct mrmr_change *changes,
		       size_t num, struct mrmr_error *err)
{
	struct apply a = {.work = work};
	int saved_errno;
	int ret;

	a.frame = talloc_new(work);
	if (a.frame == NULL) {
		return stripes_no_memory(err);
	}
	a.jobs.mem_ctx = a.frame;
	ret = apply(&a, changes, num, err);
	saved_errno = errno;
	work->by_place = NULL;
	work->num_changes = 0;
	talloc_free(a.frame);
	errno = saved_errno;
	return ret;
}
