/*
 * MRMR: what the files of source/parity share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_PARITY_PRIVATE_H
#define MRMR_PARITY_PRIVATE_H

#include <mrmr/parity.h>

/*
 * outputs = coefficients * inputs. Of the plan, the coefficients and the two
 * numbers count, not the places: whoever calls has checked those, and that no
 * input is longer than len_bytes.
 */
void mrmr_parity_combine(const struct mrmr_parity_plan *plan,
			 const struct mrmr_parity_input *inputs,
			 const struct mrmr_parity_output *outputs,
			 size_t len_bytes);

/* The plan's only output, of which one input, times 1, is there already. */
void mrmr_parity_add_others(const struct mrmr_parity_plan *plan,
			    const struct mrmr_parity_input *inputs, size_t base,
			    uint8_t *out, size_t len_bytes);

/* rows = rows + generator * blocks; all places are checked, num_rows <= 8. */
void mrmr_parity_accumulate(const struct mrmr_parity_input *blocks,
			    size_t num_blocks,
			    const struct mrmr_parity_output *rows,
			    size_t num_rows);

#endif
