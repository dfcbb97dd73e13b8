/*
 * MRMR: the Samba module: a file whose member is away is rebuilt for a client that
 * wants to change it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_REBUILDING_H
#define VFS_MRMR_REBUILDING_H

#include "vfs_mrmr.h"

#include <mrmr/absent.h>

/*
 * fsp is a ghost, opened as a path only, and dir and name are where it is. A small
 * file, or one for which nobody could wait, is rebuilt now. Else that is begun, in
 * threads, or if it has come to its end, takes effect. 0: all handles of this
 * process continue on the file, which is an ordinary one. -1 with errno:
 * EWOULDBLOCK it is under way, or else it cannot be and is as it was.
 */
int mrmr_rebuild(struct vfs_handle_struct *handle, struct files_struct *fsp,
		 struct mrmr_dir *dir, const char *name, bool can_wait);

/* Is a ghost being rebuilt? */
bool mrmr_rebuild_is_under_way(const struct mrmr_share *share,
			       const struct mrmr_ghost *ghost);

/* To be called every second or two: gives up what nobody has come for. */
void mrmr_rebuilding_look(struct mrmr_share *share);

/* The share goes: so does what was begun. Waits for a thread, for some MiB. */
void mrmr_rebuilding_end(struct mrmr_share *share);

#endif
