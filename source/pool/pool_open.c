/*
 * MRMR: a pool in use: opening and closing it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/dir.h>
#include <mrmr/fd_path.h>
#include <mrmr/log.h>
#include <mrmr/pool.h>
#include <mrmr/protection.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

#include "dir_private.h"

static void nobody(void)
{
}

static int pool_destructor(struct mrmr_pool *pool)
{
	mrmr_pool_let_go(pool);
	mrmr_shared_close(pool->shared);
	if (pool->tree_lock_fd != -1) {
		close(pool->tree_lock_fd);
	}
	if (pool->spine_fd != -1) {
		close(pool->spine_fd);
	}
	if (pool->state_fd != -1) {
		close(pool->state_fd);
	}
	return 0;
}

/* The path of the spine as /proc/self/fd spells it, whatever symlinks the
   config's path goes through. */
static char *kernel_path(void *mem_ctx, int fd)
{
	char path[PATH_MAX];

	if (mrmr_fd_path(fd, path, sizeof(path)) == -1) {
		return NULL;
	}
	return talloc_strdup(mem_ctx, path);
}

static int open_state(struct mrmr_pool *pool, struct mrmr_error *err)
{
	const char *state_dir = pool->config->state_dir;
	struct stat st;

	pool->state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool->state_fd == -1) {
		return mrmr_error_set(err, errno,
				      "state directory %s cannot "
				      "be opened: %s; mrmr-admin init makes "
				      "it",
				      state_dir, strerror(errno));
	}
	pool->spine_fd = openat(pool->state_fd, "spine",
				O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool->spine_fd == -1 || fstat(pool->spine_fd, &st) == -1) {
		return mrmr_error_set(err, errno,
				      "%s/spine, the share's "
				      "path, cannot be opened: %s; make an "
				      "empty directory there, it is filled "
				      "from the members",
				      state_dir, strerror(errno));
	}
	pool->spine_dev = st.st_dev;
	pool->spine_path = kernel_path(pool, pool->spine_fd);
	if (pool->spine_path == NULL) {
		return mrmr_error_set(err, errno, "/proc must be mounted");
	}
	pool->tree_lock_fd =
		openat(pool->state_fd, "tree.lock",
		       O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (pool->tree_lock_fd == -1) {
		return mrmr_error_set(err, errno,
				      "%s/tree.lock cannot be "
				      "made: %s",
				      state_dir, strerror(errno));
	}
	if (mrmr_state_folders(pool->state_fd) == -1) {
		return mrmr_error_set(err, errno, "%s cannot be written: %s",
				      state_dir, strerror(errno));
	}
	return 0;
}

static int make_members(struct mrmr_pool *pool, struct mrmr_error *err)
{
	struct mrmr_config *config = pool->config;
	size_t i;

	pool->members = talloc_zero_array(pool, struct mrmr_member,
					  config->num_members);
	if (pool->members == NULL) {
		return mrmr_error_set(err, ENOMEM, "out of memory");
	}
	for (i = 0; i < config->num_members; i++) {
		struct mrmr_member *member = &pool->members[i];
		int slot = mrmr_shared_slot(pool->shared, pool->state_fd,
					    config, &config->members[i].id);

		if (slot == -1) {
			return mrmr_error_set(err, errno,
					      "no slot for member "
					      "%zu: %s",
					      i, strerror(errno));
		}
		*member = (struct mrmr_member){
			.config = &config->members[i],
			.device_id = mrmr_uuid_hash(&config->members[i].id),
			.index = i,
			.slot = slot,
			.root_fd = -1,
			.private_fd = -1,
		};
		pool->num_members++; /* it may be closed from here on */
	}
	return 0;
}

static void report_missing(const struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state != MRMR_MEMBER_ONLINE) {
			mrmr_log(MRMR_LOG_WARNING, "member %s is %s: %s",
				 mrmr_member_name(member),
				 mrmr_member_state_name(member->state),
				 member->why);
		}
	}
}

struct mrmr_pool *mrmr_pool_open(void *mem_ctx, struct mrmr_config *config,
				 const struct mrmr_identity *identity,
				 struct mrmr_error *err)
{
	static uint64_t last_serial;
	struct mrmr_pool *pool = NULL;

	pool = talloc_zero(mem_ctx, struct mrmr_pool);
	if (pool == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	pool->serial = ++last_serial;
	pool->state_fd = -1;
	pool->spine_fd = -1;
	pool->tree_lock_fd = -1;
	pool->identity = (struct mrmr_identity){nobody, nobody};
	if (identity != NULL) {
		pool->identity = *identity;
	}
	talloc_set_destructor(pool, pool_destructor);
	pool->config = talloc_steal(pool, config);
	pool->device_id = mrmr_uuid_hash(&config->pool_id);
	mrmr_units_find(config, &pool->units);

	pool->dirs = mrmr_dir_cache_new(pool);
	pool->hints = mrmr_hints_new(pool);
	pool->folded = mrmr_folded_new(pool);
	if (pool->dirs == NULL || pool->hints == NULL || pool->folded == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		goto fail;
	}
	if (getrandom(&pool->random, sizeof(pool->random), 0) == -1) {
		pool->random = (uint64_t)mrmr_now_ns();
	}
	if (open_state(pool, err) == -1) {
		goto fail;
	}
	pool->shared = mrmr_shared_open(pool->state_fd, err);
	if (pool->shared == NULL || make_members(pool, err) == -1 ||
	    mrmr_protection_open(pool, err) == -1) {
		goto fail;
	}

	mrmr_pool_look(pool);
	if (mrmr_protection_check(pool, err) == -1) {
		goto fail;
	}
	report_missing(pool);
	mrmr_staging_sweep(pool);
	return pool;

fail:
	TALLOC_FREE(pool);
	return NULL;
}
