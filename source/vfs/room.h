/*
 * MRMR: the Samba module: room for what is written, when the member is full.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_ROOM_H
#define VFS_MRMR_ROOM_H

#include "vfs_mrmr.h"

struct busy_file;

/*
 * What writes, and may have to wait for a move: part of a request's state. The
 * caller fills in what is before `file`. `start` is called when the write may
 * begin, again after a move; it ends with mrmr_job_tried(). `finish` is called
 * when the last try is over.
 */
struct mrmr_job {
	struct mrmr_job *prev, *next; /* in file->waiting */
	struct tevent_context *ev;
	struct vfs_handle_struct *handle;
	struct files_struct *fsp;
	uint64_t end; /* of what it writes in the file */
	void (*start)(struct mrmr_job *job);
	void (*finish)(struct mrmr_job *job); /* with what it has found */
	struct busy_file *file; /* NULL: neither under way nor waiting */
	bool under_way;         /* counted in file->under_way, or waiting */
	bool full;              /* it has found no room */
	unsigned int tries;
};

/* It starts now, or after the move. False: out of memory. */
bool mrmr_job_begin(struct mrmr_job *job);

/* It has been tried: if there was no room, it waits for a move and is started
   again, else it is finished. */
void mrmr_job_tried(struct mrmr_job *job, bool full);

/* Its request is gone; to be called by the destructor of its state. */
void mrmr_job_leave(struct mrmr_job *job);

/*
 * Have the file move to where it can grow to size_bytes, in turn with the
 * writes to it that are under way. mrmr_make_room_recv() gives 0, or -1 with
 * errno ENOSPC.
 */
struct tevent_req *mrmr_make_room_send(TALLOC_CTX *mem_ctx,
				       struct tevent_context *ev,
				       struct vfs_handle_struct *handle,
				       struct files_struct *fsp,
				       uint64_t size_bytes);
int mrmr_make_room_recv(struct tevent_req *req);

/* The same for callers that cannot wait for those: 0 if a file that ends at
   `end` may have room now, or -1 with ENOSPC. */
int mrmr_make_room_now(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, uint64_t end);

/* Its two halves: have room made on the file's member, by emptying its trash,
   and wait a little; move the file. */
int mrmr_wait_for_room(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, uint64_t growth_bytes);
int mrmr_move_for(struct vfs_handle_struct *handle, struct files_struct *fsp,
		  uint64_t size_bytes);

/*
 * There is no room for something new anywhere. False: nor can any be had, or it
 * was tried often enough; else some time has passed, and it may be tried again.
 * *tries is 0 the first time.
 */
bool mrmr_may_have_room(struct vfs_handle_struct *handle, uint64_t need_bytes,
			unsigned int *tries);

/* To be called by whoever changes a file past mrmr_job_begin(): a copy that is
   just being made of it is made again. */
void mrmr_spoil_move(const struct files_struct *fsp);

/* Is any file of this process moving? */
bool mrmr_writes_move(void);

#endif
