/*
 * MRMR: computing blocks from the rest of their stripe: stretches.
 *
 * A piece of a packed slot is wanted, most of the time, and it needs the same
 * range of the other blocks only. In that range a slot may have a large
 * extent, many small pieces, gaps, or nothing. Each piece is a file of its own,
 * there or not, so which blocks are lost can differ from one stretch of the
 * range to the next:
 *
 *	wanted      |=======================================|
 *	slot 3      |=====a=====|====b (lost)===|==c==|  gap
 *	slot 5 (lost)   |======d=======|
 *	row 0       |=======================================|
 *	row 1       |=======================================|
 *	lost        |1  |2      |3     |2       |1          |
 *
 * A range is cut where that changes, and each stretch gets its own plan. So
 * what can be computed is computed: a stretch fails only where more than the
 * rows are lost at the same place. As a rule there is one stretch.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include "decode_private.h"

uint32_t decode_find_piece(const struct decode_block *block, uint32_t at)
{
	uint32_t low = 0;
	uint32_t high = block->num_pieces;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (block->pieces[middle].end <= at) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

enum presence {
	NOTHING, /* zeros */
	BYTES,
	LOST,
};

static uint32_t lower(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static bool is_lost(const struct decode_block *block,
		    const struct decode_piece *piece)
{
	return piece->error != 0 || block->is_left_out;
}

/* Lost pieces one after another are one loss. */
static uint32_t end_of_lost(const struct decode_block *block, uint32_t i)
{
	uint32_t end = block->pieces[i].end;

	for (i++; i < block->num_pieces; i++) {
		const struct decode_piece *piece = &block->pieces[i];

		if (piece->begin != end || !is_lost(block, piece)) {
			break;
		}
		end = piece->end;
	}
	return end;
}

/*
 * What a slot has from a position on; *end becomes lower if that changes
 * before. Pieces that can be read and gaps are not told apart: the reader of a
 * block fills gaps.
 */
static enum presence look_at_slot(const struct decode_block *block,
				  uint32_t begin, uint32_t *end)
{
	uint32_t i = decode_find_piece(block, begin);
	const struct decode_piece *piece = &block->pieces[i];
	bool has_bytes = false;

	if (i < block->num_pieces && piece->begin <= begin &&
	    is_lost(block, piece)) {
		*end = lower(*end, end_of_lost(block, i));
		return LOST;
	}
	for (; i < block->num_pieces; i++) {
		piece = &block->pieces[i];
		if (piece->begin >= *end) {
			break;
		}
		if (is_lost(block, piece)) {
			*end = piece->begin;
			break;
		}
		has_bytes = true;
	}
	return has_bytes ? BYTES : NOTHING;
}

/* Two passes, as the end of the stretch must be known before a block that has
   bytes only behind it can be told from one that has them in it. */
static void look_at_blocks(struct mrmr_decode *decode, uint32_t begin,
			   uint32_t *end, struct mrmr_parity_set *have,
			   struct mrmr_parity_set *lost)
{
	uint32_t i;
	int pass;

	for (pass = 0; pass < 2; pass++) {
		memset(have, 0, sizeof(*have));
		memset(lost, 0, sizeof(*lost));
		for (i = 0; i < decode->num_blocks; i++) {
			const struct decode_block *block = &decode->blocks[i];
			enum presence presence = NOTHING;

			if (!decode_is_row(block)) {
				presence = look_at_slot(block, begin, end);
			} else if (block->error == 0 && !block->is_left_out) {
				presence = BYTES;
			}
			if (presence == BYTES) {
				mrmr_parity_set_add(have, block->place);
			} else if (presence == LOST) {
				mrmr_parity_set_add(lost, block->place);
			}
		}
	}
}

static void find_inputs(struct mrmr_decode *decode,
			struct decode_stretch *stretch)
{
	struct decode_block *by_place[MRMR_PARITY_PLACES] = {NULL};
	uint32_t i;

	for (i = 0; i < decode->num_blocks; i++) {
		by_place[decode->blocks[i].place] = &decode->blocks[i];
	}
	for (i = 0; i < stretch->plan.num_inputs; i++) {
		stretch->inputs[i] = by_place[stretch->plan.input[i]];
	}
}

int decode_stretch_make(struct mrmr_decode *decode, uint32_t begin,
			struct decode_stretch *stretch)
{
	struct mrmr_parity_set have;
	struct mrmr_parity_set lost;
	struct mrmr_parity_set want = {{0}};

	stretch->begin = begin;
	stretch->end = decode->end;
	look_at_blocks(decode, begin, &stretch->end, &have, &lost);
	mrmr_parity_set_add(&want, decode->want);
	if (decode->want < MRMR_PARITY_SLOTS) {
		mrmr_parity_set_add(&lost, decode->want);
	}
	if (mrmr_parity_plan_make(&stretch->plan, &have, &lost, &want, NULL) ==
	    -1) {
		return -1;
	}
	find_inputs(decode, stretch);
	return 0;
}
