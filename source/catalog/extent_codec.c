/*
 * MRMR: the catalogue: one extent, as it stands in a record.
 *
 * What is as it was in the extent before it, or as it usually is, is a bit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include "catalog_private.h"

enum {
	EXTENT_STATE = 0x03,
	EXTENT_IS_FULL = 0x04,    /* length is the grid's */
	EXTENT_NO_HASH = 0x08,    /* hash and checksum are zero */
	EXTENT_SAME_HASH = 0x10,  /* hash and checksum of the one before */
	EXTENT_AT_START = 0x20,   /* of its slot */
	EXTENT_SAME_BATCH = 0x40, /* sequence of the one before */
};

static bool has_hash(const struct mrmr_extent *extent)
{
	static const uint8_t zero[32];

	return extent->checksum != 0 ||
	       memcmp(extent->sha256, zero, sizeof(zero)) != 0;
}

static bool same_hash(const struct mrmr_extent *a, const struct mrmr_extent *b)
{
	return a->checksum == b->checksum &&
	       memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0;
}

bool extent_is_protected(const struct mrmr_extent *extent)
{
	return extent->state == MRMR_EXTENT_ZERO ||
	       extent->state == MRMR_EXTENT_IN_STRIPE;
}

void extent_pack(struct pack *p, const struct mrmr_extent *extent,
		 const struct mrmr_extent *previous, uint32_t grid_bytes)
{
	bool in_stripe = extent->state == MRMR_EXTENT_IN_STRIPE;
	uint8_t flags = (uint8_t)extent->state;

	if (extent->len_bytes == grid_bytes) {
		flags |= EXTENT_IS_FULL;
	}
	if (!has_hash(extent)) {
		flags |= EXTENT_NO_HASH;
	} else if (same_hash(extent, previous)) {
		flags |= EXTENT_SAME_HASH;
	}
	if (in_stripe && extent->slot_offset == 0) {
		flags |= EXTENT_AT_START;
	}
	if (extent->sequence == previous->sequence) {
		flags |= EXTENT_SAME_BATCH;
	}
	pack_fixed(p, flags, 1);
	if ((flags & EXTENT_SAME_BATCH) == 0) {
		pack_varint(p, extent->sequence);
	}
	if ((flags & EXTENT_IS_FULL) == 0) {
		pack_varint(p, extent->len_bytes);
	}
	if ((flags & (EXTENT_NO_HASH | EXTENT_SAME_HASH)) == 0) {
		pack_bytes(p, extent->sha256, sizeof(extent->sha256));
		pack_fixed(p, extent->checksum, 8);
	}
	if (in_stripe) {
		pack_signed(p, (int64_t)(extent->stripe - previous->stripe));
		pack_fixed(p, extent->slot, 1);
		if ((flags & EXTENT_AT_START) == 0) {
			pack_varint(p, extent->slot_offset);
		}
	}
}

void extent_unpack(struct unpack *u, struct mrmr_extent *extent,
		   const struct mrmr_extent *previous, uint32_t grid_bytes)
{
	uint8_t flags = (uint8_t)unpack_fixed(u, 1);

	*extent = (struct mrmr_extent){
		.state = (enum mrmr_extent_state)(flags & EXTENT_STATE),
		.len_bytes = grid_bytes,
		.sequence = previous->sequence,
	};
	if ((flags & EXTENT_SAME_BATCH) == 0) {
		extent->sequence = unpack_varint(u);
	}
	if ((flags & EXTENT_IS_FULL) == 0) {
		extent->len_bytes = (uint32_t)unpack_upto(u, UINT32_MAX);
	}
	if ((flags & EXTENT_SAME_HASH) != 0) {
		memcpy(extent->sha256, previous->sha256, 32);
		extent->checksum = previous->checksum;
	} else if ((flags & EXTENT_NO_HASH) == 0) {
		unpack_copy(u, extent->sha256, sizeof(extent->sha256));
		extent->checksum = unpack_fixed(u, 8);
	}
	if (extent->state == MRMR_EXTENT_IN_STRIPE) {
		extent->stripe = previous->stripe + (uint64_t)unpack_signed(u);
		extent->slot = (uint8_t)unpack_fixed(u, 1);
		if ((flags & EXTENT_AT_START) == 0) {
			extent->slot_offset =
				(uint32_t)unpack_upto(u, UINT32_MAX);
		}
		if (extent->stripe == 0 || extent->stripe >= ID_MAX) {
			unpack_fail(u);
		}
	}
}

void extent_follow(struct mrmr_extent *previous,
		   const struct mrmr_extent *extent)
{
	uint64_t stripe = previous->stripe;

	*previous = *extent;
	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		previous->stripe = stripe;
	}
}
