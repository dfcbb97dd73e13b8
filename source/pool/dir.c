/*
 * MRMR: a directory of the pool: its spine directory and its clones.
 *
 * The cache is a small array. Its entries pin the inodes of their spine
 * directories (the descriptor stays open), so that (device, inode) cannot come
 * to mean another directory while an entry has it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/dir.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/missed.h>
#include <mrmr/names.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

#define CACHE_MAX 64
#define CACHE_MIN 16 /* twice what mrmr_dir_get() promises to keep */
#define LOCK_PATIENCE_NS (20 * INT64_C(1000000000))
#define CLONE_LIFETIME_NS (1000 * INT64_C(1000000))

/* How a directory below a root is opened: nothing leads out of it. */
#define STEP_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define STEP_RESOLVE                                                     \
	(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | \
	 RESOLVE_NO_XDEV)

struct mrmr_dir_clone {
	enum {
		CLONE_UNKNOWN, /* fd -1: has to be looked up */
		CLONE_PRESENT, /* fd is open */
		CLONE_LACKING, /* error says why */
	} state;
	int fd;
	int error;
	uint32_t epoch;      /* of the member, */
	uint32_t dirs_gen;   /* and */
	uint32_t clones_gen; /* of the pool, and */
	int64_t checked_ns;  /* the time, when it was looked up */
};

struct mrmr_dir_cache {
	struct mrmr_dir *dirs[CACHE_MAX];
	size_t num_dirs;
	size_t max_dirs;
};

/* With many members, each directory takes many descriptors: no more than a
   quarter of what the process may have. */
static size_t affordable_dirs(const struct mrmr_pool *pool)
{
	size_t each = pool->config->num_members + 1;
	struct rlimit limit;
	size_t max;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 ||
	    limit.rlim_cur / 4 / each >= CACHE_MAX) {
		return CACHE_MAX;
	}
	max = (size_t)limit.rlim_cur / 4 / each;
	return max > CACHE_MIN ? max : CACHE_MIN;
}

struct mrmr_dir_cache *mrmr_dir_cache_new(struct mrmr_pool *pool)
{
	struct mrmr_dir_cache *cache = NULL;

	cache = talloc_zero(pool, struct mrmr_dir_cache);
	if (cache != NULL) {
		cache->max_dirs = affordable_dirs(pool);
	}
	return cache;
}

void mrmr_dir_forget(struct mrmr_dir *dir, size_t member)
{
	size_t i;

	for (i = 0; i < dir->pool->num_members; i++) {
		struct mrmr_dir_clone *clone = &dir->clones[i];

		if (member != SIZE_MAX && member != i) {
			continue;
		}
		if (clone->fd != -1) {
			close(clone->fd);
			clone->fd = -1;
		}
		clone->state = CLONE_UNKNOWN;
	}
}

static int dir_destructor(struct mrmr_dir *dir)
{
	dir->pool->dirs_dropped++;
	mrmr_dir_forget(dir, SIZE_MAX);
	if (dir->spine_fd != -1) {
		close(dir->spine_fd);
	}
	return 0;
}

static bool is_held(const struct mrmr_dir *dir)
{
	return dir->locks > 0 || dir->pins > 0;
}

void mrmr_dir_cache_clear(struct mrmr_pool *pool)
{
	struct mrmr_dir_cache *cache = pool->dirs;
	size_t kept = 0;
	size_t i;

	if (cache == NULL) {
		return; /* a pool that could not be opened */
	}
	for (i = 0; i < cache->num_dirs; i++) {
		if (is_held(cache->dirs[i])) {
			/* Somebody will come back to it. */
			mrmr_dir_forget(cache->dirs[i], SIZE_MAX);
			cache->dirs[kept++] = cache->dirs[i];
		} else {
			TALLOC_FREE(cache->dirs[i]);
		}
	}
	cache->num_dirs = kept;
}

/* Open as the user; as root if the user may not: what a user may see is
   decided by smbd and by the spine, not by what we keep open. */
static int open_as_needed(struct mrmr_pool *pool, int at_fd, const char *path,
			  uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .resolve = resolve};
	int saved_errno;
	int fd;

	fd = (int)syscall(SYS_openat2, at_fd, path, &how, sizeof(how));
	if (fd != -1 || errno != EACCES) {
		return fd;
	}
	pool->identity.become_root();
	fd = (int)syscall(SYS_openat2, at_fd, path, &how, sizeof(how));
	saved_errno = errno;
	pool->identity.unbecome_root();
	errno = saved_errno;
	return fd;
}

static int path_of(struct mrmr_pool *pool, int fd, char path[MRMR_PATH_MAX])
{
	size_t spine_len = strlen(pool->spine_path);
	char buf[MRMR_PATH_MAX + 256];
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, buf, sizeof(buf) - 1);
	if (len == -1) {
		return -1;
	}
	buf[len] = '\0';
	if (strncmp(buf, pool->spine_path, spine_len) != 0 ||
	    (buf[spine_len] != '/' && buf[spine_len] != '\0')) {
		errno = EXDEV;
		return -1;
	}
	if (buf[spine_len] == '/') {
		spine_len++;
	}
	if (strlen(buf + spine_len) >= MRMR_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(path, buf + spine_len);
	return 0;
}

int mrmr_dir_path(struct mrmr_dir *dir, char path[MRMR_PATH_MAX])
{
	struct stat st;

	if (fstat(dir->spine_fd, &st) == -1) {
		return -1;
	}
	if (st.st_nlink == 0) {
		errno = ENOENT;
		return -1;
	}
	return path_of(dir->pool, dir->spine_fd, path);
}

static struct mrmr_dir *dir_new(struct mrmr_pool *pool, int spine_fd,
				const struct stat *st)
{
	struct mrmr_dir *dir = NULL;
	char path[MRMR_PATH_MAX];
	size_t i;

	if (st->st_nlink == 0) {
		errno = ENOENT;
		return NULL;
	}
	dir = talloc_zero(pool->dirs, struct mrmr_dir);
	if (dir == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	*dir = (struct mrmr_dir){
		.pool = pool,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.spine_fd = -1,
		.hint_member = SIZE_MAX,
	};
	dir->clones = talloc_zero_array(dir, struct mrmr_dir_clone,
					pool->num_members);
	if (dir->clones == NULL) {
		TALLOC_FREE(dir);
		errno = ENOMEM;
		return NULL;
	}
	for (i = 0; i < pool->num_members; i++) {
		dir->clones[i].fd = -1;
	}
	talloc_set_destructor(dir, dir_destructor);

	dir->spine_fd = open_as_needed(pool, spine_fd, ".",
				       O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (dir->spine_fd == -1 || path_of(pool, dir->spine_fd, path) == -1) {
		int saved_errno = errno;

		TALLOC_FREE(dir);
		errno = saved_errno;
		return NULL;
	}
	dir->is_root = path[0] == '\0';
	return dir;
}

static struct mrmr_dir *cache_find(struct mrmr_dir_cache *cache,
				   const struct stat *st)
{
	size_t i;

	for (i = 0; i < cache->num_dirs; i++) {
		struct mrmr_dir *dir = cache->dirs[i];

		if (dir->ino == st->st_ino && dir->dev == st->st_dev) {
			return dir;
		}
	}
	return NULL;
}

static void cache_add(struct mrmr_dir_cache *cache, struct mrmr_dir *dir)
{
	size_t oldest = SIZE_MAX;
	size_t i;

	if (cache->num_dirs < cache->max_dirs) {
		cache->dirs[cache->num_dirs++] = dir;
		return;
	}
	/* No operation locks more than two. */
	for (i = 0; i < cache->num_dirs; i++) {
		if (!is_held(cache->dirs[i]) &&
		    (oldest == SIZE_MAX ||
		     cache->dirs[i]->used_ns < cache->dirs[oldest]->used_ns)) {
			oldest = i;
		}
	}
	TALLOC_FREE(cache->dirs[oldest]);
	cache->dirs[oldest] = dir;
}

static struct mrmr_dir *get(struct mrmr_pool *pool, int spine_fd,
			    bool in_passing)
{
	static int64_t ticket;
	struct mrmr_dir *dir = NULL;
	struct stat st;
	int ret;

	ret = (spine_fd == AT_FDCWD) ? stat(".", &st) : fstat(spine_fd, &st);
	if (ret == -1) {
		return NULL;
	}
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return NULL;
	}

	dir = cache_find(pool->dirs, &st);
	if (dir == NULL) {
		dir = dir_new(pool, spine_fd, &st);
		if (dir == NULL) {
			return NULL;
		}
		cache_add(pool->dirs, dir);
	}
	if (!in_passing) {
		/* A coarse clock gives the same time to many: count uses. */
		dir->used_ns = ++ticket;
	}
	return dir;
}

struct mrmr_dir *mrmr_dir_get(struct mrmr_pool *pool, int spine_fd)
{
	return get(pool, spine_fd, false);
}

struct mrmr_dir *mrmr_dir_get_in_passing(struct mrmr_pool *pool, int spine_fd)
{
	return get(pool, spine_fd, true);
}

struct mrmr_dir *mrmr_dir_known(struct mrmr_pool *pool, dev_t dev, ino_t ino)
{
	const struct stat st = {.st_dev = dev, .st_ino = ino};

	return cache_find(pool->dirs, &st);
}

/* Where a spine directory's clone would be, opened. */
static int open_clone(struct mrmr_dir *dir, struct mrmr_member *member)
{
	struct mrmr_pool *pool = dir->pool;
	char path[MRMR_PATH_MAX];

	if (dir->is_root) {
		return open_as_needed(pool, member->root_fd, ".",
				      O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	}
	if (mrmr_dir_path(dir, path) == -1) {
		return -1;
	}
	return open_as_needed(pool, member->root_fd, path, STEP_FLAGS,
			      STEP_RESOLVE);
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

/* False if the clone and the spine differ and that could not be mended now. */
static bool check_attributes(struct mrmr_dir *dir, size_t member, int fd)
{
	struct stat spine;
	struct stat clone;

	if (has_missed(dir, member)) {
		return mrmr_dir_reconcile(dir, member, fd);
	}
	if (dir->pool->members[member].no_owners ||
	    fstat(dir->spine_fd, &spine) == -1 || fstat(fd, &clone) == -1) {
		return true;
	}
	if (spine.st_mode == clone.st_mode && spine.st_uid == clone.st_uid &&
	    spine.st_gid == clone.st_gid) {
		return true;
	}
	return mrmr_dir_reconcile(dir, member, fd);
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
		if (!make) {
			errno = clone->error;
			return -1;
		}
	}
	mrmr_dir_forget(dir, index);
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

int mrmr_dir_on_member(struct mrmr_dir *dir, size_t index)
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
		if (!check_attributes(dir, index, clone->fd)) {
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

	spine_fd = open_as_needed(pool, pool->spine_fd, path, STEP_FLAGS,
				  STEP_RESOLVE);
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
		fd = open_as_needed(pool, at_fd, name, STEP_FLAGS,
				    STEP_RESOLVE);
		if (fd == -1 && errno == ENOENT &&
		    clone_step(pool, path, staging_fd, at_fd, name) == 0) {
			fd = open_as_needed(pool, at_fd, name, STEP_FLAGS,
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
	fd = mrmr_dir_on_member(dir, index);
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
	if (mrmr_dir_path(dir, path) == 0) {
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
	return mrmr_dir_on_member(dir, index);
}

/*
 * Locks are held for microseconds. One that is not to be had for long belongs
 * to a process that hangs on a dying drive: its clients wait, others get an
 * error.
 */
static int lock_fd(int fd, int operation)
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
	if (lock_fd(dir->spine_fd, LOCK_EX) == -1) {
		return -1;
	}
	dir->locks = 1;
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
		flock(dir->spine_fd, LOCK_UN);
	}
	errno = saved_errno;
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
	if (mrmr_dir_lock(second) == -1) {
		mrmr_dir_unlock(first);
		return -1;
	}
	return 0;
}

void mrmr_dir_unlock_two(struct mrmr_dir *a, struct mrmr_dir *b)
{
	mrmr_dir_unlock(a);
	mrmr_dir_unlock(b);
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
	if (lock_fd(pool->tree_lock_fd, exclusive ? LOCK_EX : LOCK_SH) == -1) {
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

void mrmr_dir_hint(struct mrmr_dir *dir, const char *name, size_t member)
{
	size_t len = strlen(name);

	if (len >= sizeof(dir->hint_name)) {
		dir->hint_member = SIZE_MAX;
		return;
	}
	memcpy(dir->hint_name, name, len + 1);
	dir->hint_member = member;
}

static _Atomic uint32_t *swaps_of(const struct mrmr_dir *dir)
{
	return &dir->pool->shared->swaps[dir->ino % MRMR_SWAPS];
}

uint32_t mrmr_dir_swaps(const struct mrmr_dir *dir)
{
	return atomic_load(swaps_of(dir));
}

void mrmr_dir_count_swap(struct mrmr_dir *dir)
{
	atomic_fetch_add(swaps_of(dir), 1);
}

static bool newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec ||
	       (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

void mrmr_dir_newest_times(struct mrmr_dir *dir, struct stat *st)
{
	size_t i;

	for (i = 0; i < dir->pool->num_members; i++) {
		struct stat clone;
		int fd = mrmr_dir_on_member(dir, i);

		if (fd == -1 || fstat(fd, &clone) == -1) {
			continue;
		}
		if (newer(&clone.st_mtim, &st->st_mtim)) {
			st->st_mtim = clone.st_mtim;
		}
		if (!mrmr_is_absent(dir->pool, i) &&
		    newer(&clone.st_ctim, &st->st_ctim)) {
			st->st_ctim = clone.st_ctim;
		}
	}
}

bool mrmr_name_is_private(const struct mrmr_dir *dir, const char *name)
{
	return dir->is_root && strcasecmp(name, MRMR_DIR) == 0;
}
