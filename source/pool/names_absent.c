/*
 * MRMR: changing names of members that are away.
 *
 * What a client removes or renames goes, or moves, among the ghosts, at once.
 * The member itself must follow before its names count again: an intent that is
 * kept for it says so. The ghosts are what decides after a crash: if the name
 * is as it was, nothing has happened; if it is not, the member has to follow.
 *
 * Nothing is destroyed on the member: what a client removed, and what it
 * replaced, goes to the member's trash when it is back.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/intent.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>

#include "names_private.h"

uint64_t names_inode_of_ghost(int folder_fd, const char *name)
{
	struct mrmr_ghost ghost = {.inode = 0};
	int saved_errno = errno;
	int fd = openat(folder_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd != -1) {
		if (mrmr_ghost_read(fd, &ghost) == -1) {
			ghost.inode = 0;
		}
		close(fd);
	}
	errno = saved_errno;
	return ghost.inode;
}

/* -1 with EAGAIN: others may use the member already; we have to look at it. */
static int check_away(struct mrmr_pool *pool, size_t member)
{
	if (mrmr_member_has_returned(pool, &pool->members[member])) {
		pool->checked_ns = 0;
		errno = EAGAIN;
		return -1;
	}
	return 0;
}

static int begin(struct mrmr_pool *pool, struct mrmr_intent *intent)
{
	int saved_errno;

	if (mrmr_tree_lock(pool, false) == -1) {
		return -1;
	}
	if (mrmr_intent_begin_as_root(pool, intent) == -1) {
		saved_errno = errno;
		mrmr_tree_unlock(pool);
		errno = saved_errno;
		return -1;
	}
	return 0;
}

/* The member has still to follow, if it was done. */
static void end(struct mrmr_pool *pool, struct mrmr_intent *intent, bool done,
		size_t member)
{
	int saved_errno = errno;

	pool->identity.become_root();
	if (!done) {
		mrmr_intent_end(pool, intent);
	} else if (mrmr_intent_keep_for(pool, intent, &member, 1) == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s is away, and it cannot be noted what it "
			 "has to do about '%s' when it is back (%s); this is "
			 "tried again",
			 mrmr_member_name(&pool->members[member]), intent->from,
			 strerror(errno));
	}
	pool->identity.unbecome_root();
	mrmr_tree_unlock(pool);
	errno = saved_errno;
}

static int remove_ghost(struct mrmr_dir *dir, const char *name, int fd,
			bool as_root)
{
	struct mrmr_pool *pool = dir->pool;
	int saved_errno;
	int ret = -1;

	if (as_root) {
		pool->identity.become_root();
	}
	if (mrmr_fault("absent-remove") == 0) {
		ret = unlinkat(fd, name, 0);
	}
	if (ret == 0) {
		mrmr_sync(fd);
	}
	saved_errno = errno;
	if (as_root) {
		pool->identity.unbecome_root();
	}
	errno = saved_errno;
	return ret;
}

int names_remove_absent(struct mrmr_dir *dir, const char *name, size_t member,
			bool as_root)
{
	struct mrmr_pool *pool = dir->pool;
	char path[MRMR_PATH_MAX];
	struct mrmr_intent intent = {
		.kind = MRMR_INTENT_ABSENT_REMOVE,
		.from = path,
		.to = path,
		.keep = member,
		.members = &member,
		.num_members = 1,
	};
	int fd = mrmr_dir_on_member(dir, member);
	uint64_t inode;
	struct stat st;
	int ret;

	if (fd == -1 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    (!as_root && names_may_unlink(fd, &st) == -1) ||
	    mrmr_name_path(dir, name, path) == -1 ||
	    check_away(pool, member) == -1) {
		return -1;
	}
	inode = names_inode_of_ghost(fd, name);
	if (begin(pool, &intent) == -1) {
		return -1;
	}
	ret = remove_ghost(dir, name, fd, as_root);
	if (mrmr_fault("absent-removed") == 0) {
		end(pool, &intent, ret == 0, member);
	} else {
		mrmr_tree_unlock(pool);
	}
	if (ret == 0) {
		mrmr_tell(pool, MRMR_EVENT_REMOVED, member, inode, path, NULL);
	}
	return ret;
}

/* What else has the target's name goes, as the user who may remove it. */
static int remove_target(struct mrmr_dir *to_dir, const char *to, size_t member)
{
	int fd = mrmr_dir_on_member(to_dir, member);
	struct stat st;

	if (fd == -1 || mrmr_fault("absent-replace") != 0 ||
	    fstatat(fd, to, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return -1;
	}
	mrmr_dir_count_swap(to_dir);
	return names_unlink_or_trash(to_dir, to, member, fd, &st);
}

static int rename_ghost(struct mrmr_dir *from_dir, const char *from,
			struct mrmr_dir *to_dir, const char *to, size_t keep)
{
	int from_fd = mrmr_dir_on_member(from_dir, keep);
	int to_fd = mrmr_dir_clone_to(to_dir, keep);

	if (from_fd == -1 || to_fd == -1 || mrmr_fault("absent-rename") != 0 ||
	    renameat(from_fd, from, to_fd, to) == -1) {
		return -1;
	}
	mrmr_sync(to_fd);
	mrmr_sync(from_fd);
	return 0;
}

/* With the intent begun. */
static int rename_and_replace(struct mrmr_dir *from_dir, const char *from,
			      struct mrmr_dir *to_dir, const char *to,
			      size_t keep, const size_t *others,
			      size_t num_others)
{
	struct mrmr_pool *pool = from_dir->pool;
	int saved_errno;
	size_t i;

	if (rename_ghost(from_dir, from, to_dir, to, keep) == -1) {
		return -1;
	}
	for (i = 0; i < num_others; i++) {
		if (remove_target(to_dir, to, others[i]) == 0) {
			continue;
		}
		saved_errno = errno;
		pool->identity.become_root();
		if (rename_ghost(to_dir, to, from_dir, from, keep) == -1) {
			mrmr_log(MRMR_LOG_ERROR,
				 "'%s' could not be renamed, nor back: %s",
				 from, strerror(errno));
		}
		pool->identity.unbecome_root();
		errno = saved_errno;
		return -1;
	}
	return 0;
}

int names_rename_absent(struct mrmr_dir *from_dir, const char *from,
			struct mrmr_dir *to_dir, const char *to, size_t keep,
			const size_t *others, size_t num_others)
{
	struct mrmr_pool *pool = from_dir->pool;
	char from_path[MRMR_PATH_MAX];
	char to_path[MRMR_PATH_MAX];
	size_t members[MRMR_MEMBERS_MAX];
	struct mrmr_intent intent = {
		.kind = MRMR_INTENT_ABSENT_RENAME,
		.from = from_path,
		.to = to_path,
		.keep = keep,
		.members = members,
		.num_members = num_others + 1,
	};
	int ret;

	if (mrmr_name_path(from_dir, from, from_path) == -1 ||
	    mrmr_name_path(to_dir, to, to_path) == -1 ||
	    check_away(pool, keep) == -1) {
		return -1;
	}
	members[0] = keep;
	memcpy(members + 1, others, num_others * sizeof(others[0]));
	if (begin(pool, &intent) == -1) {
		return -1;
	}
	ret = rename_and_replace(from_dir, from, to_dir, to, keep, others,
				 num_others);
	if (mrmr_fault("absent-renamed") == 0) {
		end(pool, &intent, ret == 0, keep);
	} else {
		mrmr_tree_unlock(pool);
	}
	return ret;
}
