/*
 * MRMR: stripes being made and changed: a stripe of new bytes only.
 *
 * Nothing of it has a hash yet that it has to be compared with before it is
 * used, so no block has to be read as a whole first. It is done from the
 * beginning to the end, across all slots at a time: a part of each slot is read
 * and hashed, the parity of these parts is computed, and that is hashed. What
 * this takes stays in the processor's near cache: each byte comes from the
 * kernel once, and parity goes to memory once.
 *
 *     slot 0   |part|    |    |         its own hashes go along with each slot,
 *     slot 1   |part|    |    |         those of the piece that it is in; and
 *     slot 2   |part|    |            with each row
 *     row 0    |part|    |    |
 *     row 1    |part|    |    |
 *
 * What can't be read counts as zeros. If that shows when an earlier part of the
 * piece is in the parity already, all is done once more without the piece.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stripes_private.h"

/* Of all slots and rows together: what a core has for itself. */
#define ACROSS_BYTES ((size_t)1 << 20)
#define PART_MIN ((size_t)4096)
#define PART_MAX ((size_t)128 << 10)

/* A slot, and how far it is. */
struct lane {
	struct layout_slot *slot;
	uint32_t piece;     /* the next one, or the one it is in */
	uint32_t piece_end; /* in the slot */
	bool is_in_piece;
	struct reading reading;
};

struct across {
	struct run *run;
	struct lane lanes[MRMR_PARITY_SLOTS];
	struct mrmr_hashes **row_hashes;
	uint32_t part_bytes;
	bool is_spoilt; /* parity has bytes that do not belong to it */
};

/* --- pieces ---------------------------------------------------------------------- */

static void begin_piece(struct across *a, struct lane *lane)
{
	const struct layout_piece *piece = &lane->slot->pieces[lane->piece];

	lane->is_in_piece = true;
	lane->piece_end += piece->len_bytes;
	reading_begin(a->run->work, piece->item, &lane->reading);
}

/* What cannot be read, or is not what it should be. */
static void leave_out(struct across *a, struct lane *lane,
		      struct layout_piece *piece)
{
	piece->item->outcome = OUTCOME_UNREADABLE;
	piece->item->error = errno;
	layout_take_out(piece);
	a->is_spoilt = a->is_spoilt || lane->reading.done_bytes > 0;
}

static void end_piece(struct across *a, struct lane *lane)
{
	struct layout_piece *piece = &lane->slot->pieces[lane->piece++];
	struct item *item = piece->item;

	lane->is_in_piece = false;
	if (item == NULL) {
		return; /* could not be read */
	}
	if (reading_end(&lane->reading) == -1) {
		leave_out(a, lane, piece);
		return;
	}
	item->outcome = OUTCOME_CAME;
	if (lane->reading.is_zero) {
		item->outcome = OUTCOME_ZERO;
		layout_take_out(piece);
	}
}

/* The next bytes of a piece. */
static void read_piece_part(struct across *a, struct lane *lane, uint8_t *data,
			    uint32_t len_bytes)
{
	struct layout_piece *piece = &lane->slot->pieces[lane->piece];

	if (piece->item != NULL &&
	    reading_go_on(&lane->reading, data, len_bytes) == 0) {
		return;
	}
	if (piece->item != NULL) {
		leave_out(a, lane, piece);
	}
	memset(data, 0, len_bytes);
}

/* A part of a slot, from begin on. How much of it there is. */
static uint32_t read_part(struct across *a, struct lane *lane, uint32_t begin,
			  uint8_t *data)
{
	uint32_t end = lane->slot->len_bytes;
	uint32_t at = begin;

	if (end > begin && end - begin > a->part_bytes) {
		end = begin + a->part_bytes;
	}
	while (at < end) {
		uint32_t to;

		if (!lane->is_in_piece) {
			begin_piece(a, lane);
		}
		to = lane->piece_end < end ? lane->piece_end : end;
		read_piece_part(a, lane, data + (at - begin), to - at);
		at = to;
		if (at == lane->piece_end) {
			end_piece(a, lane);
		}
	}
	return at - begin;
}

/* --- rows ------------------------------------------------------------------------ */

static void do_part(struct across *a, uint32_t begin, uint32_t len_bytes)
{
	struct mrmr_parity_input inputs[MRMR_PARITY_SLOTS];
	struct mrmr_parity_output outputs[MRMR_PARITY_ROWS];
	struct run *run = a->run;
	uint32_t num_slots = run->job->layout.num_slots;
	uint32_t i;

	for (i = 0; i < num_slots; i++) {
		uint8_t *data = run->piece.data + (size_t)i * a->part_bytes;

		inputs[i] = (struct mrmr_parity_input){
			.place = a->lanes[i].slot->slot,
			.data = data,
			.len_bytes = read_part(a, &a->lanes[i], begin, data),
		};
	}
	for (i = 0; i < run->num_rows; i++) {
		outputs[i] = (struct mrmr_parity_output){
			.place = mrmr_parity_row(run->row[i]),
			.data = run_row_data(run, i) + begin,
		};
	}
	/* the places are good ones */
	(void)mrmr_parity_encode(inputs, num_slots, outputs, run->num_rows,
				 len_bytes);
	for (i = 0; i < run->num_rows; i++) {
		mrmr_hashes_add(a->row_hashes[i], outputs[i].data, len_bytes);
	}
}

static int prepare(struct across *a, struct mrmr_error *err)
{
	struct run *run = a->run;
	struct layout *layout = &run->job->layout;
	size_t num = layout->num_slots + run->num_rows;
	size_t part = num > 0 ? ACROSS_BYTES / num : PART_MAX;
	uint32_t i;

	part = part / PART_MIN * PART_MIN;
	part = part < PART_MIN ? PART_MIN : part;
	a->part_bytes = (uint32_t)(part < PART_MAX ? part : PART_MAX);
	a->is_spoilt = false;
	if (run_need_hashes(run, num) == -1 ||
	    buffer_need(&run->piece,
			(size_t)layout->num_slots * a->part_bytes) == -1) {
		return stripes_no_memory(err);
	}
	for (i = 0; i < layout->num_slots; i++) {
		a->lanes[i] = (struct lane){
			.slot = &layout->slots[i],
			.reading.hashes = run->hashes[i],
		};
	}
	a->row_hashes = run->hashes + layout->num_slots;
	for (i = 0; i < run->num_rows; i++) {
		mrmr_hashes_start(a->row_hashes[i]);
	}
	return 0;
}

static int do_all(struct across *a, struct mrmr_error *err)
{
	struct run *run = a->run;
	uint32_t len = run->len_bytes;
	uint32_t begin;
	uint32_t i;

	if (prepare(a, err) == -1) {
		return -1;
	}
	for (begin = 0; begin < len; begin += a->part_bytes) {
		uint32_t left = len - begin;

		do_part(a, begin, left < a->part_bytes ? left : a->part_bytes);
	}
	for (i = 0; i < run->num_rows; i++) {
		mrmr_hashes_end(a->row_hashes[i], run->row_sha256[i],
				&run->row_checksum[i]);
	}
	run->hashed_bytes = len;
	return 0;
}

int run_across(struct run *run, struct mrmr_error *err)
{
	struct across *a = malloc(sizeof(*a));
	int ret;

	if (a == NULL) {
		return stripes_no_memory(err);
	}
	a->run = run;
	do {
		ret = run_begin_anew(run, err);
		ret = ret == 0 ? do_all(a, err) : ret;
		layout_tidy(&run->job->layout);
	} while (ret == 0 && a->is_spoilt);
	free(a);
	return ret == 0 ? 1 : -1;
}
