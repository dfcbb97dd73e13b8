/*
 * MRMR: what was begun on several members and must be finished: by whoever
 * finds the records of it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/dir.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/intent_replay.h>
#include <mrmr/log.h>
#include <mrmr/path.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

#include "dir_private.h"
#include "intent_private.h"

/* The spine directory that path is in, or NULL if it is not there any more. */
static struct mrmr_dir *parent_of(struct mrmr_pool *pool, const char *path)
{
	struct mrmr_dir *dir = NULL;
	int fd = mrmr_intent_open_parent(pool->spine_fd, path);

	if (fd != -1) {
		dir = mrmr_dir_get(pool, fd);
		close(fd);
	}
	return dir;
}

static int lock_if_there(struct mrmr_dir **dir)
{
	if (*dir == NULL || mrmr_dir_lock(*dir) == 0) {
		return 0;
	}
	*dir = NULL;
	return errno == ENOENT ? 0 : -1;
}

/* Those that were removed meanwhile become NULL. -1: a lock is not to be
   had, and none is. */
static int lock_both(struct mrmr_dir **a, struct mrmr_dir **b)
{
	if (*a == *b) {
		*b = NULL;
	}
	if (*a != NULL && *b != NULL && !mrmr_dir_comes_first(*a, *b)) {
		struct mrmr_dir *first = *b;

		*b = *a;
		*a = first;
	}
	if (lock_if_there(a) == -1) {
		return -1;
	}
	if (lock_if_there(b) == -1) {
		if (*a != NULL) {
			mrmr_dir_unlock(*a);
		}
		return -1;
	}
	return 0;
}

#define DONE_MAX 256 /* records that are removed together */

struct finishing {
	struct mrmr_pool *pool;
	int folder;
	const struct mrmr_intent **done; /* their records are to be removed */
	size_t num_done;
};

/* What was done must be durable before the records that ask for it go. False:
   it may not be. */
static bool sync_members(struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		struct mrmr_member *member = &pool->members[i];

		if (!member->needs_sync) {
			continue;
		}
		/* Others may have directories open that were merged. */
		atomic_fetch_add(&pool->shared->clones_gen, 1);
		if (member->root_fd != -1 && syncfs(member->root_fd) == -1) {
			return false;
		}
		member->needs_sync = false;
	}
	return true;
}

/* The records that ask for it go. -1: one may be there still; all are done again. */
static int remove_done(struct finishing *f)
{
	int ret = sync_members(f->pool) ? 0 : -1;
	size_t i;

	for (i = 0; i < f->num_done && ret == 0; i++) {
		if (mrmr_fault("replay-end") != 0 ||
		    intent_end(f->pool, f->done[i]) == -1) {
			ret = -1;
		}
	}
	/* One that a power cut brought back would be carried out again, on what
	   clients have made under these names since. */
	if (ret == 0 && f->num_done > 0) {
		ret = mrmr_sync(f->folder);
	}
	if (ret == -1) {
		mrmr_log(MRMR_LOG_ERROR, "%s/" MRMR_INTENTS ": %s",
			 f->pool->config->state_dir, strerror(errno));
	}
	f->num_done = 0;
	return ret;
}

static bool is_about(const char *a, const char *b)
{
	return mrmr_path_is_within(a, b) || mrmr_path_is_within(b, a);
}

/* Would what is done be done to other files, if it was done again after this? */
static bool meets_done(const struct finishing *f,
		       const struct mrmr_intent *intent)
{
	size_t i;

	for (i = 0; i < f->num_done; i++) {
		const struct mrmr_intent *done = f->done[i];

		if (is_about(done->from, intent->from) ||
		    is_about(done->from, intent->to) ||
		    is_about(done->to, intent->from) ||
		    is_about(done->to, intent->to)) {
			return true;
		}
	}
	return f->num_done >= DONE_MAX;
}

/* A member that is in use could not follow: its old names must not count, for no
   process. Each holds it off when it has looked. */
static void tell_of_those_left(struct mrmr_pool *pool, const size_t *left,
			       size_t num_left)
{
	size_t i;

	for (i = 0; i < num_left; i++) {
		if (pool->members[left[i]].state == MRMR_MEMBER_ONLINE) {
			atomic_fetch_add(&pool->shared->members_gen, 1);
			return;
		}
	}
}

/* -1: those before it could not be brought to their end. */
static int finish_locked(struct finishing *f, const char *name)
{
	struct mrmr_intent *intent =
		intent_load(f->done, f->pool, f->folder, name);
	size_t left[MRMR_MEMBERS_MAX];
	size_t num_before;
	size_t num_left;

	if (intent == NULL) {
		return 0; /* somebody else has finished it */
	}
	if (meets_done(f, intent) && remove_done(f) == -1) {
		return -1;
	}
	num_before = intent->committed ? intent->num_members : SIZE_MAX;
	num_left = mrmr_intent_replay(f->pool, intent, left);
	if (num_left == 0) {
		f->done[f->num_done++] = intent;
	} else if (intent->committed && num_left != num_before &&
		   sync_members(f->pool)) {
		if (intent_keep_for(f->pool, intent, left, num_left) == -1) {
			mrmr_log(MRMR_LOG_ERROR,
				 "intents/%s in the state directory "
				 "cannot be written: %s",
				 name, strerror(errno));
		}
		if (num_before == SIZE_MAX) {
			tell_of_those_left(f->pool, left, num_left);
		}
	}
	return 0;
}

/* A record for members that are all away has to wait. */
static bool can_do_something(const struct mrmr_pool *pool,
			     const struct mrmr_intent *intent)
{
	size_t i;

	if (!intent->committed) {
		return true;
	}
	for (i = 0; i < intent->num_members; i++) {
		if (pool->members[intent->members[i]].state ==
		    MRMR_MEMBER_ONLINE) {
			return true;
		}
	}
	return intent->num_members == 0;
}

/* -1: a lock was not to be had, or a record not removed. */
static int finish_one(struct finishing *f, const char *name)
{
	void *frame = talloc_new(NULL);
	struct mrmr_intent *intent =
		intent_load(frame, f->pool, f->folder, name);
	struct mrmr_dir *a = NULL;
	struct mrmr_dir *b = NULL;
	int ret = 0;

	if (intent == NULL || !can_do_something(f->pool, intent)) {
		goto out;
	}
	a = parent_of(f->pool, intent->from);
	b = parent_of(f->pool, intent->to);
	ret = lock_both(&a, &b);
	if (ret == -1) {
		goto out;
	}
	/* Whoever is in the middle of what an intent says has the tree lock:
	   once we have it, what is there was left behind. */
	ret = mrmr_tree_lock(f->pool, true);
	if (ret == 0) {
		ret = finish_locked(f, name);
		mrmr_tree_unlock(f->pool);
	}
	if (a != NULL) {
		mrmr_dir_unlock(a);
	}
	if (b != NULL) {
		mrmr_dir_unlock(b);
	}
out:
	talloc_free(frame);
	return ret;
}

/* For whom do records wait? Returns how many records there are. */
static int count_waiting(struct mrmr_pool *pool, int folder)
{
	struct dirent **names = NULL;
	int n = intent_list(folder, &names);
	int i;
	size_t m;

	pool->has_intents_left = false;
	for (m = 0; m < pool->num_members; m++) {
		pool->members[m].is_waited_for = false;
	}
	for (i = 0; i < n; i++) {
		void *frame = talloc_new(NULL);
		struct mrmr_intent *intent =
			intent_load(frame, pool, folder, names[i]->d_name);

		if (intent != NULL && !intent->committed) {
			pool->has_intents_left = true;
		}
		for (m = 0; intent != NULL && intent->committed &&
			    m < intent->num_members;
		     m++) {
			pool->members[intent->members[m]].is_waited_for = true;
		}
		talloc_free(frame);
	}
	if (n >= 0) {
		intent_free_list(names, n);
	}
	return n > 0 ? n : 0;
}

/* The number of intents that dead processes left: the living have the tree
   lock, and so have none now. */
static uint32_t count_stale(struct mrmr_pool *pool)
{
	uint32_t stale;

	if (atomic_load(&pool->shared->num_intents) == 0 ||
	    mrmr_tree_lock(pool, true) == -1) {
		return 0;
	}
	stale = atomic_load(&pool->shared->num_intents);
	mrmr_tree_unlock(pool);
	return stale;
}

/* What could be done is done; what could not is for later, and not for every
   operation to try. If others died meanwhile, the count is another one. */
static void forget_stale(struct mrmr_pool *pool, uint32_t stale)
{
	if (stale == 0 || mrmr_tree_lock(pool, true) == -1) {
		return;
	}
	atomic_compare_exchange_strong(&pool->shared->num_intents, &stale, 0);
	mrmr_tree_unlock(pool);
}

/* In their order. */
static void finish_all(struct finishing *f)
{
	uint32_t stale = count_stale(f->pool);
	struct dirent **names = NULL;
	int n = intent_list(f->folder, &names);
	int ret = 0;
	int i;

	f->done = talloc_zero_array(NULL, const struct mrmr_intent *,
				    n > 0 ? (size_t)n : 1);
	for (i = 0; i < n && ret == 0 && f->done != NULL; i++) {
		(void)mrmr_fault("intents-next");
		ret = finish_one(f, names[i]->d_name);
	}
	if (f->done != NULL) {
		(void)remove_done(f); /* logged; it is done again next time */
		talloc_free(f->done);
	}
	if (n >= 0) {
		intent_free_list(names, n);
	}
	if (ret == 0) {
		forget_stale(f->pool, stale);
	}
}

int mrmr_intents_finish(struct mrmr_pool *pool)
{
	struct finishing f = {.pool = pool};
	int num_left;
	size_t m;

	f.folder = mrmr_folder_open(pool->state_fd, MRMR_INTENTS);
	if (f.folder == -1) {
		return 0;
	}
	for (m = 0; m < pool->num_members; m++) {
		pool->members[m].is_behind = false;
	}
	/* One process at a time, from the first to the last: to do one again is no
	   harm only if those after it are done again, too, as names may have come
	   a second time. No other lock is held here. */
	if (dir_lock_fd(f.folder, LOCK_EX) == 0) {
		finish_all(&f);
	}
	num_left = count_waiting(pool, f.folder);
	close(f.folder);
	return num_left;
}

bool mrmr_intents_are_stale(struct mrmr_pool *pool)
{
	if (pool->tree_locks > 0 ||
	    flock(pool->tree_lock_fd, LOCK_EX | LOCK_NB) == -1) {
		return false; /* somebody is in the middle of it */
	}
	flock(pool->tree_lock_fd, LOCK_UN);
	return atomic_load(&pool->shared->num_intents) > 0;
}

/* Is there one of which this is true? */
static bool any_intent(struct mrmr_pool *pool,
		       bool (*is_it)(const struct mrmr_intent *intent,
				     const void *private_data),
		       const void *private_data)
{
	struct dirent **names = NULL;
	bool found = false;
	int folder;
	int n, i;

	folder = mrmr_folder_open(pool->state_fd, MRMR_INTENTS);
	if (folder == -1) {
		return false;
	}
	n = intent_list(folder, &names);
	for (i = 0; i < n && !found; i++) {
		void *frame = talloc_new(NULL);
		struct mrmr_intent *intent =
			intent_load(frame, pool, folder, names[i]->d_name);

		found = intent != NULL && is_it(intent, private_data);
		talloc_free(frame);
	}
	if (n >= 0) {
		intent_free_list(names, n);
	}
	close(folder);
	return found;
}

static bool waits_for(const struct mrmr_intent *intent,
		      const void *private_data)
{
	const size_t *member = private_data;
	bool waits = false;
	size_t m;

	for (m = 0; m < intent->num_members; m++) {
		waits = waits ||
			(intent->committed && intent->members[m] == *member);
	}
	return waits;
}

bool mrmr_intents_wait_for(struct mrmr_pool *pool, size_t member)
{
	return any_intent(pool, waits_for, &member);
}

static bool renames(const struct mrmr_intent *intent, const void *private_data)
{
	const char *path = private_data;

	return intent->kind == MRMR_INTENT_RENAME_DIR &&
	       (strcmp(intent->from, path) == 0 ||
		strcmp(intent->to, path) == 0);
}

bool mrmr_intents_rename(struct mrmr_pool *pool, const char *path)
{
	return any_intent(pool, renames, path);
}

bool mrmr_intents_hold_off(struct mrmr_pool *pool,
			   const struct mrmr_member *member)
{
	return mrmr_now_ns() < member->held_off_until_ns &&
	       mrmr_intents_wait_for(pool, (size_t)(member - pool->members));
}
