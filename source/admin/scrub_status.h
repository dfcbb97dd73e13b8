/*
 * mrmr-admin status: how scrubbing stands.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_SCRUB_STATUS_H
#define MRMR_ADMIN_SCRUB_STATUS_H

#include <mrmr/catalog.h>

#include "admin.h"

/* A line, and "scrub" of the result; nothing if the catalogue is NULL. True if the
   last scrub left something bad. */
bool admin_scrub_status(struct admin *admin, struct mrmr_catalog *catalog);

#endif
