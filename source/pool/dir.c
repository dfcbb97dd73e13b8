/*
 * MRMR: a directory of the pool: its spine directory, and the cache of those in
 * use.
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
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fd_path.h>
#include <mrmr/marker.h>
#include <mrmr/shared.h>

#include "dir_private.h"

#define CACHE_MAX 64
#define CACHE_MIN 16 /* twice what mrmr_dir_get() promises to keep */
#define PATH_LIFETIME_NS (1000 * INT64_C(1000000))

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

	dir->newest.is_known = false;
	if (member == SIZE_MAX) {
		mrmr_dir_unhint(dir);
		TALLOC_FREE(dir->path.known);
	}
	for (i = 0; i < dir->pool->num_members; i++) {
		struct mrmr_dir_clone *clone = &dir->clones[i];

		if (member != SIZE_MAX && member != i) {
			continue;
		}
		if (clone->fd != -1) {
			close(clone->fd);
			dir->pool->dirs_closed++;
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
		dir->pool->dirs_closed++;
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
	folded_clear(pool);
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

static bool is_removed(int fd)
{
	struct stat st;

	return fd != -1 && fstat(fd, &st) == 0 && st.st_nlink == 0;
}

void mrmr_dir_cache_sweep(struct mrmr_pool *pool)
{
	struct mrmr_dir_cache *cache = pool->dirs;
	size_t kept = 0;
	size_t i, m;

	for (i = 0; cache != NULL && i < cache->num_dirs; i++) {
		struct mrmr_dir *dir = cache->dirs[i];

		if (!is_held(dir) && is_removed(dir->spine_fd)) {
			talloc_free(dir);
			continue;
		}
		cache->dirs[kept++] = dir;
		for (m = 0; m < pool->num_members && !is_held(dir); m++) {
			if (is_removed(dir->clones[m].fd)) {
				mrmr_dir_forget(dir, m);
			}
		}
	}
	if (cache != NULL) {
		cache->num_dirs = kept;
	}
}

int dir_open(struct mrmr_pool *pool, int at_fd, const char *path,
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

	if (mrmr_fd_path(fd, buf, sizeof(buf)) == -1) {
		return -1;
	}
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

static int check_there(const struct mrmr_dir *dir)
{
	struct stat st;

	/* Nobody removes it while it is locked. */
	if (dir->locks > 0) {
		return 0;
	}
	if (fstat(dir->spine_fd, &st) == -1) {
		return -1;
	}
	if (st.st_nlink == 0) {
		errno = ENOENT;
		return -1;
	}
	return 0;
}

int dir_path_now(struct mrmr_dir *dir, char path[MRMR_PATH_MAX])
{
	return check_there(dir) == -1 ? -1
				      : path_of(dir->pool, dir->spine_fd, path);
}

/*
 * It becomes another one when it, or a directory above it, is renamed. Who does
 * that has the tree exclusively, so tree_gen is odd before the first step, and
 * another number after the last: as long as it is the same even number, the path
 * is the same. Behind the pool's back only the spine could be renamed, without
 * the members; that is seen after a second.
 */
int mrmr_dir_path(struct mrmr_dir *dir, char path[MRMR_PATH_MAX])
{
	struct mrmr_pool *pool = dir->pool;
	struct mrmr_dir_path *cached = &dir->path;
	uint32_t tree_gen = atomic_load(&pool->shared->tree_gen);

	if (check_there(dir) == -1) {
		return -1;
	}
	if (cached->known != NULL && cached->tree_gen == tree_gen &&
	    pool->used_ns - cached->checked_ns < PATH_LIFETIME_NS) {
		strcpy(path, cached->known);
		return 0;
	}
	TALLOC_FREE(cached->known);
	if (path_of(pool, dir->spine_fd, path) == -1) {
		return -1;
	}
	if (tree_gen % 2 == 0 &&
	    atomic_load(&pool->shared->tree_gen) == tree_gen) {
		cached->known = talloc_strdup(dir, path);
		cached->tree_gen = tree_gen;
		cached->checked_ns = pool->used_ns;
	}
	return 0;
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
	};
	mrmr_dir_unhint(dir);
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

	dir->spine_fd = dir_open(pool, spine_fd, ".",
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

/* A coarse clock gives the same time to many: count uses. */
static void mark_used(struct mrmr_dir *dir)
{
	static int64_t ticket;

	dir->used_ns = ++ticket;
}

static struct mrmr_dir *get(struct mrmr_pool *pool, int spine_fd,
			    bool in_passing)
{
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
	dir->is_flat = st.st_nlink == 2;
	if (!in_passing) {
		mark_used(dir);
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
	struct mrmr_dir *dir = cache_find(pool->dirs, &st);

	if (dir != NULL) {
		mark_used(dir);
	}
	return dir;
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

static _Atomic uint32_t *changes_of(const struct mrmr_dir *dir)
{
	return &dir->pool->shared->changes[dir->ino % MRMR_SWAPS];
}

uint32_t mrmr_dir_changes(const struct mrmr_dir *dir)
{
	return atomic_load(changes_of(dir));
}

uint32_t mrmr_dir_count_change(struct mrmr_dir *dir)
{
	return atomic_fetch_add(changes_of(dir), 1);
}

bool mrmr_name_is_private(const struct mrmr_dir *dir, const char *name)
{
	return dir->is_root && mrmr_is_private_name(name);
}
