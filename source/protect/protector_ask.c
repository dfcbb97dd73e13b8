/*
 * MRMR: the protector: for those who only look: which files wait, and why.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include <mrmr/protection.h>

#include "protector_private.h"

/* --- all that wait --------------------------------------------------------------- */

uint64_t pending_count_bare(struct mrmr_catalog *catalog, uint64_t id)
{
	struct mrmr_extent extents[64];
	struct mrmr_node *node = NULL;
	uint64_t bytes = 0;
	uint32_t first = 0;
	uint32_t got = 0;
	uint32_t i;

	/* The end of a large one may not have been looked at. */
	if (mrmr_catalog_get(catalog, NULL, id, &node) == -1) {
		return 0;
	}
	bytes = node->size_bytes;
	while (mrmr_catalog_get_extents(catalog, id, first, extents, 64,
					&got) == 0 &&
	       got > 0) {
		for (i = 0; i < got; i++) {
			uint64_t len_bytes =
				extents[i].state == MRMR_EXTENT_BARE
					? 0
					: extents[i].len_bytes;

			bytes -= len_bytes < bytes ? len_bytes : bytes;
		}
		first += got;
	}
	talloc_free(node);
	return bytes;
}

struct adding {
	struct mrmr_catalog *catalog;
	struct mrmr_hindered *hindered;
};

static int add_hindered(const struct pending_place *place, void *private_data)
{
	const struct adding *adding = private_data;
	struct mrmr_hindered *hindered = adding->hindered;

	if ((place->flags & PENDING_NO_ROOM) != 0) {
		hindered->no_room_files++;
		hindered->no_room_bytes +=
			pending_count_bare(adding->catalog, place->node);
	}
	hindered->unreadable_files += (place->flags & PENDING_UNREADABLE) != 0;
	return 0;
}

int mrmr_protector_hindered(struct mrmr_catalog *catalog,
			    struct mrmr_hindered *hindered)
{
	struct adding adding = {.catalog = catalog, .hindered = hindered};

	*hindered = (struct mrmr_hindered){0};
	return pending_each_saved(catalog, add_hindered, &adding);
}

/* --- one of them ------------------------------------------------------------------- */

static enum mrmr_node_kind kind_of(mode_t mode)
{
	if (S_ISREG(mode)) {
		return MRMR_NODE_FILE;
	}
	if (S_ISDIR(mode)) {
		return MRMR_NODE_DIRECTORY;
	}
	return S_ISLNK(mode) ? MRMR_NODE_SYMLINK : MRMR_NODE_SPECIAL;
}

/* By its name, where the catalogue knows it by that; it may be behind. */
static int find_path(struct mrmr_engine *engine, void *mem_ctx,
		     const char *path, struct mrmr_node **node)
{
	char *known = mrmr_queue_resolve_back(engine->queue, mem_ctx, path);
	int ret;

	if (known == NULL) {
		return -1;
	}
	ret = mrmr_catalog_find_path(engine->catalog, mem_ctx, known, node);
	talloc_free(known);
	return ret;
}

/* 0 with no *node: nothing is known of it. Its inode is it, whatever its name. */
static int find_node(struct mrmr_engine *engine, void *mem_ctx, size_t member,
		     const char *path, const struct stat *st,
		     struct mrmr_node **node)
{
	uint16_t number = member < engine->pool->num_members
				  ? engine->number[member]
				  : MRMR_MEMBER_NONE;
	bool by_inode;
	uint64_t id;
	int ret;

	*node = NULL;
	if (S_ISDIR(st->st_mode)) {
		number = MRMR_MEMBER_NONE;
	}
	by_inode = number != MRMR_MEMBER_NONE &&
		   !mrmr_is_in_subvolume(&engine->pool->members[member], st);
	ret = by_inode ? mrmr_catalog_find_inode(engine->catalog, number,
						 (uint64_t)st->st_ino, &id)
		       : -1;
	if (ret == 0) {
		ret = mrmr_catalog_get(engine->catalog, mem_ctx, id, node);
	} else if (!by_inode || errno == ENOENT) {
		ret = find_path(engine, mem_ctx, path, node);
	}
	if (ret == 0 && ((*node)->kind != kind_of(st->st_mode) ||
			 (*node)->member != number)) {
		TALLOC_FREE(*node);
	}
	return ret == 0 || errno == ENOENT || errno == ENOTDIR ? 0 : -1;
}

static bool is_name_known(struct mrmr_engine *engine, const char *path,
			  uint64_t id)
{
	struct mrmr_node *node = NULL;
	bool is_known =
		find_path(engine, engine, path, &node) == 0 && node->id == id;

	talloc_free(node);
	return is_known;
}

static bool is_as_known(const struct mrmr_node *node, const struct stat *st)
{
	const struct look look = {.st = *st};

	switch (node->kind) {
	case MRMR_NODE_FILE:
		return !names_differ(node, &look);
	case MRMR_NODE_DIRECTORY:
		return true;
	default:
		return node->mtime_ns == look_mtime_ns(st);
	}
}

int mrmr_protector_ask(struct mrmr_engine *engine, void *mem_ctx, size_t member,
		       const char *path, const struct stat *st,
		       struct mrmr_standing *standing)
{
	struct pending_place place;
	int ret;

	*standing = (struct mrmr_standing){0};
	if (find_node(engine, mem_ctx, member, path, st, &standing->node) ==
	    -1) {
		return -1;
	}
	if (standing->node == NULL) {
		return 0;
	}
	standing->is_as_known = is_as_known(standing->node, st);
	standing->is_name_known =
		is_name_known(engine, path, standing->node->id);
	ret = pending_saved(engine->catalog, standing->node->id, &place);
	if (ret == 1) {
		standing->is_pending = true;
		standing->has_no_room = (place.flags & PENDING_NO_ROOM) != 0;
		standing->is_unreadable =
			(place.flags & PENDING_UNREADABLE) != 0;
	}
	return ret == -1 ? -1 : 0;
}
