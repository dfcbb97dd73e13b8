/*
 * MRMR: removing names from the pool.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <mrmr/fault.h>
#include <mrmr/listing.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/names.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

/* Folders below at_fd for all of path but its last component; a descriptor of
   the deepest. */
static int make_folders(int at_fd, const char *path)
{
	char name[NAME_MAX + 1];
	const char *slash = NULL;
	int fd = dup(at_fd);

	while (fd != -1 && (slash = strchr(path, '/')) != NULL) {
		size_t len = slash - path;
		int next;

		if (len > NAME_MAX) {
			close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		next = mrmr_folder_open(fd, name);
		close(fd);
		fd = next;
		path = slash + 1;
	}
	return fd;
}

/*
 * `.mrmr/trash/<time>.<process>/<pool path>`: the path is kept as it is, so
 * that a person can find the file with nothing but a file manager.
 */
int mrmr_trash(struct mrmr_pool *pool, size_t index, int clone_fd,
	       const char *name, const char *path)
{
	const struct mrmr_member *member = &pool->members[index];
	const char *last = NULL;
	struct timespec now;
	char stamp[160];
	char staged[96];
	struct tm tm;
	int trash_fd;
	int stamp_fd = -1;
	int fd = -1;
	int ret = -1;
	int saved_errno;

	trash_fd = mrmr_folder_open(member->private_fd, MRMR_TRASH);
	if (trash_fd == -1) {
		return -1;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	mrmr_staging_name(staged, sizeof(staged));
	snprintf(stamp, sizeof(stamp), "%04d%02d%02dT%02d%02d%02dZ.%s",
		 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		 tm.tm_min, tm.tm_sec, staged);
	stamp_fd = mrmr_folder_open(trash_fd, stamp);
	if (stamp_fd != -1) {
		fd = make_folders(stamp_fd, path);
	}
	if (fd != -1 && mrmr_fault("trash") == 0) {
		last = strrchr(path, '/');
		ret = renameat(clone_fd, name, fd,
			       last != NULL ? last + 1 : path);
	}
	saved_errno = errno;
	if (fd != -1) {
		close(fd);
	}
	if (stamp_fd != -1) {
		close(stamp_fd);
	}
	close(trash_fd);
	if (ret == 0) {
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: its other copy of '%s' "
			 "went to " MRMR_DIR "/" MRMR_TRASH "/%s",
			 mrmr_member_name(member), path, stamp);
	}
	errno = saved_errno;
	return ret;
}

/* Is there a copy that lost? */
static bool has_losers(struct mrmr_dir *dir, const char *name, size_t winner)
{
	struct stat st;
	size_t i;

	for (i = 0; i < dir->pool->num_members; i++) {
		int fd = (i != winner) ? mrmr_dir_on_member(dir, i) : -1;

		if (fd != -1 &&
		    fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    !S_ISDIR(st.st_mode)) {
			return true;
		}
	}
	return false;
}

/* What the kernel would say to unlink, without doing it. */
static int check_may_unlink(int fd, const struct stat *file)
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
	size_t len;
	size_t i;

	if (mrmr_dir_path(dir, path) == -1) {
		return -1;
	}
	len = strlen(path);
	if (len + strlen(name) + 2 > sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	sprintf(path + len, "%s%s", len > 0 ? "/" : "", name);
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
		ret = mrmr_fault("unlink-loser") == 0
			      ? mrmr_trash(pool, i, fd, name, path)
			      : -1;
		saved_errno = errno;
		pool->identity.unbecome_root();
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

int mrmr_name_unlink(struct mrmr_dir *dir, const char *name)
{
	struct stat st;
	size_t member;
	int ret = -1;
	int fd;

	if (mrmr_dir_lock(dir) == -1) {
		return -1;
	}
	/* The winner, whatever a listing said a while ago. */
	mrmr_dir_hint(dir, "", SIZE_MAX);
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
	if (has_losers(dir, name, member) &&
	    (check_may_unlink(fd, &st) == -1 ||
	     trash_losers(dir, name, member) == -1)) {
		goto out;
	}
	if (mrmr_fault("unlink") == 0) {
		ret = unlinkat(fd, name, 0);
	}
out:
	mrmr_dir_unlock(dir);
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

int mrmr_name_rmdir(struct mrmr_dir *parent, const char *name)
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
	ret = remove_clones(parent, dir, name);
out:
	mrmr_dir_unlock_two(parent, dir);
	return ret;
}
