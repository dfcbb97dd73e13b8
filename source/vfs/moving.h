/*
 * MRMR: the Samba module: moving a file that smbd has open.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_MOVING_H
#define VFS_MRMR_MOVING_H

#include "vfs_mrmr.h"

#include <mrmr/absent.h>

/* How often a move is tried, as members may fill up one after the other, and the
   file may change meanwhile. */
#define MRMR_MOVE_TRIES 8

/*
 * Move the file behind fsp to a member with room for size_bytes, and have all
 * handles of this process continue on it: descriptors change what they refer
 * to, file ids stay. For files that are empty or small, or callers that cannot
 * wait for anything else. 0, or -1 with ENOSPC.
 *
 * Not possible while another smbd has the file open, as its descriptors would
 * stay with the old file; that is ENOSPC then, with a line in the log.
 */
int mrmr_move_now(struct vfs_handle_struct *handle, struct files_struct *fsp,
		  uint64_t size_bytes);

/* For whoever made the copy (mrmr/move.h): the file moves, and so do all handles
   of this process. As root, and quick. 0, or -1 with errno: it is where it was. */
struct mrmr_move;
int mrmr_move_take_effect(struct files_struct *fsp, struct mrmr_pool *pool,
			  struct mrmr_move *move);

/* Has another smbd a handle of it? That is said in the log. */
bool mrmr_is_open_elsewhere(struct files_struct *fsp);

/*
 * A file that was just opened may have been moved by another smbd after it was
 * looked up here, and before its share mode told that it is open: then this is
 * the old one, which nobody finds any more.
 */
bool mrmr_has_moved_away(struct vfs_handle_struct *handle,
			 struct files_struct *fsp);

/*
 * fsp is a ghost. If its member is back, all handles that this process has of it
 * continue on the file itself. 0 if they do.
 */
int mrmr_ghost_follow(struct vfs_handle_struct *handle,
		      struct files_struct *fsp, const struct mrmr_ghost *ghost);

/*
 * The same, once, with the copying in a thread. Whoever changes the file meanwhile
 * sets *spoiled: that is EBUSY then, as is everything that may go better the next
 * time, and the file is where it was.
 */
struct tevent_req *mrmr_move_send(TALLOC_CTX *mem_ctx,
				  struct tevent_context *ev,
				  struct vfs_handle_struct *handle,
				  struct files_struct *fsp, uint64_t size_bytes,
				  const bool *spoiled);
int mrmr_move_recv(struct tevent_req *req, int *perrno);

/* To be called after a handle was closed: forgets the old ids of files that
   nobody has open any more. */
void mrmr_moves_forget(struct mrmr_pool *pool, const struct file_id *id);

/* Is this error one that a move can cure? */
bool mrmr_is_full(int error);

#endif
