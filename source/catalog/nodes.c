/*
 * MRMR: the catalogue: finding nodes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

#define DEPTH_MAX 4096 /* of directories: a path has no more */

int entry_keep(void *mem_ctx, struct entry *entry)
{
	size_t xattrs_len = entry->xattrs_where == XATTRS_SHARED
				    ? SHARED_KEY_BYTES
				    : entry->xattrs_len;
	char *copy = talloc_size(mem_ctx, entry->name_len + xattrs_len +
						  entry->target_len + 1);
	char *at = copy;

	if (copy == NULL) {
		errno = ENOMEM;
		return -1;
	}
	memcpy(at, entry->name, entry->name_len);
	entry->name = at;
	at += entry->name_len;
	if (entry->xattrs != NULL) {
		memcpy(at, entry->xattrs, xattrs_len);
		entry->xattrs = (const uint8_t *)at;
		at += xattrs_len;
	}
	if (entry->target != NULL) {
		memcpy(at, entry->target, entry->target_len);
		entry->target = at;
	}
	return 0;
}

int node_peek(struct mrmr_catalog *cat, uint64_t id, struct entry *entry,
	      struct place *place)
{
	if (ids_get(cat, id, place) == -1) {
		return -1;
	}
	return dir_find_id(cat, place->dir_id, place->hash, id, entry);
}

int node_load(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
	      struct entry *entry, struct place *place)
{
	if (node_peek(cat, id, entry, place) == -1) {
		return -1;
	}
	return entry_keep(mem_ctx, entry);
}

int node_store(struct mrmr_catalog *cat, const struct place *place,
	       const struct entry *entry)
{
	return dir_replace(cat, place->dir_id, entry);
}

int entry_create(struct mrmr_catalog *cat, const struct place *place,
		 const struct entry *entry)
{
	if (dir_insert(cat, place->dir_id, entry) == -1 ||
	    ids_put(cat, entry->id, place) == -1 ||
	    inodes_put(cat, entry->member, entry->inode, entry->id) == -1) {
		return -1;
	}
	return sums_node(cat, entry, place->dir_id, 1);
}

int entry_change(struct mrmr_catalog *cat, const struct place *place,
		 const struct entry *old, const struct entry *entry)
{
	if (sums_change(cat, old, entry, place->dir_id) == -1) {
		return -1;
	}
	if ((old->member != entry->member || old->inode != entry->inode) &&
	    inodes_delete(cat, old->member, old->inode, old->id) == -1) {
		return -1;
	}
	if (inodes_put(cat, entry->member, entry->inode, entry->id) == -1) {
		return -1;
	}
	return node_store(cat, place, entry);
}

static int fill_node(struct mrmr_catalog *cat, const struct entry *entry,
		     struct mrmr_node *node)
{
	node->name = talloc_strndup(node, entry->name, entry->name_len);
	if (node->name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (xattrs_load(cat, node, entry, &node->xattrs, &node->xattrs_len) ==
	    -1) {
		return -1;
	}
	if (entry->kind == MRMR_NODE_SYMLINK) {
		node->target = target_load(cat, node, entry);
		return node->target != NULL ? 0 : -1;
	}
	return 0;
}

int node_make(struct mrmr_catalog *cat, void *mem_ctx,
	      const struct entry *entry, uint64_t dir_id,
	      struct mrmr_node **node)
{
	struct mrmr_node *made = talloc(mem_ctx, struct mrmr_node);

	if (made == NULL) {
		errno = ENOMEM;
		return -1;
	}
	*made = (struct mrmr_node){
		.id = entry->id,
		.dir_id = dir_id,
		.kind = entry->kind,
		.member = entry->member,
		.inode = entry->inode,
		.size_bytes = entry->size_bytes,
		.mtime_ns = entry->mtime_ns,
		.mode = entry->mode,
		.uid = entry->uid,
		.gid = entry->gid,
		.device = entry->device,
		.grid_bytes = entry->grid_bytes,
		.num_extents = entry->num_extents,
		.generation = entry->generation,
		.sequence = entry->sequence,
	};
	if (fill_node(cat, entry, made) == -1) {
		talloc_free(made);
		return -1;
	}
	*node = made;
	return 0;
}

static int get(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
	       struct mrmr_node **node)
{
	void *frame = talloc_new(NULL);
	struct entry entry;
	struct place place;
	int ret = node_load(cat, frame, id, &entry, &place);

	if (ret == 0) {
		ret = node_make(cat, mem_ctx, &entry, place.dir_id, node);
	}
	talloc_free(frame);
	return ret;
}

int mrmr_catalog_get(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
		     struct mrmr_node **node)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, get(cat, mem_ctx, id, node));
}

/* The node of an entry, which may be a further name, as found there. */
static int node_of_entry(struct mrmr_catalog *cat, void *mem_ctx,
			 uint64_t dir_id, struct entry *entry,
			 struct mrmr_node **node)
{
	char *name = NULL;

	if (!entry->is_link) {
		return node_make(cat, mem_ctx, entry, dir_id, node);
	}
	name = talloc_strndup(NULL, entry->name, entry->name_len);
	if (name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (get(cat, mem_ctx, entry->id, node) == -1) {
		talloc_free(name);
		return errno == ENOENT ? damaged_record(cat, "a further name")
				       : -1;
	}
	talloc_free((*node)->name);
	(*node)->name = talloc_steal(*node, name);
	(*node)->dir_id = dir_id;
	return 0;
}

static int find(struct mrmr_catalog *cat, void *mem_ctx, uint64_t dir_id,
		const char *name, size_t len, struct mrmr_node **node)
{
	struct entry entry;

	if (!name_is_good(dir_id, name, len)) {
		errno = ENOENT;
		return -1;
	}
	if (dir_find(cat, dir_id, name, len, &entry) == -1) {
		return -1;
	}
	return node_of_entry(cat, mem_ctx, dir_id, &entry, node);
}

int mrmr_catalog_find(struct mrmr_catalog *cat, void *mem_ctx, uint64_t dir_id,
		      const char *name, struct mrmr_node **node)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat,
			find(cat, mem_ctx, dir_id, name, strlen(name), node));
}

/* Only the last component becomes a node. */
static int find_path(struct mrmr_catalog *cat, void *mem_ctx, const char *path,
		     struct mrmr_node **node)
{
	uint64_t dir_id = MRMR_ID_ROOT;

	if (*path == '\0') {
		return get(cat, mem_ctx, MRMR_ID_ROOT, node);
	}
	for (;;) {
		size_t len = strcspn(path, "/");
		struct entry entry;

		if (path[len] == '\0') {
			return find(cat, mem_ctx, dir_id, path, len, node);
		}
		if (!name_is_good(dir_id, path, len)) {
			errno = ENOENT;
			return -1;
		}
		if (dir_find(cat, dir_id, path, len, &entry) == -1) {
			return -1;
		}
		if (entry.is_link || entry.kind != MRMR_NODE_DIRECTORY) {
			errno = ENOTDIR;
			return -1;
		}
		dir_id = entry.id;
		path += len + 1;
	}
}

int mrmr_catalog_find_path(struct mrmr_catalog *cat, void *mem_ctx,
			   const char *path, struct mrmr_node **node)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, find_path(cat, mem_ctx, path, node));
}

int mrmr_catalog_find_inode(struct mrmr_catalog *cat, uint16_t member,
			    uint64_t inode, uint64_t *id)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, inodes_get(cat, member, inode, id));
}

static char *build_path(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
			bool *in_trash)
{
	void *frame = talloc_new(NULL);
	char *path = talloc_strdup(frame, "");
	struct place place = {.dir_id = id};
	struct entry entry;
	unsigned int depth;

	*in_trash = false;
	for (depth = 0; id != MRMR_ID_ROOT && path != NULL; depth++) {
		if (depth == DEPTH_MAX) {
			damaged_record(cat, "the path of a node");
			goto fail;
		}
		if (node_load(cat, frame, id, &entry, &place) == -1) {
			if (depth > 0 && errno == ENOENT) {
				damaged_record(cat, "the path of a node");
			}
			goto fail;
		}
		if (place.dir_id == MRMR_ID_TRASH) {
			const char *slash =
				memchr(entry.name, '/', entry.name_len);
			size_t skip = slash != NULL
					      ? (size_t)(slash + 1 - entry.name)
					      : 0;

			*in_trash = true;
			entry.name += skip;
			entry.name_len -= skip;
		}
		path = talloc_asprintf(frame, "%.*s%s%s", (int)entry.name_len,
				       entry.name, *path != '\0' ? "/" : "",
				       path);
		if (*in_trash) {
			break;
		}
		id = place.dir_id;
	}
	if (path == NULL) {
		errno = ENOMEM;
		goto fail;
	}
	path = talloc_steal(mem_ctx, path);
	talloc_free(frame);
	return path;
fail:
	talloc_free(frame);
	return NULL;
}

char *mrmr_catalog_path(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
			bool *in_trash)
{
	char *path = NULL;

	if (read_begin(cat) == -1) {
		return NULL;
	}
	path = build_path(cat, mem_ctx, id, in_trash);
	read_end(cat, path != NULL ? 0 : -1);
	return path;
}

/* --- walks -------------------------------------------------------------------- */

static int list_one(struct mrmr_catalog *cat, void *mem_ctx, uint64_t dir_id,
		    const struct raw_entry *raw, struct mrmr_node **node)
{
	struct entry entry;
	int ret;

	if (read_begin(cat) == -1) {
		return -1;
	}
	if (!entry_unpack(raw->raw, raw->len, dir_id == MRMR_ID_TRASH,
			  &entry)) {
		return read_end(cat, damaged_record(cat, "an entry"));
	}
	ret = node_of_entry(cat, mem_ctx, dir_id, &entry, node);
	return read_end(cat, ret);
}

int mrmr_catalog_list(struct mrmr_catalog *cat, uint64_t dir_id,
		      int (*fn)(const struct mrmr_node *node,
				void *private_data),
		      void *private_data)
{
	uint64_t cursor = 0;
	bool end = false;
	int ret = 0;

	while (!end && ret == 0) {
		void *frame = talloc_new(NULL);
		struct raw_entry *entries = NULL;
		size_t num = 0;
		size_t i;

		if (read_begin(cat) == -1) {
			talloc_free(frame);
			return -1;
		}
		ret = read_end(cat, dir_step(cat, frame, dir_id, &cursor,
					     &entries, &num, &end));
		for (i = 0; i < num && ret == 0; i++) {
			struct mrmr_node *node = NULL;

			ret = list_one(cat, frame, dir_id, &entries[i], &node);
			if (ret == 0) {
				ret = fn(node, private_data);
			}
			talloc_free(node);
		}
		talloc_free(frame);
	}
	return ret;
}

/* Only of those that are wanted a node is made. */
static int next_on(struct mrmr_catalog *cat, void *mem_ctx, uint16_t member,
		   bool directories, uint64_t after, struct mrmr_node **node)
{
	struct entry entry;
	struct place place;

	while (ids_next(cat, after, &after) == 0) {
		/* all that was passed by is not to stay in memory */
		if (cat->depth == 1) {
			records_trim(cat);
		}
		if (node_peek(cat, after, &entry, &place) == -1) {
			return errno == ENOENT
				       ? damaged_record(cat, "a page of ids")
				       : -1;
		}
		if (entry.member == member ||
		    (directories && entry.kind == MRMR_NODE_DIRECTORY)) {
			return get(cat, mem_ctx, after, node);
		}
	}
	return -1;
}

int mrmr_catalog_next_on(struct mrmr_catalog *cat, void *mem_ctx,
			 uint16_t member, bool directories, uint64_t after,
			 struct mrmr_node **node)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, next_on(cat, mem_ctx, member, directories, after,
				     node));
}

static int next(struct mrmr_catalog *cat, void *mem_ctx, uint64_t after,
		struct mrmr_node **node)
{
	uint64_t id;

	if (ids_next(cat, after, &id) == -1) {
		return -1;
	}
	return get(cat, mem_ctx, id, node);
}

int mrmr_catalog_next(struct mrmr_catalog *cat, void *mem_ctx, uint64_t after,
		      struct mrmr_node **node)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, next(cat, mem_ctx, after, node));
}
