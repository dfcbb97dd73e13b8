/*
 * MRMR: how much data fits, with parity, on drives of any sizes.
 *
 * Pure arithmetic. A stripe has at most one block on a failure unit, data or
 * parity, and N rows, so with T stripes unit i takes at most min(c_i, T)
 * blocks, of which N*T in all are parity. Hence the most data that N rows allow
 * is the largest
 *     X(T) = sum over i of min(c_i, T) - N*T
 * where T is at least what the unit with the most blocks has, as each of its
 * blocks needs a stripe of its own. X grows as long as more than N units are
 * higher than T; so without a floor under T, the most data is the sum of all
 * units but the N largest, each of these counted as the smallest of them.
 * Units of 8, 4, 4, 2 and 1 hold 11 with one row, and 7 with two.
 *
 * Placement and parity must aim at it together: a placement that fills the
 * largest drive first can end far below. So each unit gets a goal: how much
 * data it is to have when the pool is full. At a height t <= T, the units with
 * c_i >= t are in a stripe, and share its N parity blocks evenly; what is left
 * of min(c_i, T) is the unit's goal. With equal drives that is c*(U-N)/U for
 * each.
 *
 * What is there already stays where it is. It bends the goals (a unit that has
 * too much data for its share of parity leaves that share to the others), but
 * it takes less than one might fear: see source/pool/capacity.c, where it is
 * also said what is exact here.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_CAPACITY_H
#define MRMR_CAPACITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A failure unit. */
struct mrmr_capacity_unit {
	uint64_t data_bytes;   /* of files, protected or still to be */
	uint64_t parity_bytes; /* of parity blocks */
	uint64_t free_bytes;   /* that files and parity may still take */
	/* Roles. 0 and false: anything anywhere. */
	uint64_t no_parity_bytes; /* of free_bytes: not for parity */
	bool prefers_parity;      /* the goal is no data, if parity suffices */
	/* filled in: */
	uint64_t goal_bytes; /* data in all when the pool is full */
	uint64_t room_bytes; /* for data from now on: what of free_bytes leads
				to the goal; the rest is for parity, or of no
				use with so many rows */
};

/*
 * At most MRMR_MEMBERS_MAX units, and all sizes together below 2^62.
 *
 * Fill in goals and rooms, and return how much data still fits in all with the
 * given number of rows (the sum of the rooms). rows may be 0: all that is free.
 * With fewer than rows + 1 units nothing can be protected: then rows counts as
 * what fits (num - 1).
 * 0 also if what is there is too much to be protected in whole: see
 * mrmr_capacity_fits().
 */
uint64_t mrmr_capacity_plan(struct mrmr_capacity_unit *units, size_t num,
			    unsigned int rows);

/* Can all that is there be protected with so many rows? With rows > num - 1,
   only if there is no data. */
bool mrmr_capacity_fits(const struct mrmr_capacity_unit *units, size_t num,
			unsigned int rows);

#endif
