/*
 * MRMR: the protector: what leaves its stripes.
 *
 * A file that has gone, or is to go: all of it, and then it leaves the
 * catalogue.
 *
 * A file of which protected bytes were given up, by a cut, and that is still
 * open: the version that is protected cannot be had any more, and a new one not
 * yet. What is lost leaves its stripes, so that the rest of them are whole
 * again. It is the end of the file, from some extent on.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "protector_private.h"

/* A file that has gone, or is to go, of which something is in stripes. */
int target_prepare_gone(struct protector *p, struct batch *batch,
			struct target *target)
{
	struct mrmr_live_member *member =
		batch_member(batch, target->old->member);

	target->node = *target->old;
	if (member != NULL &&
	    mrmr_live_open_on(batch, p->engine, member, target->old, true,
			      &target->was) == -1) {
		target->was = NULL;
	}
	target->num_extents = 0;
	return target_find_changes(p, batch, target, false, UINT64_MAX);
}

/* All of its names are in the trash, by now or for good. */
int target_remove_gone(struct protector *p, const struct target *target)
{
	struct mrmr_link *links = NULL;
	size_t num = 0;
	size_t i;
	int ret;

	if (mrmr_catalog_links(p->catalog, p, target->node.id, &links, &num) ==
		    -1 ||
	    mrmr_catalog_cut_extents(p->catalog, target->node.id, 0) == -1) {
		return -1;
	}
	pending_remove(p->pending, target->node.id);
	ret = protector_loosen(p, target->old->member, target->old->inode);
	for (i = 0; i < num && ret == 0; i++) {
		ret = mrmr_catalog_remove(p->catalog, links[i].dir_id,
					  links[i].name);
	}
	talloc_free(links);
	return ret;
}

/* The old bytes of an extent are there, or nobody needs them. */
static bool can_be_read(struct target *target, const struct mrmr_extent *extent,
			uint32_t index, uint8_t *buf)
{
	return extent->state != MRMR_EXTENT_IN_STRIPE ||
	       (target->was != NULL &&
		mrmr_live_read(target->was, buf, extent->len_bytes,
			       (uint64_t)index * target->node.grid_bytes) == 0);
}

int target_prepare_lost(struct protector *p, struct batch *batch,
			struct target *target)
{
	const struct mrmr_node *node = target->old;
	struct mrmr_live_member *member = batch_member(batch, node->member);
	struct mrmr_extent *extents = NULL;
	uint8_t *buf = NULL;
	uint32_t first = 0;
	uint32_t i;

	target->node = *node;
	target->is_cut = true;
	if (member == NULL ||
	    target_load_extents(p, batch, node, &extents) == -1) {
		return -1;
	}
	if (mrmr_live_open_on(batch, p->engine, member, node, false,
			      &target->was) == -1) {
		target->was = NULL;
	}
	buf = talloc_array(batch, uint8_t, node->grid_bytes + 1);
	target->changes =
		talloc_array(batch, struct mrmr_change, node->num_extents + 1);
	if (buf == NULL || target->changes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	while (first < node->num_extents &&
	       can_be_read(target, &extents[first], first, buf)) {
		first++;
	}
	for (i = first; i < node->num_extents; i++) {
		if (extents[i].state == MRMR_EXTENT_IN_STRIPE) {
			target_add_change(target, i, 0, &extents[i]);
		}
	}
	target->num_extents = first;
	target->is_complete = true;
	talloc_free(buf);
	return 0;
}
