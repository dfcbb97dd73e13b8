/*
 * MRMR: the protector: what changes with a file.
 *
 * A large file is protected in parts, one batch each, if it has no extents of
 * an earlier version. If it has, they and the new ones cannot be told apart by
 * the generation, which is one for all of them: it is changed at once.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "protector_private.h"

uint32_t target_count_extents(uint64_t size_bytes, uint32_t grid_bytes)
{
	return (uint32_t)((size_bytes + grid_bytes - 1) / grid_bytes);
}

static uint32_t extent_len(const struct mrmr_node *node, uint32_t index)
{
	uint64_t left = node->size_bytes - (uint64_t)index * node->grid_bytes;

	return left < node->grid_bytes ? (uint32_t)left : node->grid_bytes;
}

static bool is_done(const struct mrmr_extent *extent, uint32_t len_bytes)
{
	return extent->len_bytes == len_bytes &&
	       (extent->state == MRMR_EXTENT_IN_STRIPE ||
		extent->state == MRMR_EXTENT_ZERO);
}

int target_load_extents(struct protector *p, void *mem_ctx,
			const struct mrmr_node *node,
			struct mrmr_extent **extents)
{
	uint32_t got = 0;

	*extents = talloc_array(mem_ctx, struct mrmr_extent,
				node->num_extents + 1);
	if (*extents == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (node->num_extents > 0 &&
	    mrmr_catalog_get_extents(p->catalog, node->id, 0, *extents,
				     node->num_extents, &got) == -1) {
		return -1;
	}
	if (got != node->num_extents) {
		errno = EILSEQ;
		return -1;
	}
	return 0;
}

void target_add_change(struct target *target, uint32_t index, uint32_t len,
		       const struct mrmr_extent *old)
{
	struct mrmr_change *change = &target->changes[target->num_changes++];

	*change = (struct mrmr_change){
		.file = target->node.id,
		.member = target->node.member,
		.index = index,
		.offset = (uint64_t)index * target->node.grid_bytes,
		.now = len > 0 ? target->now : NULL,
		.len_bytes = len,
	};
	if (old != NULL && old->state == MRMR_EXTENT_IN_STRIPE) {
		change->old = *old;
		change->has_old = true;
		change->was = target->was;
	}
	target->bytes += len;
}

int target_find_changes(struct protector *p, void *mem_ctx,
			struct target *target, bool unchanged,
			uint64_t max_bytes)
{
	uint32_t num_old = target->old->num_extents;
	uint32_t num_new = target->num_extents;
	uint32_t most = num_old > num_new ? num_old : num_new;
	struct mrmr_extent *extents = NULL;
	uint32_t i;

	target->is_complete = true;
	if (most == 0) {
		return 0;
	}
	if (target_load_extents(p, mem_ctx, target->old, &extents) == -1) {
		return -1;
	}
	if (unchanged || num_old == 0) {
		uint64_t parts =
			max_bytes / target->node.grid_bytes + num_old + 1;

		most = most < parts ? most : (uint32_t)parts;
	}
	target->changes = talloc_array(mem_ctx, struct mrmr_change, most + 1);
	if (target->changes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	most = num_old > num_new ? num_old : num_new;
	for (i = 0; i < most; i++) {
		const struct mrmr_extent *old =
			i < num_old ? &extents[i] : NULL;
		uint32_t len = i < num_new ? extent_len(&target->node, i) : 0;

		if ((unchanged && old != NULL && is_done(old, len)) ||
		    (len == 0 && old->state != MRMR_EXTENT_IN_STRIPE)) {
			continue;
		}
		if (target->is_put_first && target->bytes > 0 &&
		    target->bytes + len > max_bytes) {
			target->is_complete = false;
			break;
		}
		target_add_change(target, i, len, old);
	}
	talloc_free(extents);
	return 0;
}
