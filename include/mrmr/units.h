/*
 * MRMR: failure units: what is lost together.
 *
 * A member is one, or all members with the same "stack" are. A stripe has at
 * most one block, data or parity, on each.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_UNITS_H
#define MRMR_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include <mrmr/config.h>

struct mrmr_units {
	size_t num;                     /* of units, numbered from 0 */
	uint8_t unit[MRMR_MEMBERS_MAX]; /* of each member, by its index */

	/* The most rows that all files can have, with these units and the
	   members' roles: 0 for one unit, at most MRMR_PARITY_MAX. */
	unsigned int max_rows;
};

/* The units of a config. Numbers are given in the order of the members. */
void mrmr_units_find(const struct mrmr_config *config,
		     struct mrmr_units *units);

#endif
