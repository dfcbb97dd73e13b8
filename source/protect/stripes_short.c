/*
 * MRMR: stripes that are short of rows, as some member was away or full.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <talloc.h>
#include <xxhash.h>

#include "stripes_private.h"

#define NOTE "short" /* a hash of the members that were online */

static uint64_t hash_of_online(const struct mrmr_engine *engine)
{
	const struct mrmr_pool *pool = engine->pool;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (pool->members[i].state == MRMR_MEMBER_ONLINE) {
			sum = XXH3_64bits_withSeed(pool->members[i]
							   .config->id.byte,
						   16, sum);
		}
	}
	return htole64(sum);
}

int stripes_note_short(struct mrmr_stripes *work)
{
	uint64_t hash = hash_of_online(work->engine);

	if (work->is_short_noted) {
		return 0;
	}
	work->is_short_noted = true;
	return mrmr_catalog_put_note(work->engine->catalog, NOTE,
				     (const uint8_t *)&hash, sizeof(hash));
}

bool mrmr_stripes_made_short(const struct mrmr_stripes *work)
{
	return work->is_short_noted;
}

bool mrmr_stripes_are_short(struct mrmr_engine *engine, bool *others)
{
	uint64_t hash = hash_of_online(engine);
	size_t len = 0;
	uint8_t *value =
		mrmr_catalog_get_note(engine->catalog, NULL, NOTE, &len);

	/* If it cannot be read, it is worth while to look. */
	*others = value == NULL || len != sizeof(hash) ||
		  memcmp(value, &hash, sizeof(hash)) != 0;
	if (value == NULL) {
		return errno != ENOENT;
	}
	talloc_free(value);
	return true;
}

bool mrmr_stripes_short_is_noted(struct mrmr_catalog *catalog)
{
	return mrmr_catalog_has_note(catalog, NOTE);
}

int mrmr_stripes_forget_short(struct mrmr_engine *engine)
{
	return mrmr_catalog_put_note(engine->catalog, NOTE, NULL, 0);
}
