/*
 * MRMR: stripes being made and changed: which blocks join which stripes.
 *
 * A stripe that changes has its new parity written beside the old one, which goes
 * after the commit. In a pool that is nearly full there may be no room for that
 * now, but there is once others have changed; blocks that could join but for
 * this are left for the next transaction, if the caller can have it so: as new
 * stripes they would take parity that is not to be had back.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "stripes_plan.h"

struct candidate {
	uint64_t stripe;
	struct unit_set slots;
	struct unit_set rows;
	uint32_t len_bytes;
	uint32_t planned_bytes; /* of each row */
	uint32_t num_rows;
	size_t members[MRMR_PARITY_ROWS]; /* of the rows, in work->members */
};

struct candidates {
	struct candidate *list; /* talloc */
	size_t num;
};

size_t plan_count_left(const struct plan *plan)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < plan->work->num_units; i++) {
		num += plan->queues[i].num - plan->queues[i].next;
	}
	return num;
}

static struct candidate describe(struct plan *plan, const struct job *job)
{
	struct candidate one = {
		.stripe = job->old->id,
		.slots = job->slot_units,
		.rows = job->row_units,
		.len_bytes = layout_len(&job->layout),
		.planned_bytes = job->planned_bytes,
		.num_rows = job->old->num_rows,
	};
	uint32_t i;

	for (i = 0; i < one.num_rows; i++) {
		one.members[i] = mrmr_engine_member(plan->work->engine,
						    job->old->rows[i].member);
	}
	return one;
}

static int add_candidate(struct plan *plan, struct candidates *found,
			 uint64_t id)
{
	struct job *job = jobs_find(plan->jobs, id);
	struct job looked = {0};
	struct candidate *list = found->list;
	void *frame = talloc_new(plan->mem_ctx);
	int ret = 0;

	if (job == NULL) {
		job = &looked;
		ret = mrmr_catalog_get_stripe(plan->work->engine->catalog,
					      frame, id, &looked.old);
		if (ret == 0) {
			ret = layout_of_stripe(frame, looked.old,
					       &looked.layout);
		}
		if (ret == 0) {
			job_find_units(plan->work, &looked);
		}
	}
	if (ret == 0 && found->num == talloc_array_length(list)) {
		list = talloc_realloc(plan->mem_ctx, list, struct candidate,
				      2 * found->num + 64);
		if (list == NULL) {
			errno = ENOMEM;
			ret = -1;
		} else {
			found->list = list;
		}
	}
	if (ret == 0 && job_can_take(plan->work, job) &&
	    job->layout.num_slots < MRMR_PARITY_SLOTS) {
		list[found->num++] = describe(plan, job);
	}
	talloc_free(frame);
	return ret;
}

/* As many stripes of each set of members as there are blocks, at most. */
static int find_candidates(struct plan *plan, struct candidates *found)
{
	struct mrmr_catalog *catalog = plan->work->engine->catalog;
	size_t num_left = plan_count_left(plan);
	size_t left = 4 * num_left + 1024;
	struct mrmr_stripe_class *classes = NULL;
	uint64_t *ids = talloc_array(plan->mem_ctx, uint64_t, num_left + 32);
	size_t num = 0;
	size_t i;

	if (ids == NULL || mrmr_catalog_classes(catalog, plan->mem_ctx,
						&classes, &num) == -1) {
		errno = ids == NULL ? ENOMEM : errno;
		return -1;
	}
	for (i = 0; i < num && left > 0; i++) {
		struct unit_set units = {{0}};
		uint32_t max = (uint32_t)(num_left + 32);
		uint32_t got = 0;
		uint32_t j;

		for (j = 0; j < classes[i].num_members; j++) {
			stripes_add_unit(plan->work, classes[i].members[j],
					 &units);
		}
		if (unit_count(&units) >= plan->work->num_units) {
			continue; /* they are full */
		}
		max = max < left ? max : (uint32_t)left;
		if (mrmr_catalog_class_stripes(catalog, classes[i].number, ids,
					       max, &got) == -1) {
			return -1;
		}
		for (j = 0; j < got; j++, left--) {
			if (add_candidate(plan, found, ids[j]) == -1) {
				return -1;
			}
		}
	}
	return 0;
}

/*
 * Its unit has no slot there; and if it has a row, this can move to another one:
 * it is written anew in any case.
 */
static bool can_join(struct plan *plan, const struct candidate *one,
		     const struct block *block)
{
	struct unit_set taken = one->slots;
	unsigned int staying = 0;
	unsigned int unit;
	uint32_t len = one->len_bytes > block->slot.len_bytes
			       ? one->len_bytes
			       : block->slot.len_bytes;

	if (unit_has(&one->slots, block->unit) ||
	    unit_count(&one->slots) + one->num_rows >= plan->work->num_units) {
		return false;
	}
	unit_add(&taken, block->unit);
	for (unit = 0; unit < plan->work->num_units; unit++) {
		if (unit_has(&one->rows, unit) && !unit_has(&taken, unit)) {
			unit_add(&taken, unit);
			staying++;
		}
	}
	return staying >= one->num_rows ||
	       stripes_count_takers(plan->work, &taken, len) >=
		       one->num_rows - staying;
}

/* For its new rows, beside the old ones. */
static bool has_room(struct plan *plan, const struct candidate *one,
		     const struct block *block)
{
	const struct mrmr_stripes *work = plan->work;
	uint32_t len = one->len_bytes > block->slot.len_bytes
			       ? one->len_bytes
			       : block->slot.len_bytes;
	uint32_t more = len > one->planned_bytes ? len - one->planned_bytes : 0;
	uint32_t growth = len - one->len_bytes; /* that stays */
	uint32_t i;

	for (i = 0; i < one->num_rows; i++) {
		const struct stripes_member *member =
			&work->members[one->members[i]];

		/* that one moves to where there is room */
		if (member->unit == block->unit) {
			continue;
		}
		if (growth > 0 && member->room_bytes < growth) {
			return false;
		}
		if (member->room_bytes + member->spare_bytes <
		    member->planned_bytes + more) {
			plan->lacks_room = true;
			return false;
		}
	}
	return true;
}

static uint32_t difference(uint32_t a, uint32_t b)
{
	return a > b ? a - b : b - a;
}

/* Is a better for a block than b? */
static bool is_better(const struct plan *plan, const struct candidate *a,
		      const struct candidate *b, const struct block *block)
{
	size_t full = plan->work->num_units - 1;
	unsigned int a_width = unit_count(&a->slots);
	unsigned int b_width = unit_count(&b->slots);
	uint32_t a_difference = difference(a->len_bytes, block->slot.len_bytes);
	uint32_t b_difference = difference(b->len_bytes, block->slot.len_bytes);

	if ((a_width + a->num_rows == full) !=
	    (b_width + b->num_rows == full)) {
		return a_width + a->num_rows == full;
	}
	if (a_difference != b_difference) {
		return a_difference < b_difference;
	}
	if (unit_has(&a->rows, block->unit) !=
	    unit_has(&b->rows, block->unit)) {
		return unit_has(&b->rows, block->unit);
	}
	return a_width > b_width;
}

/* Those that become full first, then the longest. */
static int by_use(const void *a_void, const void *b_void)
{
	const struct candidate *a = *(struct candidate *const *)a_void;
	const struct candidate *b = *(struct candidate *const *)b_void;
	unsigned int a_blocks = unit_count(&a->slots) + a->num_rows;
	unsigned int b_blocks = unit_count(&b->slots) + b->num_rows;

	if (a_blocks != b_blocks) {
		return a_blocks > b_blocks ? -1 : 1;
	}
	if (a->len_bytes != b->len_bytes) {
		return a->len_bytes > b->len_bytes ? -1 : 1;
	}
	return a->stripe < b->stripe ? -1 : a->stripe > b->stripe;
}

/* Of all that are found, those that blocks of one unit can join. */
struct usable {
	struct candidate **list; /* talloc */
	size_t num;
};

static int find_usable(struct plan *plan, const struct candidates *found,
		       const struct block *block, struct usable *usable)
{
	struct unit_set own = {{0}};
	unsigned int rows;
	size_t i;

	usable->num = 0;
	usable->list =
		talloc_array(plan->mem_ctx, struct candidate *, found->num + 1);
	if (usable->list == NULL) {
		errno = ENOMEM;
		return -1;
	}
	unit_add(&own, block->unit);
	rows = stripes_count_takers(plan->work, &own, block->slot.len_bytes);
	rows = rows < plan->work->rows ? rows : plan->work->rows;
	for (i = 0; i < found->num; i++) {
		struct candidate *one = &found->list[i];

		if (one->num_rows >= rows && can_join(plan, one, block)) {
			usable->list[usable->num++] = one;
		}
	}
	qsort(usable->list, usable->num, sizeof(usable->list[0]), by_use);
	return 0;
}

/* As many are compared with each other: both blocks and stripes come by length,
   so what fits is near. */
#define COMPARED_MAX 256

/* The best one, which is taken off the list; NULL if there is none. */
static struct candidate *take_best(struct plan *plan, struct usable *usable,
				   const struct block *block)
{
	size_t num = usable->num < COMPARED_MAX ? usable->num : COMPARED_MAX;
	struct candidate *taken = NULL;
	size_t best = SIZE_MAX;
	size_t i;

	for (i = 0; i < num; i++) {
		if (has_room(plan, usable->list[i], block) &&
		    (best == SIZE_MAX ||
		     is_better(plan, usable->list[i], usable->list[best],
			       block))) {
			best = i;
		}
	}
	if (best == SIZE_MAX) {
		return NULL;
	}
	taken = usable->list[best];
	/* those before it move up, which are few */
	memmove(&usable->list[1], &usable->list[0],
		best * sizeof(usable->list[0]));
	usable->list++;
	usable->num--;
	return taken;
}

static int join_blocks(struct plan *plan, const struct candidates *found,
		       struct queue *queue)
{
	struct usable usable = {0};
	struct candidate *best = NULL;

	if (plan_head(queue) == NULL) {
		return 0;
	}
	if (find_usable(plan, found, plan_head(queue), &usable) == -1) {
		return -1;
	}
	while (plan_head(queue) != NULL &&
	       (best = take_best(plan, &usable, plan_head(queue))) != NULL) {
		struct job *job =
			jobs_get(plan->work, plan->jobs, best->stripe);

		if (job == NULL || job_add_block(job, plan_head(queue)) == -1) {
			return -1;
		}
		plan_take_head(queue);
		job_plan_rows(plan->work, job);
		best->slots = job->slot_units;
		best->len_bytes = layout_len(&job->layout);
		best->planned_bytes = job->planned_bytes;
	}
	return 0;
}

int plan_join(struct plan *plan)
{
	struct candidates found = {0};
	size_t i;

	if (plan_count_left(plan) == 0) {
		return 0;
	}
	if (find_candidates(plan, &found) == -1) {
		return -1;
	}
	for (i = 0; i < plan->work->num_units; i++) {
		if (join_blocks(plan, &found, &plan->queues[i]) == -1) {
			return -1;
		}
	}
	return 0;
}
