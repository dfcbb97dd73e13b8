/*
 * MRMR: the Samba module: files that are open for writing, and what is done
 * before their bytes change.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_GUARDING_H
#define VFS_MRMR_GUARDING_H

#include "vfs_mrmr.h"

#include <mrmr/undo.h>

/*
 * A descriptor that is open for writing, of a file on a member of a pool in
 * which something is or shall be protected. There are none in other pools.
 */
struct mrmr_writer {
	bool is_used;
	bool is_told;           /* the protector was: it changes */
	struct mrmr_undo *undo; /* NULL: it holds nothing protected */
	uint64_t told_mark;     /* of the queue, at that time */
	int64_t told_ns;
};

/* By descriptor. */
struct mrmr_writers {
	struct mrmr_writer *list;
	int num;
};
extern struct mrmr_writers mrmr_writers;

/* NULL if there is none. Good until the next file is opened. */
static inline struct mrmr_writer *mrmr_writer_of(int fd)
{
	if (fd < 0 || fd >= mrmr_writers.num ||
	    !mrmr_writers.list[fd].is_used) {
		return NULL;
	}
	return &mrmr_writers.list[fd];
}

/*
 * A file was opened for writing; is_new: it was made by that. To be called
 * before anything is written. -1 with errno: it is not known what it holds, so
 * nothing may be.
 */
int mrmr_writer_opened(struct mrmr_pool *pool, int fd, bool is_new);

/* The descriptor is closed, or is another file's now, which is open in another
   way (somebody may have closed it with close(2)). -1 will do. */
void mrmr_writer_closed(int fd);

/* It refers to a copy of the file, on another member. */
void mrmr_writer_moved(int fd);

/* Is there something to be kept before the range is overwritten? */
static inline bool mrmr_must_keep(const struct files_struct *fsp, off_t offset,
				  uint64_t len)
{
	const struct mrmr_writer *writer =
		mrmr_writer_of(fsp_get_pathref_fd(fsp));

	return writer != NULL && writer->undo != NULL &&
	       !mrmr_undo_is_kept(writer->undo, (uint64_t)offset, len);
}

/*
 * Keep it, in a thread. mrmr_keep_recv() gives 0, or -1 with *perrno: then
 * nothing may be written. If the request is freed, what is being kept is kept.
 */
struct tevent_req *mrmr_keep_send(TALLOC_CTX *mem_ctx,
				  struct tevent_context *ev,
				  struct vfs_handle_struct *handle,
				  struct files_struct *fsp, off_t offset,
				  uint64_t len);
int mrmr_keep_recv(struct tevent_req *req, int *perrno);

/* The same for callers that cannot wait, where there is something or not. */
int mrmr_keep_now(struct files_struct *fsp, off_t offset, uint64_t len);

/* Before the file is cut to a size. What is given up is told. */
int mrmr_keep_cut_now(struct vfs_handle_struct *handle, int fd, off_t size);

#endif
