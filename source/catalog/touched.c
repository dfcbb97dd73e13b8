/*
 * MRMR: the catalogue: what a transaction changed, for the parts.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

static bool same(const struct touched *a, const struct touched *b)
{
	return a->kind == b->kind && a->id == b->id && a->index == b->index;
}

int touch(struct mrmr_catalog *cat, const struct touched *touched)
{
	size_t room = talloc_array_length(cat->touched);

	if (cat->num_touched > 0 &&
	    same(&cat->touched[cat->num_touched - 1], touched)) {
		return 0;
	}
	if (cat->num_touched == room) {
		struct touched *more =
			talloc_realloc(cat, cat->touched, struct touched,
				       2 * room + 64);

		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		cat->touched = more;
	}
	cat->touched[cat->num_touched++] = *touched;
	return 0;
}

int touch_node(struct mrmr_catalog *cat, uint64_t id)
{
	return touch(cat, &(struct touched){.kind = TOUCHED_NODE, .id = id});
}

int touch_extents(struct mrmr_catalog *cat, uint64_t id, uint32_t first,
		  uint32_t num)
{
	uint32_t i;

	for (i = 0; i < num; i++) {
		struct touched one = {.kind = TOUCHED_EXTENT,
				      .id = id,
				      .index = first + i};

		if (touch(cat, &one) == -1) {
			return -1;
		}
	}
	return 0;
}

int touch_stripe(struct mrmr_catalog *cat, uint64_t id)
{
	return touch(cat, &(struct touched){.kind = TOUCHED_STRIPE, .id = id});
}

static int compare(const void *a_void, const void *b_void)
{
	const struct touched *a = a_void;
	const struct touched *b = b_void;

	if (a->kind != b->kind) {
		return a->kind < b->kind ? -1 : 1;
	}
	if (a->id != b->id) {
		return a->id < b->id ? -1 : 1;
	}
	return a->index < b->index ? -1 : a->index > b->index;
}

void touched_sort(struct mrmr_catalog *cat)
{
	size_t num = 0;
	size_t i;

	if (cat->num_touched == 0) {
		return;
	}
	qsort(cat->touched, cat->num_touched, sizeof(cat->touched[0]), compare);
	for (i = 1; i < cat->num_touched; i++) {
		if (!same(&cat->touched[num], &cat->touched[i])) {
			cat->touched[++num] = cat->touched[i];
		}
	}
	cat->num_touched = num + 1;
}

void touched_drop(struct mrmr_catalog *cat)
{
	TALLOC_FREE(cat->touched);
	cat->num_touched = 0;
}
