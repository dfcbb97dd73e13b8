/*
 * MRMR: the Samba module: a file that is being listed.
 *
 * smbd opens each file that it has got from a directory, asks what stat has said
 * already, and for extended attributes, and closes it. All that is had by the
 * name in the directory as well, for half of the price. So smbd gets a descriptor
 * that stands in for the file's; should it want anything else of the file, the
 * file is opened after all, under the number that smbd has.
 *
 * The stand-in is of a file without a name and content: whatever went past us
 * could do no harm with it. There is one, for one file at a time.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_LISTED_H
#define VFS_MRMR_LISTED_H

#include "vfs_mrmr.h"

/* readdir is about to return this file, which stat has just given .st of. .name
   and .spine_fd are good until mrmr_listed_settle(), which comes before the next
   one as well. */
void mrmr_listed_read(struct mrmr_share *share, const struct mrmr_listed *file);

/* smbd opens something: the stand-in for it, if it is what readdir returned last;
   else -1. */
int mrmr_listed_open(struct mrmr_share *share,
		     const struct files_struct *dirfsp,
		     const struct smb_filename *smb_fname,
		     const struct files_struct *fsp,
		     const struct vfs_open_how *how);

/* The file of which fsp has a stand-in, while its .dir_fd is good; else NULL. */
struct mrmr_listed *mrmr_listed_of(struct vfs_handle_struct *handle,
				   const struct files_struct *fsp);

/*
 * Before anything is done with the descriptor of fsp: from now on it is the
 * file's own. 0, and at once so for any other fsp; -1 with errno: ENOENT if
 * another file, or none, has its name meanwhile.
 */
int mrmr_listed_need(struct vfs_handle_struct *handle,
		     const struct files_struct *fsp);

/* The same before anything that may have to do with any descriptor, or ends what
   mrmr_listed_read() was told. */
void mrmr_listed_settle(struct mrmr_share *share);

/* smbd closes fsp. True if it had a stand-in, and there is nothing to close. */
bool mrmr_listed_close(struct mrmr_share *share,
		       const struct files_struct *fsp);

/* The share ends. */
void mrmr_listed_end(struct mrmr_share *share);

#endif
