/*
 * MRMR: the Samba module: telling the protector of what only the module sees.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_TELLING_H
#define VFS_MRMR_TELLING_H

#include "vfs_mrmr.h"

/*
 * The file behind a descriptor that is open for writing is new, or is about to
 * change. Tells it once, and from time to time; costs a look at a page of
 * memory otherwise. Keeps errno.
 */
void mrmr_tell_changing(struct vfs_handle_struct *handle, int fd);

/* A file's attributes have changed. Keeps errno. */
void mrmr_tell_attributes(struct vfs_handle_struct *handle,
			  const struct files_struct *fsp);
void mrmr_tell_dir_attributes(struct mrmr_dir *dir);

/* Protected bytes of it had to be given up. */
void mrmr_tell_lost(struct vfs_handle_struct *handle, int fd);

/*
 * A descriptor is about to be closed: what will be to tell then. If it was told
 * just before that the file changes, and nobody has listened since, there is
 * nothing to be told.
 */
struct mrmr_closing {
	bool is_changed; /* the rest is valid */
	uint64_t told_mark;
	int64_t told_ns;
	size_t member;
	uint64_t inode;
	char path[MRMR_PATH_MAX];
};
void mrmr_tell_before_close(struct vfs_handle_struct *handle, int fd,
			    struct mrmr_closing *closing);
void mrmr_tell_closed(struct vfs_handle_struct *handle,
		      const struct mrmr_closing *closing);

#endif
