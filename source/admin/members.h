/*
 * mrmr-admin: members as they are now, looked at without changing anything.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_MEMBERS_H
#define MRMR_ADMIN_MEMBERS_H

#include <mrmr/pool.h>
#include <mrmr/shared.h>

#include "admin.h"

/*
 * The members of a config, each looked at once, as a pool without its state
 * directory: enough for mrmr_pool_space() and friends. A member that was
 * ejected is not touched, so that it can be unmounted. Roots are open; freeing
 * the result (a talloc child of admin) closes them.
 */
struct mrmr_pool *admin_members_look(struct admin *admin,
				     struct mrmr_config *config);

/*
 * The shared page of a pool that was opened at least once; NULL, with *err
 * filled, otherwise. ENOENT if it is not there yet. *state_fd is the state
 * directory, to be closed by the caller; -1 if that can't be opened.
 */
struct mrmr_shared *admin_shared(const struct mrmr_config *config,
				 int *state_fd, struct mrmr_error *err);

/* Tell all smbds of the pool. ADMIN_GO_ON, or the status after the failure was
   said. */
int admin_set_eject(struct admin *admin, const struct mrmr_config *config,
		    const struct mrmr_uuid *id, enum mrmr_eject_state eject);

/* A phrase for people: "online", "read-only", "away", "ejected"... */
const char *admin_member_state(const struct mrmr_member *member);

/* The key "members" of a result: all that --json says of a member. */
json_t *admin_member_json(const struct mrmr_member *member);

#endif
