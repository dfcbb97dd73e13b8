/*
 * mrmr-admin rebuild: what is told, asked and done while it is under way.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef ADMIN_REBUILD_WORK_H
#define ADMIN_REBUILD_WORK_H

#include <mrmr/rebuild.h>

#include "admin.h"
#include "progress.h"
#include "rebuild_report.h"

struct rebuild_work {
	struct admin *admin;
	struct mrmr_config *config; /* as it is in the file */
	size_t lost;
	size_t onto;             /* or MRMR_REBUILD_SPREAD */
	struct recruit *recruit; /* who is to join; NULL: it has, or nobody */
	struct mrmr_engine *engine;
	struct admin_progress *progress;
	bool is_parity;
	struct rebuild_view view;
	int64_t protected_ns;
	json_t *troubles;
};

/* With callbacks that need work, and its progress. */
struct mrmr_rebuild_options rebuild_work_options(struct rebuild_work *work);

/* Before it begins, and when nothing is left to do: what clients did becomes known in
   the catalogue. If that fails, it is noted. */
void rebuild_work_hear(struct rebuild_work *work);

#endif
