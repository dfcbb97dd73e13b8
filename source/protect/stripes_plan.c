/*
 * MRMR: stripes being made and changed: which blocks go together.
 *
 * 1. Full stripes: a block of as many units as there are less the rows, of those
 *    units that have most to bring; the rows have their places on the others. Of
 *    each unit the longest block: parity is as long as the longest one of a
 *    stripe, so those of about one length belong together.
 * 2. What is left joins stripes in which its unit has no slot, those first that
 *    become full by it, then those whose length is next to its own. That takes
 *    no more parity than there is, as a rule. A row in its way moves.
 * 3. What is left then is the beginning of new stripes, as wide as can be.
 *
 * Rows come before slots: where few units are there or have room, stripes are
 * narrower. Fewer rows than wanted only where even a single block cannot have
 * more.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "stripes_plan.h"

/* --- blocks by unit --------------------------------------------------------------------- */

static int by_length(const void *a_void, const void *b_void)
{
	const struct block *a = *(struct block *const *)a_void;
	const struct block *b = *(struct block *const *)b_void;

	if (a->slot.len_bytes != b->slot.len_bytes) {
		return a->slot.len_bytes > b->slot.len_bytes ? -1 : 1;
	}
	/* they lie in an array, in the order in which they came */
	return a < b ? -1 : a > b;
}

static int fill_queues(struct plan *plan, struct block *blocks, size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		plan->queues[blocks[i].unit].num++;
	}
	for (i = 0; i < plan->work->num_units; i++) {
		struct queue *queue = &plan->queues[i];

		queue->unit = (uint8_t)i;
		queue->blocks = talloc_array(plan->mem_ctx, struct block *,
					     queue->num + 1);
		if (queue->blocks == NULL) {
			errno = ENOMEM;
			return -1;
		}
		queue->num = 0;
		plan->order[i] = queue;
	}
	for (i = 0; i < num; i++) {
		struct queue *queue = &plan->queues[blocks[i].unit];

		queue->blocks[queue->num++] = &blocks[i];
		queue->left_bytes += blocks[i].slot.len_bytes;
	}
	for (i = 0; i < plan->work->num_units; i++) {
		struct queue *queue = &plan->queues[i];

		qsort(queue->blocks, queue->num, sizeof(queue->blocks[0]),
		      by_length);
	}
	return 0;
}

static int by_need(const void *a_void, const void *b_void)
{
	const struct queue *a = *(struct queue *const *)a_void;
	const struct queue *b = *(struct queue *const *)b_void;

	if (a->left_bytes != b->left_bytes) {
		return a->left_bytes > b->left_bytes ? -1 : 1;
	}
	/* who has room for parity gets that */
	if (a->parity_room_bytes != b->parity_room_bytes) {
		return a->parity_room_bytes < b->parity_room_bytes ? -1 : 1;
	}
	return a->unit < b->unit ? -1 : a->unit > b->unit;
}

static void sort_queues(struct plan *plan)
{
	struct mrmr_stripes *work = plan->work;
	size_t i;

	for (i = 0; i < work->num_units; i++) {
		plan->queues[i].parity_room_bytes = 0;
	}
	for (i = 0; i < work->num_members; i++) {
		const struct stripes_member *member = &work->members[i];

		if (member->may_have_parity) {
			plan->queues[member->unit].parity_room_bytes +=
				(int64_t)member->parity_room_bytes -
				(int64_t)member->planned_bytes;
		}
	}
	qsort(plan->order, work->num_units, sizeof(plan->order[0]), by_need);
}

/* --- new stripes ---------------------------------------------------------------------- */

/* Which units' heads make a stripe with so many rows; none: it can't be. */
static struct unit_set choose_units(struct plan *plan, unsigned int rows,
				    uint32_t *len_bytes)
{
	struct unit_set chosen = {{0}};
	size_t i;

	*len_bytes = 0;
	for (i = 0; i < plan->work->num_units; i++) {
		const struct block *block = plan_head(plan->order[i]);
		struct unit_set with = chosen;
		uint32_t len = *len_bytes;

		if (block == NULL) {
			continue;
		}
		len = block->slot.len_bytes > len ? block->slot.len_bytes : len;
		unit_add(&with, plan->order[i]->unit);
		if (stripes_count_takers(plan->work, &with, len) >= rows) {
			chosen = with;
			*len_bytes = len;
		}
	}
	return chosen;
}

static int make_stripe(struct plan *plan, const struct unit_set *units,
		       unsigned int rows, uint32_t len_bytes)
{
	struct job *job = talloc_zero(plan->jobs->mem_ctx, struct job);
	struct unit_set taken = *units;
	size_t i;

	if (job == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < plan->work->num_units; i++) {
		if (!unit_has(units, (unsigned int)i)) {
			continue;
		}
		if (job_add_block(job, plan_head(&plan->queues[i])) == -1) {
			return -1;
		}
		plan_take_head(&plan->queues[i]);
	}
	for (; rows > 0; rows--) {
		size_t taker =
			stripes_best_taker(plan->work, &taken, len_bytes);

		if (taker != SIZE_MAX) {
			plan->work->members[taker].planned_bytes += len_bytes;
			job->planned_rows++;
			unit_add(&taken, plan->work->members[taker].unit);
		}
	}
	return jobs_add(plan->jobs, job);
}

/* 1: one was made, or a block was found to have no place. 0: there is nothing
   left, or it would not be a full one. */
static int next_stripe(struct plan *plan, bool is_full)
{
	unsigned int rows = plan->work->rows;
	struct unit_set units = {{0}};
	uint32_t len_bytes = 0;

	sort_queues(plan);
	if (plan_head(plan->order[0]) == NULL) {
		return 0;
	}
	for (; rows > 0; rows--) {
		units = choose_units(plan, rows, &len_bytes);
		if (unit_count(&units) > 0 || is_full) {
			break;
		}
	}
	if (is_full && (unit_count(&units) == 0 ||
			unit_count(&units) + rows < plan->num_online)) {
		return 0;
	}
	if (unit_count(&units) == 0) {
		plan_take_head(plan->order[0]);
		return 1;
	}
	return make_stripe(plan, &units, rows, len_bytes) == -1 ? -1 : 1;
}

/* --- all of it ---------------------------------------------------------------------------- */

static size_t count_online(struct mrmr_stripes *work)
{
	struct unit_set online = {{0}};
	size_t i;

	for (i = 0; i < work->num_members; i++) {
		if (work->members[i].is_online) {
			unit_add(&online, work->members[i].unit);
		}
	}
	return unit_count(&online);
}

static bool has_work(const struct jobs *jobs)
{
	size_t i;

	for (i = 0; i < jobs->num; i++) {
		if (jobs->list[i]->num_items > 0) {
			return true;
		}
	}
	return false;
}

/* Narrow stripes would take more parity than joins after the commit. */
static bool postpones(const struct plan *plan)
{
	return plan->lacks_room && plan->work->options.may_postpone &&
	       has_work(plan->jobs);
}

static void postpone_rest(struct plan *plan)
{
	size_t i;

	for (i = 0; i < plan->work->num_units; i++) {
		struct queue *queue = &plan->queues[i];

		while (plan_head(queue) != NULL) {
			plan_head(queue)->is_postponed = true;
			plan_take_head(queue);
		}
	}
}

static int make_plan(struct plan *plan, bool may_join)
{
	int ret;

	do {
		ret = next_stripe(plan, true);
	} while (ret == 1);
	if (ret == 0 && may_join) {
		ret = plan_join(plan);
	}
	if (ret == 0 && plan->work->options.joins_only &&
	    plan_count_left(plan) > 0) {
		errno = ENOSPC;
		return -1;
	}
	if (ret == 0 && postpones(plan)) {
		postpone_rest(plan);
	}
	if (ret == 0) {
		do {
			ret = next_stripe(plan, false);
		} while (ret == 1);
	}
	return ret;
}

int plan_blocks(struct mrmr_stripes *work, struct jobs *jobs,
		struct block *blocks, size_t num, bool may_join)
{
	struct plan *plan = NULL;
	int ret;

	if (num == 0 || work->rows == 0) {
		return 0;
	}
	plan = talloc_zero(NULL, struct plan);
	if (plan == NULL) {
		errno = ENOMEM;
		return -1;
	}
	plan->work = work;
	plan->jobs = jobs;
	plan->mem_ctx = plan;
	plan->num_online = count_online(work);
	ret = fill_queues(plan, blocks, num);
	if (ret == 0) {
		ret = make_plan(plan, may_join);
	}
	talloc_free(plan);
	return ret;
}
