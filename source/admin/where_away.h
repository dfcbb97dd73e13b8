/*
 * mrmr-admin where: a file of a member that is away.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef ADMIN_WHERE_AWAY_H
#define ADMIN_WHERE_AWAY_H

#include <sys/stat.h>

#include <mrmr/engine.h>

#include "admin.h"

struct where_away {
	size_t member; /* index in the config */
	struct stat st;
	bool is_served;  /* its bytes can be computed, or it has none */
	const char *why; /* not: talloc child of admin */
	struct mrmr_node
		*node; /* of a file; a talloc child of admin, or NULL */
};

/*
 * Has the share this path, on a member that is away? What prevents the answer is
 * noted. May make its directory's ghosts, as a client's look at it does.
 */
bool where_away(struct admin *admin, struct mrmr_engine *engine,
		const char *path, struct where_away *found);

#endif
