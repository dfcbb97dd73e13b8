/*
 * MRMR: the Samba module: bytes that come without a write: copies within the
 * server, and straight from the socket.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_COPY_H
#define VFS_MRMR_COPY_H

#include "vfs_mrmr.h"

struct tevent_req *mrmr_offload_write_send(struct vfs_handle_struct *handle,
					   TALLOC_CTX *mem_ctx,
					   struct tevent_context *ev,
					   uint32_t fsctl, DATA_BLOB *token,
					   off_t transfer_offset,
					   struct files_struct *dest_fsp,
					   off_t dest_off, off_t to_copy);
NTSTATUS mrmr_offload_write_recv(struct vfs_handle_struct *handle,
				 struct tevent_req *req, off_t *copied);
/* copy_ghost.c: tokens, and copies that are read and written */
struct tevent_req *mrmr_offload_read_send(TALLOC_CTX *mem_ctx,
					  struct tevent_context *ev,
					  struct vfs_handle_struct *handle,
					  struct files_struct *fsp,
					  uint32_t fsctl, uint32_t ttl,
					  off_t offset, size_t to_copy);
NTSTATUS mrmr_offload_read_recv(struct tevent_req *req,
				struct vfs_handle_struct *handle,
				TALLOC_CTX *mem_ctx, uint32_t *flags,
				uint64_t *xferlen, DATA_BLOB *token);

/* The open file that is to be copied from, or NULL if that is not known. */
struct files_struct *mrmr_file_of_token(uint32_t fsctl, DATA_BLOB *token);

/* The same if it is a ghost; or NULL: then Samba copies. */
struct files_struct *mrmr_ghost_of_token(struct vfs_handle_struct *handle,
					 uint32_t fsctl, DATA_BLOB *token);
struct tevent_req *mrmr_read_copy_send(
	TALLOC_CTX *mem_ctx, struct tevent_context *ev, uint32_t fsctl,
	struct files_struct *from, off_t from_offset, struct files_struct *to,
	off_t to_offset, off_t to_copy);
NTSTATUS mrmr_read_copy_recv(struct tevent_req *req, off_t *copied);

ssize_t mrmr_recvfile(struct vfs_handle_struct *handle, int from_fd,
		      struct files_struct *fsp, off_t offset, size_t count);

#endif
