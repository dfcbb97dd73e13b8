/*
 * MRMR: from the catalogue to a part, for its own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

#ifndef MIRROR_PRIVATE_H
#define MIRROR_PRIVATE_H

#include "catalog_private.h"

struct mirroring {
	struct mrmr_catalog *cat;
	struct mrmr_catalog *part;
	uint16_t member;
	uint64_t sequence;
	void *frame;
	struct touched *more; /* nodes and extents that stripes lead to */
	size_t num_more;
	uint64_t *dirs; /* that something left */
	size_t num_dirs;
	uint64_t last_stripe; /* that was asked about, and the answer */
	bool last_has_row;
};

/* mirror.c */

/* Something that has to be looked at as well. */
int mirror_add(struct mirroring *m, enum touched_kind kind, uint64_t id,
	       uint32_t index);
int mirror_add_dir(struct mirroring *m, uint64_t id);

/* mirror_nodes.c */

/* If its names are other ones now, a node of the part keeps only one, where
   nobody sees it. */
int mirror_hide(struct mirroring *m, uint64_t id);
/* Put the node into the part, or remove it. */
int mirror_node(struct mirroring *m, uint64_t id);
/* Remove a directory that was left by something, if it is not wanted. */
int mirror_review_dir(struct mirroring *m, uint64_t id);
int mirror_is_there(struct mirroring *m, uint64_t id, bool *yes);

#endif
