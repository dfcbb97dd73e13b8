/*
 * MRMR: the catalogue: a stripe, as it stands in a record.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "catalog_private.h"

enum {
	STRIPE_SCRUBBED = 0x01,
	STRIPE_SEQUENCE = 0x02,
};

/* The number of pieces, or that there is one, as long as the slot before. */
#define SLOT_IS_LIKE_LAST 0

static uint32_t longest_slot(const struct mrmr_stripe *stripe)
{
	uint32_t longest = 0;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		if (stripe->slots[i].len_bytes > longest) {
			longest = stripe->slots[i].len_bytes;
		}
	}
	return longest;
}

static void pack_slot(struct pack *p, const struct mrmr_slot *slot,
		      uint32_t last_len, uint64_t *file)
{
	bool like_last = slot->num_pieces == 1 && slot->len_bytes == last_len;
	uint32_t i;

	pack_fixed(p, slot->slot, 1);
	pack_varint(p, slot->member);
	pack_varint(p, like_last ? SLOT_IS_LIKE_LAST : slot->num_pieces);
	for (i = 0; i < slot->num_pieces; i++) {
		const struct mrmr_piece *piece = &slot->pieces[i];

		if (like_last) {
			pack_varint(p, piece->index);
		} else {
			/* the index is 0 for small files, which are many */
			pack_varint(p, (uint64_t)piece->len_bytes << 1 |
					       (piece->index != 0));
		}
		if (!like_last && piece->index != 0) {
			pack_varint(p, piece->index);
		}
		pack_signed(p, (int64_t)(piece->file - *file));
		*file = piece->file;
	}
}

static void pack_row(struct pack *p, const struct mrmr_row *row,
		     uint32_t longest)
{
	bool is_longest = row->len_bytes == longest;

	pack_fixed(p, row->row, 1);
	pack_varint(p, (uint64_t)row->member << 1 | is_longest);
	if (!is_longest) {
		pack_varint(p, row->len_bytes);
	}
	pack_bytes(p, row->sha256, sizeof(row->sha256));
	pack_fixed(p, row->checksum, 8);
}

void stripe_pack(struct pack *p, const struct stored_stripe *stored)
{
	const struct mrmr_stripe *stripe = stored->stripe;
	uint32_t longest = longest_slot(stripe);
	uint32_t last_len = 0;
	uint8_t flags = 0;
	uint64_t file = 0;
	uint32_t i;

	flags |= stored->scrubbed_day != 0 ? STRIPE_SCRUBBED : 0;
	flags |= stored->sequence != 0 ? STRIPE_SEQUENCE : 0;
	pack_fixed(p, flags, 1);
	if ((flags & STRIPE_SCRUBBED) != 0) {
		pack_fixed(p, stored->scrubbed_day, 2);
	}
	if ((flags & STRIPE_SEQUENCE) != 0) {
		pack_varint(p, stored->sequence);
	}
	pack_varint(p, stored->class_number);
	pack_varint(p, stored->class_position);
	pack_varint(p, stripe->num_slots);
	for (i = 0; i < stripe->num_slots; i++) {
		pack_slot(p, &stripe->slots[i], last_len, &file);
		last_len = stripe->slots[i].len_bytes;
	}
	pack_varint(p, stripe->num_rows);
	for (i = 0; i < stripe->num_rows; i++) {
		pack_row(p, &stripe->rows[i], longest);
	}
}

static void unpack_piece(struct unpack *u, bool like_last, uint32_t last_len,
			 struct mrmr_piece *piece)
{
	uint64_t n;

	if (like_last) {
		piece->len_bytes = last_len;
		piece->index = (uint32_t)unpack_upto(u, NUM_EXTENTS_MAX);
		return;
	}
	n = unpack_upto(u, (uint64_t)UINT32_MAX << 1 | 1);
	piece->len_bytes = (uint32_t)(n >> 1);
	if ((n & 1) != 0) {
		piece->index = (uint32_t)unpack_upto(u, NUM_EXTENTS_MAX);
	}
}

static int unpack_slot(struct unpack *u, void *mem_ctx, struct mrmr_slot *slot,
		       uint32_t last_len, uint64_t *file)
{
	uint64_t len = 0;
	uint64_t num;
	bool like_last;
	uint32_t i;

	slot->slot = (uint8_t)unpack_fixed(u, 1);
	slot->member = (uint16_t)unpack_upto(u, MEMBERS_MAX - 1);
	num = unpack_varint(u);
	like_last = num == SLOT_IS_LIKE_LAST;
	num = like_last ? 1 : num;
	/* a piece takes two bytes at least */
	if (num > unpack_left(u) / 2) {
		unpack_fail(u);
		return 0;
	}
	slot->pieces = talloc_zero_array(mem_ctx, struct mrmr_piece, num + 1);
	if (slot->pieces == NULL) {
		errno = ENOMEM;
		return -1;
	}
	slot->num_pieces = (uint32_t)num;
	for (i = 0; i < num; i++) {
		struct mrmr_piece *piece = &slot->pieces[i];

		unpack_piece(u, like_last, last_len, piece);
		*file += (uint64_t)unpack_signed(u);
		piece->file = *file;
		len += piece->len_bytes;
		if (piece->file >= ID_MAX) {
			unpack_fail(u);
		}
	}
	if (len > UINT32_MAX) {
		unpack_fail(u);
	}
	slot->len_bytes = (uint32_t)len;
	return 0;
}

static void unpack_row(struct unpack *u, struct mrmr_row *row, uint32_t longest)
{
	uint64_t n;

	row->row = (uint8_t)unpack_fixed(u, 1);
	n = unpack_upto(u, 2 * MEMBERS_MAX - 1);
	row->member = (uint16_t)(n >> 1);
	row->len_bytes = longest;
	if ((n & 1) == 0) {
		row->len_bytes = (uint32_t)unpack_upto(u, UINT32_MAX);
	}
	unpack_copy(u, row->sha256, sizeof(row->sha256));
	row->checksum = unpack_fixed(u, 8);
}

static int unpack_stripe(struct unpack *u, struct mrmr_stripe *stripe)
{
	uint32_t last_len = 0;
	uint64_t file = 0;
	uint32_t longest;
	uint32_t i;

	stripe->num_slots = (uint32_t)unpack_upto(u, 256);
	stripe->slots = talloc_zero_array(stripe, struct mrmr_slot,
					  stripe->num_slots + 1);
	if (stripe->slots == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		if (unpack_slot(u, stripe->slots, &stripe->slots[i], last_len,
				&file) == -1) {
			return -1;
		}
		last_len = stripe->slots[i].len_bytes;
		if (i > 0 &&
		    stripe->slots[i].slot <= stripe->slots[i - 1].slot) {
			unpack_fail(u);
		}
	}
	longest = longest_slot(stripe);
	stripe->num_rows = (uint32_t)unpack_upto(u, 256);
	stripe->rows = talloc_zero_array(stripe, struct mrmr_row,
					 stripe->num_rows + 1);
	if (stripe->rows == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < stripe->num_rows; i++) {
		unpack_row(u, &stripe->rows[i], longest);
		if (i > 0 && stripe->rows[i].row <= stripe->rows[i - 1].row) {
			unpack_fail(u);
		}
	}
	return 0;
}

int stripe_unpack(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
		  const uint8_t *value, size_t len,
		  struct stored_stripe *stored)
{
	struct unpack u = unpack_of(value, len);
	struct mrmr_stripe *stripe = talloc_zero(mem_ctx, struct mrmr_stripe);
	uint8_t flags = (uint8_t)unpack_fixed(&u, 1);

	if (stripe == NULL) {
		errno = ENOMEM;
		return -1;
	}
	*stored = (struct stored_stripe){.stripe = stripe};
	stripe->id = id;
	if ((flags & STRIPE_SCRUBBED) != 0) {
		stored->scrubbed_day = (uint16_t)unpack_fixed(&u, 2);
	}
	if ((flags & STRIPE_SEQUENCE) != 0) {
		stored->sequence = unpack_varint(&u);
		stripe->sequence = stored->sequence;
	}
	stored->class_number = (uint32_t)unpack_upto(&u, UINT32_MAX);
	stored->class_position = unpack_upto(&u, ID_MAX);
	if (unpack_stripe(&u, stripe) == -1) {
		talloc_free(stripe);
		return -1;
	}
	if (!unpack_done(&u)) {
		talloc_free(stripe);
		return damaged_record(cat, "a stripe");
	}
	return 0;
}
