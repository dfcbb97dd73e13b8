/*
 * MRMR: the Samba module: writes, until their member is full.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_WRITE_H
#define VFS_MRMR_WRITE_H

#include "vfs_mrmr.h"

struct tevent_req *mrmr_pwrite_send(struct vfs_handle_struct *handle,
				    TALLOC_CTX *mem_ctx,
				    struct tevent_context *ev,
				    struct files_struct *fsp, const void *data,
				    size_t n, off_t offset);
ssize_t mrmr_pwrite_recv(struct tevent_req *req,
			 struct vfs_aio_state *aio_state);

ssize_t mrmr_pwrite(struct vfs_handle_struct *handle, files_struct *fsp,
		    const void *data, size_t n, off_t offset);
int mrmr_ftruncate(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   off_t offset);
int mrmr_fallocate(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   uint32_t mode, off_t offset, off_t len);
int mrmr_make_room_for_attribute(struct vfs_handle_struct *handle,
				 struct files_struct *fsp, size_t size_bytes);
int mrmr_close(struct vfs_handle_struct *handle, struct files_struct *fsp);

#endif
