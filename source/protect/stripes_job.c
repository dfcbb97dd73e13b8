/*
 * MRMR: stripes being made and changed: one stripe, from what is planned to
 * what is done.
 *
 * What replaces bytes in place is read first: most of what is looked at after a
 * file was written is the same as before, and that must cost no more than its
 * reading.
 *
 * Then the parity, by the way that reads less; if that can't be done, as what
 * it needs is away or wrong, by the other one; then with what can be computed
 * from the rest of the stripe; then with fewer rows; at last without what is
 * nowhere. Whatever way, no bytes are used that did not match their hash.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/log.h>

#include "stripes_private.h"

/* --- swaps ------------------------------------------------------------------------ */

static struct layout_piece *piece_of(struct job *job, const struct item *item)
{
	struct layout_slot *slot = layout_slot(&job->layout, item->slot);

	return slot != NULL ? layout_find(slot, item->offset) : NULL;
}

static bool is_same(const struct item *item)
{
	const struct mrmr_change *change = item->change;

	return change->len_bytes == change->old.len_bytes &&
	       memcmp(item->sha256, change->old.sha256, sizeof(item->sha256)) ==
		       0;
}

/* *kept_bytes is what is kept in memory until it is used. 1: nothing is to be
   done for it. */
static int look_at_swap(struct run *run, struct item *item, size_t *kept_bytes,
			struct mrmr_error *err)
{
	struct mrmr_stripes *work = run->work;
	struct job *job = run->job;
	struct new_bytes to = {0};
	struct mrmr_change *change = item->change;
	struct layout_piece *piece = piece_of(job, item);

	item->bytes = malloc(change->len_bytes);
	if (item->bytes == NULL || run_need_hashes(run, 1) == -1) {
		return stripes_no_memory(err);
	}
	to.hashes = run->hashes[0];
	to.data = item->bytes;
	if (read_new(work, item, &to) == -1) {
		item->outcome = OUTCOME_UNREADABLE;
		item->error = errno;
	} else if (is_same(item)) {
		change->extent = change->old;
		if (piece != NULL) {
			piece->item = NULL;
		}
	} else if (to.is_zero) {
		item->outcome = OUTCOME_ZERO;
	}
	if (item->outcome != OUTCOME_NONE && piece != NULL) {
		layout_take_out(piece);
	}
	if (item->outcome == OUTCOME_NONE && !is_same(item) &&
	    *kept_bytes + change->len_bytes <= 2 * (size_t)work->block_bytes) {
		*kept_bytes += change->len_bytes;
		return 0;
	}
	free(item->bytes);
	item->bytes = NULL;
	return item->outcome == OUTCOME_NONE && is_same(item) ? 1 : 0;
}

static int look_at_swaps(struct run *run, struct mrmr_error *err)
{
	struct job *job = run->job;
	size_t kept_bytes = 0;
	size_t to = 0;
	size_t i;

	if (job->swaps_are_known) {
		return 0;
	}
	for (i = 0; i < job->num_items; i++) {
		struct item *item = job->items[i];
		int ret = 0;

		if (item->kind == ITEM_SWAPS) {
			ret = look_at_swap(run, item, &kept_bytes, err);
		}
		if (ret == -1) {
			return -1;
		}
		if (ret == 0) {
			job->items[to++] = item;
		}
	}
	job->num_items = to;
	job->swaps_are_known = true;
	return 0;
}

/* --- which way ----------------------------------------------------------------------- */

static bool all_are_online(struct mrmr_stripes *work, const struct job *job)
{
	uint32_t i;

	for (i = 0; i < job->layout.num_slots; i++) {
		const struct stripes_member *member =
			stripes_member(work, job->layout.slots[i].member);

		if (member == NULL || !member->is_online) {
			return false;
		}
	}
	return true;
}

static uint64_t cost_of_update(const struct job *job)
{
	uint64_t cost = 0;
	size_t i;

	for (i = 0; i < job->old->num_rows; i++) {
		cost += job->old->rows[i].len_bytes;
	}
	for (i = 0; i < job->num_items; i++) {
		if (job->items[i]->kind != ITEM_COMES) {
			cost += job->items[i]->change->old.len_bytes;
		}
	}
	return cost;
}

static uint64_t cost_of_encode(const struct job *job)
{
	uint64_t cost = 0;
	uint32_t i;
	uint32_t j;

	for (i = 0; i < job->layout.num_slots; i++) {
		const struct layout_slot *slot = &job->layout.slots[i];

		for (j = 0; j < slot->num_pieces; j++) {
			if (slot->pieces[j].item == NULL &&
			    slot->pieces[j].file != MRMR_ID_NONE) {
				/* opening a file is worth some reading */
				cost += slot->pieces[j].len_bytes + 65536;
			}
		}
	}
	return cost;
}

static bool encodes_first(struct mrmr_stripes *work, const struct job *job)
{
	if (job->old == NULL) {
		return true;
	}
	return all_are_online(work, job) &&
	       (job->old->num_rows < work->rows ||
		cost_of_encode(job) < cost_of_update(job));
}

/* 0: it can't be computed, and need not be. 2: it has to wait. */
static int compute(struct run *run, struct mrmr_error *err)
{
	bool encode = run->job->encodes;
	enum effort effort;

	for (effort = EFFORT_READ; effort <= EFFORT_LOSE; effort++) {
		int ret;

		if (effort == EFFORT_LOSE && !run->job->is_needed &&
		    run->job->old != NULL) {
			return 0;
		}
		if (effort == EFFORT_LOSE && run->work->keeps_all &&
		    run->job->old != NULL) {
			run->work->has_kept = true;
			return mrmr_error_set(
				err, EIO,
				"stripe %llu stays as it is: what "
				"is in it cannot all be read",
				(unsigned long long)run->job->old->id);
		}
		ret = encode ? run_encode(run, effort, err)
			     : run_update(run, effort, err);
		if (ret == 0) {
			ret = encode ? run_update(run, effort, err)
				     : run_encode(run, effort, err);
		}
		if (ret != 0) {
			return ret;
		}
		/* then it is better to lose rows than bytes */
		encode = false;
	}
	if (run->must_wait) {
		run_leave_undone(run);
		return 2;
	}
	return mrmr_error_set(err, EIO,
			      "the parity of a stripe cannot be computed");
}

static void give_up(struct job *job)
{
	size_t i;

	for (i = 0; i < job->num_items; i++) {
		if (job->items[i]->outcome == OUTCOME_CAME ||
		    job->items[i]->outcome == OUTCOME_NONE) {
			job->items[i]->outcome = OUTCOME_GIVEN_UP;
		}
	}
}

/* The kernel reads them meanwhile, on all members at a time. */
static void read_ahead(const struct job *job)
{
	size_t i;

	for (i = 0; i < job->num_items; i++) {
		const struct mrmr_change *change = job->items[i]->change;
		int fd = -1;

		if (job->items[i]->kind != ITEM_LEAVES) {
			fd = mrmr_live_fd(change->now);
		}
		if (fd != -1) {
			posix_fadvise(fd, (off_t)change->offset,
				      (off_t)change->len_bytes,
				      POSIX_FADV_WILLNEED);
		}
	}
}

int job_prepare(struct mrmr_stripes *work, struct job *job)
{
	job->encodes = encodes_first(work, job);
	read_ahead(job);
	return job->old != NULL && job->encodes ? find_sources(work, job) : 0;
}

enum job_state job_work(struct run *run, struct mrmr_error *err)
{
	struct job *job = run->job;
	int ret;

	run->is_in_thread = true;
	if (look_at_swaps(run, err) == -1) {
		return JOB_FAILED;
	}
	if (job->num_items == 0) {
		return JOB_UNCHANGED;
	}
	/* what is the same as before would have to be read once more */
	job->encodes = job->encodes && encodes_first(run->work, job);
	ret = job->encodes ? run_encode(run, EFFORT_READ, err)
			   : run_update(run, EFFORT_READ, err);
	if (ret == 1 && run_write(run) == -1) {
		stripes_no_memory(err);
		ret = -1;
	}
	if (ret == -1) {
		return JOB_FAILED;
	}
	return ret == 1 ? JOB_WRITTEN : JOB_SLOW;
}

int job_finish(struct run *run, enum job_state state, struct mrmr_error *err)
{
	int ret;

	run->is_in_thread = false;
	switch (state) {
	case JOB_WRITTEN:
		return run_record(run, NULL, err);
	case JOB_UNCHANGED:
		return 0;
	case JOB_FAILED:
		return -1;
	case JOB_SLOW:
		break;
	}
	ret = compute(run, err);
	if (ret == 0) {
		give_up(run->job);
	}
	if (ret != 1) {
		return ret == 2 ? 0 : ret;
	}
	if (run_write(run) == -1) {
		return stripes_no_memory(err);
	}
	return run_record(run, NULL, err);
}

void job_end(struct job *job)
{
	size_t i;

	for (i = 0; i < job->num_items; i++) {
		free(job->items[i]->bytes);
		job->items[i]->bytes = NULL;
	}
	talloc_free_children(job);
	job->old = NULL;
	job->layout = (struct layout){0};
	job->items = NULL;
	job->num_items = 0;
}
