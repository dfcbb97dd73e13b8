/*
 * MRMR: the Samba module: how much room there is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "vfs_mrmr.h"

/* Samba counts in units of 512 bytes, and returns KiB. */
uint64_t mrmr_disk_free(struct vfs_handle_struct *handle,
			const struct smb_filename *smb_fname, uint64_t *bsize,
			uint64_t *dfree, uint64_t *dsize)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	uint64_t total_bytes;
	uint64_t free_bytes;

	if (pool == NULL) {
		return SMB_VFS_NEXT_DISK_FREE(handle, smb_fname, bsize, dfree,
					      dsize);
	}
	mrmr_pool_look_at_space(pool);
	mrmr_pool_space(pool, &total_bytes, &free_bytes);
	*bsize = 512;
	*dfree = free_bytes / 512;
	*dsize = total_bytes / 512;
	return *dfree / 2;
}

int mrmr_statvfs(struct vfs_handle_struct *handle,
		 const struct smb_filename *smb_fname,
		 struct vfs_statvfs_struct *statbuf)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	uint64_t total_bytes;
	uint64_t free_bytes;
	int ret;

	/* Capabilities are the spine's; smbd asks for them by the share's own
	   path. Numbers are the pool's. */
	ret = SMB_VFS_NEXT_STATVFS(handle, smb_fname, statbuf);
	if (ret != 0 || pool == NULL || statbuf->BlockSize == 0) {
		return ret;
	}
	mrmr_pool_space(pool, &total_bytes, &free_bytes);
	statbuf->TotalBlocks = total_bytes / statbuf->BlockSize;
	statbuf->BlocksAvail = free_bytes / statbuf->BlockSize;
	statbuf->UserBlocksAvail = statbuf->BlocksAvail;
	return 0;
}

/* A quota of one file system says nothing about a pool of several. */
int mrmr_get_quota(struct vfs_handle_struct *handle,
		   const struct smb_filename *smb_fname,
		   enum SMB_QUOTA_TYPE qtype, unid_t id, SMB_DISK_QUOTA *qt)
{
	errno = ENOSYS;
	return -1;
}

int mrmr_set_quota(struct vfs_handle_struct *handle, enum SMB_QUOTA_TYPE qtype,
		   unid_t id, SMB_DISK_QUOTA *qt)
{
	errno = ENOSYS;
	return -1;
}
