/*
 * MRMR: stripes being made and changed: the jobs of one call, found by their
 * stripe.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "stripes_private.h"

static size_t find_place(const struct jobs *jobs, uint64_t stripe)
{
	size_t i = (size_t)(stripe * UINT64_C(0x9e3779b97f4a7c15) >> 32) &
		   (jobs->size - 1);

	while (jobs->by_stripe[i] != NULL &&
	       jobs->by_stripe[i]->stripe != stripe) {
		i = (i + 1) & (jobs->size - 1);
	}
	return i;
}

struct job *jobs_find(const struct jobs *jobs, uint64_t stripe)
{
	return jobs->size == 0 ? NULL
			       : jobs->by_stripe[find_place(jobs, stripe)];
}

static int grow(struct jobs *jobs)
{
	size_t size = jobs->size == 0 ? 64 : 2 * jobs->size;
	size_t i;

	talloc_free(jobs->by_stripe);
	jobs->by_stripe = talloc_zero_array(jobs->mem_ctx, struct job *, size);
	if (jobs->by_stripe == NULL) {
		errno = ENOMEM;
		return -1;
	}
	jobs->size = size;
	for (i = 0; i < jobs->num; i++) {
		struct job *job = jobs->list[i];

		if (job->stripe != 0) {
			jobs->by_stripe[find_place(jobs, job->stripe)] = job;
		}
	}
	return 0;
}

int jobs_add(struct jobs *jobs, struct job *job)
{
	if (2 * jobs->num + 2 > jobs->size && grow(jobs) == -1) {
		return -1;
	}
	if (jobs->num == talloc_array_length(jobs->list)) {
		struct job **list =
			talloc_realloc(jobs->mem_ctx, jobs->list, struct job *,
				       2 * jobs->num + 16);

		if (list == NULL) {
			errno = ENOMEM;
			return -1;
		}
		jobs->list = list;
	}
	jobs->list[jobs->num++] = job;
	if (job->stripe != 0) {
		jobs->by_stripe[find_place(jobs, job->stripe)] = job;
	}
	return 0;
}

void job_find_units(struct mrmr_stripes *work, struct job *job)
{
	uint32_t i;

	for (i = 0; i < job->layout.num_slots; i++) {
		stripes_add_unit(work, job->layout.slots[i].member,
				 &job->slot_units);
	}
	for (i = 0; job->old != NULL && i < job->old->num_rows; i++) {
		stripes_add_unit(work, job->old->rows[i].member,
				 &job->row_units);
	}
}

struct job *jobs_get(struct mrmr_stripes *work, struct jobs *jobs,
		     uint64_t stripe)
{
	struct job *job = jobs_find(jobs, stripe);

	if (job != NULL) {
		return job;
	}
	job = talloc_zero(jobs->mem_ctx, struct job);
	if (job == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	job->stripe = stripe;
	if (mrmr_catalog_get_stripe(work->engine->catalog, job, stripe,
				    &job->old) == -1 ||
	    layout_of_stripe(job, job->old, &job->layout) == -1 ||
	    jobs_add(jobs, job) == -1) {
		int saved_errno = errno;

		talloc_free(job);
		errno = saved_errno;
		return NULL;
	}
	job_find_units(work, job);
	return job;
}

bool job_can_take(struct mrmr_stripes *work, const struct job *job)
{
	uint32_t i;

	for (i = 0; i < job->old->num_rows; i++) {
		const struct stripes_member *member =
			stripes_member(work, job->old->rows[i].member);

		if (member == NULL || !member->is_online ||
		    !member->may_have_parity) {
			return false;
		}
	}
	return job->old->num_rows > 0;
}

static uint32_t more_to_plan(const struct job *job, uint32_t len_bytes)
{
	return len_bytes > job->planned_bytes ? len_bytes - job->planned_bytes
					      : 0;
}

bool job_has_room(struct mrmr_stripes *work, const struct job *job,
		  uint32_t len_bytes)
{
	uint32_t more_bytes = more_to_plan(job, len_bytes);
	uint32_t i;

	for (i = 0; i < job->old->num_rows; i++) {
		const struct stripes_member *member =
			stripes_member(work, job->old->rows[i].member);

		if (member != NULL &&
		    member->room_bytes + member->spare_bytes <
			    member->planned_bytes + more_bytes) {
			return false;
		}
	}
	return true;
}

/* On a unit that has a slot now there will be no row, but which one has it then
   is not known yet: the best one, probably. */
static size_t where_planned(struct mrmr_stripes *work, const struct job *job,
			    const struct mrmr_row *row, uint32_t len_bytes)
{
	size_t index = mrmr_engine_member(work->engine, row->member);
	struct unit_set taken = job->slot_units;
	unsigned int i;

	if (index == SIZE_MAX ||
	    !unit_has(&job->slot_units, work->members[index].unit)) {
		return index;
	}
	for (i = 0; i < 4; i++) {
		taken.bits[i] |= job->row_units.bits[i];
	}
	return stripes_best_taker(work, &taken, len_bytes);
}

void job_plan_rows(struct mrmr_stripes *work, struct job *job)
{
	uint32_t len_bytes = layout_len(&job->layout);
	uint32_t more_bytes = more_to_plan(job, len_bytes);
	uint32_t i;

	if (job->old == NULL || job->num_items == 0 || more_bytes == 0) {
		return;
	}
	for (i = 0; i < job->old->num_rows; i++) {
		size_t index = where_planned(work, job, &job->old->rows[i],
					     more_bytes);

		if (index != SIZE_MAX) {
			work->members[index].planned_bytes += more_bytes;
		}
	}
	job->planned_bytes += more_bytes;
}

int job_add_block(struct job *job, struct block *block)
{
	struct layout_slot *slot =
		layout_add_slot(job, &job->layout, block->slot.member);
	uint32_t i;

	if (slot == NULL) {
		return -1;
	}
	slot->len_bytes = block->slot.len_bytes;
	slot->num_pieces = block->slot.num_pieces;
	slot->pieces = talloc_steal(job, block->slot.pieces);
	for (i = 0; i < slot->num_pieces; i++) {
		slot->pieces[i].item->slot = slot->slot;
		if (job_add_item(job, slot->pieces[i].item) == -1) {
			return -1;
		}
	}
	unit_add(&job->slot_units, block->unit);
	block->is_placed = true;
	return 0;
}

int job_add_item(struct job *job, struct item *item)
{
	struct item **items = job->items;

	if (job->num_items == talloc_array_length(items)) {
		items = talloc_realloc(job, items, struct item *,
				       2 * job->num_items + 4);
		if (items == NULL) {
			errno = ENOMEM;
			return -1;
		}
		job->items = items;
	}
	items[job->num_items++] = item;
	job->is_needed = job->is_needed || item->kind != ITEM_COMES;
	return 0;
}

int jobs_give_up(struct jobs *jobs, const struct job *job)
{
	size_t i;

	for (i = 0; i < job->num_items; i++) {
		struct item *item = job->items[i];
		struct item **list = jobs->given_up;

		if (item->outcome != OUTCOME_GIVEN_UP) {
			continue;
		}
		item->outcome = OUTCOME_NONE;
		if (jobs->num_given_up == talloc_array_length(list)) {
			list = talloc_realloc(jobs->mem_ctx, list,
					      struct item *,
					      2 * jobs->num_given_up + 16);
			if (list == NULL) {
				errno = ENOMEM;
				return -1;
			}
			jobs->given_up = list;
		}
		list[jobs->num_given_up++] = item;
	}
	return 0;
}
