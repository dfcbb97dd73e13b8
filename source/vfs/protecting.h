/*
 * MRMR: the Samba module: having a protector run.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_PROTECTING_H
#define VFS_MRMR_PROTECTING_H

#include "vfs_mrmr.h"

/* Read the options: mrmr:protect, mrmr:settle, mrmr:admin. -1 if they are wrong, which is
   logged. */
int mrmr_protecting_configure(struct vfs_handle_struct *handle,
			      struct mrmr_share *share);

/* Start one if there is something in the queue. To be called every second or
   so: costs one system call, if anything is or shall be protected. */
void mrmr_protecting_look(struct mrmr_share *share);

/* Start one, as it was asked for room. */
void mrmr_protecting_start(struct mrmr_share *share);

/* A file that was changed has been closed: with mrmr:protect = wait, wait until
   it is protected. */
void mrmr_protecting_closed(struct mrmr_share *share, size_t member,
			    uint64_t inode, const char *path);

#endif
