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

#include "stripes_private.h"

/* --- blocks by unit --------------------------------------------------------------------- */

struct queue {
	uint8_t unit;
	struct block **blocks; /* longest first */
	size_t num;
	size_t next;
	uint64_t left_bytes;
	int64_t parity_room_bytes;
};

struct plan {
	struct mrmr_stripes *work;
	struct jobs *jobs;
	void *mem_ctx;
	struct queue queues[MRMR_MEMBERS_MAX]; /* by unit */
	struct queue *order[MRMR_MEMBERS_MAX];
	size_t num_online; /* units */
};

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

static struct block *head(const struct queue *queue)
{
	return queue->next < queue->num ? queue->blocks[queue->next] : NULL;
}

static void take_head(struct queue *queue)
{
	queue->left_bytes -= head(queue)->slot.len_bytes;
	queue->next++;
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
		const struct block *block = head(plan->order[i]);
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
		if (job_add_block(job, head(&plan->queues[i])) == -1) {
			return -1;
		}
		take_head(&plan->queues[i]);
	}
	for (; rows > 0; rows--) {
		size_t taker =
			stripes_best_taker(plan->work, &taken, len_bytes);

		if (taker != SIZE_MAX) {
			plan->work->members[taker].planned_bytes += len_bytes;
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
	if (head(plan->order[0]) == NULL) {
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
		take_head(plan->order[0]);
		return 1;
	}
	return make_stripe(plan, &units, rows, len_bytes) == -1 ? -1 : 1;
}

/* --- joining ---------------------------------------------------------------------------- */

struct candidate {
	uint64_t stripe;
	struct unit_set slots;
	struct unit_set rows;
	uint32_t len_bytes;
	uint32_t num_rows;
};

struct candidates {
	struct candidate *list; /* talloc */
	size_t num;
};

static size_t count_left(const struct plan *plan)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < plan->work->num_units; i++) {
		num += plan->queues[i].num - plan->queues[i].next;
	}
	return num;
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
		list[found->num++] = (struct candidate){
			.stripe = id,
			.slots = job->slot_units,
			.rows = job->row_units,
			.len_bytes = layout_len(&job->layout),
			.num_rows = job->old->num_rows,
		};
	}
	talloc_free(frame);
	return ret;
}

/* As many stripes of each set of members as there are blocks, at most. */
static int find_candidates(struct plan *plan, struct candidates *found)
{
	struct mrmr_catalog *catalog = plan->work->engine->catalog;
	size_t num_left = count_left(plan);
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
	size_t best = 0;
	size_t i;

	if (num == 0) {
		return NULL;
	}
	for (i = 1; i < num; i++) {
		if (is_better(plan, usable->list[i], usable->list[best],
			      block)) {
			best = i;
		}
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

	if (head(queue) == NULL) {
		return 0;
	}
	if (find_usable(plan, found, head(queue), &usable) == -1) {
		return -1;
	}
	while (head(queue) != NULL &&
	       (best = take_best(plan, &usable, head(queue))) != NULL) {
		struct job *job =
			jobs_get(plan->work, plan->jobs, best->stripe);

		if (job == NULL || job_add_block(job, head(queue)) == -1) {
			return -1;
		}
		take_head(queue);
		best->slots = job->slot_units;
		best->len_bytes = layout_len(&job->layout);
	}
	return 0;
}

static int join(struct plan *plan)
{
	struct candidates found = {0};
	size_t i;

	if (count_left(plan) == 0) {
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

static int make_plan(struct plan *plan, bool may_join)
{
	int ret;

	do {
		ret = next_stripe(plan, true);
	} while (ret == 1);
	if (ret == 0 && may_join) {
		ret = join(plan);
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
