/*
 * mrmr-admin where: whether what is there is protected, and by what.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef ADMIN_WHERE_PARITY_H
#define ADMIN_WHERE_PARITY_H

#include <sys/stat.h>

#include <mrmr/engine.h>

#include "admin.h"

struct where_thing {
	const char *path; /* in the pool */
	struct stat st;
	size_t member; /* index; of a directory: any */

	/* On a member that is away: */
	bool is_away;
	bool is_served;
	const char *why_not;
	const struct mrmr_node *node; /* of a file; NULL: it is not known */
};

/*
 * Says it, and sets "protection" of the result. engine may be NULL: nothing was
 * ever protected; or, with is_known false, that cannot be told. wanted: parity
 * blocks that a stripe is to have. all_blocks: each one is told. Returns the
 * status that this is worth.
 */
int where_parity(struct admin *admin, struct mrmr_engine *engine, bool is_known,
		 unsigned int wanted, bool all_blocks,
		 const struct where_thing *thing);

#endif
