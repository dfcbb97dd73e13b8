/*
 * MRMR: computing all of a block of a stripe: making the job (see decode.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "decode_private.h"

/* What the catalogue does not know as a piece of this slot is left out. */
static void want_piece(struct mrmr_decode *decode, struct mrmr_engine *engine,
		       const struct mrmr_slot *slot,
		       const struct mrmr_piece *piece, uint32_t at)
{
	struct decode_wanted *wanted = &decode->wanted[decode->num_wanted];
	struct mrmr_extent extent;
	uint32_t got = 0;

	if (mrmr_catalog_get_extents(engine->catalog, piece->file, piece->index,
				     &extent, 1, &got) == -1 ||
	    got != 1 || extent.state != MRMR_EXTENT_IN_STRIPE ||
	    extent.stripe != decode->stripe || extent.slot != slot->slot ||
	    extent.slot_offset != at || extent.len_bytes != piece->len_bytes) {
		return;
	}
	wanted->piece = (struct mrmr_decode_piece){
		.file = piece->file,
		.index = piece->index,
		.at = at,
		.len_bytes = piece->len_bytes,
	};
	memcpy(wanted->sha256, extent.sha256, sizeof(wanted->sha256));
	decode->num_wanted++;
}

static int want_slot(struct mrmr_decode *decode, struct mrmr_engine *engine,
		     const struct mrmr_stripe *stripe,
		     const struct mrmr_slot *slot)
{
	uint32_t at = 0;
	uint32_t i;

	decode->stripe = stripe->id;
	decode->want = slot->slot;
	decode->wanted = talloc_zero_array(decode, struct decode_wanted,
					   slot->num_pieces);
	if (decode->wanted == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < slot->num_pieces; i++) {
		const struct mrmr_piece *piece = &slot->pieces[i];

		if (piece->file != MRMR_ID_NONE) {
			want_piece(decode, engine, slot, piece, at);
		}
		at += piece->len_bytes;
	}
	if (decode->num_wanted > 0) {
		const struct mrmr_decode_piece *last =
			&decode->wanted[decode->num_wanted - 1].piece;

		decode->begin = decode->wanted[0].piece.at;
		decode->end = last->at + last->len_bytes;
	}
	return 0;
}

struct mrmr_decode *mrmr_decode_slot(void *mem_ctx, struct mrmr_engine *engine,
				     const struct mrmr_stripe *stripe,
				     const struct mrmr_slot *slot,
				     struct mrmr_error *err)
{
	struct mrmr_decode *decode = decode_new(mem_ctx, err);

	if (decode == NULL) {
		return NULL;
	}
	if (want_slot(decode, engine, stripe, slot) == -1 ||
	    decode_fill_at_once(decode, engine, stripe) == -1) {
		talloc_free(decode);
		mrmr_error_set(err, ENOMEM, "not enough memory");
		return NULL;
	}
	return decode;
}

struct mrmr_decode *mrmr_decode_row_at_once(void *mem_ctx,
					    struct mrmr_engine *engine,
					    const struct mrmr_stripe *stripe,
					    const struct mrmr_row *row,
					    struct mrmr_error *err)
{
	struct mrmr_decode *decode = decode_new(mem_ctx, err);

	if (decode == NULL) {
		return NULL;
	}
	memcpy(decode->sha256, row->sha256, sizeof(decode->sha256));
	decode->want = mrmr_parity_row(row->row);
	decode->end = row->len_bytes;
	if (decode_fill_at_once(decode, engine, stripe) == -1) {
		talloc_free(decode);
		mrmr_error_set(err, ENOMEM, "not enough memory");
		return NULL;
	}
	return decode;
}

size_t mrmr_decode_num_pieces(const struct mrmr_decode *decode)
{
	return decode->num_wanted;
}

const struct mrmr_decode_piece *mrmr_decode_piece(
	const struct mrmr_decode *decode, size_t i)
{
	return &decode->wanted[i].piece;
}
