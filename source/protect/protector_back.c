/*
 * MRMR: the protector: protected files that were removed, and are back.
 *
 * A file that a client removes, or replaces, goes to the trash of its member. That
 * is not synced, so after a power cut it may have its name again, while the
 * catalogue, and the parity, know the file that was made under that name on another
 * member meanwhile, and that was reported as protected. The share shows one of the
 * two: that of the member that comes first in the config.
 *
 * A scan that finds such a one puts it into the trash again. It is one without any
 * doubt: the catalogue knows its inode as that of a file in the trash, and the file
 * that has the name is where the catalogue says. Else two files of a name are a
 * person's business (mrmr-admin status lists them).
 *
 * Killed in between, the file is in the trash under another name than the catalogue
 * has: the next scan finds it by its inode.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/dir.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/names.h>

#include "protector_private.h"

/* The node of what is there, if it is to be in the trash: its one name. NULL:
   it is not so; with errno 0, or why that cannot be told. */
static struct mrmr_node *find_trashed(struct protector *p, void *frame,
				      const struct look *look)
{
	struct mrmr_node *node = NULL;
	struct mrmr_link *links = NULL;
	size_t num = 0;
	uint64_t id;

	if (mrmr_catalog_find_inode(p->catalog, look->number,
				    (uint64_t)look->st.st_ino, &id) == -1 ||
	    mrmr_catalog_get(p->catalog, frame, id, &node) == -1 ||
	    mrmr_catalog_links(p->catalog, frame, id, &links, &num) == -1) {
		errno = errno == ENOENT ? 0 : errno;
		return NULL;
	}
	errno = 0;
	return node->kind == MRMR_NODE_FILE && node->dir_id == MRMR_ID_TRASH &&
			       num == 1 && !names_is_gone(node->name)
		       ? node
		       : NULL;
}

/* Is the file that has the name in the catalogue another one, and there? 1, 0, or
   -1 with errno. */
static int has_owner(struct protector *p, void *frame, uint64_t dir_id,
		     const char *name, const char *path,
		     const struct look *look)
{
	struct mrmr_node *owner = NULL;

	if (mrmr_catalog_find(p->catalog, frame, dir_id, name, &owner) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	return owner->kind == MRMR_NODE_FILE && owner->member != look->number &&
	       look_has_inode(p, owner->member, false, path, owner->inode);
}

/* With dir locked. Whoever changes names in it tells of it before he gives the
   lock up: what no event speaks of has not been done by a client just now. */
static int put_away(struct protector *p, void *frame, struct mrmr_dir *dir,
		    const struct mrmr_node *node, const char *name,
		    const char *path, const struct look *look)
{
	char trash_path[MRMR_TRASH_PATH_MAX];
	char *now = NULL;
	char *known = NULL;
	size_t member;
	struct stat st;
	int fd;

	now = mrmr_queue_resolve(p->engine->queue, frame, path, NULL);
	if (now == NULL || strcmp(now, path) != 0) {
		return now != NULL || errno == ENOENT ? 0 : -1;
	}
	if (mrmr_name_find(dir, name, &member, &st) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	fd = mrmr_dir_on_member(dir, look->member);
	if (member != look->member || st.st_ino != look->st.st_ino ||
	    fd == -1) {
		return 0;
	}
	if (mrmr_trash_move(p->pool, member, fd, name, path, trash_path) ==
	    -1) {
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: '%s' was removed, and is there again; it "
			 "cannot be moved to the trash: %s",
			 mrmr_member_name(&p->pool->members[member]), path,
			 strerror(errno));
		return 2;
	}
	mrmr_dir_changed(dir, member, NULL);
	mrmr_log(MRMR_LOG_WARNING,
		 "member %s: '%s' was removed, and was there again, beside the "
		 "one that was made since; it is in the trash",
		 mrmr_member_name(&p->pool->members[member]), path);
	if (mrmr_fault("back-moved") != 0) {
		return -1;
	}
	known = talloc_asprintf(frame, "%u/%s", look->number, trash_path);
	if (known == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return mrmr_catalog_rename(p->catalog, MRMR_ID_TRASH, node->name,
				   MRMR_ID_TRASH, known) == 0
		       ? 1
		       : -1;
}

int back_into_trash(struct protector *p, void *frame, struct mrmr_dir *dir,
		    uint64_t dir_id, const char *name, const char *path,
		    const struct look *look)
{
	struct mrmr_node *node = NULL;
	int saved_errno;
	int ret;

	if (look->kind != MRMR_NODE_FILE || look->st.st_nlink != 1 ||
	    look->st.st_ino == 0) {
		return 0;
	}
	node = find_trashed(p, frame, look);
	if (node == NULL) {
		return errno == 0 ? 0 : -1;
	}
	ret = has_owner(p, frame, dir_id, name, path, look);
	if (ret != 1) {
		return ret;
	}
	if (mrmr_dir_lock(dir) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	ret = put_away(p, frame, dir, node, name, path, look);
	saved_errno = errno;
	mrmr_dir_unlock(dir);
	errno = saved_errno;
	return ret;
}
