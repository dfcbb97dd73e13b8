/*
 * MRMR: renaming in the pool.
 *
 * A file: names_rename_file.c; a directory: names_rename_dir.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <mrmr/absent.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>

#include "names_private.h"
#include "names_rename.h"

int renaming_paths(struct renaming *r)
{
	if (mrmr_name_path(r->from_dir, r->from, r->from_path) == -1) {
		return -1;
	}
	return mrmr_name_path(r->to_dir, r->to, r->to_path);
}

int renaming_has(struct mrmr_dir *dir, const char *name, size_t member,
		 struct stat *st)
{
	int fd = mrmr_dir_on_member(dir, member);

	if (fd == -1) {
		return mrmr_dir_is_lacking(errno) ? 0 : -1;
	}
	if (fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	return 1;
}

int renaming_on(struct renaming *r, size_t member, bool back)
{
	struct mrmr_dir *from_dir = back ? r->to_dir : r->from_dir;
	struct mrmr_dir *to_dir = back ? r->from_dir : r->to_dir;
	int from_fd = mrmr_dir_on_member(from_dir, member);
	int to_fd = mrmr_dir_clone_to(to_dir, member);

	if (from_fd == -1 || to_fd == -1 ||
	    mrmr_dir_may_change(from_dir, member) == -1 ||
	    mrmr_dir_may_change(to_dir, member) == -1) {
		return -1;
	}
	return renameat(from_fd, back ? r->to : r->from, to_fd,
			back ? r->from : r->to);
}

static void tell(struct renaming *r, size_t member)
{
	if (r->pool->queue == NULL) {
		return;
	}
	if (renaming_paths(r) == -1) {
		mrmr_tell(r->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "",
			  NULL);
	} else if (member == MRMR_IN_SPINE) {
		mrmr_tell(r->pool, MRMR_EVENT_RENAMED, MRMR_NO_MEMBER, 0,
			  r->from_path, r->to_path);
	} else {
		mrmr_tell(r->pool, MRMR_EVENT_RENAMED, member, r->source_ino,
			  r->from_path, r->to_path);
	}
}

static int rename_once(struct renaming *r)
{
	size_t member;
	int ret;

	r->num_members = 0;
	r->is_same = false;
	if (mrmr_dir_lock_two(r->from_dir, r->to_dir) == -1) {
		return -1;
	}
	mrmr_dir_hint(r->from_dir, r->from, SIZE_MAX);
	mrmr_dir_hint(r->to_dir, r->to, SIZE_MAX);
	ret = mrmr_name_find(r->from_dir, r->from, &member, &r->source);
	if (ret == 0 &&
	    !(r->from_dir == r->to_dir && strcmp(r->from, r->to) == 0)) {
		r->source_ino = member == MRMR_IN_SPINE
					? r->source.st_ino
					: mrmr_inode_to_tell(r->pool, member,
							     &r->source);
		if (member != MRMR_IN_SPINE &&
		    mrmr_is_absent(r->pool, member)) {
			r->source_ino = names_inode_of_ghost(
				mrmr_dir_on_member(r->from_dir, member),
				r->from);
		}
		ret = (member == MRMR_IN_SPINE) ? renaming_directory(r)
						: renaming_file(r, member);
		if (ret == 0 && !r->is_same) {
			tell(r, member);
		}
		if (ret == 0 && member != MRMR_IN_SPINE) {
			mrmr_dir_hint(r->to_dir, r->to, member);
		}
	}
	mrmr_dir_unlock_two(r->from_dir, r->to_dir);
	return ret;
}

int mrmr_name_rename(struct mrmr_dir *from_dir, const char *from,
		     struct mrmr_dir *to_dir, const char *to)
{
	struct mrmr_pool *pool = from_dir->pool;
	struct renaming r = {
		.pool = pool,
		.from_dir = from_dir,
		.from = from,
		.to_dir = to_dir,
		.to = to,
	};
	unsigned int tries;
	int ret = -1;

	if (mrmr_name_is_private(to_dir, to)) {
		errno = EACCES;
		return -1;
	}
	from_dir->pins++;
	to_dir->pins++;
	for (tries = 0; tries < 3; tries++) {
		ret = rename_once(&r);
		if (ret == 0 || errno != EAGAIN) {
			break;
		}
		/* A process died, or a member came back. To catch up needs the
		   locks of other directories, so none is had here. */
		mrmr_pool_look(pool);
		r.has_looked = true;
		errno = EAGAIN;
	}
	from_dir->pins--;
	to_dir->pins--;
	return ret;
}
