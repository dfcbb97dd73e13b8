/*
 * MRMR: parity of stripes whose blocks are all there: encode, and what changes
 * when blocks come and go (see mrmr/parity.h; the theory is in generator.c).
 *
 * P_r is a sum with one term for each block, so a block that joins adds its
 * term and a block that leaves has its term taken away. In this field both are
 * XOR, which leaves one operation for join, leave and swap.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include "parity_private.h"

static bool is_slot(unsigned int place)
{
	return place < MRMR_PARITY_SLOTS;
}

static bool is_row(unsigned int place)
{
	return place >= MRMR_PARITY_SLOTS && place < MRMR_PARITY_PLACES;
}

static bool are_blocks(const struct mrmr_parity_input *blocks, size_t n,
		       size_t len_bytes)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!is_slot(blocks[i].place) ||
		    blocks[i].len_bytes > len_bytes) {
			return false;
		}
	}
	return true;
}

static bool are_distinct(const struct mrmr_parity_input *blocks, size_t n)
{
	struct mrmr_parity_set seen = {0};
	size_t i;

	for (i = 0; i < n; i++) {
		if (mrmr_parity_set_has(&seen, blocks[i].place)) {
			return false;
		}
		mrmr_parity_set_add(&seen, blocks[i].place);
	}
	return true;
}

static bool are_distinct_rows(const struct mrmr_parity_output *rows, size_t n)
{
	struct mrmr_parity_set seen = {0};
	size_t j;

	for (j = 0; j < n; j++) {
		if (!is_row(rows[j].place) ||
		    mrmr_parity_set_has(&seen, rows[j].place)) {
			return false;
		}
		mrmr_parity_set_add(&seen, rows[j].place);
	}
	return true;
}

int mrmr_parity_encode(const struct mrmr_parity_input *blocks,
		       size_t num_blocks, const struct mrmr_parity_output *rows,
		       size_t num_rows, size_t len_bytes)
{
	struct mrmr_parity_plan plan;
	size_t i, j;

	if (!are_blocks(blocks, num_blocks, len_bytes) ||
	    !are_distinct(blocks, num_blocks) ||
	    !are_distinct_rows(rows, num_rows)) {
		errno = EINVAL;
		return -1;
	}
	plan.num_inputs = (uint8_t)num_blocks;
	plan.num_outputs = (uint8_t)num_rows;
	for (j = 0; j < num_rows; j++) {
		unsigned int row = rows[j].place - mrmr_parity_row(0);

		for (i = 0; i < num_blocks; i++) {
			plan.coefficient[j][i] =
				mrmr_parity_coefficient(row, blocks[i].place);
		}
	}
	mrmr_parity_combine(&plan, blocks, rows, len_bytes);
	return 0;
}

int mrmr_parity_update(const struct mrmr_parity_input *blocks,
		       size_t num_blocks, const struct mrmr_parity_output *rows,
		       size_t num_rows, size_t len_bytes)
{
	if (!are_blocks(blocks, num_blocks, len_bytes) ||
	    !are_distinct_rows(rows, num_rows)) {
		errno = EINVAL;
		return -1;
	}
	mrmr_parity_accumulate(blocks, num_blocks, rows, num_rows);
	return 0;
}

int mrmr_parity_join(const struct mrmr_parity_input *block,
		     const struct mrmr_parity_output *rows, size_t num_rows,
		     size_t len_bytes)
{
	return mrmr_parity_update(block, 1, rows, num_rows, len_bytes);
}

int mrmr_parity_leave(const struct mrmr_parity_input *block,
		      const struct mrmr_parity_output *rows, size_t num_rows,
		      size_t len_bytes)
{
	return mrmr_parity_update(block, 1, rows, num_rows, len_bytes);
}

int mrmr_parity_swap(const struct mrmr_parity_input *leaves,
		     const struct mrmr_parity_input *joins,
		     const struct mrmr_parity_output *rows, size_t num_rows,
		     size_t len_bytes)
{
	const struct mrmr_parity_input both[] = {*leaves, *joins};

	return mrmr_parity_update(both, 2, rows, num_rows, len_bytes);
}
