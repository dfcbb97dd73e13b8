/*
 * mrmr-admin: how far long work is.
 *
 * On a terminal a line that is written over, elsewhere a line now and then; none
 * with --quiet or --json.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_PROGRESS_H
#define MRMR_ADMIN_PROGRESS_H

#include <stdint.h>

struct admin;
struct admin_progress;

/* A talloc child of admin. */
struct admin_progress *admin_progress_new(struct admin *admin);

/* As often as one likes. */
void admin_progress_show(struct admin_progress *progress, uint64_t done_bytes,
			 uint64_t todo_bytes);

/* Takes the line away. */
void admin_progress_end(struct admin_progress *progress);

#endif
