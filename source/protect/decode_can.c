/*
 * MRMR: can a file be computed?
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include <mrmr/decode.h>

int mrmr_decode_can(struct mrmr_engine *engine, const struct mrmr_node *node,
		    struct mrmr_error *err)
{
	struct mrmr_decode *decode = NULL;
	uint32_t i;

	if ((uint64_t)node->num_extents * node->grid_bytes < node->size_bytes) {
		return mrmr_error_set(err, EIO,
				      "it was never protected, or not in "
				      "whole");
	}
	for (i = 0; i < node->num_extents; i++) {
		decode = mrmr_decode_extent(engine, engine, node, i, err);
		if (decode == NULL) {
			return -1;
		}
		talloc_free(decode);
	}
	return 0;
}
