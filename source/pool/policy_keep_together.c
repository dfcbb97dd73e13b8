/*
 * MRMR: policy keep-together. A file joins the others of its directory while
 * there is room, so that an album or a project is on one drive, which spins up
 * alone and is readable alone. Where a directory has been spread already, the
 * member on which it changed last goes on. A directory that is nowhere yet
 * begins where most-free says.
 *
 * The tier does not count against togetherness: what was begun on a slower
 * drive stays there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <mrmr/placement.h>

static int compare(const struct mrmr_placement_request *request,
		   const struct mrmr_candidate *a,
		   const struct mrmr_candidate *b)
{
	if (a->has_dir != b->has_dir) {
		return a->has_dir ? -1 : 1;
	}
	if (a->has_dir && a->dir_mtime_ns != b->dir_mtime_ns) {
		return a->dir_mtime_ns > b->dir_mtime_ns ? -1 : 1;
	}
	return mrmr_policy_most_free.compare(request, a, b);
}

const struct mrmr_policy mrmr_policy_keep_together = {
	.name = "keep-together",
	.help = "the member that has the directory's other files, while there "
		"is room",
	.compare = compare,
};
