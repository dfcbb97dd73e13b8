/*
 * MRMR: bringing back what is in the trash (see mrmr/undelete.h).
 *
 * The file has both names for a moment, and the catalogue changes from one to the
 * other in between: so its protected bytes are found at every instant. Where
 * there are no hard links it is a rename, and the catalogue comes after it; should
 * the process die between the two, a scan finds the file by its inode.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/beneath.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>
#include <mrmr/staging.h>
#include <mrmr/trash.h>
#include <mrmr/undelete.h>
#include <mrmr/xattrs.h>

#include "trash_private.h"

struct restore {
	struct mrmr_pool *pool;
	struct mrmr_engine *engine; /* may be NULL */
	const struct mrmr_trashed *item;
	struct mrmr_member *member;
	const char *path;
	char from[MRMR_TRASH_PATH_MAX + sizeof(MRMR_TRASH)];
	struct mrmr_error *err;
};

static int fail(struct restore *r)
{
	int code = errno;

	return mrmr_error_set(r->err, code, "%s cannot be brought back: %s",
			      r->path,
			      code == EEXIST ? "the name is taken"
					     : strerror(code));
}

/* --- directories -------------------------------------------------------------- */

/* With the rights of the one it is in, as nobody knows what it had. */
static int make_directory(struct restore *r, const char *path)
{
	struct mrmr_place place;
	struct stat above;
	struct stat st;
	size_t member;
	int fd;
	int ret = 0;

	if (mrmr_place_find(r->pool, r->pool->spine_fd, path, &place) == -1) {
		return -1;
	}
	if (mrmr_name_find(place.dir, place.name, &member, &st) == 0) {
		errno = S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
		return S_ISDIR(st.st_mode) ? 0 : -1;
	}
	if (errno != ENOENT || fstat(place.dir->spine_fd, &above) == -1 ||
	    mrmr_name_mkdir(place.dir, place.name, above.st_mode & 07777) ==
		    -1) {
		return -1;
	}
	fd = mrmr_name_open(place.dir, place.name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW, &member, &st);
	if (fd == -1) {
		return -1;
	}
	if (fchown(fd, above.st_uid, above.st_gid) == -1 ||
	    fchmod(fd, above.st_mode & 07777) == -1) {
		ret = -1;
	}
	close(fd);
	mrmr_tell(r->pool, MRMR_EVENT_ATTRIBUTES, MRMR_NO_MEMBER, 0, path,
		  NULL);
	return ret;
}

static int make_directories(struct restore *r)
{
	char part[MRMR_PATH_MAX];
	const char *slash = r->path;

	while ((slash = strchr(slash, '/')) != NULL) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - r->path),
			 r->path);
		if (make_directory(r, part) == -1) {
			return -1;
		}
		slash++;
	}
	return 0;
}

/* --- the catalogue -------------------------------------------------------------- */

/* The directories above the file, as they are now. */
static int enter_directories(struct restore *r, uint64_t *dir_id)
{
	struct mrmr_catalog *catalog = r->engine->catalog;
	const char *name = r->path;
	const char *slash = NULL;
	char part[MRMR_PATH_MAX];

	*dir_id = MRMR_ID_ROOT;
	for (; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
		void *frame = talloc_new(r->engine);
		struct mrmr_node node = {
			.dir_id = *dir_id,
			.name = talloc_strndup(frame, name,
					       (size_t)(slash - name)),
			.kind = MRMR_NODE_DIRECTORY,
			.member = MRMR_MEMBER_NONE,
		};
		struct mrmr_node *found = NULL;
		struct stat st = {0};
		int ret;
		int fd;

		ret = mrmr_catalog_find(catalog, frame, *dir_id, node.name,
					&found);
		if (ret == 0) {
			*dir_id = found->id;
			ret = found->kind == MRMR_NODE_DIRECTORY ? 0 : -1;
			errno = ENOTDIR;
		} else if (errno == ENOENT) {
			snprintf(part, sizeof(part), "%.*s",
				 (int)(slash - r->path), r->path);
			fd = openat(r->pool->spine_fd, part,
				    O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
					    O_CLOEXEC);
			if (fd != -1 && fstat(fd, &st) == 0 &&
			    mrmr_xattrs_read(frame, fd, &node.xattrs,
					     &node.xattrs_len) == 0) {
				node.mode = st.st_mode;
				node.uid = st.st_uid;
				node.gid = st.st_gid;
				ret = mrmr_catalog_put(catalog, &node, dir_id);
			}
			if (fd != -1) {
				close(fd);
			}
		}
		talloc_free(frame);
		if (ret == -1) {
			return -1;
		}
	}
	return 0;
}

/* What had the name, or that of a directory above, is gone from the share, and the
   protector is still to hear of it. */
static int fail_stale(struct restore *r)
{
	return mrmr_error_set(r->err, ESTALE,
			      "%s cannot be brought back: that another file of "
			      "this name is gone is not noted yet; run "
			      "mrmr-admin scan, and try again",
			      r->path);
}

static int change_catalog(struct restore *r, const char *trash_name)
{
	const char *slash = strrchr(r->path, '/');
	const char *name = slash != NULL ? slash + 1 : r->path;
	uint64_t dir_id;

	if (mrmr_catalog_begin(r->engine->catalog) == -1) {
		return fail(r);
	}
	if (enter_directories(r, &dir_id) == -1 ||
	    mrmr_catalog_rename(r->engine->catalog, MRMR_ID_TRASH, trash_name,
				dir_id, name) == -1) {
		int saved_errno = errno;

		mrmr_catalog_cancel(r->engine->catalog);
		errno = saved_errno;
		return errno == EEXIST || errno == ENOTDIR ? fail_stale(r)
							   : fail(r);
	}
	return mrmr_catalog_commit(r->engine->catalog, r->err);
}

/* The catalogue has it by another name: that it went to the trash has still to be
   heard. Until then nobody would find its bytes under its new name; and if it had the
   old one again, what is heard of that would be taken for something later. */
static bool is_unheard(const struct restore *r)
{
	uint64_t id;

	return !mrmr_queue_is_empty(r->engine->queue) &&
	       mrmr_catalog_find_inode(r->engine->catalog,
				       r->engine->number[r->item->member],
				       (uint64_t)r->item->st.st_ino, &id) == 0;
}

/* Does the catalogue know it in the trash? */
static int enter(struct restore *r)
{
	struct mrmr_node *node = NULL;
	char *name = NULL;
	int ret = 0;

	if (r->engine == NULL) {
		return 0;
	}
	name = trash_name(r->engine, r->engine, r->item);
	if (name == NULL) {
		return fail(r);
	}
	if (mrmr_catalog_find(r->engine->catalog, r->engine, MRMR_ID_TRASH,
			      name, &node) == 0) {
		ret = change_catalog(r, name);
	} else if (errno != ENOENT) {
		ret = fail(r);
	} else if (is_unheard(r)) {
		ret = mrmr_error_set(r->err, ESTALE,
				     "%s cannot be brought back: that it was "
				     "deleted is not noted yet; run mrmr-admin "
				     "sync, and try again",
				     r->path);
	}
	talloc_free(node);
	talloc_free(name);
	return ret;
}

/* --- the file --------------------------------------------------------------------- */

static bool is_there(const struct restore *r)
{
	struct stat st;

	return fstatat(r->member->private_fd, r->from, &st,
		       AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_ino == r->item->st.st_ino;
}

/* 1: it has a further name. 0: another name. */
static int give_name(struct restore *r, int clone_fd, const char *name)
{
	const char *last = NULL;
	int error;
	int ret;
	int fd;

	if (mrmr_fault("restore-link") != 0) {
		return -1;
	}
	fd = mrmr_parent_beneath(r->member->private_fd, r->from, &last);
	if (fd == -1) {
		return -1;
	}
	ret = linkat(fd, last, clone_fd, name, 0);
	error = errno;
	close(fd);
	if (ret == 0) {
		return 1;
	}
	errno = error;
	if (!mrmr_trash_cannot_link(errno)) {
		return -1;
	}
	return mrmr_trash_return(r->pool, r->item->member, r->item->trash_path,
				 clone_fd, name);
}

static void take_name(struct restore *r, int clone_fd, const char *name,
		      bool has_both)
{
	int saved_errno = errno;
	const char *last = NULL;
	int fd;

	if (has_both) {
		unlinkat(clone_fd, name, 0);
	} else {
		fd = mrmr_parent_beneath(r->member->private_fd, r->from, &last);
		if (fd != -1) {
			renameat(clone_fd, name, fd, last);
			close(fd);
		}
	}
	errno = saved_errno;
}

/* With the directory locked: nobody makes the name meanwhile. */
static int bring_back(struct restore *r, const struct mrmr_place *place)
{
	struct stat st;
	size_t member;
	int clone_fd;
	int both;

	if (mrmr_name_find(place->dir, place->name, &member, &st) == 0) {
		errno = EEXIST;
		return fail(r);
	}
	if (errno != ENOENT || !is_there(r)) {
		return fail(r);
	}
	clone_fd = mrmr_dir_clone_to(place->dir, r->item->member);
	if (clone_fd == -1) {
		return fail(r);
	}
	both = give_name(r, clone_fd, place->name);
	if (both == -1 || mrmr_sync(clone_fd) == -1) {
		fail(r);
		if (both != -1) {
			take_name(r, clone_fd, place->name, both == 1);
		}
		return -1;
	}
	if (mrmr_fault("restore-linked") != 0 || enter(r) == -1) {
		take_name(r, clone_fd, place->name, both == 1);
		return r->err->code != 0 ? -1 : fail(r);
	}
	if (both == 1 && mrmr_fault("restore-entered") == 0) {
		mrmr_trash_unlink(r->pool, r->item->member,
				  r->item->trash_path);
	}
	mrmr_dir_hint(place->dir, place->name, r->item->member);
	mrmr_tell_name(place->dir, place->name, MRMR_EVENT_CHANGED,
		       r->item->member, (uint64_t)r->item->st.st_ino);
	trash_prune(r->member, r->item->trash_path);
	return 0;
}

int mrmr_trash_restore(struct mrmr_pool *pool, struct mrmr_engine *engine,
		       const struct mrmr_trashed *item, const char *path,
		       struct mrmr_error *err)
{
	struct mrmr_error ignored = {0};
	struct restore r = {
		.pool = pool,
		.engine = engine,
		.item = item,
		.member = &pool->members[item->member],
		.path = path,
		.err = err != NULL ? err : &ignored,
	};
	struct mrmr_place place;
	int ret;

	*r.err = (struct mrmr_error){0};
	snprintf(r.from, sizeof(r.from), MRMR_TRASH "/%s", item->trash_path);
	if (r.member->state != MRMR_MEMBER_ONLINE || r.member->read_only) {
		errno = r.member->read_only ? EROFS : ENODEV;
		return fail(&r);
	}
	if (make_directories(&r) == -1 ||
	    mrmr_place_find(pool, pool->spine_fd, path, &place) == -1) {
		return fail(&r);
	}
	if (mrmr_name_is_private(place.dir, place.name)) {
		errno = EINVAL;
		return fail(&r);
	}
	if (mrmr_dir_lock(place.dir) == -1) {
		return fail(&r);
	}
	ret = bring_back(&r, &place);
	mrmr_room_forget_trash(pool, item->member);
	mrmr_dir_unlock(place.dir);
	return ret;
}
