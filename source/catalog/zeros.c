/*
 * MRMR: the catalogue: files with blocks of which all bytes are zero.
 *
 * No stripe has these blocks, so who goes by stripes does not come to them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include "catalog_private.h"

static int has_zero(struct mrmr_catalog *cat, const struct entry *entry)
{
	struct mrmr_extent extents[EXTENTS_PER_CHUNK];
	uint32_t first;
	uint32_t got;
	uint32_t i;

	if (entry->kind != MRMR_NODE_FILE || entry->num_extents == 0) {
		return 0;
	}
	if (entry->num_extents == 1) {
		return entry->extent.state == MRMR_EXTENT_ZERO;
	}
	for (first = 0; first < entry->num_extents; first += got) {
		if (extents_get(cat, entry->id, first, extents,
				EXTENTS_PER_CHUNK, &got) == -1) {
			return -1;
		}
		for (i = 0; i < got; i++) {
			if (extents[i].state == MRMR_EXTENT_ZERO) {
				return 1;
			}
		}
		if (got == 0) {
			return damaged_record(cat, "extents");
		}
	}
	return 0;
}

static int next_zero(struct mrmr_catalog *cat, uint64_t after, uint64_t upto,
		     uint64_t *id)
{
	struct entry entry;
	struct place place;
	int ret;

	while (ids_next(cat, after, &after) == 0) {
		if (after > upto) {
			errno = ENOENT;
			return -1;
		}
		ret = node_peek(cat, after, &entry, &place) == 0
			      ? has_zero(cat, &entry)
			      : -1;
		if (ret != 0) {
			*id = after;
			return ret == 1 ? 0 : -1;
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
