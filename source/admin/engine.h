/*
 * mrmr-admin: the pool with its catalogue, for the verbs that deal with parity.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_ENGINE_H
#define MRMR_ADMIN_ENGINE_H

#include <mrmr/engine.h>

#include "admin.h"

/*
 * Open both. NULL with *status to exit with, after what there is to say was said:
 * a failure; or (reading) that nothing was ever protected; or (writing) that it
 * was interrupted while it waited for another mrmr-admin. The engine's pool
 * is its own: both are closed by admin_engine_close().
 */
struct mrmr_engine *admin_engine_open(struct admin *admin,
				      enum mrmr_engine_mode mode, int *status);

/* The same, for reading, for a verb that says something without it as well: NULL
   if nothing was ever protected; or, then *is_known is false, after a note why it
   cannot be told what is protected. */
struct mrmr_engine *admin_engine_peek(struct admin *admin, bool *is_known);

void admin_engine_close(struct mrmr_engine *engine);

/* The engine alone, for writing, for a verb that has the pool: waits for others.
   NULL with *err; EINTR: it was interrupted. */
struct mrmr_engine *admin_engine_wait(struct admin *admin,
				      struct mrmr_pool *pool,
				      struct mrmr_error *err);

/* The protector hears what has happened in the share, and protects nothing, for a verb
   that must not go by what was before. If it cannot, that is noted. */
void admin_engine_hear(struct admin *admin, struct mrmr_engine *engine,
		       bool (*should_stop)(void *private_data),
		       void *private_data);

#endif
