/*
 * MRMR: the Samba module: extended attributes of files that are being listed.
 *
 * For each file, smbd asks for its DOS attributes, and for the names of all that
 * it has, to reckon how large they are. With a descriptor that is for a look only
 * (O_PATH), that goes by way of /proc, and takes a quarter of a listing's time. By
 * the file's name in its directory it takes half of that, where the kernel has
 * getxattrat(2) (Linux 6.13). Should the name mean another file by now, that one's
 * are listed, which the user may read as well, or else gets an error for.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "vfs_mrmr.h"

#include <sys/syscall.h>

/* Not in the headers of all C libraries; the same on all processors. */
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#endif
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif

struct kernels_xattr_args {
	_Alignas(8) uint64_t value;
	uint32_t size;
	uint32_t flags;
};

void mrmr_listed_opened(struct mrmr_share *share,
			const struct files_struct *fsp)
{
	struct mrmr_listed_place *place = &share->listed_place;

	place->fsp = fsp;
	place->dir_fd = share->listed.dir_fd;
	place->dirs_closed = share->pool->dirs_closed;
	strlcpy(place->name, share->listed.name, sizeof(place->name));
}

/* NULL: ask by the descriptor. */
static const struct mrmr_listed_place *place_of(
	struct vfs_handle_struct *handle, const struct files_struct *fsp)
{
	struct mrmr_share *share = mrmr_share_of(handle);

	if (share == NULL || share->listed_place.fsp != fsp ||
	    share->listed_place.dirs_closed != share->pool->dirs_closed) {
		return NULL;
	}
	return &share->listed_place;
}

static bool is_lacking; /* the kernel has no such system call */

ssize_t mrmr_fgetxattr(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, const char *name, void *value,
		       size_t size)
{
	const struct mrmr_listed_place *place = place_of(handle, fsp);
	struct kernels_xattr_args args = {
		.value = (uintptr_t)value,
		.size = (uint32_t)size,
	};
	ssize_t len;

	/* All others decide on rights. */
	if (place == NULL || is_lacking ||
	    strcmp(name, SAMBA_XATTR_DOS_ATTRIB) != 0) {
		return SMB_VFS_NEXT_FGETXATTR(handle, fsp, name, value, size);
	}
	len = syscall(SYS_getxattrat, place->dir_fd, place->name,
		      AT_SYMLINK_NOFOLLOW, name, &args, sizeof(args));
	if (len == -1 && errno == ENOSYS) {
		is_lacking = true;
		return SMB_VFS_NEXT_FGETXATTR(handle, fsp, name, value, size);
	}
	return len;
}

ssize_t mrmr_flistxattr(struct vfs_handle_struct *handle,
			struct files_struct *fsp, char *list, size_t size)
{
	const struct mrmr_listed_place *place = place_of(handle, fsp);
	ssize_t len;

	if (place == NULL || is_lacking) {
		return SMB_VFS_NEXT_FLISTXATTR(handle, fsp, list, size);
	}
	len = syscall(SYS_listxattrat, place->dir_fd, place->name,
		      AT_SYMLINK_NOFOLLOW, list, size);
	if (len == -1 && errno == ENOSYS) {
		is_lacking = true;
		return SMB_VFS_NEXT_FLISTXATTR(handle, fsp, list, size);
	}
	return len;
}
