/*
 * mrmr-admin status: names that are on more than one member.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_OVERLAP_STATUS_H
#define MRMR_ADMIN_OVERLAP_STATUS_H

#include <mrmr/pool.h>

#include "admin.h"

/* Lines, and "duplicates", "directories" and "names_complete" of the result.
   quick: they are not looked for; else for so many seconds (0: to the end). True
   if there are files that wait to be looked at. */
bool admin_overlap_status(struct admin *admin, const struct mrmr_pool *pool,
			  bool quick, unsigned int seconds);

#endif
