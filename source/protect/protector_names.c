/*
 * MRMR: the protector: the names in the catalogue, their attributes, and the
 * directories that they are in. Those that are seen are in protector_names_seen.c.
 *
 * Events are applied to the catalogue in their order, as what they say: what
 * lies on the members when they are read may be ahead of them, as more events
 * are in the queue by then. So what an event tells of a name is done to the
 * name, and the members are only asked for attributes, and for what events do
 * not tell. A file that an event tells of, and that is under that name no more,
 * gets an entry nonetheless, a promise: the events that moved it are to come,
 * and find it. Where an event contradicts the catalogue, a scan settles it.
 *
 * What is on which inode decides who is who: a name with another inode is
 * another file, and a file that is found under a new name is the one that the
 * catalogue knows by its inode, if that is under its old name no more.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "protector_private.h"

/* --- paths ------------------------------------------------------------------- */

char *names_path(struct protector *p, void *mem_ctx, uint64_t dir_id,
		 const char *name)
{
	bool in_trash = false;
	char *dir = mrmr_catalog_path(p->catalog, mem_ctx, dir_id, &in_trash);
	char *path = NULL;

	if (dir == NULL) {
		return NULL;
	}
	path = talloc_asprintf(mem_ctx, "%s%s%s", dir,
			       dir[0] != '\0' ? "/" : "", name);
	talloc_free(dir);
	if (path == NULL) {
		errno = ENOMEM;
	}
	return path;
}

int names_ask_scan(struct protector *p, const char *path)
{
	/* Two of them are one of everything. */
	const char *wanted =
		p->scan_path == NULL || strcmp(p->scan_path, path) == 0 ? path
									: "";
	char *copy = talloc_strdup(p, wanted);

	if (copy == NULL) {
		errno = ENOMEM;
		return -1;
	}
	talloc_free(p->scan_path);
	p->scan_path = copy;
	return mrmr_catalog_put_note(p->catalog, MRMR_SCAN_NOTE,
				     (const uint8_t *)copy, strlen(copy) + 1);
}

/* --- attributes --------------------------------------------------------------- */

/* A file that was protected as an empty one. Until it was declared, it may have
   been empty only when it was noticed. */
static bool is_empty_one(const struct mrmr_node *node)
{
	return node->kind == MRMR_NODE_FILE && node->size_bytes == 0 &&
	       node->generation != 0;
}

bool names_differ(const struct mrmr_node *node, const struct look *look)
{
	if (node->kind != MRMR_NODE_FILE) {
		return false;
	}
	if (node->num_extents == 0) {
		return look->st.st_size > 0 || !is_empty_one(node);
	}
	return node->size_bytes != (uint64_t)look->st.st_size ||
	       node->mtime_ns != look_mtime_ns(&look->st) ||
	       node->inode != (uint64_t)look->st.st_ino ||
	       (uint64_t)node->num_extents * node->grid_bytes <
		       node->size_bytes;
}

static bool same_xattrs(const struct mrmr_node *node, const struct look *look)
{
	return node->xattrs_len == look->xattrs_len &&
	       (look->xattrs_len == 0 ||
		memcmp(node->xattrs, look->xattrs, look->xattrs_len) == 0);
}

static bool same_target(const struct mrmr_node *node, const struct look *look)
{
	if (node->target == NULL || look->target == NULL) {
		return node->target == look->target;
	}
	return strcmp(node->target, look->target) == 0;
}

/* The inode, size and time of a file are those of the version that is
   protected. */
static void fill(struct mrmr_node *node, const struct look *look)
{
	bool is_protected = node->kind == MRMR_NODE_FILE &&
			    (node->num_extents > 0 ||
			     (is_empty_one(node) && look->st.st_size > 0));

	node->mode = look->st.st_mode;
	node->uid = look->st.st_uid;
	node->gid = look->st.st_gid;
	node->device = look->kind == MRMR_NODE_SPECIAL
			       ? (uint64_t)look->st.st_rdev
			       : 0;
	node->xattrs = look->xattrs;
	node->xattrs_len = look->xattrs_len;
	node->target = look->target;
	if (is_protected) {
		return;
	}
	node->member = look->number;
	node->inode = look->kind == MRMR_NODE_DIRECTORY
			      ? 0
			      : (uint64_t)look->st.st_ino;
	node->size_bytes =
		look->kind == MRMR_NODE_FILE ? (uint64_t)look->st.st_size : 0;
	/* of directories, it changes with each name in them */
	node->mtime_ns = look_mtime_ns(&look->st);
}

int names_set(struct protector *p, const struct mrmr_node *node,
	      const struct look *look)
{
	struct mrmr_node now = *node;

	fill(&now, look);
	if (now.mode == node->mode && now.uid == node->uid &&
	    now.gid == node->gid && now.device == node->device &&
	    now.member == node->member && now.inode == node->inode &&
	    now.size_bytes == node->size_bytes &&
	    now.mtime_ns == node->mtime_ns && same_xattrs(node, look) &&
	    same_target(node, look)) {
		return 0;
	}
	return mrmr_catalog_put(p->catalog, &now, NULL);
}

int names_create(struct protector *p, uint64_t dir_id, const char *name,
		 const struct look *look, uint64_t *id)
{
	struct mrmr_node node = {
		.dir_id = dir_id,
		.name = (char *)name,
		.kind = look->kind,
	};

	fill(&node, look);
	return mrmr_catalog_put(p->catalog, &node, id);
}

/* --- directories ------------------------------------------------------------------ */

/* A directory that is not known yet. If it is not there under this name, it was
   renamed by an event that is to come. */
static int make_directory(struct protector *p, void *frame, uint64_t dir_id,
			  const char *name, uint64_t *id)
{
	char *path = names_path(p, frame, dir_id, name);
	struct mrmr_node node = {
		.dir_id = dir_id,
		.name = (char *)name,
		.kind = MRMR_NODE_DIRECTORY,
		.member = MRMR_MEMBER_NONE,
		.mode = S_IFDIR | 0700,
	};
	struct look look;
	bool is_known;

	if (path == NULL || look_at(p, frame, path, &look) == -1) {
		return -1;
	}
	is_known = look.is_there && look.kind == MRMR_NODE_DIRECTORY;
	if (is_known) {
		fill(&node, &look);
	}
	if (mrmr_catalog_put(p->catalog, &node, id) == -1) {
		return -1;
	}
	return is_known ? 0
			: pending_add(p->pending, *id, MRMR_MEMBER_NONE, 0, 0);
}

static int enter_directory(struct protector *p, void *frame, uint64_t dir_id,
			   const char *name, uint64_t *id)
{
	struct mrmr_node *node = NULL;

	if (mrmr_catalog_find(p->catalog, frame, dir_id, name, &node) == 0) {
		if (node->kind == MRMR_NODE_DIRECTORY) {
			*id = node->id;
			return 0;
		}
		if (names_detach(p, dir_id, name, NAMES_SEEMS) == -1) {
			return -1;
		}
	} else if (errno != ENOENT) {
		return -1;
	}
	return make_directory(p, frame, dir_id, name, id);
}

int names_parent(struct protector *p, const char *path, uint64_t *dir_id,
		 const char **name)
{
	void *frame = talloc_new(p);
	const char *slash = NULL;
	int ret = frame != NULL ? 0 : -1;

	*dir_id = MRMR_ID_ROOT;
	while (ret == 0 && (slash = strchr(path, '/')) != NULL) {
		char *part =
			talloc_strndup(frame, path, (size_t)(slash - path));

		ret = part != NULL
			      ? enter_directory(p, frame, *dir_id, part, dir_id)
			      : -1;
		path = slash + 1;
	}
	*name = path;
	talloc_free(frame);
	return ret;
}
