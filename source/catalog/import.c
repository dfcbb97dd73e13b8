/*
 * MRMR: the catalogue: putting together what parts say.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

int mrmr_catalog_import_member(struct mrmr_catalog *cat, uint16_t number,
			       const struct mrmr_uuid *id)
{
	struct mrmr_uuid other;

	if (change_begin(cat) == -1) {
		return -1;
	}
	if (number >= MEMBERS_MAX) {
		errno = EINVAL;
		return change_end(cat, -1);
	}
	if (member_id(cat, number, &other) == 0) {
		if (mrmr_uuid_equal(&other, id)) {
			return change_end(cat, 0);
		}
		errno = EEXIST;
		return change_end(cat, -1);
	}
	return change_end(cat,
			  errno == ENOENT ? member_put(cat, number, id) : -1);
}

int mrmr_catalog_import_sequence(struct mrmr_catalog *cat, uint64_t sequence)
{
	if (change_begin(cat) == -1) {
		return -1;
	}
	if (cat->head.sequence < sequence) {
		cat->head.sequence = sequence;
		cat->head_is_dirty = true;
	}
	return change_end(cat, 0);
}

/* Nothing but this node itself may have the name. */
static int check_place(struct mrmr_catalog *cat, const struct mrmr_node *node)
{
	size_t len = node->name != NULL ? strlen(node->name) : 0;
	struct entry entry;

	if (!name_is_good(node->dir_id, node->name, len) ||
	    (node->dir_id == MRMR_ID_TRASH &&
	     node->kind == MRMR_NODE_DIRECTORY)) {
		errno = EINVAL;
		return -1;
	}
	if (dir_find(cat, node->dir_id, node->name, len, &entry) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (entry.id == node->id && !entry.is_link) {
		return 0;
	}
	errno = EEXIST;
	return -1;
}

static int import_node(struct mrmr_catalog *cat, void *frame,
		       const struct mrmr_node *node)
{
	struct entry old;
	struct place place;
	char *name = NULL;

	if (node_check(node) == -1) {
		return -1;
	}
	if (node->id == MRMR_ID_ROOT) {
		return node_update(cat, node);
	}
	if (node->id < FIRST_ID || node->id >= ID_MAX ||
	    node->dir_id >= ID_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (check_place(cat, node) == -1) {
		return -1;
	}
	if (node->id >= cat->head.next_id) {
		cat->head.next_id = node->id + 1;
		cat->head_is_dirty = true;
	}
	if (node_load(cat, frame, node->id, &old, &place) == -1) {
		return errno == ENOENT ? node_create(cat, node, node->id) : -1;
	}
	if (node_update(cat, node) == -1) {
		return -1;
	}
	name = talloc_strndup(frame, old.name, old.name_len);
	if (name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (place.dir_id == node->dir_id && strcmp(name, node->name) == 0) {
		return 0;
	}
	return node_move(cat, frame, place.dir_id, name, node->dir_id,
			 node->name);
}

int mrmr_catalog_import_node(struct mrmr_catalog *cat,
			     const struct mrmr_node *node)
{
	void *frame = NULL;
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	frame = talloc_new(NULL);
	ret = import_node(cat, frame, node);
	if (ret == 0) {
		ret = touch_node(cat, node->id);
	}
	talloc_free(frame);
	return change_end(cat, ret);
}

int mrmr_catalog_import_extents(struct mrmr_catalog *cat, uint64_t id,
				uint32_t first,
				const struct mrmr_extent *extents, uint32_t num)
{
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	cat->allows_unknown = true;
	ret = extents_put(cat, id, first, extents, num);
	cat->allows_unknown = cat->is_part;
	if (ret == 0) {
		ret = touch_node(cat, id);
	}
	if (ret == 0) {
		ret = touch_extents(cat, id, first, num);
	}
	return change_end(cat, ret);
}

int mrmr_catalog_import_stripe(struct mrmr_catalog *cat,
			       const struct mrmr_stripe *stripe)
{
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	if (stripe->id == 0 || stripe->id >= ID_MAX ||
	    !stripe_is_good(stripe)) {
		errno = EINVAL;
		return change_end(cat, -1);
	}
	if (stripe->id >= cat->head.next_stripe) {
		cat->head.next_stripe = stripe->id + 1;
		cat->head_is_dirty = true;
	}
	ret = stripe_put(cat, stripe);
	if (ret == 0) {
		ret = touch_stripe(cat, stripe->id);
	}
	return change_end(cat, ret);
}
