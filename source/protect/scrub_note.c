/*
 * MRMR: scrubbing: how it stands, for those who ask (see mrmr/scrub.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <talloc.h>

#include "scrub_note.h"

#define DAY_SECONDS 86400
#define RECENT_DAYS 30u

/* So many stripes are looked at one by one. */
#define LOOK_AT_ALL 100000
#define SAMPLES 20000

/* --- the note ---------------------------------------------------------------------- */

#define NOTE_NAME "scrub"
#define NOTE_VERSION 1
#define NOTE_LEN 28
#define FLAG_UNFINISHED 1
#define FLAG_DEEP 2

static uint8_t *put_number(uint8_t *to, uint64_t number, unsigned int len)
{
	for (; len > 0; len--) {
		*to++ = (uint8_t)number;
		number >>= 8;
	}
	return to;
}

static uint64_t get_number(const uint8_t **from, unsigned int len)
{
	uint64_t number = 0;
	unsigned int i;

	for (i = len; i > 0; i--) {
		number = number << 8 | (*from)[i - 1];
	}
	*from += len;
	return number;
}

int scrub_note_put(struct mrmr_catalog *catalog,
		   const struct mrmr_scrub_state *state)
{
	uint8_t value[NOTE_LEN];
	uint8_t *to = value;

	to = put_number(to, NOTE_VERSION, 1);
	to = put_number(to,
			(state->is_unfinished ? FLAG_UNFINISHED : 0) |
				(state->is_deep ? FLAG_DEEP : 0),
			1);
	to = put_number(to, state->begun_day, 2);
	to = put_number(to, (uint64_t)state->time_s, 8);
	to = put_number(to, state->wrong_blocks, 4);
	to = put_number(to, state->left_blocks, 4);
	to = put_number(to, state->ever_wrong_blocks, 4);
	put_number(to, state->ever_repaired_blocks, 4);
	return mrmr_catalog_put_note(catalog, NOTE_NAME, value, NOTE_LEN);
}

int mrmr_scrub_state(struct mrmr_catalog *catalog,
		     struct mrmr_scrub_state *state)
{
	size_t len = 0;
	uint8_t *value = mrmr_catalog_get_note(catalog, NULL, NOTE_NAME, &len);
	const uint8_t *from = value;
	uint64_t flags;

	*state = (struct mrmr_scrub_state){0};
	if (value == NULL) {
		return -1;
	}
	if (len != NOTE_LEN || get_number(&from, 1) != NOTE_VERSION) {
		talloc_free(value);
		errno = EILSEQ;
		return -1;
	}
	flags = get_number(&from, 1);
	state->is_unfinished = (flags & FLAG_UNFINISHED) != 0;
	state->is_deep = (flags & FLAG_DEEP) != 0;
	state->begun_day = (uint16_t)get_number(&from, 2);
	state->time_s = (int64_t)get_number(&from, 8);
	state->wrong_blocks = (uint32_t)get_number(&from, 4);
	state->left_blocks = (uint32_t)get_number(&from, 4);
	state->ever_wrong_blocks = (uint32_t)get_number(&from, 4);
	state->ever_repaired_blocks = (uint32_t)get_number(&from, 4);
	talloc_free(value);
	return 0;
}

/* --- ages ---------------------------------------------------------------------------- */

/* The id of the next stripe; 0 at the end. */
static int next_id(struct mrmr_catalog *catalog, uint64_t after, uint64_t *id)
{
	struct mrmr_stripe *stripe = NULL;

	*id = 0;
	if (mrmr_catalog_next_stripe(catalog, NULL, after, &stripe) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	*id = stripe->id;
	talloc_free(stripe);
	return 0;
}

/* A bound of the highest id. */
static int highest_id(struct mrmr_catalog *catalog, uint64_t *bound)
{
	uint64_t id = 1;

	*bound = 1;
	while (id != 0) {
		*bound *= 2;
		if (next_id(catalog, *bound - 1, &id) == -1) {
			return -1;
		}
	}
	return 0;
}

static int look_at(struct mrmr_catalog *catalog, uint64_t id,
		   unsigned int today, struct mrmr_scrub_ages *ages)
{
	uint16_t day = 0;

	if (mrmr_catalog_scrubbed(catalog, id, &day) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	ages->num_looked_at++;
	if (day == 0) {
		ages->num_never++;
	} else if (day + RECENT_DAYS >= today) {
		ages->num_recent++;
	}
	if (day != 0 && day < today && today - day > ages->oldest_days) {
		ages->oldest_days = today - day;
	}
	return 0;
}

int mrmr_scrub_ages(struct mrmr_catalog *catalog, struct mrmr_scrub_ages *ages)
{
	unsigned int today = (unsigned int)(time(NULL) / DAY_SECONDS);
	struct mrmr_catalog_sums sums = {0};
	uint64_t step = 1;
	uint64_t at = 0;
	uint64_t id = 0;

	*ages = (struct mrmr_scrub_ages){0};
	if (mrmr_catalog_sums(catalog, MRMR_MEMBER_NONE, &sums) == -1) {
		return -1;
	}
	ages->num_stripes = sums.num_stripes;
	if (sums.num_stripes > LOOK_AT_ALL) {
		if (highest_id(catalog, &step) == -1) {
			return -1;
		}
		step = step / SAMPLES + 1;
	}
	while (next_id(catalog, at, &id) == 0) {
		if (id == 0) {
			return 0;
		}
		if (look_at(catalog, id, today, ages) == -1) {
			return -1;
		}
		at = id + step - 1;
	}
	return -1;
}
