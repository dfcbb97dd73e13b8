/*
 * MRMR: the catalogue: what is in no stripe, told to the parts anew.
 *
 * Which of them have it depends on those that are attached when something is changed
 * about it (part_has_share() in parts.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include "parts_private.h"

static int share_one(struct mrmr_catalog *cat, uint64_t id)
{
	struct entry entry;
	struct place place;
	bool in_stripe = false;

	if (node_peek(cat, id, &entry, &place) == -1 ||
	    (entry.kind == MRMR_NODE_FILE &&
	     extents_in_stripe(cat, &entry, &in_stripe) == -1)) {
		return -1;
	}
	return in_stripe ? 0 : touch_content(cat, id);
}

int mrmr_catalog_share_again(struct mrmr_catalog *cat, uint64_t *id, size_t num)
{
	int ret = 0;

	if (change_begin(cat) == -1) {
		return -1;
	}
	for (; ret == 0 && num > 0; num--) {
		ret = ids_next(cat, *id, id);
		if (ret == -1 && errno == ENOENT) {
			return change_end(cat, 0);
		}
		if (ret == 0) {
			ret = share_one(cat, *id);
		}
	}
	return change_end(cat, ret) == -1 ? -1 : 1;
}
