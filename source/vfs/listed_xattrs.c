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
 * What was found is kept for the next listing (kept_xattrs.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "kept_xattrs.h"
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
	place->kept = NULL;
	if (share->listed.ctime_tells) {
		place->kept = mrmr_kept_xattrs_of(share, &share->listed.st,
						  get_current_uid(fsp->conn));
	}
	strlcpy(place->name, share->listed.name, sizeof(place->name));
}

/* NULL: this is not the file that was listed last. */
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

/* What is kept is for the user that asked: root is shown more. */
static struct mrmr_kept_xattrs *kept_of(const struct mrmr_listed_place *place)
{
	struct mrmr_kept_xattrs *kept = place->kept;

	return kept != NULL && kept->uid == get_current_uid(place->fsp->conn)
		       ? kept
		       : NULL;
}

static bool is_lacking; /* the kernel has no such system call */

static ssize_t read_dos_attributes(struct vfs_handle_struct *handle,
				   struct files_struct *fsp,
				   const struct mrmr_listed_place *place,
				   void *value, size_t size)
{
	const char *name = SAMBA_XATTR_DOS_ATTRIB;
	struct kernels_xattr_args args = {
		.value = (uintptr_t)value,
		.size = (uint32_t)size,
	};
	ssize_t len = -1;

	if (!is_lacking) {
		len = syscall(SYS_getxattrat, place->dir_fd, place->name,
			      AT_SYMLINK_NOFOLLOW, name, &args, sizeof(args));
		is_lacking = len == -1 && errno == ENOSYS;
	}
	return is_lacking
		       ? SMB_VFS_NEXT_FGETXATTR(handle, fsp, name, value, size)
		       : len;
}

static ssize_t read_names(struct vfs_handle_struct *handle,
			  struct files_struct *fsp,
			  const struct mrmr_listed_place *place, char *list,
			  size_t size)
{
	ssize_t len = -1;

	if (!is_lacking) {
		len = syscall(SYS_listxattrat, place->dir_fd, place->name,
			      AT_SYMLINK_NOFOLLOW, list, size);
		is_lacking = len == -1 && errno == ENOSYS;
	}
	return is_lacking ? SMB_VFS_NEXT_FLISTXATTR(handle, fsp, list, size)
			  : len;
}

ssize_t mrmr_fgetxattr(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, const char *name, void *value,
		       size_t size)
{
	const struct mrmr_listed_place *place = place_of(handle, fsp);
	struct mrmr_kept_xattrs *kept = NULL;
	ssize_t len;

	/* All others decide on rights. */
	if (place == NULL || strcmp(name, SAMBA_XATTR_DOS_ATTRIB) != 0) {
		return SMB_VFS_NEXT_FGETXATTR(handle, fsp, name, value, size);
	}
	kept = kept_of(place);
	if (kept != NULL &&
	    mrmr_kept_value_get(&kept->dos_attributes, value, size, &len)) {
		return len;
	}
	len = read_dos_attributes(handle, fsp, place, value, size);
	if (kept != NULL) {
		mrmr_kept_value_set(&kept->dos_attributes, value, size, len);
	}
	return len;
}

ssize_t mrmr_flistxattr(struct vfs_handle_struct *handle,
			struct files_struct *fsp, char *list, size_t size)
{
	const struct mrmr_listed_place *place = place_of(handle, fsp);
	struct mrmr_kept_xattrs *kept = NULL;
	ssize_t len;

	if (place == NULL) {
		return SMB_VFS_NEXT_FLISTXATTR(handle, fsp, list, size);
	}
	kept = kept_of(place);
	if (kept != NULL &&
	    mrmr_kept_value_get(&kept->names, list, size, &len)) {
		return len;
	}
	len = read_names(handle, fsp, place, list, size);
	if (kept != NULL) {
		mrmr_kept_value_set(&kept->names, list, size, len);
	}
	return len;
}
