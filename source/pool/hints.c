/*
 * MRMR: on which member a file was seen last.
 *
 * smbd looks a name up several times in a request, and clients ask for what
 * they have just listed. Without a hint, each lookup asks the members one by
 * one until the name is found. A hint says whom to ask first, and no more: what
 * it says is always tried, and if it is wrong, everybody is asked.
 *
 * It is a table of fixed size without collision lists, so that remembering and
 * asking cost a hash of the name. A name is known by the hash alone, together
 * with a number that its directory gives up when all hints of it shall be
 * forgotten.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include <talloc.h>
#include <xxhash.h>

#include "dir_private.h"

#define NUM_HINTS 4096 /* a power of two */
#define HINT_LIFETIME_NS (1000 * INT64_C(1000000))

struct hint {
	uint64_t key;
	int64_t told_ns;
	uint32_t looks; /* the pool's, when it was told */
	uint32_t member;
};

struct mrmr_hints {
	struct hint hints[NUM_HINTS];
};

struct mrmr_hints *mrmr_hints_new(struct mrmr_pool *pool)
{
	return talloc_zero(pool, struct mrmr_hints);
}

void mrmr_dir_unhint(struct mrmr_dir *dir)
{
	dir->hints_serial = ++dir->pool->last_hints_serial;
}

static struct hint *hint_of(const struct mrmr_dir *dir, const char *name,
			    uint64_t *key)
{
	*key = XXH3_64bits_withSeed(name, strlen(name), dir->hints_serial);
	return &dir->pool->hints->hints[*key % NUM_HINTS];
}

void mrmr_dir_hint(struct mrmr_dir *dir, const char *name, size_t member)
{
	uint64_t key;
	struct hint *hint = hint_of(dir, name, &key);

	if (member < dir->pool->num_members) {
		*hint = (struct hint){
			.key = key,
			.told_ns = dir->pool->used_ns,
			.looks = dir->pool->looks,
			.member = (uint32_t)member,
		};
	} else if (hint->key == key) {
		*hint = (struct hint){.key = 0};
	}
}

size_t mrmr_dir_hinted(const struct mrmr_dir *dir, const char *name)
{
	const struct mrmr_pool *pool = dir->pool;
	uint64_t key;
	const struct hint *hint = hint_of(dir, name, &key);

	if (hint->key != key || hint->looks != pool->looks ||
	    hint->member >= pool->num_members ||
	    pool->used_ns - hint->told_ns >= HINT_LIFETIME_NS) {
		return SIZE_MAX;
	}
	return hint->member;
}
