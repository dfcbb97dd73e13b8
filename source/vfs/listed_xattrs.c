/*
 * MRMR: the Samba module: extended attributes of files that are being listed.
 *
 * For each file, smbd asks for its DOS attributes, and for the names of all that
 * it has, to reckon how large they are. Both are read by the file's name in its
 * directory, with getxattrat(2) where the kernel has it (Linux 6.13), at half the
 * price of a look by way of /proc. Should the name mean another file by now, that
 * one's are listed, which the user may read as well, or else gets an error for.
 *
 * What was found is kept for the next listing (kept_xattrs.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "kept_xattrs.h"
#include "listed.h"

#include <mrmr/fd_path.h>

#include <sys/syscall.h>
#include <sys/xattr.h>

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

/* What is kept is for the user that asked: root is shown more. */
static struct mrmr_kept_xattrs *kept_of(const struct mrmr_listed *file)
{
	struct mrmr_kept_xattrs *kept = file->kept;

	return kept != NULL && kept->uid == get_current_uid(file->fsp->conn)
		       ? kept
		       : NULL;
}

static bool is_lacking; /* the kernel has no such system call */

#define PATH_LEN (MRMR_FD_LINK_LEN + 1 + NAME_MAX)

static const char *path_of(const struct mrmr_listed *file, char *path)
{
	size_t len = strlen(mrmr_fd_link(file->dir_fd, path));

	path[len] = '/';
	strlcpy(path + len + 1, file->name, PATH_LEN - len - 1);
	return path;
}

static ssize_t read_value(const struct mrmr_listed *file, const char *name,
			  void *value, size_t size)
{
	struct kernels_xattr_args args = {
		.value = (uintptr_t)value,
		.size = (uint32_t)size,
	};
	char path[PATH_LEN];
	ssize_t len = -1;

	if (!is_lacking) {
		len = syscall(SYS_getxattrat, file->dir_fd, file->name,
			      AT_SYMLINK_NOFOLLOW, name, &args, sizeof(args));
		is_lacking = len == -1 && errno == ENOSYS;
	}
	return is_lacking ? lgetxattr(path_of(file, path), name, value, size)
			  : len;
}

static ssize_t read_names(const struct mrmr_listed *file, char *list,
			  size_t size)
{
	char path[PATH_LEN];
	ssize_t len = -1;

	if (!is_lacking) {
		len = syscall(SYS_listxattrat, file->dir_fd, file->name,
			      AT_SYMLINK_NOFOLLOW, list, size);
		is_lacking = len == -1 && errno == ENOSYS;
	}
	return is_lacking ? llistxattr(path_of(file, path), list, size) : len;
}

ssize_t mrmr_fgetxattr(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, const char *name, void *value,
		       size_t size)
{
	const struct mrmr_listed *file = mrmr_listed_of(handle, fsp);
	struct mrmr_kept_xattrs *kept = NULL;
	ssize_t len;

	/* All others decide on rights. */
	if (file == NULL || strcmp(name, SAMBA_XATTR_DOS_ATTRIB) != 0) {
		if (mrmr_listed_need(handle, fsp) == -1) {
			return -1;
		}
		return SMB_VFS_NEXT_FGETXATTR(handle, fsp, name, value, size);
	}
	kept = kept_of(file);
	if (kept != NULL &&
	    mrmr_kept_value_get(&kept->dos_attributes, value, size, &len)) {
		return len;
	}
	len = read_value(file, name, value, size);
	if (kept != NULL) {
		mrmr_kept_value_set(&kept->dos_attributes, value, size, len);
	}
	return len;
}

ssize_t mrmr_flistxattr(struct vfs_handle_struct *handle,
			struct files_struct *fsp, char *list, size_t size)
{
	const struct mrmr_listed *file = mrmr_listed_of(handle, fsp);
	struct mrmr_kept_xattrs *kept = NULL;
	ssize_t len;

	if (file == NULL) {
		if (mrmr_listed_need(handle, fsp) == -1) {
			return -1;
		}
		return SMB_VFS_NEXT_FLISTXATTR(handle, fsp, list, size);
	}
	kept = kept_of(file);
	if (kept != NULL &&
	    mrmr_kept_value_get(&kept->names, list, size, &len)) {
		return len;
	}
	len = read_names(file, list, size);
	if (kept != NULL) {
		mrmr_kept_value_set(&kept->names, list, size, len);
	}
	return len;
}
