/*
 * MRMR: removing names from the pool.
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
#include <mrmr/listing.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>
#include <mrmr/shared.h>
#include <mrmr/trash.h>

#include "names_private.h"

/* Is there a copy that lost? The winner has just been looked for, under the
   lock: members that were asked before its own have none. */
static bool has_losers(struct mrmr_dir *dir, const char *name, size_t winner)
{
	struct stat st;
	size_t i;

	for (i = 0; i < dir->pool->num_members; i++) {
		int fd = names_comes_before(dir->pool, winner, i)
				 ? mrmr_dir_on_member(dir, i)
				 : -1;

		if (fd != -1 &&
		    fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    !S_ISDIR(st.st_mode)) {
			return true;
		}
	}
	return false;
}

int names_may_unlink(int fd, const struct stat *file)
{
	struct stat dir;

	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == -1 ||
	    fstat(fd, &dir) == -1) {
		return -1;
	}
	if ((dir.st_mode & S_ISVTX) != 0 && geteuid() != 0 &&
	    geteuid() != dir.st_uid && geteuid() != file->st_uid) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/*
 * The copies that lost, before the winner goes: neither a crash between the two
 * nor a member that refuses must bring one of them to light.
 */
static int trash_losers(struct mrmr_dir *dir, const char *name, size_t winner)
{
	struct mrmr_pool *pool = dir->pool;
	char path[MRMR_PATH_MAX];
	struct stat st;
	size_t i;

	if (mrmr_name_path(dir, name, path) == -1) {
		return -1;
	}
	for (i = 0; i < pool->num_members; i++) {
		int fd = (i != winner) ? mrmr_dir_on_member(dir, i) : -1;
		int saved_errno;
		int ret;

		if (fd == -1 ||
		    fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
		    S_ISDIR(st.st_mode)) {
			continue;
		}
		pool->identity.become_root();
		ret = -1;
		if (mrmr_fault("unlink-loser") == 0) {
			ret = mrmr_is_absent(pool, i)
				      ? names_remove_absent(dir, name, i, true)
				      : mrmr_trash(pool, i, fd, name, path);
		}
		saved_errno = errno;
		pool->identity.unbecome_root();
		if (ret == -1 && saved_errno == EAGAIN) {
			errno = EAGAIN;
			return -1;
		}
		if (ret == -1) {
			mrmr_log(MRMR_LOG_WARNING,
				 "member %s: its other copy "
				 "of '%s' cannot go to its trash, so '%s' "
				 "cannot be removed: %s",
				 mrmr_member_name(&pool->members[i]), path,
				 path, strerror(saved_errno));
			errno = saved_errno;
			return -1;
		}
	}
	return 0;
}

int names_unlink_or_trash(struct mrmr_dir *dir, const char *name, size_t member,
			  int fd, const struct stat *st)
{
	struct mrmr_pool *pool = dir->pool;
	char path[MRMR_PATH_MAX];
	int saved_errno;
	int ret;

	if (mrmr_is_absent(pool, member)) {
		return names_remove_absent(dir, name, member, false);
	}
	if (mrmr_dir_may_change(dir, member) == -1) {
		return -1;
	}
	if (!mrmr_is_guarded(pool, member, st)) {
		ret = unlinkat(fd, name, 0);
		if (ret == 0) {
			mrmr_tell_name(dir, name, MRMR_EVENT_REMOVED, member,
				       mrmr_inode_to_tell(pool, member, st));
		}
		return ret;
	}
	if (names_may_unlink(fd, st) == -1 ||
	    mrmr_name_path(dir, name, path) == -1) {
		return -1;
	}
	pool->identity.become_root();
	ret = mrmr_trash_file(pool, member, fd, name, path);
	saved_errno = errno;
	pool->identity.unbecome_root();
	errno = saved_errno;
	return ret;
}

static int unlink_once(struct mrmr_dir *dir, const char *name)
{
	bool has_others;
	struct stat st;
	size_t member;
	int ret = -1;
	int fd;

	if (mrmr_dir_lock(dir) == -1) {
		return -1;
	}
	/* The winner, whatever a listing said a while ago. */
	mrmr_dir_hint(dir, name, SIZE_MAX);
	if (mrmr_name_find(dir, name, &member, &st) == -1) {
		goto out;
	}
	if (member == MRMR_IN_SPINE) {
		/* EISDIR, or a file that somebody has put there. */
		ret = unlinkat(dir->spine_fd, name, 0);
		goto out;
	}
	fd = mrmr_dir_on_member(dir, member);
	if (fd == -1) {
		goto out;
	}
	has_others = has_losers(dir, name, member);
	if (has_others && (names_may_unlink(fd, &st) == -1 ||
			   trash_losers(dir, name, member) == -1)) {
		goto out;
	}
	if (mrmr_fault("unlink") == 0) {
		ret = names_unlink_or_trash(dir, name, member, fd, &st);
	}
	if (!has_others && !mrmr_is_absent(dir->pool, member)) {
		mrmr_dir_changed(dir, member, NULL);
	}
out:
	mrmr_dir_unlock(dir);
	return ret;
}

int mrmr_name_unlink(struct mrmr_dir *dir, const char *name)
{
	unsigned int tries;
	int ret = -1;

	dir->pins++;
	for (tries = 0; tries < 3; tries++) {
		ret = unlink_once(dir, name);
		if (ret == 0 || errno != EAGAIN) {
			break;
		}
		/* A member is back. To catch up needs the locks of other
		   directories, so none is had here. */
		mrmr_pool_look(dir->pool);
		errno = EAGAIN;
	}
	dir->pins--;
	return ret;
}

/* Remove the clones as the user, who must be allowed to; put back those that
   were removed already if one refuses. */
static int remove_clones(struct mrmr_dir *parent, struct mrmr_dir *dir,
			 const char *name)
{
	struct mrmr_pool *pool = dir->pool;
	bool removed[MRMR_MEMBERS_MAX] = {false};
	int saved_errno;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		int fd;

		if (mrmr_dir_on_member(dir, i) == -1) {
			if (mrmr_dir_is_lacking(errno)) {
				continue;
			}
			goto undo;
		}
		fd = mrmr_dir_on_member(parent, i);
		if (fd == -1 || mrmr_fault("rmdir-clone") != 0) {
			goto undo;
		}
		if (unlinkat(fd, name, AT_REMOVEDIR) == -1) {
			if (errno == ENOENT) {
				continue;
			}
			goto undo;
		}
		removed[i] = true;
		mrmr_dir_forget(dir, i);
	}
	if (mrmr_fault("rmdir-spine") != 0) {
		goto undo;
	}
	if (unlinkat(parent->spine_fd, name, AT_REMOVEDIR) == 0) {
		return 0;
	}
undo:
	saved_errno = errno;
	for (i = 0; i < pool->num_members; i++) {
		if (removed[i]) {
			mrmr_dir_clone_to(dir, i);
			/* Others may have the one open that is gone. */
			atomic_fetch_add(&pool->shared->clones_gen, 1);
		}
	}
	errno = saved_errno;
	return -1;
}

/* --- directories of members that are away --------------------------------------- */

/* -1 with EAGAIN: others may use one already; it is to be looked at. */
static int gather_away(struct mrmr_pool *pool, size_t members[MRMR_MEMBERS_MAX],
		       size_t *num)
{
	size_t i;

	*num = 0;
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state == MRMR_MEMBER_ONLINE ||
		    member->state == MRMR_MEMBER_UNSUPPORTED) {
			continue;
		}
		if (mrmr_member_has_returned(pool, member)) {
			pool->checked_ns = 0;
			errno = EAGAIN;
			return -1;
		}
		members[(*num)++] = i;
	}
	return 0;
}

static void close_intent(struct mrmr_pool *pool, struct mrmr_intent *intent,
			 bool done)
{
	int saved_errno = errno;

	pool->identity.become_root();
	if (!done) {
		mrmr_intent_end(pool, intent);
	} else if (mrmr_intent_keep_for(pool, intent, intent->members,
					intent->num_members) == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "'%s' was removed, but that cannot be noted for the "
			 "members that are away (%s); this is tried again",
			 intent->to, strerror(errno));
	}
	pool->identity.unbecome_root();
	errno = saved_errno;
}

/* So that it does not return with them. */
static int remove_noted(struct mrmr_dir *parent, struct mrmr_dir *dir,
			const char *name, const size_t *away, size_t num_away)
{
	struct mrmr_pool *pool = parent->pool;
	char path[MRMR_PATH_MAX];
	struct mrmr_intent intent = {
		.kind = MRMR_INTENT_RMDIR,
		.from = path,
		.to = path,
		.keep = away[0],
		.members = away,
		.num_members = num_away,
	};
	int ret;

	if (mrmr_name_path(parent, name, path) == -1 ||
	    mrmr_tree_lock(pool, false) == -1) {
		return -1;
	}
	ret = mrmr_intent_begin_as_root(pool, &intent);
	if (ret == 0) {
		ret = remove_clones(parent, dir, name);
		if (ret == 0) {
			(void)mrmr_fault("rmdir-removed");
			mrmr_sync(parent->spine_fd);
		}
		close_intent(pool, &intent, ret == 0);
	}
	mrmr_tree_unlock(pool);
	return ret;
}

static int remove_everywhere(struct mrmr_dir *parent, struct mrmr_dir *dir,
			     const char *name)
{
	size_t away[MRMR_MEMBERS_MAX];
	size_t num_away = 0;

	if (mrmr_name_is_unfinished(name)) {
		return remove_clones(parent, dir, name); /* nobody has any */
	}
	if (gather_away(parent->pool, away, &num_away) == -1) {
		return -1;
	}
	return num_away > 0 ? remove_noted(parent, dir, name, away, num_away)
			    : remove_clones(parent, dir, name);
}

static int rmdir_once(struct mrmr_dir *parent, const char *name)
{
	struct mrmr_dir *dir = NULL;
	struct stat st;
	size_t member;
	bool empty;
	int ret = -1;
	int fd;

	if (mrmr_name_find(parent, name, &member, &st) == -1) {
		return -1;
	}
	if (member != MRMR_IN_SPINE) {
		errno = ENOTDIR;
		return -1;
	}
	fd = openat(parent->spine_fd, name,
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return -1;
	}
	dir = mrmr_dir_get(parent->pool, fd);
	if (dir == NULL || mrmr_dir_lock_two(parent, dir) == -1) {
		int saved_errno = errno;

		close(fd);
		errno = saved_errno;
		return -1;
	}
	close(fd);

	/* The name may have come to mean something else before the lock. */
	if (fstatat(parent->spine_fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		goto out;
	}
	if (st.st_ino != dir->ino) {
		errno = ENOENT;
		goto out;
	}
	mrmr_dir_forget(dir, SIZE_MAX);
	if (mrmr_dir_is_empty(dir, &empty) == -1) {
		goto out;
	}
	if (!empty) {
		errno = ENOTEMPTY;
		goto out;
	}
	ret = remove_everywhere(parent, dir, name);
	if (ret == 0 && !mrmr_name_is_unfinished(name)) {
		mrmr_tell_name(parent, name, MRMR_EVENT_REMOVED, MRMR_NO_MEMBER,
			       0);
	}
out:
	mrmr_dir_unlock_two(parent, dir);
	return ret;
}

int mrmr_name_rmdir(struct mrmr_dir *parent, const char *name)
{
	unsigned int tries;
	int ret = -1;

	parent->pins++;
	for (tries = 0; tries < 3; tries++) {
		ret = rmdir_once(parent, name);
		if (ret == 0 || errno != EAGAIN) {
			break;
		}
		/* As in mrmr_name_unlink(). */
		mrmr_pool_look(parent->pool);
		errno = EAGAIN;
	}
	parent->pins--;
	return ret;
}
