/*
 * MRMR: how much data fits, with parity, on drives of any sizes.
 *
 * Pure arithmetic. A stripe has at most one block on a failure unit, data or
 * parity, and N rows, so with T stripes unit i takes at most min(c_i, T)
 * blocks, of which N*T in all are parity. Hence the most data that N rows allow
 * is the largest
 *     X(T) = sum over i of min(c_i, T) - N*T
 * where T is at least what the unit with the most data has, as each of its
 * blocks needs a stripe of its own.
 *
 * Placement and parity must aim at it together: a placement that fills the
 * largest drive first can end far below. So each unit gets a goal: how much
 * data it is to have when the pool is full. At a height t <= T, the units with
 * c_i >= t are in a stripe, and share its N parity blocks evenly; what is left
 * of min(c_i, T) is the unit's goal. With equal drives that is c*(U-N)/U for
 * each.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_CAPACITY_H
#define MRMR_CAPACITY_H

#include <stddef.h>
#include <stdint.h>

/* A failure unit. */
struct mrmr_capacity_unit {
	uint64_t data_bytes;   /* of files, protected or still to be */
	uint64_t parity_bytes; /* of parity blocks */
	uint64_t free_bytes;   /* that files and parity may still take */
	/* filled in: */
	uint64_t goal_bytes; /* data in all when the pool is full */
	uint64_t room_bytes; /* for data from now on: what of free_bytes leads
				to the goal */
};

/*
 * Fill in goals and rooms, and return how much data still fits in all with the
 * given number of rows (the sum of the rooms). rows may be 0: all that is free.
 * With fewer than rows + 1 units nothing can be protected: then rows counts as
 * what fits (num - 1).
 */
uint64_t mrmr_capacity_plan(struct mrmr_capacity_unit *units, size_t num,
			    unsigned int rows);

#endif
