/*
 * MRMR: the protector: which of what is pending is due, and whose turn it is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "protector_private.h"

static bool is_due(const struct protector *p, const struct pending_entry *entry,
		   int64_t now_ns)
{
	if (entry->node == 0 || entry->is_skipped ||
	    (entry->retry_ns > now_ns && !protector_must_hurry(p))) {
		return false;
	}
	/* What hindered these is for a person, or for a change of the pool, to
	   mend; to read them again and again would be of no use. */
	return !p->options->background ||
	       (entry->flags & (PENDING_NO_ROOM | PENDING_UNREADABLE)) == 0;
}

static int add_due(void *mem_ctx, struct due *due, uint32_t entry)
{
	size_t size = talloc_array_length(due->entries);

	if (due->num == size) {
		uint32_t *more = talloc_realloc(mem_ctx, due->entries, uint32_t,
						size > 0 ? 2 * size : 64);

		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		due->entries = more;
	}
	due->entries[due->num++] = entry;
	return 0;
}

struct due *due_find(struct protector *p, bool with_last, size_t *num,
		     bool *has_last)
{
	size_t num_lists = p->pool->num_members + 1;
	struct due *lists = talloc_zero_array(p, struct due, num_lists);
	int64_t now_ns = protector_now_ns();
	uint32_t i;

	*num = 0;
	*has_last = false;
	for (i = 0; lists != NULL && i < pending_end(p->pending); i++) {
		const struct pending_entry *entry = pending_get(p->pending, i);
		size_t index;

		if (!is_due(p, entry, now_ns)) {
			continue;
		}
		if (entry->last_ns > now_ns && !with_last) {
			*has_last = true;
			continue;
		}
		index = mrmr_engine_member(p->engine, entry->member);
		index = index == SIZE_MAX ? num_lists - 1 : index;
		if (add_due(lists, &lists[index], i) == -1) {
			TALLOC_FREE(lists);
			break;
		}
		(*num)++;
	}
	return lists;
}

struct due *due_next(struct protector *p, struct due *lists, uint64_t quota)
{
	struct due *best = NULL;
	size_t i;

	for (i = 0; i <= p->pool->num_members; i++) {
		struct due *due = &lists[i];

		if (due->next < due->num && due->taken_bytes < quota &&
		    (best == NULL || due->taken_bytes < best->taken_bytes)) {
			best = due;
		}
	}
	return best;
}

uint64_t due_quota(struct protector *p, struct due *lists)
{
	uint64_t bytes = p->batch_bytes;
	uint64_t num = 0;
	size_t i;

	for (i = 0; i <= p->pool->num_members; i++) {
		num += lists[i].next < lists[i].num;
		lists[i].taken_bytes = 0;
	}
	if (p->options->batch_bytes > 0) {
		bytes = p->options->batch_bytes;
	} else if (bytes < BATCH_BYTES_MIN) {
		bytes = BATCH_BYTES_MIN; /* the first */
	}
	return bytes / (num > 0 ? num : 1) + 1;
}
