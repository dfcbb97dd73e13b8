/*
 * MRMR: names that a directory surely lacks, whatever their case.
 *
 * A client that ignores case makes a file only after smbd has searched the
 * whole directory for the name in another case: making n files takes n * n
 * looks at a name. So a search leaves behind a set of the names that it has
 * seen, each as a hash that does not depend on case. As long as the directory is
 * as it was, a name whose hash is not in the set is in the directory in no case.
 * That is all that a set can say: a name whose hash it has is searched for.
 *
 * Names that this process adds are added to the set (those that it removes may
 * stay: they cost a search). What other processes of the pool do is known by the
 * directory's count of changes, what is done behind the pool's back by the ctimes
 * of the spine directory and its clones; and as some clocks are coarse, a set is
 * good for a second only.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <sys/stat.h>

#include <talloc.h>

#include "dir_private.h"

#define NUM_SETS 4
#define NAMES_MAX (1024 * 1024) /* larger directories have no set */
#define LIFETIME_NS (1000 * INT64_C(1000000))

struct folded_set {
	uint64_t serial; /* of the directory's hints; 0: the set is no good */
	uint64_t used;   /* a ticket: the largest was used last */
	int64_t made_ns;
	uint32_t looks;          /* the pool's, and */
	uint32_t changes;        /* the directory's, when it was made */
	struct timespec *ctimes; /* of the clones, and the spine's as the last;
				    zero where there is no clone */
	uint32_t *hashes; /* open addressing, at most half of it in use */
	size_t size;      /* a power of two; 0: no set could be made */
	size_t num_hashes;
};

struct mrmr_folded {
	struct folded_set sets[NUM_SETS];
	uint64_t last_used;
};

struct mrmr_folded *mrmr_folded_new(struct mrmr_pool *pool)
{
	struct mrmr_folded *folded = talloc_zero(pool, struct mrmr_folded);
	size_t i;

	for (i = 0; folded != NULL && i < NUM_SETS; i++) {
		folded->sets[i].ctimes =
			talloc_zero_array(folded, struct timespec,
					  pool->config->num_members + 1);
		if (folded->sets[i].ctimes == NULL) {
			TALLOC_FREE(folded);
		}
	}
	return folded;
}

static void drop(struct folded_set *set)
{
	TALLOC_FREE(set->hashes);
	set->serial = 0;
	set->size = 0;
	set->num_hashes = 0;
}

void folded_clear(struct mrmr_pool *pool)
{
	size_t i;

	/* A pool that could not be opened has none. */
	for (i = 0; pool->folded != NULL && i < NUM_SETS; i++) {
		drop(&pool->folded->sets[i]);
	}
}

static struct folded_set *set_of(const struct mrmr_dir *dir)
{
	struct folded_set *sets = dir->pool->folded->sets;
	size_t i;

	for (i = 0; i < NUM_SETS; i++) {
		if (sets[i].serial == dir->hints_serial) {
			return &sets[i];
		}
	}
	return NULL;
}

/* False if it cannot be had: nobody knows what is there. */
static bool ctime_on(struct mrmr_dir *dir, size_t member, struct timespec *when)
{
	struct stat st = {0};
	int fd = member < dir->pool->num_members
			 ? mrmr_dir_on_member(dir, member)
			 : dir->spine_fd;

	if (fd == -1 ? !mrmr_dir_is_lacking(errno) : fstat(fd, &st) == -1) {
		return false;
	}
	*when = st.st_ctim;
	return true;
}

static bool is_unchanged(struct mrmr_dir *dir, const struct folded_set *set)
{
	size_t i;

	for (i = 0; i <= dir->pool->num_members; i++) {
		struct timespec now;

		if (!ctime_on(dir, i, &now) ||
		    now.tv_sec != set->ctimes[i].tv_sec ||
		    now.tv_nsec != set->ctimes[i].tv_nsec) {
			return false;
		}
	}
	return true;
}

/* Where it is, or would go. */
static size_t position(const uint32_t *hashes, size_t size, uint32_t hash)
{
	size_t i = hash & (size - 1);

	while (hashes[i] != 0 && hashes[i] != hash) {
		i = (i + 1) & (size - 1);
	}
	return i;
}

static bool grow(struct folded_set *set)
{
	size_t size = set->size > 0 ? 2 * set->size : 256;
	uint32_t *hashes = talloc_zero_array(set->ctimes, uint32_t, size);
	size_t i;

	if (hashes == NULL || set->num_hashes > NAMES_MAX) {
		talloc_free(hashes);
		return false;
	}
	for (i = 0; i < set->size; i++) {
		if (set->hashes[i] != 0) {
			hashes[position(hashes, size, set->hashes[i])] =
				set->hashes[i];
		}
	}
	talloc_free(set->hashes);
	set->hashes = hashes;
	set->size = size;
	return true;
}

static bool add(struct folded_set *set, uint32_t hash)
{
	size_t at;

	/* A name that cannot be hashed might be any other. */
	if (hash == 0 ||
	    (2 * (set->num_hashes + 1) > set->size && !grow(set))) {
		return false;
	}
	at = position(set->hashes, set->size, hash);
	set->num_hashes += set->hashes[at] == 0;
	set->hashes[at] = hash;
	return true;
}

bool folded_lacks(struct mrmr_dir *dir, const char *name)
{
	struct folded_set *set = NULL;
	uint32_t hash;

	/* Who has the lock may be in the middle of a change. */
	if (dir->pool->fold == NULL || dir->locks > 0) {
		return false;
	}
	set = set_of(dir);
	if (set == NULL) {
		return false;
	}
	if (set->looks != dir->pool->looks ||
	    set->changes != mrmr_dir_changes(dir) ||
	    dir->pool->used_ns - set->made_ns >= LIFETIME_NS ||
	    !is_unchanged(dir, set)) {
		drop(set);
		return false;
	}
	set->used = ++dir->pool->folded->last_used;
	hash = dir->pool->fold(name);
	return hash != 0 &&
	       set->hashes[position(set->hashes, set->size, hash)] == 0;
}

/* One that is no good, or else the one that was not used for longest. */
static struct folded_set *choose(struct mrmr_folded *folded)
{
	struct folded_set *chosen = &folded->sets[0];
	size_t i;

	for (i = 1; i < NUM_SETS && chosen->serial != 0; i++) {
		struct folded_set *set = &folded->sets[i];

		if (set->serial == 0 || set->used < chosen->used) {
			chosen = set;
		}
	}
	return chosen;
}

struct folded_set *folded_begin(struct mrmr_dir *dir)
{
	struct mrmr_pool *pool = dir->pool;
	struct folded_set *set = NULL;
	size_t i;

	/* One that is there is good: folded_lacks() has looked. The name that is
	   searched for may be there, which is no reason to make it anew. */
	if (pool->fold == NULL || dir->locks > 0 || set_of(dir) != NULL) {
		return NULL;
	}
	set = choose(pool->folded);
	drop(set);
	/* All this first: what changes while names are read is seen by it. */
	set->looks = pool->looks;
	set->changes = mrmr_dir_changes(dir);
	set->made_ns = pool->used_ns;
	for (i = 0; i <= pool->num_members; i++) {
		if (!ctime_on(dir, i, &set->ctimes[i])) {
			return NULL;
		}
	}
	return grow(set) ? set : NULL;
}

struct folded_set *folded_take(const struct mrmr_dir *dir,
			       struct folded_set *set, const char *name)
{
	if (set == NULL || add(set, dir->pool->fold(name))) {
		return set;
	}
	drop(set);
	return NULL;
}

void folded_end(const struct mrmr_dir *dir, struct folded_set *set,
		bool is_complete)
{
	if (set == NULL) {
		return;
	}
	if (!is_complete) {
		drop(set);
		return;
	}
	set->serial = dir->hints_serial;
	set->used = ++dir->pool->folded->last_used;
}

void folded_added(const struct mrmr_dir *dir, const char *name)
{
	struct folded_set *set = set_of(dir);

	if (set != NULL) {
		folded_take(dir, set, name);
	}
}

void folded_changed(struct mrmr_dir *dir, uint32_t changes_before)
{
	struct folded_set *set = set_of(dir);
	size_t member = dir->changed_on;

	if (set == NULL) {
		return;
	}
	if (member >= dir->pool->num_members ||
	    set->changes != changes_before ||
	    !ctime_on(dir, member, &set->ctimes[member])) {
		drop(set);
		return;
	}
	set->changes = changes_before + 1;
}
