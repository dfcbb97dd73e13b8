/*
 * MRMR: how much room there is: what its files share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef SPACE_PRIVATE_H
#define SPACE_PRIVATE_H

#include <mrmr/pool.h>

/* Of a member. */
struct known {
	uint64_t dev; /* 0: never seen */
	bool is_told; /* by who has counted */
	uint64_t data_bytes;
	uint64_t parity_bytes;
	uint64_t free_bytes; /* less the reserve */
	uint64_t records_to_come_bytes;
	uint64_t spare_bytes;
	uint64_t shared_out_bytes; /* what of free_bytes is neither */
};

/* Of all members, and what of it is remembered in them. */
void space_look_at_members(struct mrmr_pool *pool, struct known *known);

#endif
