/*
 * MRMR: the protector: directories in which only members that are away have files.
 *
 * A file of a member that is away is shown in the directory in which the
 * catalogue has it (mrmr/absent.h), so the spine must have that directory. It
 * does, as directories are made and renamed there first; but not if a power cut
 * took the event of a rename: then the spine, and the members that are there,
 * have the new name, and the catalogue has the file under the old one.
 *
 * So a scan that finds a directory gone, and something in it of members that are
 * away, goes by what is noted for these members: what clients did while they were
 * away. If that does not tell, it makes the directory again, in the spine alone:
 * missing is not deleted. When these members are back, and have it under another
 * name, it goes as any directory that no member has.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/dir.h>
#include <mrmr/dirattr.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/staging.h>

#include "protector_private.h"

/* Does no event say what became of it? With its parent locked: who changes names
   in there tells of it before he gives the lock up. 1, 0, or -1 with errno. */
static int is_untold(struct protector *p, void *frame, const char *path)
{
	char *now = mrmr_queue_resolve(p->engine->queue, frame, path, NULL);

	if (now == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	return strcmp(now, path) == 0;
}

static int make(struct protector *p, struct mrmr_dir *dir,
		const struct mrmr_node *node, const char *path)
{
	int staging_fd = mrmr_folder_open(p->pool->state_fd, MRMR_STAGING);
	int error = errno;
	int ret = -1;

	if (staging_fd != -1) {
		ret = mrmr_directory_make(node, staging_fd, dir->spine_fd,
					  node->name);
		error = errno;
		close(staging_fd);
	}
	if (ret == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "directory '%s' cannot be made in the state "
			 "directory, and what members that are away have in it "
			 "is not shown: %s",
			 path, strerror(error));
		return 0; /* the rest of the scan is not to wait for it */
	}
	return 1;
}

/* With dir locked. */
static int show(struct protector *p, void *frame, struct mrmr_dir *dir,
		const struct mrmr_node *node, const char *path)
{
	struct stat st;
	size_t member;
	int ret;

	if (mrmr_name_find(dir, node->name, &member, &st) == 0) {
		return S_ISDIR(st.st_mode); /* it has come since */
	}
	if (errno != ENOENT) {
		return -1;
	}
	ret = is_untold(p, frame, path);
	return ret == 1 ? make(p, dir, node, path) : ret;
}

/* --- moved, while members were away --------------------------------------------- */

static int take_child(const struct mrmr_node *node, void *private_data)
{
	char ***names = private_data;
	size_t num = talloc_array_length(*names);
	char **more = talloc_realloc(NULL, *names, char *, num + 1);

	if (more == NULL) {
		errno = ENOMEM;
		return -1;
	}
	*names = more;
	more[num] = talloc_strdup(more, node->name);
	if (more[num] == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

static int merge(struct protector *p, uint64_t from_id, uint64_t to_id);

/* Of two that have the name, both directories become one; else it stays. */
static int merge_child(struct protector *p, uint64_t from_id, uint64_t to_id,
		       const char *name)
{
	void *frame = talloc_new(p);
	struct mrmr_node *from = NULL;
	struct mrmr_node *to = NULL;
	int ret;

	if (mrmr_catalog_find(p->catalog, frame, to_id, name, &to) == -1) {
		ret = errno == ENOENT ? mrmr_catalog_rename(p->catalog, from_id,
							    name, to_id, name)
				      : -1;
	} else {
		ret = mrmr_catalog_find(p->catalog, frame, from_id, name,
					&from);
		if (ret == 0 && from->kind == MRMR_NODE_DIRECTORY &&
		    to->kind == MRMR_NODE_DIRECTORY) {
			ret = merge(p, from->id, to->id);
			if (ret == 0 &&
			    mrmr_catalog_remove(p->catalog, from_id, name) ==
				    -1 &&
			    errno != ENOTEMPTY) {
				ret = -1;
			}
		}
	}
	talloc_free(frame);
	return ret;
}

/* What is in a directory of the catalogue, into another one. */
static int merge(struct protector *p, uint64_t from_id, uint64_t to_id)
{
	char **names = talloc_array(NULL, char *, 0);
	size_t i;
	int ret = mrmr_catalog_list(p->catalog, from_id, take_child, &names);

	for (i = 0; ret == 0 && i < talloc_array_length(names); i++) {
		ret = merge_child(p, from_id, to_id, names[i]);
	}
	talloc_free(names);
	return ret;
}

/* The node of a directory that is in the pool, made if it is not known yet; 0:
   none is there. */
static int find_directory(struct protector *p, void *frame, const char *path,
			  uint64_t *id)
{
	char *inside = talloc_asprintf(frame, "%s/x", path);
	const char *name = NULL;
	struct look look;

	*id = MRMR_ID_NONE;
	if (inside == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (look_at(p, frame, path, &look) == -1) {
		return -1;
	}
	return look.is_there && look.kind == MRMR_NODE_DIRECTORY
		       ? names_parent(p, inside, id, &name)
		       : 0;
}

/*
 * Clients have moved it to `now`. If the catalogue had that already, and this is
 * one that was made since under the old name, `now` is the older node: then the
 * note does not tell of this one.
 */
static int follow(struct protector *p, void *frame,
		  const struct mrmr_node *node, const char *now)
{
	uint64_t id;

	if (find_directory(p, frame, now, &id) == -1) {
		return -1;
	}
	if (id == MRMR_ID_NONE || id <= node->id) {
		return 0;
	}
	if (merge(p, node->id, id) == -1) {
		return -1;
	}
	if (mrmr_catalog_remove(p->catalog, node->dir_id, node->name) == -1) {
		return errno == ENOTEMPTY ? 0 : -1;
	}
	return 1;
}

/* --- the interface --------------------------------------------------------------- */

static int show_or_follow(struct protector *p, void *frame,
			  struct mrmr_dir *dir, const struct mrmr_node *node,
			  const char *path)
{
	char *now = mrmr_absent_directory_now(frame, p->pool, path);
	int saved_errno;
	int ret;

	if (now == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (strcmp(now, path) != 0) {
		ret = follow(p, frame, node, now);
		if (ret != 0) {
			return ret == 1 ? 0 : -1;
		}
	}
	if (mrmr_dir_lock(dir) == -1) {
		return errno == ENOENT ? 0 : -1; /* its parent was removed */
	}
	ret = show(p, frame, dir, node, path);
	saved_errno = errno;
	mrmr_dir_unlock(dir);
	errno = saved_errno;
	return ret;
}

int absent_show_directory(struct protector *p, struct mrmr_dir *dir,
			  uint64_t dir_id, const char *name, const char *path)
{
	void *frame = talloc_new(p);
	struct mrmr_node *node = NULL;
	int saved_errno;
	int ret;

	if (frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = mrmr_catalog_find(p->catalog, frame, dir_id, name, &node);
	if (ret == -1) {
		ret = errno == ENOENT ? 0 : -1;
	} else if (node->kind == MRMR_NODE_DIRECTORY) {
		ret = show_or_follow(p, frame, dir, node, path);
	}
	saved_errno = errno;
	talloc_free(frame);
	errno = saved_errno;
	return ret;
}
