/*
 * mrmr-admin rebuild: what is said of how it went.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef ADMIN_REBUILD_REPORT_H
#define ADMIN_REBUILD_REPORT_H

#include <mrmr/rebuild.h>

#include "admin.h"

struct rebuild_view {
	struct admin *admin;
	const char *lost; /* the member's name */
	bool accepts_loss;
	int refused; /* the status, if that was not confirmed; else 0 */
};

/* Into admin->result. */
void rebuild_set_number(struct admin *admin, const char *key, uint64_t number);
void rebuild_set_result(struct admin *admin,
			const struct mrmr_rebuild_result *result);

/* Say what is not as it was, and what to do about it. */
void rebuild_say_left(const struct rebuild_view *view,
		      const struct mrmr_rebuild_result *result);

/* The exit status. */
int rebuild_status(const struct rebuild_view *view,
		   const struct mrmr_rebuild_result *result);

#endif
