/*
 * MRMR: the Samba module: changes that others make on members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_WATCH_H
#define VFS_MRMR_WATCH_H

#include "vfs_mrmr.h"

/*
 * To be called every second: watches the directories of which this
 * connection's clients want to be told, and no others.
 */
void mrmr_watch_update(struct vfs_handle_struct *handle);

#endif
