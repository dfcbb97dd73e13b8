/*
 * MRMR: the locks of directories, and of the whole tree.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include <mrmr/dir.h>
#include <mrmr/log.h>
#include <mrmr/shared.h>

#include "dir_private.h"

#define LOCK_PATIENCE_NS (20 * INT64_C(1000000000))

/*
 * Locks are held for microseconds. One that is not to be had for long belongs
 * to a process that hangs on a dying drive: its clients wait, others get an
 * error.
 */
int dir_lock_fd(int fd, int operation)
{
	int64_t waited_ns = 0;
	long pause_ns = 20000;

	while (flock(fd, operation | LOCK_NB) == -1) {
		struct timespec pause = {.tv_nsec = pause_ns};

		if (errno != EWOULDBLOCK && errno != EINTR) {
			return -1;
		}
		if (waited_ns >= LOCK_PATIENCE_NS) {
			mrmr_log(MRMR_LOG_ERROR,
				 "a lock was not to be had "
				 "for %d seconds: another process hangs",
				 (int)(LOCK_PATIENCE_NS / 1000000000));
			errno = EBUSY;
			return -1;
		}
		nanosleep(&pause, NULL);
		waited_ns += pause_ns;
		if (pause_ns < 2000000) {
			pause_ns += pause_ns / 2;
		}
	}
	return 0;
}

int mrmr_dir_lock(struct mrmr_dir *dir)
{
	struct stat st;

	if (dir->locks > 0) {
		dir->locks++;
		return 0;
	}
	if (dir_lock_fd(dir->spine_fd, LOCK_EX) == -1) {
		return -1;
	}
	dir->locks = 1;
	dir->changed_on = SIZE_MAX;
	dir->locked_gen = atomic_load(&dir->pool->shared->clones_gen);
	if (fstat(dir->spine_fd, &st) == -1 || st.st_nlink == 0) {
		mrmr_dir_unlock(dir);
		errno = ENOENT;
		return -1;
	}
	return 0;
}

void mrmr_dir_unlock(struct mrmr_dir *dir)
{
	int saved_errno = errno;

	if (--dir->locks == 0) {
		uint32_t changes_before = mrmr_dir_count_change(dir);

		dir_times_changed(dir, changes_before);
		folded_changed(dir, changes_before);
		flock(dir->spine_fd, LOCK_UN);
	}
	errno = saved_errno;
}

void mrmr_dir_changed(struct mrmr_dir *dir, size_t member, const char *new_name)
{
	if (new_name != NULL) {
		folded_added(dir, new_name);
	}
	/* Within another operation, that may have changed more. */
	if (dir->locks == 1) {
		dir->changed_on = member;
	}
}

bool mrmr_dir_comes_first(const struct mrmr_dir *a, const struct mrmr_dir *b)
{
	return a->ino < b->ino || (a->ino == b->ino && a->dev < b->dev);
}

int mrmr_dir_lock_two(struct mrmr_dir *a, struct mrmr_dir *b)
{
	struct mrmr_dir *first = mrmr_dir_comes_first(a, b) ? a : b;
	struct mrmr_dir *second = (first == a) ? b : a;

	if (mrmr_dir_lock(first) == -1) {
		return -1;
	}
	if (second != first && mrmr_dir_lock(second) == -1) {
		mrmr_dir_unlock(first);
		return -1;
	}
	return 0;
}

void mrmr_dir_unlock_two(struct mrmr_dir *a, struct mrmr_dir *b)
{
	mrmr_dir_unlock(a);
	if (b != a) {
		mrmr_dir_unlock(b);
	}
}

int mrmr_tree_lock(struct mrmr_pool *pool, bool exclusive)
{
	if (pool->tree_locks > 0) {
		if (exclusive && !pool->tree_exclusive) {
			/* Waiting for those who wait for us: no caller does. */
			errno = EDEADLK;
			return -1;
		}
		pool->tree_locks++;
		return 0;
	}
	if (dir_lock_fd(pool->tree_lock_fd, exclusive ? LOCK_EX : LOCK_SH) ==
	    -1) {
		return -1;
	}
	pool->tree_locks = 1;
	pool->tree_exclusive = exclusive;
	if (exclusive) {
		atomic_fetch_or(&pool->shared->tree_gen, 1);
	}
	return 0;
}

void mrmr_tree_unlock(struct mrmr_pool *pool)
{
	int saved_errno = errno;

	if (--pool->tree_locks == 0) {
		if (pool->tree_exclusive) {
			atomic_fetch_add(&pool->shared->tree_gen, 1);
			pool->tree_exclusive = false;
		}
		flock(pool->tree_lock_fd, LOCK_UN);
	}
	errno = saved_errno;
}
