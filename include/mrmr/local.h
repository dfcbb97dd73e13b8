/*
 * MRMR: members that are local paths: are they there, and who are they?
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_LOCAL_H
#define MRMR_LOCAL_H

#include <stdbool.h>

#include <mrmr/pool.h>

#define MRMR_LOCAL_PATH_MAX 4200

/*
 * Look at the member's marker and space, and set its state. Opens its root if
 * it comes online, closes it if it went away. True if it is online. Needs
 * root.
 */
bool mrmr_local_look(struct mrmr_member *member,
		     const struct mrmr_uuid *pool_id);

/* Total and free bytes of a member that is online, and whether it is
   read-only. */
void mrmr_local_look_at_space(struct mrmr_member *member);

/* Close the root; the member is looked at again when it is next used. */
void mrmr_local_let_go(struct mrmr_member *member);

/* Close the root and take the member for ejected. */
void mrmr_local_eject(struct mrmr_member *member);

/* Close the root and take the member for away, though it is there. */
void mrmr_local_hold_off(struct mrmr_member *member, const char *why);

/* Is any marker under its mount point? For telling when an ejected member has
   left. */
bool mrmr_local_marker_seen(const struct mrmr_member *member);

#endif
