/*
 * MRMR: a job that computes a block, between its making (decode.c) and its run
 * (decode_run.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef DECODE_PRIVATE_H
#define DECODE_PRIVATE_H

#include <mrmr/decode.h>
#include <mrmr/live.h>
#include <mrmr/parity.h>

/* Offsets are those within the slots and parity blocks of the stripe. */
struct decode_piece {
	uint32_t begin; /* of the whole piece, also what is not in the range */
	uint32_t end;
	uint64_t file;
	uint32_t index;
	uint64_t file_offset; /* of its first byte */
	uint8_t sha256[32];
	struct mrmr_live *live;
	int error;       /* why its bytes are not to be had; 0: they are */
	bool is_checked; /* its bytes matched its hash */
};

/* A block of the stripe, other than the one that is wanted. */
struct decode_block {
	unsigned int place;
	uint16_t member;
	bool is_left_out; /* on trial, see decode_run.c */

	/* Of slots: those that are in the range, ascending. Between them are
	   zeros. */
	struct decode_piece *pieces;
	uint32_t num_pieces;

	/* Of rows: */
	int fd;
	uint32_t len_bytes;
	uint8_t sha256[32];
	int error;
	bool is_checked;
};

/* A piece of the slot that is wanted. */
struct decode_wanted {
	struct mrmr_decode_piece piece;
	uint8_t sha256[32];
};

struct mrmr_decode {
	uint64_t stripe;
	unsigned int want; /* its place */
	uint32_t begin;    /* the range that is wanted */
	uint32_t end;
	uint8_t sha256[32];
	bool is_zero; /* all bytes are: nothing has to be read */

	/* All of a block. The pieces of others were not asked for their hashes,
	   so what is wrong is not looked for. */
	bool is_at_once;
	/* Instead of sha256, of a whole slot: what is in it, ascending. */
	struct decode_wanted *wanted;
	uint32_t num_wanted;

	struct decode_block *blocks;
	uint32_t num_blocks;

	struct mrmr_decode_wrong *wrong; /* malloc: threads add to it */
	size_t num_wrong;
	size_t num_reported;
};

static inline bool decode_is_row(const struct decode_block *block)
{
	return block->place >= MRMR_PARITY_SLOTS;
}

/* --- decode.c ---------------------------------------------------------------- */

struct mrmr_decode *decode_new(void *mem_ctx, struct mrmr_error *err);

/* Why a block was left out that says nothing of it: mrmr_is_shortage(). 0: there
   is none. */
int decode_shortage(const struct mrmr_decode *decode);

/* The blocks of a job for all of a block; want, begin and end are set. -1 with
   ENOMEM. */
int decode_fill_at_once(struct mrmr_decode *decode, struct mrmr_engine *engine,
			const struct mrmr_stripe *stripe);

/* --- decode_stretch.c -------------------------------------------------------- */

/* The first piece that ends behind a position. */
uint32_t decode_find_piece(const struct decode_block *block, uint32_t at);

/* How a stretch of the range is computed. */
struct decode_stretch {
	uint32_t begin;
	uint32_t end; /* the same blocks take part up to here */
	struct mrmr_parity_plan plan;
	struct decode_block *inputs[MRMR_PARITY_SLOTS]; /* the plan's */
};

/*
 * The stretch that begins at a position in the range, by what is known to be
 * unreadable so far. -1 with EIO if more is lost there than rows are left.
 */
int decode_stretch_make(struct mrmr_decode *decode, uint32_t begin,
			struct decode_stretch *stretch);

const char *decode_member_name(const struct mrmr_engine *engine,
			       uint16_t number);

/*
 * A block, or a piece of one, is not what it should be: EILSEQ its bytes do not
 * match its hash, or why they cannot be read. For mrmr_decode_report(), once
 * each. In any thread.
 */
void decode_note_row(struct mrmr_decode *decode,
		     const struct decode_block *block, int error);
void decode_note_piece(struct mrmr_decode *decode,
		       const struct decode_block *block,
		       const struct decode_piece *piece, int error);

#endif
