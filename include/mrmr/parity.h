/*
 * MRMR: Reed-Solomon parity across blocks.
 *
 * Pure arithmetic on memory: no files, no members, no allocation, no state.
 * Every function may be called from any number of threads at once.
 *
 * A stripe is a set of data blocks, each in a slot of its own, and a set of
 * parity blocks, each of a row of its own:
 *
 *     parity of row r  =  sum over the slots s in use of  c(r,s) * block s
 *
 * in GF(2^8) with the polynomial 0x11d. The coefficient c(r,s) depends on r
 * and s alone (source/parity/generator.c says how, and why that works), so
 *   - which slots are in use is free: any subset, at any time;
 *   - a block joins or leaves by changing the parity blocks, whatever else is
 *     in the stripe;
 *   - a row is added by encoding that row, and dropped by forgetting it;
 *   - any lost blocks, data or parity, can be computed while no more data
 *     blocks are lost than parity blocks are left.
 *
 * Byte i of a parity block depends on byte i of the data blocks only. Hence
 *   - blocks have any length. A shorter one counts as padded with zeros, but
 *     nobody has to write them: len_bytes says where they would begin;
 *   - a range of a block is computed from the same range of the others;
 *   - long blocks are worked on piece by piece: call again for each piece,
 *     with the pointers moved on and the lengths of what lies in the piece.
 *     Pieces of 64 KiB or more cost next to nothing extra.
 *
 * Memory: all buffers are the caller's, and are not kept. What is written must
 * not overlap what is read, nor anything else that is written. Any alignment
 * is right; a multiple of 64 bytes is fastest. Nothing beside the buffers is
 * touched, so a block may end where a mapped file ends. A call takes up to 32
 * KiB of stack.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_PARITY_H
#define MRMR_PARITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/error.h>

/* Part of the on-disk format, as are the coefficients. */
#define MRMR_PARITY_SLOTS 240
#define MRMR_PARITY_ROWS 8

/*
 * Every block of a stripe has a place: the block in slot s has place s, the
 * parity block of row r has place mrmr_parity_row(r). A row or slot that does
 * not exist becomes a place that does not exist, which all functions refuse.
 */
#define MRMR_PARITY_PLACES (MRMR_PARITY_SLOTS + MRMR_PARITY_ROWS)

static inline unsigned int mrmr_parity_row(unsigned int row)
{
	return row < MRMR_PARITY_ROWS ? MRMR_PARITY_SLOTS + row
				      : MRMR_PARITY_PLACES;
}

/* c(row, slot), never 0; 0 if there is no such row or slot. */
uint8_t mrmr_parity_coefficient(unsigned int row, unsigned int slot);

/* --- stripes whose blocks are all there ----------------------------------- */

/* What is read: data[0..len_bytes). data may be NULL if len_bytes is 0. */
struct mrmr_parity_input {
	unsigned int place;
	const uint8_t *data;
	size_t len_bytes;
};

/* What is written; the functions are told its length. */
struct mrmr_parity_output {
	unsigned int place;
	uint8_t *data;
};

/*
 * Compute len_bytes of each parity block in rows[] from the data blocks. The
 * blocks are all that are in use, in any order; rows are any. len_bytes is that
 * of the longest block, or more: what is beyond is zero.
 *
 * This also adds a row to a stripe that has others already.
 *
 * -1 and EINVAL, and nothing is written, if a place is no slot (blocks) or no
 * row (rows), is there twice, or if a block is longer than len_bytes.
 */
int mrmr_parity_encode(const struct mrmr_parity_input *blocks,
		       size_t num_blocks, const struct mrmr_parity_output *rows,
		       size_t num_rows, size_t len_bytes);

/*
 * Change len_bytes of each parity block in rows[] as blocks come and go. To add
 * and to take away are the same in this field, so one function does both: each
 * block that was not in the stripe is in it afterwards, and the reverse. All
 * in one pass over the parity blocks.
 *
 * len_bytes is that of the longest block that was in the stripe or is in it
 * afterwards, and where that was or becomes the longest alone:
 *   - before a block longer than the parity joins, the caller lengthens the
 *     parity blocks with zeros;
 *   - after the longest has left, the parity blocks end in zeros, which the
 *     caller cuts off at the length of the longest that remains.
 * A block that leaves must be given with the bytes it had when it joined.
 *
 * A slot may be given twice, once with the old bytes and once with the new.
 * Errors as for encode, except for that; then nothing has been changed.
 */
int mrmr_parity_update(const struct mrmr_parity_input *blocks,
		       size_t num_blocks, const struct mrmr_parity_output *rows,
		       size_t num_rows, size_t len_bytes);

/* The same, by the names of what happens. */
int mrmr_parity_join(const struct mrmr_parity_input *block,
		     const struct mrmr_parity_output *rows, size_t num_rows,
		     size_t len_bytes);
int mrmr_parity_leave(const struct mrmr_parity_input *block,
		      const struct mrmr_parity_output *rows, size_t num_rows,
		      size_t len_bytes);
int mrmr_parity_swap(const struct mrmr_parity_input *leaves,
		     const struct mrmr_parity_input *joins,
		     const struct mrmr_parity_output *rows, size_t num_rows,
		     size_t len_bytes);

/* --- stripes that have lost some ------------------------------------------ */

/* A set of places. {0} is empty. */
struct mrmr_parity_set {
	uint64_t bits[4];
};

static inline void mrmr_parity_set_add(struct mrmr_parity_set *set,
				       unsigned int place)
{
	/* the last bit stands for all that is out of range */
	unsigned int bit = place < MRMR_PARITY_PLACES ? place : 255;

	set->bits[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static inline bool mrmr_parity_set_has(const struct mrmr_parity_set *set,
				       unsigned int place)
{
	return place < MRMR_PARITY_PLACES &&
	       (set->bits[place / 64] >> (place % 64) & 1) != 0;
}

/*
 * How to compute certain blocks from others. It belongs to a pattern of what
 * is there and what is not, and to no bytes: made once, it serves all stripes
 * of that pattern, any range, any number of times, in any number of threads.
 * A plain value of about 2 KB: copy it, keep it, forget it.
 */
struct mrmr_parity_plan {
	uint8_t num_inputs;
	uint8_t num_outputs;
	/* Places, each list ascending. Nothing else has to be read. */
	uint8_t input[MRMR_PARITY_SLOTS];
	uint8_t output[MRMR_PARITY_ROWS];
	/* output j = sum over i of coefficient[j][i] * input i */
	uint8_t coefficient[MRMR_PARITY_ROWS][MRMR_PARITY_SLOTS];
};

/*
 * Make the plan to compute the places in want.
 *   have  slots and rows whose blocks can be read
 *   lost  slots that are in use in this stripe, but cannot be read
 *   want  lost slots, and rows that are not in have: lost ones, or new ones
 * A row that is neither in have nor in want plays no part. Of the rows in have,
 * the plan takes as many as slots are lost, lowest first. To check a parity
 * block, or to try another combination, leave rows out of have.
 *
 * For a range of a block only: slots whose blocks end before the range begins
 * are all zero in it, and are best left out of have and lost. That saves their
 * reading, and it may leave few enough lost where the whole is beyond help.
 *
 * -1 and EIO if more slots are lost than rows are in have; EINVAL for sets that
 * contradict the above. err may be NULL.
 */
int mrmr_parity_plan_make(struct mrmr_parity_plan *plan,
			  const struct mrmr_parity_set *have,
			  const struct mrmr_parity_set *lost,
			  const struct mrmr_parity_set *want,
			  struct mrmr_error *err);

/*
 * Compute len_bytes of each output of the plan. inputs[] and outputs[] are one
 * for each of the plan's, in its order. Inputs may be shorter (zeros follow),
 * and a computed data block that was shorter than len_bytes ends in zeros.
 *
 * The input that mrmr_parity_plan_in_place() names may lie in the output itself:
 * then the others are added to it there.
 *
 * -1 and EINVAL, and nothing is written, if a place is not the plan's, or if an
 * input is longer than len_bytes.
 */
int mrmr_parity_plan_run(const struct mrmr_parity_plan *plan,
			 const struct mrmr_parity_input *inputs,
			 const struct mrmr_parity_output *outputs,
			 size_t len_bytes);

/*
 * Which of the inputs the only output may be made of where it lies, or
 * num_inputs: none. Bytes that are read straight into the output come into it
 * anyway, so memory is gone through once less.
 */
size_t mrmr_parity_plan_in_place(const struct mrmr_parity_plan *plan);

#endif
