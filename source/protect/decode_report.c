/*
 * MRMR: computing blocks from the rest of their stripe: what was found to be wrong
 * with the rest.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/hex.h>
#include <mrmr/log.h>
#include <mrmr/shortage.h>
#include <mrmr/trouble.h>

#include "decode_private.h"

/* --- noting it -------------------------------------------------------------------- */

static bool is_noted(const struct mrmr_decode *decode,
		     const struct mrmr_decode_wrong *wrong)
{
	size_t i;

	for (i = 0; i < decode->num_wrong; i++) {
		const struct mrmr_decode_wrong *known = &decode->wrong[i];

		if (known->is_parity == wrong->is_parity &&
		    known->place == wrong->place &&
		    known->file == wrong->file &&
		    known->index == wrong->index) {
			return true;
		}
	}
	return false;
}

/* What says nothing of the block is not noted. For want of memory a report is lost,
   and nothing else. */
static void note(struct mrmr_decode *decode, struct mrmr_decode_wrong wrong)
{
	struct mrmr_decode_wrong *more = NULL;

	if (mrmr_is_shortage(wrong.error) || is_noted(decode, &wrong)) {
		return;
	}
	more = realloc(decode->wrong, (decode->num_wrong + 1) * sizeof(*more));
	if (more != NULL) {
		decode->wrong = more;
		decode->wrong[decode->num_wrong++] = wrong;
	}
}

void decode_note_row(struct mrmr_decode *decode,
		     const struct decode_block *block, int error)
{
	struct mrmr_decode_wrong wrong = {
		.error = error,
		.member = block->member,
		.stripe = decode->stripe,
		.is_parity = true,
		.place = (uint8_t)(block->place - MRMR_PARITY_SLOTS),
	};

	memcpy(wrong.sha256, block->sha256, sizeof(wrong.sha256));
	note(decode, wrong);
}

void decode_note_piece(struct mrmr_decode *decode,
		       const struct decode_block *block,
		       const struct decode_piece *piece, int error)
{
	struct mrmr_decode_wrong wrong = {
		.error = error,
		.member = block->member,
		.stripe = decode->stripe,
		.place = (uint8_t)block->place,
		.file = piece->file,
		.index = piece->index,
	};

	memcpy(wrong.sha256, piece->sha256, sizeof(wrong.sha256));
	note(decode, wrong);
}

/* --- telling it -------------------------------------------------------------------- */

static atomic_uint_fast64_t wrong_count;

uint64_t mrmr_decode_wrong_count(void)
{
	return atomic_load(&wrong_count);
}

const struct mrmr_decode_wrong *mrmr_decode_wrong(
	const struct mrmr_decode *decode, size_t *num)
{
	*num = decode->num_wrong;
	return decode->wrong;
}

/* A parity block's name, or a file's. */
static char *block_name(const struct mrmr_decode_wrong *wrong,
			struct mrmr_engine *engine)
{
	char hex[2 * sizeof(wrong->sha256) + 1];
	bool in_trash = false;
	char *path = NULL;
	char *name = NULL;

	if (wrong->is_parity) {
		mrmr_hex_encode(wrong->sha256, sizeof(wrong->sha256), hex);
		return talloc_asprintf(NULL, "parity block %s", hex);
	}
	path = mrmr_catalog_path(engine->catalog, NULL, wrong->file, &in_trash);
	name = talloc_asprintf(NULL, "block %lu of %s%s",
			       (unsigned long)wrong->index,
			       in_trash ? "(in the trash) " : "",
			       path != NULL ? path : "a file");
	talloc_free(path);
	return name;
}

void mrmr_decode_report_wrong(const struct mrmr_decode_wrong *wrong,
			      struct mrmr_engine *engine)
{
	size_t member = mrmr_engine_member(engine, wrong->member);
	const char *member_name = decode_member_name(engine, wrong->member);
	char *name = block_name(wrong, engine);

	if (wrong->error != EILSEQ) {
		mrmr_trouble_refused(engine->pool, member);
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: %s cannot be read: %s; it was left out of "
			 "what was computed",
			 member_name, name, strerror(wrong->error));
	} else {
		mrmr_trouble_wrong(engine->pool, member);
		atomic_fetch_add(&wrong_count, 1);
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: %s does not have the bytes that it "
			 "should; it was left out of what was computed; "
			 "mrmr-admin scrub --repair mends it",
			 member_name, name);
	}
	talloc_free(name);
}

size_t mrmr_decode_report(struct mrmr_decode *decode,
			  struct mrmr_engine *engine)
{
	size_t num = decode->num_wrong - decode->num_reported;

	while (decode->num_reported < decode->num_wrong) {
		mrmr_decode_report_wrong(&decode->wrong[decode->num_reported++],
					 engine);
	}
	return num;
}
