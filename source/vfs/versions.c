/*
 * MRMR: the Samba module: what Samba's versions have differently.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "versions.h"
#include "vfs_mrmr.h"

#if SMB_VFS_INTERFACE_VERSION < 49

static struct dirent *version_readdir(struct vfs_handle_struct *handle,
				      struct files_struct *dirfsp, DIR *dirp,
				      SMB_STRUCT_STAT *sbuf)
{
	return mrmr_readdir(handle, dirfsp, dirp, sbuf);
}

#else

static struct dirent *version_readdir(struct vfs_handle_struct *handle,
				      struct files_struct *dirfsp, DIR *dirp)
{
	return mrmr_readdir(handle, dirfsp, dirp, NULL);
}

#endif

/* Samba's own: before there is a pool, and what is no name but a stream. */
static bool is_sambas(struct vfs_handle_struct *handle,
		      const struct smb_filename *from,
		      const struct smb_filename *to)
{
	return mrmr_pool_of(handle) == NULL || is_named_stream(from) ||
	       is_named_stream(to);
}

#if SMB_VFS_INTERFACE_VERSION < 50

bool mrmr_is_in_the_making(const struct smb_filename *smb_fname)
{
	return false;
}

static int version_renameat(struct vfs_handle_struct *handle,
			    struct files_struct *from_dirfsp,
			    const struct smb_filename *from,
			    struct files_struct *to_dirfsp,
			    const struct smb_filename *to)
{
	if (is_sambas(handle, from, to)) {
		return SMB_VFS_NEXT_RENAMEAT(handle, from_dirfsp, from,
					     to_dirfsp, to);
	}
	return mrmr_renameat(handle, from_dirfsp, from, to_dirfsp, to);
}

#else

_Static_assert(sizeof(MRMR_UNFINISHED_PREFIX) == sizeof(SMBD_TMPDIR_PREFIX),
	       "smbd has another name for directories in the making");

bool mrmr_is_in_the_making(const struct smb_filename *smb_fname)
{
	return strncmp(smb_fname->base_name, SMBD_TMPDIR_PREFIX,
		       sizeof(SMBD_TMPDIR_PREFIX) - 1) == 0;
}

static int version_renameat(struct vfs_handle_struct *handle,
			    struct files_struct *from_dirfsp,
			    const struct smb_filename *from,
			    struct files_struct *to_dirfsp,
			    const struct smb_filename *to,
			    const struct vfs_rename_how *how)
{
	if (is_sambas(handle, from, to)) {
		return SMB_VFS_NEXT_RENAMEAT(handle, from_dirfsp, from,
					     to_dirfsp, to, how);
	}
	if (mrmr_is_in_the_making(from) && from_dirfsp == to_dirfsp) {
		return mrmr_finish_directory(handle, from_dirfsp, from, to);
	}
	if (how->flags != 0) {
		errno = EINVAL; /* nobody asks for it otherwise so far */
		return -1;
	}
	return mrmr_renameat(handle, from_dirfsp, from, to_dirfsp, to);
}

#endif

void mrmr_versions_fill(struct vfs_fn_pointers *fns)
{
	fns->readdir_fn = version_readdir;
	fns->renameat_fn = version_renameat;
#if SMB_VFS_INTERFACE_VERSION < 49
	fns->seekdir_fn = mrmr_seekdir;
	fns->telldir_fn = mrmr_telldir;
#endif
}
