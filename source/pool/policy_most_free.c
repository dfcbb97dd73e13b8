/*
 * MRMR: policy most-free, the default. The drive with the most bytes free
 * among the lowest tier takes the file: large drives fill first, until all of
 * a tier have the same left, and then they fill together.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <mrmr/placement.h>

static int compare(const struct mrmr_placement_request *request,
		   const struct mrmr_candidate *a,
		   const struct mrmr_candidate *b)
{
	if (a->tier != b->tier) {
		return a->tier < b->tier ? -1 : 1;
	}
	if (a->free_bytes != b->free_bytes) {
		return a->free_bytes > b->free_bytes ? -1 : 1;
	}
	return 0;
}

const struct mrmr_policy mrmr_policy_most_free = {
	.name = "most-free",
	.help = "the member of the lowest tier with the most bytes free",
	.compare = compare,
};
