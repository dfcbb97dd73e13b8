/*
 * MRMR: the Samba module: ghosts: files of members that are away.
 *
 * smbd has the descriptor of a ghost, so locks, leases, extended attributes and
 * ACLs are native. Its numbers are those of the file that it stands in for, and
 * its bytes are computed when they are read.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_GHOSTS_H
#define VFS_MRMR_GHOSTS_H

#include "vfs_mrmr.h"

#include <mrmr/absent.h>

/*
 * Is the file behind fsp a ghost? Costs a memory access as long as no member was
 * away since the pool was opened, and then a system call or two.
 */
bool mrmr_fsp_is_ghost(struct vfs_handle_struct *handle,
		       const struct files_struct *fsp,
		       struct mrmr_ghost *ghost);
bool mrmr_fd_is_ghost(const struct mrmr_pool *pool, int fd,
		      struct mrmr_ghost *ghost);

/* What stat says of a ghost, by its descriptor or its name in a directory:
   made what it would say of the file. Nothing is done for anything else. */
void mrmr_ghost_stat(const struct mrmr_pool *pool, int fd,
		     SMB_STRUCT_STAT *sbuf);
void mrmr_ghost_stat_at(const struct mrmr_pool *pool, int dir_fd,
			const char *name, SMB_STRUCT_STAT *sbuf);

/*
 * May the file behind this name, or descriptor, be opened for writing? If it is
 * a ghost, -1 with errno: EWOULDBLOCK it is being rebuilt.
 */
int mrmr_ghost_may_write_at(const struct mrmr_share *share,
			    struct mrmr_place *place);
int mrmr_ghost_may_write(const struct mrmr_share *share, const char *proc_path);

/* A file was opened for reading: if it is a ghost, a rebuild that runs makes it
   before others. */
void mrmr_ghost_note_opened(struct vfs_handle_struct *handle,
			    const struct files_struct *fsp, int fd);

/* The attributes of a file are about to be changed: if it is a ghost, that is
   noted. -1 with errno: they must not be. */
int mrmr_ghost_note_change(struct vfs_handle_struct *handle,
			   const struct files_struct *fsp);

off_t mrmr_lseek(struct vfs_handle_struct *handle, struct files_struct *fsp,
		 off_t offset, int whence);

/* read.c */
ssize_t mrmr_pread(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   void *data, size_t n, off_t offset);
struct tevent_req *mrmr_pread_send(struct vfs_handle_struct *handle,
				   TALLOC_CTX *mem_ctx,
				   struct tevent_context *ev,
				   struct files_struct *fsp, void *data,
				   size_t n, off_t offset);
ssize_t mrmr_pread_recv(struct tevent_req *req,
			struct vfs_aio_state *aio_state);
ssize_t mrmr_sendfile(struct vfs_handle_struct *handle, int to_fd,
		      files_struct *from_fsp, const DATA_BLOB *header,
		      off_t offset, size_t n);
bool mrmr_aio_force(struct vfs_handle_struct *handle, struct files_struct *fsp);

#endif
