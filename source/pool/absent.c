/*
 * MRMR: the names of members that are away (see mrmr/absent.h).
 *
 * A folder is made in the staging folder and renamed into place, so what has
 * its name is whole. Who makes one, and who removes those of a member that is
 * back, hold a flock on <state dir>/ghosts: whoever has not noticed yet that
 * the member is back must not make a folder that would be taken for true the
 * next time it is away.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/intent.h>
#include <mrmr/local.h>
#include <mrmr/log.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

#include "absent_private.h"

/* Each time, a protector has been faster. */
#define MAX_TRIES 50

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

bool mrmr_is_absent(const struct mrmr_pool *pool, size_t member)
{
	return pool->absent != NULL &&
	       pool->members[member].state != MRMR_MEMBER_ONLINE &&
	       pool->members[member].state != MRMR_MEMBER_UNKNOWN;
}

bool mrmr_any_is_absent(const struct mrmr_pool *pool)
{
	return pool->absent != NULL && !pool->all_online;
}

bool mrmr_member_has_returned(struct mrmr_pool *pool,
			      const struct mrmr_member *member)
{
	bool seen;

	if (member->state != MRMR_MEMBER_AWAY) {
		return false;
	}
	pool->identity.become_root();
	seen = !mrmr_intents_hold_off(pool, member) &&
	       mrmr_local_marker_seen(member);
	pool->identity.unbecome_root();
	return seen;
}

/* --- folders; as root ------------------------------------------------------- */

void absent_member_path(const struct mrmr_member *member, char path[96])
{
	char id[MRMR_UUID_LEN + 1];

	mrmr_uuid_format(&member->config->id, id);
	snprintf(path, 96, MRMR_GHOSTS "/%s", id);
}

static void folder_path(const struct mrmr_dir *dir, size_t member,
			char path[128])
{
	char above[96];

	absent_member_path(&dir->pool->members[member], above);
	snprintf(path, 128, "%s/%" PRIu64, above, (uint64_t)dir->ino);
}

/* The lock, as a descriptor to be closed. */
static int lock_ghosts(struct mrmr_pool *pool)
{
	int fd = mrmr_folder_open(pool->state_fd, MRMR_GHOSTS);
	int ret;

	if (fd == -1) {
		return -1;
	}
	do {
		ret = flock(fd, LOCK_EX);
	} while (ret == -1 && errno == EINTR);
	if (ret == -1) {
		int saved_errno = errno;

		close(fd);
		errno = saved_errno;
		return -1;
	}
	return fd;
}

/* All that a folder needs before it gets its name. */
static int fill(struct mrmr_dir *dir, size_t member, int fd, bool make)
{
	struct mrmr_pool *pool = dir->pool;
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}};
	int64_t mtime_ns = 0;

	if (mrmr_fault("ghosts-fill") != 0) {
		return -1;
	}
	if (pool->absent->fill(dir, member, fd, &mtime_ns, pool->absent_data) ==
		    -1 &&
	    !(make && errno == ENOENT)) {
		return -1;
	}
	if (mrmr_attributes_copy(dir->spine_fd, fd) == -1) {
		return -1;
	}
	/* That it was made now is no change that a client should see. */
	ts[1].tv_sec = mtime_ns / 1000000000;
	ts[1].tv_nsec = mtime_ns % 1000000000;
	return futimens(fd, ts);
}

static int make_folder(struct mrmr_dir *dir, size_t member, const char *path,
		       bool make)
{
	struct mrmr_pool *pool = dir->pool;
	int staging_fd = mrmr_folder_open(pool->state_fd, MRMR_STAGING);
	char staged[128];
	int saved_errno;
	int fd = -1;

	if (staging_fd == -1) {
		return -1;
	}
	mrmr_staging_name(staged, sizeof(staged));
	if (mkdirat(staging_fd, staged, 0700) == 0) {
		fd = openat(staging_fd, staged, FOLDER_FLAGS);
	}
	if (fd == -1) {
		goto fail;
	}
	if (fill(dir, member, fd, make) == -1 ||
	    mrmr_fault("ghosts-name") != 0 ||
	    renameat(staging_fd, staged, pool->state_fd, path) == -1) {
		goto fail;
	}
	close(staging_fd);
	/* others may know that there is none */
	atomic_fetch_add(&pool->shared->dirs_gen, 1);
	return fd;
fail:
	saved_errno = errno;
	if (fd != -1) {
		close(fd);
	}
	mrmr_remove_tree(staging_fd, staged);
	close(staging_fd);
	errno = saved_errno;
	return -1;
}

/* With the lock held. */
static int make_locked(struct mrmr_dir *dir, size_t member, const char *path,
		       bool make)
{
	struct mrmr_pool *pool = dir->pool;
	unsigned int tries;
	char above[96];
	int fd;

	fd = openat(pool->state_fd, path, FOLDER_FLAGS);
	if (fd != -1 || errno != ENOENT) {
		return fd; /* somebody else was faster */
	}
	/* Somebody may have seen the member again, and removed the folders. As
	   long as nobody has, its names are still shown by them. */
	if (pool->seen_members_gen != atomic_load(&pool->shared->members_gen)) {
		errno = ENODEV; /* the next operation looks */
		return -1;
	}
	absent_member_path(&pool->members[member], above);
	fd = mrmr_folder_open(pool->state_fd, above);
	if (fd == -1) {
		return -1;
	}
	close(fd);
	for (tries = 0; tries < MAX_TRIES; tries++) {
		fd = make_folder(dir, member, path, make);
		if (fd != -1 || errno != EAGAIN) {
			return fd;
		}
	}
	errno = EBUSY;
	return -1;
}

static int open_as_root(struct mrmr_dir *dir, size_t member, bool make)
{
	struct mrmr_pool *pool = dir->pool;
	char path[128];
	int saved_errno;
	int lock_fd;
	int fd;

	folder_path(dir, member, path);
	fd = openat(pool->state_fd, path, FOLDER_FLAGS);
	if (fd != -1 || errno != ENOENT) {
		return fd;
	}
	lock_fd = lock_ghosts(pool);
	if (lock_fd == -1) {
		return -1;
	}
	fd = make_locked(dir, member, path, make);
	saved_errno = errno;
	close(lock_fd);
	errno = saved_errno;
	return fd;
}

/* The rights of the spine's directory, which may have changed: it is there that
   they decide. */
static void bring_in_line(const struct mrmr_dir *dir, int fd)
{
	struct stat spine;
	struct stat folder;

	if (fstat(dir->spine_fd, &spine) == 0 && fstat(fd, &folder) == 0 &&
	    (spine.st_mode != folder.st_mode || spine.st_uid != folder.st_uid ||
	     spine.st_gid != folder.st_gid)) {
		mrmr_attributes_copy(dir->spine_fd, fd);
	}
}

int mrmr_absent_open(struct mrmr_dir *dir, size_t member, bool make)
{
	struct mrmr_pool *pool = dir->pool;
	int saved_errno;
	int fd;

	if (!mrmr_is_absent(pool, member)) {
		errno = ENODEV;
		return -1;
	}
	pool->identity.become_root();
	fd = open_as_root(dir, member, make);
	saved_errno = errno;
	if (fd != -1) {
		bring_in_line(dir, fd);
	}
	pool->identity.unbecome_root();
	if (fd == -1 && !mrmr_dir_is_lacking(saved_errno)) {
		char path[MRMR_PATH_MAX] = "?";

		mrmr_dir_path(dir, path);
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s is away, and its files in '%s' cannot be "
			 "shown: %s",
			 mrmr_member_name(&pool->members[member]), path,
			 strerror(saved_errno));
	}
	errno = saved_errno;
	return fd;
}

int mrmr_absent_peek(struct mrmr_dir *dir, size_t member)
{
	char path[128];

	folder_path(dir, member, path);
	return openat(dir->pool->state_fd, path, FOLDER_FLAGS);
}

void mrmr_absent_drop(struct mrmr_pool *pool, size_t member)
{
	char staged[128];
	char path[96];
	struct stat st;
	int lock_fd = -1;
	int staging_fd;
	int ret = -1;

	absent_member_path(&pool->members[member], path);
	staging_fd = mrmr_folder_open(pool->state_fd, MRMR_STAGING);
	if (staging_fd != -1) {
		lock_fd = lock_ghosts(pool);
	}
	if (lock_fd != -1 &&
	    fstatat(pool->state_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		/* Whoever has them open, as he could do less for the member
		   than we, looks before his next operation. */
		atomic_fetch_add(&pool->shared->members_gen, 1);
		absent_return_attributes(pool, member);
		mrmr_staging_name(staged, sizeof(staged));
		ret = renameat(pool->state_fd, path, staging_fd, staged);
		if (ret == -1 && errno != ENOENT) {
			mrmr_log(MRMR_LOG_ERROR, "%s/%s cannot be removed: %s",
				 pool->config->state_dir, path,
				 strerror(errno));
		}
		/* If a power cut brought them back, they would be taken for
		   true the next time that the member is away. */
		if (ret == 0 && mrmr_sync(lock_fd) == -1) {
			mrmr_log(MRMR_LOG_ERROR, "%s/%s: %s",
				 pool->config->state_dir, MRMR_GHOSTS,
				 strerror(errno));
		}
	}
	if (lock_fd != -1) {
		close(lock_fd);
	}
	if (ret == 0) {
		mrmr_remove_tree(staging_fd, staged);
	}
	if (staging_fd != -1) {
		close(staging_fd);
	}
}
