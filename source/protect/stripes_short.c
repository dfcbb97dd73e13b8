/*
 * MRMR: stripes that are short of rows, as some member was away or full; and what
 * was in those that came to an end by that.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <talloc.h>
#include <xxhash.h>

#include "stripes_private.h"

/* A hash of the members that were online, and how much room they had. */
#define NOTE "short"

#define NOTE_BARE "bare" /* a byte */

struct short_note {
	uint64_t online; /* little-endian */
	uint64_t room_bytes;
};

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

int mrmr_stripes_note_short(struct mrmr_engine *engine)
{
	const struct short_note note = {
		.online = hash_of_online(engine),
		.room_bytes = htole64(mrmr_pool_sum_room(engine->pool)),
	};

	return mrmr_catalog_put_note(engine->catalog, NOTE,
				     (const uint8_t *)&note, sizeof(note));
}

int stripes_note_short(struct mrmr_stripes *work)
{
	if (work->is_short_noted) {
		return 0;
	}
	work->is_short_noted = true;
	return mrmr_stripes_note_short(work->engine);
}

bool mrmr_stripes_made_short(const struct mrmr_stripes *work)
{
	return work->is_short_noted;
}

bool mrmr_stripes_are_short(struct mrmr_engine *engine, bool *is_worth_it)
{
	struct short_note note = {0};
	size_t len = 0;
	uint8_t *value =
		mrmr_catalog_get_note(engine->catalog, NULL, NOTE, &len);

	*is_worth_it = true;
	if (value == NULL) {
		/* if it cannot be read, it is worth while to look */
		return errno != ENOENT;
	}
	if (len == sizeof(note)) {
		memcpy(&note, value, sizeof(note));
		*is_worth_it =
			note.online != hash_of_online(engine) ||
			mrmr_pool_has_more_room(engine->pool,
						le64toh(note.room_bytes));
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

int stripes_note_bare(struct mrmr_stripes *work)
{
	const uint8_t one = 1;

	if (work->is_bare_noted) {
		return 0;
	}
	work->is_bare_noted = true;
	return mrmr_catalog_put_note(work->engine->catalog, NOTE_BARE, &one, 1);
}

bool mrmr_stripes_bare_is_noted(struct mrmr_catalog *catalog)
{
	return mrmr_catalog_has_note(catalog, NOTE_BARE);
}

int mrmr_stripes_forget_bare(struct mrmr_catalog *catalog)
{
	return mrmr_catalog_put_note(catalog, NOTE_BARE, NULL, 0);
}
