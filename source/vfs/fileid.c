/*
 * MRMR: the Samba module: file ids.
 *
 * Locks, leases and share modes hang on a file's id, and macOS and Windows keep
 * the number that is made from it. st_dev changes with every remount, so the
 * id has a number made from the member's own id in its place.
 *
 * A file that moved to another member while it was open is known by its old id
 * until its last handle is closed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "vfs_mrmr.h"

#include <mrmr/shared.h>

static void known_as(const struct mrmr_pool *pool, uint64_t *device,
		     uint64_t *ino)
{
	const struct mrmr_shared *shared = pool->shared;
	size_t i;

	if (atomic_load_explicit(&shared->num_moves, memory_order_acquire) ==
	    0) {
		return;
	}
	for (i = 0; i < MRMR_MOVES_MAX; i++) {
		const struct mrmr_shared_move *move = &shared->moves[i];

		if (atomic_load(&move->used) == 1 &&
		    move->now_device == *device && move->now_ino == *ino) {
			*device = move->was_device;
			*ino = move->was_ino;
			return;
		}
	}
}

struct file_id mrmr_file_id_create(struct vfs_handle_struct *handle,
				   const SMB_STRUCT_STAT *sbuf)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	struct file_id id = SMB_VFS_NEXT_FILE_ID_CREATE(handle, sbuf);

	if (share != NULL) {
		id.devid = mrmr_pool_device_id(share->pool, sbuf->st_ex_dev);
		known_as(share->pool, &id.devid, &id.inode);
	}
	return id;
}

/*
 * The 64 bits that clients see. Inodes are small numbers and device ids are
 * random ones, so two members' files differ in the upper bits.
 */
uint64_t mrmr_fs_file_id(struct vfs_handle_struct *handle,
			 const SMB_STRUCT_STAT *sbuf)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	uint64_t device;
	uint64_t ino = sbuf->st_ex_ino;

	if (share == NULL) {
		return SMB_VFS_NEXT_FS_FILE_ID(handle, sbuf);
	}
	device = mrmr_pool_device_id(share->pool, sbuf->st_ex_dev);
	known_as(share->pool, &device, &ino);
	return device ^ ino;
}
