/*
 * MRMR: stripes with pieces that no file knows.
 *
 * A catalogue that was made anew from what is left of the parts may have some
 * (recover_verify.c). Their bytes are in the parity, and nobody can tell what they
 * are: each is an erasure of its stripe, until the protector has computed that
 * without it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "stripes_private.h"

#define NOTE "unknown-pieces"

int mrmr_stripes_note_unknown(struct mrmr_catalog *catalog)
{
	return mrmr_catalog_put_note(catalog, NOTE, (const uint8_t *)"1", 1);
}

bool mrmr_stripes_unknown_is_noted(struct mrmr_catalog *catalog)
{
	return mrmr_catalog_has_note(catalog, NOTE);
}

int mrmr_stripes_forget_unknown(struct mrmr_catalog *catalog)
{
	return mrmr_catalog_put_note(catalog, NOTE, NULL, 0);
}

bool mrmr_stripes_has_unknown(struct mrmr_catalog *catalog,
			      const struct mrmr_stripe *stripe)
{
	uint32_t i;
	uint32_t j;

	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];
		uint32_t offset = 0;

		for (j = 0; j < slot->num_pieces; j++) {
			const struct mrmr_piece *piece = &slot->pieces[j];
			struct mrmr_extent extent;

			if (piece->file != MRMR_ID_NONE &&
			    !mrmr_catalog_piece_extent(catalog, stripe->id,
						       slot->slot, piece,
						       offset, &extent)) {
				return true;
			}
			offset += piece->len_bytes;
		}
	}
	return false;
}
