/*
 * MRMR: stripes being made and changed: blocks that look for a stripe, by unit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef STRIPES_PLAN_H
#define STRIPES_PLAN_H

#include "stripes_private.h"

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
	bool lacks_room;   /* for parity beside the old one: until the commit */
};

static inline struct block *plan_head(const struct queue *queue)
{
	return queue->next < queue->num ? queue->blocks[queue->next] : NULL;
}

static inline void plan_take_head(struct queue *queue)
{
	queue->left_bytes -= plan_head(queue)->slot.len_bytes;
	queue->next++;
}

/* Blocks that have no place yet. */
size_t plan_count_left(const struct plan *plan);
/* Have blocks join stripes that exist (stripes_join.c). */
int plan_join(struct plan *plan);

#endif
