/*
 * MRMR: renaming a file.
 *
 * It is renamed on the member that has it: one rename(2), atomic as it is. Only
 * if other members have a copy of the source or of the target is there more to
 * do, and an intent says so first.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/intent.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/shared.h>
#include <mrmr/trash.h>

#include "names_private.h"
#include "names_rename.h"

static int has_file(struct mrmr_dir *dir, const char *name, size_t member)
{
	struct stat st;
	int ret = renaming_has(dir, name, member, &st);

	return ret == 1 ? !S_ISDIR(st.st_mode) : ret;
}

/*
 * Over a file that holds protected bytes, which gets a name in the trash first,
 * so that there is always one that has the target's. A crash in between leaves
 * the file with a name too many.
 */
static int rename_over_link(struct renaming *r, size_t keep, int to_fd,
			    char trash_path[MRMR_TRASH_PATH_MAX])
{
	struct mrmr_pool *pool = r->pool;
	int saved_errno;
	int ret;

	pool->identity.become_root();
	ret = mrmr_trash_link(pool, keep, to_fd, r->to, r->to_path, trash_path);
	saved_errno = errno;
	pool->identity.unbecome_root();
	errno = saved_errno;
	if (ret == -1) {
		return -1;
	}
	if (mrmr_fault("rename-linked") != 0 ||
	    renaming_on(r, keep, false) == -1) {
		saved_errno = errno;
		pool->identity.become_root();
		mrmr_trash_unlink(pool, keep, trash_path);
		pool->identity.unbecome_root();
		/* not taken for what a lack of links would be */
		errno = saved_errno;
		return 1;
	}
	return 0;
}

/*
 * The same where there are no links: the target is away for a moment. A crash
 * in it leaves the source under its old name, and the target in the trash.
 */
static int rename_over_moved(struct renaming *r, size_t keep, int to_fd,
			     const struct stat *target,
			     char trash_path[MRMR_TRASH_PATH_MAX])
{
	struct mrmr_pool *pool = r->pool;
	int from_fd = mrmr_dir_on_member(r->from_dir, keep);
	int saved_errno;
	int ret;

	if (from_fd == -1 || names_may_unlink(to_fd, target) == -1 ||
	    faccessat(from_fd, ".", W_OK | X_OK, AT_EACCESS) == -1) {
		return -1;
	}
	pool->identity.become_root();
	ret = mrmr_trash_move(pool, keep, to_fd, r->to, r->to_path, trash_path);
	saved_errno = errno;
	pool->identity.unbecome_root();
	errno = saved_errno;
	if (ret == -1) {
		return -1;
	}
	if (mrmr_fault("rename-moved") == 0 &&
	    renaming_on(r, keep, false) == 0) {
		return 0;
	}
	saved_errno = errno;
	pool->identity.become_root();
	if (mrmr_trash_return(pool, keep, trash_path, to_fd, r->to) == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: '%s' was to be replaced, which failed, "
			 "and "
			 "is in the trash now (%s); it cannot be put back: %s",
			 mrmr_member_name(&pool->members[keep]), r->to_path,
			 trash_path, strerror(errno));
		mrmr_trashed(pool, keep, target, r->to_path, trash_path);
	}
	pool->identity.unbecome_root();
	errno = saved_errno;
	return -1;
}

/* On the source's own member, where rename(2) destroys what has the name: if
   anybody has it, shown is who shows it. */
static int rename_on_keep(struct renaming *r, size_t keep, size_t shown)
{
	int to_fd = mrmr_dir_on_member(r->to_dir, keep);
	char trash_path[MRMR_TRASH_PATH_MAX];
	struct stat target;
	int ret;

	if (mrmr_fault("rename-file") != 0) {
		return -1;
	}
	/* Two names of one file: rename(2) does nothing then. */
	if (shown == SIZE_MAX || r->pool->guard == NULL || to_fd == -1 ||
	    fstatat(to_fd, r->to, &target, AT_SYMLINK_NOFOLLOW) == -1 ||
	    target.st_ino == r->source_ino ||
	    !mrmr_is_guarded(r->pool, keep, &target)) {
		return renaming_on(r, keep, false);
	}
	if (renaming_paths(r) == -1) {
		return -1;
	}
	ret = rename_over_link(r, keep, to_fd, trash_path);
	if (ret == -1 && mrmr_trash_cannot_link(errno)) {
		ret = rename_over_moved(r, keep, to_fd, &target, trash_path);
	}
	if (ret != 0) {
		return -1;
	}
	mrmr_trashed(r->pool, keep, &target, r->to_path, trash_path);
	return 0;
}

/* As root: what the user did is his to do, and this is ours. */
static int trash_target(struct renaming *r, size_t member)
{
	int fd = mrmr_dir_on_member(r->to_dir, member);
	int saved_errno;
	int ret = -1;

	r->pool->identity.become_root();
	if (fd != -1 && mrmr_fault("rename-trash") == 0) {
		ret = mrmr_is_absent(r->pool, member)
			      ? names_remove_absent(r->to_dir, r->to, member,
						    true)
			      : mrmr_trash(r->pool, member, fd, r->to,
					   r->to_path);
	}
	saved_errno = errno;
	r->pool->identity.unbecome_root();
	errno = saved_errno;
	return ret;
}

/*
 * Copies of the target that lost go to the trash first: rename(2) would destroy
 * the one on the source's own member, and another might be what is shown once
 * the winner is gone. Only for a user who may rename there.
 */
static int trash_target_losers(struct renaming *r, size_t keep, size_t shown)
{
	size_t i;

	for (i = 0; i < r->pool->num_members; i++) {
		int there = (i != shown) ? has_file(r->to_dir, r->to, i) : 0;
		int fd;

		if (there == 0) {
			continue;
		}
		fd = mrmr_dir_clone_to(r->to_dir, keep);
		if (there == -1 || fd == -1 ||
		    faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == -1 ||
		    trash_target(r, i) == -1) {
			return -1;
		}
	}
	return 0;
}

/*
 * The new file and its name, on stable storage before the old one goes: they
 * are on different file systems, and a power cut may keep the one's change and
 * lose the other's.
 */
static int make_durable(struct renaming *r, size_t keep)
{
	int dir_fd = mrmr_dir_on_member(r->to_dir, keep);
	int saved_errno;
	int ret = 0;
	int fd;

	if (dir_fd == -1) {
		return -1;
	}
	r->pool->identity.become_root();
	fd = openat(dir_fd, r->to,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd != -1) {
		ret = mrmr_sync(fd);
		saved_errno = errno;
		close(fd);
		errno = saved_errno;
	}
	if (ret == 0) {
		ret = mrmr_sync(dir_fd);
	}
	saved_errno = errno;
	r->pool->identity.unbecome_root();
	errno = saved_errno;
	return ret;
}

/* The file that was shown under the target's name, on another member. */
static int replace_shown(struct renaming *r, size_t keep, size_t shown)
{
	int fd = mrmr_dir_on_member(r->to_dir, shown);
	struct stat st;

	if (fd == -1 || mrmr_fault("rename-replace") != 0 ||
	    make_durable(r, keep) == -1 ||
	    fstatat(fd, r->to, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return -1;
	}
	/* Whoever has looked on the source's member already, and will look on
	   this one in a moment, must look again. */
	mrmr_dir_count_swap(r->to_dir);
	if (mrmr_fault("rename-unlink") != 0) {
		return -1;
	}
	if (names_unlink_or_trash(r->to_dir, r->to, shown, fd, &st) == -1) {
		return -1;
	}
	/* The record of this goes next, and must not go first. */
	mrmr_sync(fd);
	return 0;
}

/* Copies of the source that lost stay copies, under the new name; or they go to
   the trash, or else they would be what the old name shows. */
static void follow_with_losers(struct renaming *r, size_t keep)
{
	size_t i;

	r->pool->identity.become_root();
	for (i = 0; i < r->num_members; i++) {
		size_t member = r->members[i];
		int fd = mrmr_dir_on_member(r->from_dir, member);

		if (member == keep || fd == -1 ||
		    has_file(r->from_dir, r->from, member) != 1) {
			continue;
		}
		if (mrmr_is_absent(r->pool, member)) {
			if (names_remove_absent(r->from_dir, r->from, member,
						true) == -1) {
				mrmr_log(MRMR_LOG_WARNING,
					 "member %s is away, and its other "
					 "copy "
					 "of '%s' stays there: %s",
					 mrmr_member_name(
						 &r->pool->members[member]),
					 r->from_path, strerror(errno));
			}
			continue;
		}
		if ((mrmr_fault("rename-loser") != 0 ||
		     renaming_on(r, member, false) == -1) &&
		    mrmr_trash(r->pool, member, fd, r->from, r->from_path) ==
			    -1) {
			mrmr_log(MRMR_LOG_WARNING,
				 "member %s: its other copy "
				 "of '%s' could not be renamed to '%s' and is "
				 "what the share shows now: %s",
				 mrmr_member_name(&r->pool->members[member]),
				 r->from_path, r->to_path, strerror(errno));
		}
	}
	r->pool->identity.unbecome_root();
}

/* False if the source could not be put back: then it stays renamed, and the
   record says what is left to do. */
static bool undo_file(struct renaming *r, size_t keep)
{
	int saved_errno = errno;
	bool undone;

	r->pool->identity.become_root();
	undone = mrmr_fault("rename-undo") == 0 &&
		 renaming_on(r, keep, true) == 0;
	r->pool->identity.unbecome_root();
	errno = saved_errno;
	return undone;
}

static int rename_file_with_intent(struct renaming *r, size_t keep,
				   size_t shown)
{
	struct mrmr_pool *pool = r->pool;
	struct mrmr_intent intent = {
		.kind = MRMR_INTENT_REPLACE,
		.from = r->from_path,
		.to = r->to_path,
		.keep = keep,
		.members = r->members,
		.num_members = r->num_members,
	};
	bool consistent = true;
	int saved_errno;
	int ret;

	if (renaming_paths(r) == -1 ||
	    trash_target_losers(r, keep, shown) == -1 ||
	    mrmr_tree_lock(pool, false) == -1) {
		return -1;
	}
	ret = mrmr_intent_begin_as_root(pool, &intent);
	if (ret == -1) {
		goto out;
	}

	ret = rename_on_keep(r, keep, shown);
	if (ret == 0 && shown != SIZE_MAX && shown != keep) {
		ret = replace_shown(r, keep, shown);
		consistent = ret == 0 || undo_file(r, keep);
	}
	if (ret == 0) {
		follow_with_losers(r, keep);
	}

	saved_errno = errno;
	pool->identity.become_root();
	if (consistent) {
		mrmr_intent_end(pool, &intent);
	} else {
		mrmr_intent_leave(pool, &intent);
	}
	pool->identity.unbecome_root();
	errno = saved_errno;
out:
	mrmr_tree_unlock(pool);
	return ret;
}

/* The file's own member is away. */
static int rename_absent_file(struct renaming *r, size_t keep)
{
	size_t others[MRMR_MEMBERS_MAX];
	size_t num_others = 0;
	size_t i;

	if (renaming_paths(r) == -1) {
		return -1;
	}
	for (i = 0; i < r->pool->num_members; i++) {
		int from = (i != keep) ? has_file(r->from_dir, r->from, i) : 0;
		int to = (i != keep) ? has_file(r->to_dir, r->to, i) : 0;

		if (from == -1 || to == -1) {
			return -1;
		}
		if (to == 1) {
			others[num_others++] = i;
		}
		/* A copy that lost, of a member that is away as well. */
		if (from == 1 &&
		    names_remove_absent(r->from_dir, r->from, i, true) == -1) {
			return -1;
		}
	}
	return names_rename_absent(r->from_dir, r->from, r->to_dir, r->to, keep,
				   others, num_others);
}

/* On the member, two names of one file: rename(2) does nothing then, and both
   stay. */
static bool is_same_file(struct renaming *r, size_t member,
			 const struct stat *target)
{
	if (mrmr_is_absent(r->pool, member)) {
		return r->source_ino != 0 &&
		       r->source_ino ==
			       names_inode_of_ghost(
				       mrmr_dir_on_member(r->to_dir, member),
				       r->to);
	}
	return target->st_dev == r->source.st_dev &&
	       target->st_ino == r->source.st_ino;
}

int renaming_file(struct renaming *r, size_t keep)
{
	struct stat st;
	size_t shown;
	size_t i;

	if (mrmr_name_find(r->to_dir, r->to, &shown, &st) == -1) {
		if (errno != ENOENT) {
			return -1;
		}
		shown = SIZE_MAX;
	} else if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return -1;
	}
	if (shown == keep && is_same_file(r, keep, &st)) {
		r->is_same = true;
		return 0;
	}

	if (mrmr_is_absent(r->pool, keep)) {
		return rename_absent_file(r, keep);
	}
	for (i = 0; i < r->pool->num_members; i++) {
		int from = (i != keep) ? has_file(r->from_dir, r->from, i) : 0;
		/* What nobody has need not be looked for again. */
		int to = (i != keep && shown != SIZE_MAX)
				 ? has_file(r->to_dir, r->to, i)
				 : 0;

		if (from == -1 || to == -1) {
			return -1;
		}
		if (from == 1 || to == 1) {
			r->members[r->num_members++] = i;
		}
	}
	if (r->num_members > 0) {
		return rename_file_with_intent(r, keep, shown);
	}
	mrmr_dir_changed(r->from_dir, keep, NULL);
	mrmr_dir_changed(r->to_dir, keep, r->to);
	return rename_on_keep(r, keep, shown);
}
