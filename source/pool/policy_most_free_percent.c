/*
 * MRMR: policy most-free-percent. The drive with the largest part free among
 * the lowest tier takes the file: drives of different sizes are equally full
 * at any time, and a small one gets its share of the writing from the start.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <mrmr/placement.h>

static int compare(const struct mrmr_placement_request *request,
		   const struct mrmr_candidate *a,
		   const struct mrmr_candidate *b)
{
	/* a.free / a.total against b.free / b.total, without the division */
	unsigned __int128 a_part =
		(unsigned __int128)a->free_bytes * b->total_bytes;
	unsigned __int128 b_part =
		(unsigned __int128)b->free_bytes * a->total_bytes;

	if (a->tier != b->tier) {
		return a->tier < b->tier ? -1 : 1;
	}
	if (a_part != b_part) {
		return a_part > b_part ? -1 : 1;
	}
	return 0;
}

const struct mrmr_policy mrmr_policy_most_free_percent = {
	.name = "most-free-percent",
	.help = "the member of the lowest tier with the largest part free",
	.compare = compare,
};
