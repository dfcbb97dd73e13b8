/*
 * MRMR: what lies where in a stripe that is being changed.
 *
 * Pieces never move: the extents of files say where they begin, and parity is
 * made of it. So what leaves becomes a gap, whose bytes are zero; later pieces
 * may take its place, and gaps at the end are cut off.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "stripes_private.h"

int layout_of_stripe(void *mem_ctx, const struct mrmr_stripe *stripe,
		     struct layout *layout)
{
	uint32_t i;
	uint32_t j;

	layout->num_slots = stripe->num_slots;
	layout->slots = talloc_zero_array(mem_ctx, struct layout_slot,
					  stripe->num_slots);
	if (layout->slots == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *from = &stripe->slots[i];
		struct layout_slot *to = &layout->slots[i];

		to->slot = from->slot;
		to->member = from->member;
		to->len_bytes = from->len_bytes;
		to->num_pieces = from->num_pieces;
		to->pieces =
			talloc_zero_array(layout->slots, struct layout_piece,
					  from->num_pieces);
		if (to->pieces == NULL) {
			errno = ENOMEM;
			return -1;
		}
		for (j = 0; j < from->num_pieces; j++) {
			to->pieces[j].file = from->pieces[j].file;
			to->pieces[j].index = from->pieces[j].index;
			to->pieces[j].len_bytes = from->pieces[j].len_bytes;
		}
	}
	return 0;
}

struct layout_slot *layout_slot(struct layout *layout, uint8_t slot)
{
	uint32_t i;

	for (i = 0; i < layout->num_slots; i++) {
		if (layout->slots[i].slot == slot) {
			return &layout->slots[i];
		}
	}
	return NULL;
}

struct layout_piece *layout_find(struct layout_slot *slot, uint32_t offset)
{
	uint32_t at = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces && at <= offset; i++) {
		if (at == offset && slot->pieces[i].len_bytes > 0) {
			return &slot->pieces[i];
		}
		at += slot->pieces[i].len_bytes;
	}
	return NULL;
}

void layout_take_out(struct layout_piece *piece)
{
	piece->file = MRMR_ID_NONE;
	piece->index = 0;
	piece->item = NULL;
}

/* --- places ------------------------------------------------------------------ */

static bool is_gap(const struct layout_piece *piece)
{
	return piece->file == MRMR_ID_NONE;
}

/* One more piece, before the i-th one. */
static int insert(struct layout_slot *slot, uint32_t i,
		  struct layout_piece piece)
{
	struct layout_piece *pieces = slot->pieces;

	if (slot->num_pieces == talloc_array_length(pieces)) {
		/* of a slot that was made on the stack too */
		pieces = talloc_realloc(NULL, pieces, struct layout_piece,
					slot->num_pieces +
						slot->num_pieces / 2 + 4);
		if (pieces == NULL) {
			errno = ENOMEM;
			return -1;
		}
		slot->pieces = pieces;
	}
	memmove(&pieces[i + 1], &pieces[i],
		(slot->num_pieces - i) * sizeof(pieces[0]));
	pieces[i] = piece;
	slot->num_pieces++;
	return 0;
}

/* Gaps one after another become one. */
static void merge_gaps(struct layout_slot *slot)
{
	uint32_t to = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		const struct layout_piece *piece = &slot->pieces[i];

		if (to > 0 && is_gap(piece) && is_gap(&slot->pieces[to - 1])) {
			slot->pieces[to - 1].len_bytes += piece->len_bytes;
		} else {
			slot->pieces[to++] = *piece;
		}
	}
	slot->num_pieces = to;
}

int layout_resize(struct layout_slot *slot, uint32_t offset, uint32_t len_bytes,
		  uint32_t max_bytes)
{
	struct layout_piece *piece = NULL;
	struct layout_piece *next = NULL;
	uint32_t i;
	uint32_t missing;

	merge_gaps(slot);
	piece = layout_find(slot, offset);
	i = (uint32_t)(piece - slot->pieces);
	if (len_bytes <= piece->len_bytes) {
		struct layout_piece gap = {.len_bytes = piece->len_bytes -
							len_bytes};

		piece->len_bytes = len_bytes;
		if (gap.len_bytes > 0 && insert(slot, i + 1, gap) == -1) {
			return -1;
		}
		return 1;
	}
	missing = len_bytes - piece->len_bytes;
	if (i + 1 < slot->num_pieces) {
		next = &slot->pieces[i + 1];
		if (is_gap(next) && next->len_bytes > missing) {
			next->len_bytes -= missing;
			piece->len_bytes = len_bytes;
			return 1;
		}
		/* a gap at the end can be lengthened */
		if (!is_gap(next) ||
		    (next->len_bytes < missing && i + 2 < slot->num_pieces)) {
			return 0;
		}
		if (next->len_bytes < missing &&
		    slot->len_bytes + (missing - next->len_bytes) > max_bytes) {
			return 0;
		}
		slot->len_bytes += missing - next->len_bytes;
		piece->len_bytes = len_bytes;
		memmove(next, next + 1,
			(slot->num_pieces - i - 2) * sizeof(*next));
		slot->num_pieces--;
		return 1;
	}
	if (slot->len_bytes > max_bytes ||
	    missing > max_bytes - slot->len_bytes) {
		return 0;
	}
	slot->len_bytes += missing;
	piece->len_bytes = len_bytes;
	return 1;
}

int layout_add(struct layout_slot *slot, struct layout_piece piece,
	       uint32_t max_bytes, uint32_t *offset)
{
	uint32_t at = 0;
	uint32_t i;

	merge_gaps(slot);
	/* a piece may make two out of a gap */
	if (slot->num_pieces + 1 > PIECES_MAX) {
		return 0;
	}
	for (i = 0; i < slot->num_pieces; i++) {
		struct layout_piece *gap = &slot->pieces[i];

		if (is_gap(gap) && gap->len_bytes >= piece.len_bytes) {
			*offset = at;
			gap->len_bytes -= piece.len_bytes;
			if (gap->len_bytes == 0) {
				*gap = piece;
				return 1;
			}
			return insert(slot, i, piece) == -1 ? -1 : 1;
		}
		at += gap->len_bytes;
	}
	if (at > max_bytes || piece.len_bytes > max_bytes - at) {
		return 0;
	}
	if (insert(slot, slot->num_pieces, piece) == -1) {
		return -1;
	}
	*offset = at;
	slot->len_bytes = at + piece.len_bytes;
	return 1;
}

uint32_t layout_room(const struct layout_slot *slot, uint32_t max_bytes)
{
	uint32_t room = 0;
	uint32_t i;

	if (slot->num_pieces >= PIECES_MAX) {
		return 0;
	}
	if (slot->len_bytes < max_bytes) {
		room = max_bytes - slot->len_bytes;
	}
	for (i = 0; i < slot->num_pieces; i++) {
		if (is_gap(&slot->pieces[i])) {
			room += slot->pieces[i].len_bytes;
		}
	}
	return room;
}

struct layout_slot *layout_add_slot(void *mem_ctx, struct layout *layout,
				    uint16_t member)
{
	struct layout_slot *slots = NULL;
	uint32_t i = 0;

	/* they are ascending: the first that is not in its place */
	while (i < layout->num_slots && layout->slots[i].slot == i) {
		i++;
	}
	if (i >= MRMR_PARITY_SLOTS) {
		errno = ENOSPC;
		return NULL;
	}
	slots = talloc_realloc(mem_ctx, layout->slots, struct layout_slot,
			       layout->num_slots + 1);
	if (slots == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	layout->slots = slots;
	memmove(&slots[i + 1], &slots[i],
		(layout->num_slots - i) * sizeof(slots[0]));
	slots[i] = (struct layout_slot){.slot = (uint8_t)i, .member = member};
	layout->num_slots++;
	return &slots[i];
}

/* --- what is left -------------------------------------------------------------- */

static void tidy_slot(struct layout_slot *slot)
{
	merge_gaps(slot);
	while (slot->num_pieces > 0 &&
	       is_gap(&slot->pieces[slot->num_pieces - 1])) {
		slot->len_bytes -= slot->pieces[--slot->num_pieces].len_bytes;
	}
}

void layout_tidy(struct layout *layout)
{
	uint32_t to = 0;
	uint32_t i;

	for (i = 0; i < layout->num_slots; i++) {
		tidy_slot(&layout->slots[i]);
		if (layout->slots[i].num_pieces > 0) {
			layout->slots[to++] = layout->slots[i];
		}
	}
	layout->num_slots = to;
}

uint32_t layout_len(const struct layout *layout)
{
	uint32_t len = 0;
	uint32_t i;

	for (i = 0; i < layout->num_slots; i++) {
		if (layout->slots[i].len_bytes > len) {
			len = layout->slots[i].len_bytes;
		}
	}
	return len;
}

int layout_record(void *mem_ctx, const struct layout *layout,
		  struct mrmr_slot **slots)
{
	struct mrmr_slot *list = talloc_zero_array(mem_ctx, struct mrmr_slot,
						   layout->num_slots + 1);
	uint32_t i;
	uint32_t j;

	if (list == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < layout->num_slots; i++) {
		const struct layout_slot *from = &layout->slots[i];

		list[i] = (struct mrmr_slot){
			.slot = from->slot,
			.member = from->member,
			.len_bytes = from->len_bytes,
			.num_pieces = from->num_pieces,
			.pieces = talloc_zero_array(list, struct mrmr_piece,
						    from->num_pieces + 1),
		};
		if (list[i].pieces == NULL) {
			talloc_free(list);
			errno = ENOMEM;
			return -1;
		}
		for (j = 0; j < from->num_pieces; j++) {
			list[i].pieces[j] = (struct mrmr_piece){
				.file = from->pieces[j].file,
				.index = from->pieces[j].index,
				.len_bytes = from->pieces[j].len_bytes,
			};
		}
	}
	*slots = list;
	return 0;
}
