/*
 * MRMR: the catalogue: files with blocks of which all bytes are zero.
 *
 * No stripe has these blocks, so who goes by stripes does not come to them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include "catalog_private.h"

static int next_zero(struct mrmr_catalog *cat, uint64_t after, uint64_t upto,
		     uint64_t *id)
{
	struct entry entry;
	struct place place;
	bool has_zero;

	while (ids_next(cat, after, &after) == 0) {
		if (after > upto) {
			errno = ENOENT;
			return -1;
		}
		has_zero = false;
		if (node_peek(cat, after, &entry, &place) == -1 ||
		    (entry.kind == MRMR_NODE_FILE &&
		     extents_any(cat, &entry, MRMR_EXTENT_ZERO, &has_zero) ==
			     -1)) {
			return -1;
		}
		if (has_zero) {
			*id = after;
			return 0;
		}
	}
	return -1;
}

int mrmr_catalog_next_zero(struct mrmr_catalog *cat, uint64_t after,
			   uint64_t upto, uint64_t *id)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, next_zero(cat, after, upto, id));
}

int mrmr_catalog_last_id(struct mrmr_catalog *cat, uint64_t *id)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	*id = cat->head.next_id - 1;
	return read_end(cat, 0);
}
