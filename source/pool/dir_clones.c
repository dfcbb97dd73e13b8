/*
 * MRMR: the clones of a directory: the same directory on the members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/marker.h>
#include <mrmr/missed.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

#include "dir_private.h"

#define CLONE_LIFETIME_NS (1000 * INT64_C(1000000))

/* Where a spine directory's clone would be, opened. */
static int open_clone(struct mrmr_dir *dir, struct mrmr_member *member)
{
	struct mrmr_pool *pool = dir->pool;
	char path[MRMR_PATH_MAX];

	if (dir->is_root) {
		return dir_open(pool, member->root_fd, ".",
				O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	}
	if (dir_path_now(dir, path) == -1) {
		return -1;
	}
	return dir_open(pool, member->root_fd, path, STEP_FLAGS, STEP_RESOLVE);
}

/*
 * In the middle of another process's rename of a directory, the spine has the
 * new path already and the member still the old one: what looks like a lack
 * may be none.
 */
static int find_clone(struct mrmr_dir *dir, struct mrmr_member *member)
{
	struct mrmr_pool *pool = dir->pool;
	uint32_t gen = atomic_load(&pool->shared->tree_gen);
	int saved_errno;
	int fd;

	fd = open_clone(dir, member);
	saved_errno = errno;
	if (((gen & 1) == 0 && atomic_load(&pool->shared->tree_gen) == gen) ||
	    pool->tree_locks > 0) {
		errno = saved_errno;
		return fd;
	}
	if (fd != -1) {
		close(fd);
	}
	if (mrmr_tree_lock(pool, false) == -1) {
		return -1;
	}
	fd = open_clone(dir, member);
	mrmr_tree_unlock(pool);
	return fd;
}

/* Has this member missed a change of the directory? */
static bool has_missed(struct mrmr_dir *dir, size_t member)
{
	bool missed;

	if (!dir->pool->members[member].missed ||
	    dir->pool->members[member].no_owners) {
		return false;
	}
	dir->pool->identity.become_root();
	missed = mrmr_missed_has(dir, member);
	dir->pool->identity.unbecome_root();
	return missed;
}

/*
 * Makes the clone's rights those of the spine. If that cannot be, as the member
 * knows no owners or cannot be written to, the clone is unlike: the kernel does
 * not say there what the spine says. False: it should be tried again soon.
 */
static bool check_attributes(struct mrmr_dir *dir, size_t index,
			     struct mrmr_dir_clone *clone)
{
	const struct mrmr_member *member = &dir->pool->members[index];
	bool missed = has_missed(dir, index);
	struct stat spine;
	struct stat st;

	clone->is_unlike = member->no_owners || member->read_only;
	if (!missed &&
	    (member->no_owners || fstat(dir->spine_fd, &spine) == -1 ||
	     fstat(clone->fd, &st) == -1)) {
		return true;
	}
	if (!missed && spine.st_mode == st.st_mode &&
	    spine.st_uid == st.st_uid && spine.st_gid == st.st_gid) {
		return true;
	}
	if (!mrmr_dir_reconcile(dir, index, clone->fd)) {
		clone->is_unlike = true;
		return false;
	}
	clone->is_unlike = member->no_owners || member->read_only;
	return true;
}

/* There was none a moment ago: has another process made one? */
static bool is_still_lacking(struct mrmr_dir *dir, size_t index,
			     struct mrmr_dir_clone *clone)
{
	struct mrmr_pool *pool = dir->pool;
	uint32_t dirs_gen = atomic_load_explicit(&pool->shared->dirs_gen,
						 memory_order_acquire);
	int fd;

	if (clone->dirs_gen == dirs_gen) {
		return true;
	}
	pool->identity.become_root();
	fd = mrmr_absent_peek(dir, index);
	pool->identity.unbecome_root();
	if (fd != -1) {
		close(fd);
		return false;
	}
	clone->dirs_gen = dirs_gen;
	return true;
}

/*
 * The folder that stands in for the directory of a member that is away. It is
 * opened again after a second: it has gone if the member came and left again.
 */
static int on_absent_member(struct mrmr_dir *dir, size_t index, bool make)
{
	struct mrmr_pool *pool = dir->pool;
	struct mrmr_member *member = &pool->members[index];
	struct mrmr_dir_clone *clone = &dir->clones[index];
	int64_t now = pool->used_ns;

	if (!mrmr_is_absent(pool, index)) {
		errno = member->state == MRMR_MEMBER_UNKNOWN ? ENFILE : ENODEV;
		return -1;
	}
	if (clone->state != CLONE_UNKNOWN && clone->epoch == member->epoch &&
	    now - clone->checked_ns < CLONE_LIFETIME_NS) {
		if (clone->state == CLONE_PRESENT) {
			return clone->fd;
		}
		if (!make && is_still_lacking(dir, index, clone)) {
			errno = clone->error;
			return -1;
		}
	}
	mrmr_dir_forget(dir, index);
	clone->dirs_gen = atomic_load_explicit(&pool->shared->dirs_gen,
					       memory_order_acquire);
	clone->is_unlike = false; /* its folder is brought in line by itself */
	clone->fd = mrmr_absent_open(dir, index, make);
	clone->error = errno;
	clone->epoch = member->epoch;
	clone->checked_ns = now;
	if (clone->fd != -1) {
		clone->state = CLONE_PRESENT;
		return clone->fd;
	}
	if (mrmr_dir_is_lacking(clone->error)) {
		clone->state = CLONE_LACKING;
	}
	errno = clone->error;
	return -1;
}

/* As mrmr_dir_on_member, whoever asks. */
static int find_on_member(struct mrmr_dir *dir, size_t index)
{
	struct mrmr_pool *pool = dir->pool;
	struct mrmr_member *member = &pool->members[index];
	struct mrmr_dir_clone *clone = &dir->clones[index];
	uint32_t dirs_gen;
	uint32_t clones_gen;
	int64_t now;

	if (member->state != MRMR_MEMBER_ONLINE) {
		return on_absent_member(dir, index, false);
	}
	dirs_gen = atomic_load_explicit(&pool->shared->dirs_gen,
					memory_order_acquire);
	/* Nobody else removes clones while we have the lock: descriptors stay
	   good until it is given up. */
	clones_gen = dir->locks > 0 ? dir->locked_gen
				    : atomic_load(&pool->shared->clones_gen);
	now = pool->used_ns;
	if (clone->state != CLONE_UNKNOWN && clone->epoch == member->epoch &&
	    clone->clones_gen == clones_gen &&
	    now - clone->checked_ns < CLONE_LIFETIME_NS) {
		if (clone->state == CLONE_PRESENT) {
			return clone->fd;
		}
		if (clone->dirs_gen == dirs_gen) {
			errno = clone->error;
			return -1;
		}
	}

	mrmr_dir_forget(dir, index);
	clone->fd = find_clone(dir, member);
	clone->error = errno;
	clone->epoch = member->epoch;
	clone->dirs_gen = dirs_gen;
	clone->clones_gen = clones_gen;
	clone->checked_ns = now;
	if (clone->fd != -1) {
		clone->state = CLONE_PRESENT;
		if (!check_attributes(dir, index, clone)) {
			clone->checked_ns -= CLONE_LIFETIME_NS; /* next time */
		}
		return clone->fd;
	}

	switch (clone->error) {
	case ENOENT:
		clone->state = CLONE_LACKING;
		break;
	case ENOTDIR:
	case ELOOP:
	case EXDEV:
		/* A file, a symlink or another file system is in the way. */
		clone->error = ENOTDIR;
		clone->state = CLONE_LACKING;
		break;
	default:
		mrmr_pool_suspect(pool, member, clone->error);
		break;
	}
	errno = clone->error;
	return -1;
}

static int check_spine(const struct mrmr_dir *dir, size_t member, int rights)
{
	return dir->clones[member].is_unlike
		       ? faccessat(dir->spine_fd, ".", rights, AT_EACCESS)
		       : 0;
}

int mrmr_dir_on_member(struct mrmr_dir *dir, size_t index)
{
	int fd = find_on_member(dir, index);

	return fd != -1 && check_spine(dir, index, X_OK) == -1 ? -1 : fd;
}

int mrmr_dir_may_change(const struct mrmr_dir *dir, size_t member)
{
	return check_spine(dir, member, W_OK | X_OK);
}

bool mrmr_dir_is_lacking(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ENODEV;
}

/* The directory `name` in at_fd, as a copy of path in the spine. */
static int clone_step(struct mrmr_pool *pool, const char *path, int staging_fd,
		      int at_fd, const char *name)
{
	int saved_errno;
	int spine_fd;
	int ret;

	spine_fd =
		dir_open(pool, pool->spine_fd, path, STEP_FLAGS, STEP_RESOLVE);
	if (spine_fd == -1) {
		return -1;
	}
	ret = mrmr_directory_copy(spine_fd, staging_fd, at_fd, name);
	saved_errno = errno;
	close(spine_fd);
	if (ret == -1 && saved_errno != EEXIST) {
		errno = saved_errno;
		return -1;
	}
	atomic_fetch_add(&pool->shared->dirs_gen, 1);
	return 0;
}

/*
 * Clone path, a directory of the spine, onto the member, parents first: one
 * component at a time, so that what is already there is kept.
 */
static int clone_path(struct mrmr_pool *pool, struct mrmr_member *member,
		      char *path, int staging_fd)
{
	char *name = path;
	int at_fd = fcntl(member->root_fd, F_DUPFD_CLOEXEC, 0);

	while (name != NULL && at_fd != -1) {
		char *slash = strchr(name, '/');
		int saved_errno;
		int fd;

		if (slash != NULL) {
			*slash = '\0';
		}
		fd = dir_open(pool, at_fd, name, STEP_FLAGS, STEP_RESOLVE);
		if (fd == -1 && errno == ENOENT &&
		    clone_step(pool, path, staging_fd, at_fd, name) == 0) {
			fd = dir_open(pool, at_fd, name, STEP_FLAGS,
				      STEP_RESOLVE);
		}
		saved_errno = errno;
		close(at_fd);
		at_fd = fd;
		errno = saved_errno;
		name = NULL;
		if (slash != NULL) {
			*slash = '/';
			name = slash + 1;
		}
	}
	if (at_fd == -1) {
		if (errno == ELOOP || errno == EXDEV) {
			errno = ENOTDIR;
		}
		return -1;
	}
	close(at_fd);
	return 0;
}

int mrmr_dir_clone_to(struct mrmr_dir *dir, size_t index)
{
	struct mrmr_pool *pool = dir->pool;
	struct mrmr_member *member = &pool->members[index];
	char path[MRMR_PATH_MAX];
	int staging_fd = -1;
	int ret = -1;
	int saved_errno;
	int fd;

	if (member->state != MRMR_MEMBER_ONLINE) {
		return on_absent_member(dir, index, true);
	}
	fd = find_on_member(dir, index);
	if (fd != -1 || errno != ENOENT) {
		return fd;
	}

	if (mrmr_fault("dir-clone") != 0) {
		return -1;
	}
	pool->identity.become_root();
	if (mrmr_tree_lock(pool, false) == -1) {
		goto out;
	}
	/* Under the lock: the directory cannot move any more. */
	if (dir_path_now(dir, path) == 0) {
		staging_fd = mrmr_folder_open(member->private_fd, MRMR_REBUILD);
		if (staging_fd != -1) {
			ret = clone_path(pool, member, path, staging_fd);
		}
	}
	saved_errno = errno;
	if (staging_fd != -1) {
		close(staging_fd);
	}
	mrmr_tree_unlock(pool);
	errno = saved_errno;
out:
	saved_errno = errno;
	pool->identity.unbecome_root();
	mrmr_dir_forget(dir, index);
	if (ret == -1) {
		mrmr_pool_suspect(pool, member, saved_errno);
		errno = saved_errno;
		return -1;
	}
	return find_on_member(dir, index);
}

static bool newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec ||
	       (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

static void look_at_times(struct mrmr_dir *dir, size_t member)
{
	struct mrmr_dir_clone *clone = &dir->clones[member];
	int fd = find_on_member(dir, member);
	struct stat st = {0};

	if (fd != -1 && fstat(fd, &st) == -1) {
		st = (struct stat){0};
	}
	clone->mtime = st.st_mtim;
	clone->ctime = mrmr_is_absent(dir->pool, member) ? (struct timespec){0}
							 : st.st_ctim;
	clone->has_times = true;
}

/* Of all clones, or only of those whose times are not known. */
static void find_newest(struct mrmr_dir *dir, bool all)
{
	/* The count first: what changes after it is another count. */
	struct mrmr_dir_times newest = {
		.is_known = true,
		.changes = all ? mrmr_dir_changes(dir) : dir->newest.changes,
		.checked_ns = all ? dir->pool->used_ns : dir->newest.checked_ns,
	};
	size_t i;

	for (i = 0; i < dir->pool->num_members; i++) {
		struct mrmr_dir_clone *clone = &dir->clones[i];

		if (all || !clone->has_times) {
			look_at_times(dir, i);
		}
		if (newer(&clone->mtime, &newest.mtime)) {
			newest.mtime = clone->mtime;
		}
		if (newer(&clone->ctime, &newest.ctime)) {
			newest.ctime = clone->ctime;
		}
	}
	dir->newest = newest;
}

void mrmr_dir_newest_times(struct mrmr_dir *dir, struct stat *st)
{
	const struct mrmr_dir_times *newest = &dir->newest;

	/* Who has the lock may be in the middle of a change. */
	if (!newest->is_known || dir->locks > 0 ||
	    newest->changes != mrmr_dir_changes(dir) ||
	    dir->pool->used_ns - newest->checked_ns >= CLONE_LIFETIME_NS) {
		find_newest(dir, true);
	} else if (newest->lacks_some) {
		find_newest(dir, false);
	}
	if (newer(&newest->mtime, &st->st_mtim)) {
		st->st_mtim = newest->mtime;
	}
	if (newer(&newest->ctime, &st->st_ctim)) {
		st->st_ctim = newest->ctime;
	}
}

void dir_times_changed(struct mrmr_dir *dir, uint32_t changes_before)
{
	struct mrmr_dir_times *newest = &dir->newest;

	/* If nobody else has changed anything since, and this was on one member,
	   what is known of the others is still right. */
	if (dir->changed_on < dir->pool->num_members && newest->is_known &&
	    newest->changes == changes_before) {
		newest->changes = changes_before + 1;
		newest->lacks_some = true;
		dir->clones[dir->changed_on].has_times = false;
	}
}
