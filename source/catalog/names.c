/*
 * MRMR: the catalogue: putting, renaming, linking and removing nodes.
 *
 * Everything that can be refused is looked at before the first record changes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

#define DEPTH_MAX 4096

int dir_check(struct mrmr_catalog *cat, uint64_t dir_id)
{
	void *frame = NULL;
	struct entry entry;
	struct place place;
	int ret;

	if (dir_id == MRMR_ID_TRASH) {
		return 0;
	}
	frame = talloc_new(NULL);
	ret = node_load(cat, frame, dir_id, &entry, &place);
	talloc_free(frame);
	if (ret == 0 && entry.kind != MRMR_NODE_DIRECTORY) {
		errno = ENOTDIR;
		ret = -1;
	}
	return ret;
}

/* May something of this kind get this name? */
static int check_name(struct mrmr_catalog *cat, enum mrmr_node_kind kind,
		      uint64_t dir_id, const char *name)
{
	size_t len = name != NULL ? strlen(name) : 0;
	struct entry entry;

	if (!name_is_good(dir_id, name, len) ||
	    (dir_id == MRMR_ID_TRASH && kind == MRMR_NODE_DIRECTORY)) {
		errno = EINVAL;
		return -1;
	}
	if (dir_check(cat, dir_id) == -1) {
		return -1;
	}
	if (dir_find(cat, dir_id, name, len, &entry) == 0) {
		errno = EEXIST;
		return -1;
	}
	return errno == ENOENT ? 0 : -1;
}

int node_check(const struct mrmr_node *node)
{
	if (node->kind < MRMR_NODE_DIRECTORY ||
	    node->kind > MRMR_NODE_SPECIAL || node->size_bytes > INT64_MAX ||
	    (node->member != MRMR_MEMBER_NONE && node->member >= MEMBERS_MAX) ||
	    (node->kind == MRMR_NODE_SYMLINK &&
	     (node->target == NULL || *node->target == '\0'))) {
		errno = EINVAL;
		return -1;
	}
	if (node->xattrs_len > XATTRS_MAX) {
		errno = E2BIG;
		return -1;
	}
	if (node->target != NULL && strlen(node->target) > PATH_BYTES_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

/* The attributes that a put sets. */
static int fill(struct mrmr_catalog *cat, const struct mrmr_node *node,
		struct entry *entry, uint8_t key_room[SHARED_KEY_BYTES])
{
	entry->kind = node->kind;
	entry->member = node->member;
	entry->inode = node->inode;
	entry->size_bytes = node->size_bytes;
	entry->mtime_ns = node->mtime_ns;
	entry->mode = node->mode;
	entry->uid = node->uid;
	entry->gid = node->gid;
	entry->device = node->device;
	entry->grid_bytes = node->grid_bytes;
	entry->generation = node->generation;
	entry->sequence = node->sequence;
	if (xattrs_store(cat, entry, node->xattrs, node->xattrs_len,
			 key_room) == -1) {
		return -1;
	}
	return target_store(cat, entry,
			    node->kind == MRMR_NODE_SYMLINK ? node->target
							    : NULL);
}

int node_create(struct mrmr_catalog *cat, const struct mrmr_node *node,
		uint64_t id)
{
	uint8_t key_room[SHARED_KEY_BYTES];
	struct entry entry = {.id = id};
	struct place place = {.dir_id = node->dir_id};

	entry.name = node->name;
	entry.name_len = strlen(node->name);
	place.hash = name_hash(cat, node->dir_id, entry.name, entry.name_len);
	if (fill(cat, node, &entry, key_room) == -1) {
		return -1;
	}
	return entry_create(cat, &place, &entry);
}

static int put_new(struct mrmr_catalog *cat, const struct mrmr_node *node,
		   uint64_t *id)
{
	if (check_name(cat, node->kind, node->dir_id, node->name) == -1) {
		return -1;
	}
	if (cat->head.next_id >= ID_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	*id = cat->head.next_id++;
	cat->head_is_dirty = true;
	return node_create(cat, node, *id);
}

static int change_node(struct mrmr_catalog *cat, const struct mrmr_node *node,
		       const struct entry *old, const struct place *place)
{
	uint8_t key_room[SHARED_KEY_BYTES];
	struct entry entry = *old;

	if (xattrs_drop(cat, old) == -1 || target_drop(cat, old) == -1 ||
	    fill(cat, node, &entry, key_room) == -1) {
		return -1;
	}
	return entry_change(cat, place, old, &entry);
}

int node_update(struct mrmr_catalog *cat, const struct mrmr_node *node)
{
	void *frame = talloc_new(NULL);
	struct entry old;
	struct place place;
	int ret = node_load(cat, frame, node->id, &old, &place);

	if (ret == 0 &&
	    (old.kind != node->kind ||
	     (old.num_extents > 0 && old.grid_bytes != node->grid_bytes))) {
		errno = EINVAL;
		ret = -1;
	}
	if (ret == 0) {
		ret = change_node(cat, node, &old, &place);
	}
	talloc_free(frame);
	return ret;
}

static int put(struct mrmr_catalog *cat, const struct mrmr_node *node,
	       uint64_t *id)
{
	if (node_check(node) == -1) {
		return -1;
	}
	if (node->id == 0) {
		return put_new(cat, node, id);
	}
	*id = node->id;
	return node_update(cat, node);
}

/* The sequence of a batch is in parts only. */
static struct mrmr_node without_sequence(const struct mrmr_node *node)
{
	struct mrmr_node copy = *node;

	copy.sequence = 0;
	return copy;
}

int mrmr_catalog_put(struct mrmr_catalog *cat, const struct mrmr_node *node,
		     uint64_t *id)
{
	struct mrmr_node copy = without_sequence(node);
	uint64_t new_id = 0;
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	ret = put(cat, &copy, &new_id);
	if (ret == 0) {
		ret = node->id == 0 ? touch_node(cat, new_id)
				    : touch_content(cat, new_id);
	}
	if (ret == 0 && id != NULL) {
		*id = new_id;
	}
	return change_end(cat, ret);
}

/* --- further names -------------------------------------------------------------- */

static bool is_link(const struct mrmr_link *link, uint64_t dir_id,
		    const char *name)
{
	return link->dir_id == dir_id && strcmp(link->name, name) == 0;
}

/*
 * Replace a further name in the node's list by another one, or take it away
 * (new_name NULL).
 */
static int change_link(struct mrmr_catalog *cat, void *frame, uint64_t id,
		       uint64_t dir_id, const char *name, uint64_t new_dir_id,
		       const char *new_name)
{
	struct mrmr_link *links = NULL;
	struct entry entry;
	struct place place;
	size_t num = 0;
	size_t i;

	if (links_get(cat, frame, id, &links, &num) == -1) {
		return -1;
	}
	for (i = 0; i < num && !is_link(&links[i], dir_id, name); i++) {
	}
	if (i == num) {
		return damaged_record(cat, "the names of a node");
	}
	if (new_name != NULL) {
		links[i].dir_id = new_dir_id;
		links[i].name = (char *)new_name;
		return links_put(cat, id, links, num);
	}
	memmove(&links[i], &links[i + 1], (num - i - 1) * sizeof(links[0]));
	if (links_put(cat, id, links, num - 1) == -1) {
		return -1;
	}
	if (num > 1) {
		return 0;
	}
	if (node_load(cat, frame, id, &entry, &place) == -1) {
		return -1;
	}
	entry.has_links = false;
	return node_store(cat, &place, &entry);
}

static int insert_link(struct mrmr_catalog *cat, uint64_t id, uint64_t dir_id,
		       const char *name)
{
	struct entry entry = {
		.is_link = true,
		.id = id,
		.name = name,
		.name_len = strlen(name),
	};

	return dir_insert(cat, dir_id, &entry);
}

int node_add_link(struct mrmr_catalog *cat, void *frame, uint64_t id,
		  uint64_t dir_id, const char *name)
{
	struct mrmr_link *links = NULL;
	struct entry entry;
	struct place place;
	size_t num = 0;

	if (node_load(cat, frame, id, &entry, &place) == -1) {
		return -1;
	}
	if (entry.kind == MRMR_NODE_DIRECTORY) {
		errno = EPERM;
		return -1;
	}
	if (check_name(cat, entry.kind, dir_id, name) == -1 ||
	    (entry.has_links &&
	     links_get(cat, frame, id, &links, &num) == -1)) {
		return -1;
	}
	links = talloc_realloc(frame, links, struct mrmr_link, num + 1);
	if (links == NULL) {
		errno = ENOMEM;
		return -1;
	}
	links[num].dir_id = dir_id;
	links[num].name = (char *)name;
	entry.has_links = true;
	if (links_put(cat, id, links, num + 1) == -1 ||
	    node_store(cat, &place, &entry) == -1) {
		return -1;
	}
	return insert_link(cat, id, dir_id, name);
}

/*
 * A file that has a name outside of the trash is not in the trash, so its first
 * name is one of those: that in the trash changes places with one.
 */
static int keep_out_of_trash(struct mrmr_catalog *cat, void *frame, uint64_t id)
{
	struct mrmr_link *links = NULL;
	const char *name = NULL;
	struct entry entry;
	struct place place;
	uint64_t same_id = 0;
	size_t num = 0;
	size_t i = 0;

	if (node_load(cat, frame, id, &entry, &place) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (place.dir_id != MRMR_ID_TRASH || !entry.has_links) {
		return 0;
	}
	name = talloc_strndup(frame, entry.name, entry.name_len);
	if (name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (links_get(cat, frame, id, &links, &num) == -1) {
		return -1;
	}
	while (i < num && links[i].dir_id == MRMR_ID_TRASH) {
		i++;
	}
	if (i == num) {
		return 0;
	}
	if (node_remove(cat, frame, links[i].dir_id, links[i].name, &same_id) ==
		    -1 ||
	    node_move(cat, frame, MRMR_ID_TRASH, name, links[i].dir_id,
		      links[i].name) == -1) {
		return -1;
	}
	return node_add_link(cat, frame, id, MRMR_ID_TRASH, name);
}

int mrmr_catalog_link(struct mrmr_catalog *cat, uint64_t id, uint64_t dir_id,
		      const char *name)
{
	void *frame = NULL;
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	frame = talloc_new(NULL);
	ret = node_add_link(cat, frame, id, dir_id, name);
	if (ret == 0) {
		ret = keep_out_of_trash(cat, frame, id);
	}
	if (ret == 0) {
		ret = touch_node(cat, id);
	}
	talloc_free(frame);
	return change_end(cat, ret);
}

/* --- renaming --------------------------------------------------------------------- */

/* A directory must not be moved below itself. */
static int check_not_below(struct mrmr_catalog *cat, void *frame, uint64_t id,
			   uint64_t dir_id)
{
	struct entry entry;
	struct place place;
	unsigned int depth;

	for (depth = 0; dir_id != MRMR_ID_ROOT; depth++) {
		if (dir_id == id) {
			errno = EINVAL;
			return -1;
		}
		if (depth == DEPTH_MAX) {
			return damaged_record(cat, "the path of a node");
		}
		if (node_load(cat, frame, dir_id, &entry, &place) == -1) {
			return -1;
		}
		dir_id = place.dir_id;
	}
	return 0;
}

/* Take a node from its first name to another one. */
static int move_entry(struct mrmr_catalog *cat, struct entry *entry,
		      uint64_t dir_id, uint64_t new_dir_id,
		      const char *new_name)
{
	struct place place = {.dir_id = new_dir_id};

	if (sums_node(cat, entry, dir_id, -1) == -1 ||
	    dir_delete(cat, dir_id, entry->name, entry->name_len) == -1) {
		return -1;
	}
	entry->name = new_name;
	entry->name_len = strlen(new_name);
	place.hash = name_hash(cat, new_dir_id, entry->name, entry->name_len);
	if (dir_insert(cat, new_dir_id, entry) == -1 ||
	    ids_put(cat, entry->id, &place) == -1) {
		return -1;
	}
	return sums_node(cat, entry, new_dir_id, 1);
}

static int load_name(struct mrmr_catalog *cat, void *frame, uint64_t dir_id,
		     const char *name, struct entry *entry)
{
	size_t len = strlen(name);

	if (!name_is_good(dir_id, name, len)) {
		errno = ENOENT;
		return -1;
	}
	if (dir_find(cat, dir_id, name, len, entry) == -1) {
		return -1;
	}
	return entry_keep(frame, entry);
}

int node_move(struct mrmr_catalog *cat, void *frame, uint64_t dir_id,
	      const char *name, uint64_t new_dir_id, const char *new_name)
{
	struct entry entry;

	if (dir_find(cat, dir_id, name, strlen(name), &entry) == -1 ||
	    entry_keep(frame, &entry) == -1) {
		return -1;
	}
	if (entry.is_link) {
		return damaged_record(cat, "the first name of a node");
	}
	return move_entry(cat, &entry, dir_id, new_dir_id, new_name);
}

int node_rename(struct mrmr_catalog *cat, void *frame, uint64_t dir_id,
		const char *name, uint64_t new_dir_id, const char *new_name,
		uint64_t *id)
{
	struct entry entry;

	if (load_name(cat, frame, dir_id, name, &entry) == -1) {
		return -1;
	}
	*id = entry.id;
	if (dir_id == new_dir_id && strcmp(name, new_name) == 0) {
		return 0;
	}
	if (check_name(cat, entry.is_link ? MRMR_NODE_FILE : entry.kind,
		       new_dir_id, new_name) == -1) {
		return -1;
	}
	if (entry.is_link) {
		if (change_link(cat, frame, entry.id, dir_id, name, new_dir_id,
				new_name) == -1 ||
		    dir_delete(cat, dir_id, name, strlen(name)) == -1) {
			return -1;
		}
		return insert_link(cat, entry.id, new_dir_id, new_name);
	}
	if (entry.kind == MRMR_NODE_DIRECTORY &&
	    check_not_below(cat, frame, entry.id, new_dir_id) == -1) {
		return -1;
	}
	return move_entry(cat, &entry, dir_id, new_dir_id, new_name);
}

int mrmr_catalog_rename(struct mrmr_catalog *cat, uint64_t dir_id,
			const char *name, uint64_t new_dir_id,
			const char *new_name)
{
	uint64_t id = 0;
	void *frame = NULL;
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	frame = talloc_new(NULL);
	ret = node_rename(cat, frame, dir_id, name, new_dir_id, new_name, &id);
	if (ret == 0) {
		ret = keep_out_of_trash(cat, frame, id);
	}
	if (ret == 0) {
		ret = touch_node(cat, id);
	}
	talloc_free(frame);
	return change_end(cat, ret);
}

/* --- removing ---------------------------------------------------------------------- */

/* The first of the further names becomes the first name. */
static int drop_first_name(struct mrmr_catalog *cat, void *frame,
			   struct entry *entry, uint64_t dir_id)
{
	struct mrmr_link *links = NULL;
	size_t num = 0;

	if (links_get(cat, frame, entry->id, &links, &num) == -1 ||
	    dir_delete(cat, links[0].dir_id, links[0].name,
		       strlen(links[0].name)) == -1 ||
	    links_put(cat, entry->id, links + 1, num - 1) == -1) {
		return -1;
	}
	entry->has_links = num > 1;
	return move_entry(cat, entry, dir_id, links[0].dir_id, links[0].name);
}

int node_drop(struct mrmr_catalog *cat, const struct entry *entry,
	      uint64_t dir_id)
{
	uint64_t num = 0;

	if (entry->kind == MRMR_NODE_DIRECTORY) {
		if (dir_count(cat, entry->id, &num) == -1) {
			return -1;
		}
		if (num > 0) {
			errno = ENOTEMPTY;
			return -1;
		}
	}
	if (extents_drop(cat, entry) == -1 ||
	    sums_node(cat, entry, dir_id, -1) == -1 ||
	    xattrs_drop(cat, entry) == -1 || target_drop(cat, entry) == -1 ||
	    inodes_delete(cat, entry->member, entry->inode, entry->id) == -1 ||
	    ids_delete(cat, entry->id) == -1) {
		return -1;
	}
	return dir_delete(cat, dir_id, entry->name, entry->name_len);
}

int node_remove(struct mrmr_catalog *cat, void *frame, uint64_t dir_id,
		const char *name, uint64_t *id)
{
	struct entry entry;

	if (load_name(cat, frame, dir_id, name, &entry) == -1) {
		return -1;
	}
	*id = entry.id;
	if (entry.is_link) {
		if (dir_delete(cat, dir_id, name, strlen(name)) == -1) {
			return -1;
		}
		return change_link(cat, frame, entry.id, dir_id, name, 0, NULL);
	}
	if (entry.has_links) {
		return drop_first_name(cat, frame, &entry, dir_id);
	}
	return node_drop(cat, &entry, dir_id);
}

int mrmr_catalog_remove(struct mrmr_catalog *cat, uint64_t dir_id,
			const char *name)
{
	uint64_t id = 0;
	void *frame = NULL;
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	frame = talloc_new(NULL);
	ret = node_remove(cat, frame, dir_id, name, &id);
	if (ret == 0) {
		ret = keep_out_of_trash(cat, frame, id);
	}
	if (ret == 0) {
		ret = touch_node(cat, id);
	}
	talloc_free(frame);
	return change_end(cat, ret);
}
