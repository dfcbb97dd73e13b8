/*
 * MRMR: the Samba module: what Samba's versions have differently.
 *
 * The other files are written for all versions: what a version has more or
 * less, in the functions that it calls or in those that it offers, is here.
 *
 *   4.17  interface 47
 *   4.19  interface 49: readdir gives no stat, and there is no seekdir and
 *         telldir any more: a listing is read once, from the start
 *   4.22  interface 50: renameat may be told to replace nothing; a directory is
 *         made under a temporary name, and renamed when it is set up
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_VFS_VERSIONS_H
#define MRMR_VFS_VERSIONS_H

#include "includes.h"
#include "smbd/smbd.h"

/* Fill in what this version has. */
void mrmr_versions_fill(struct vfs_fn_pointers *fns);

/* A directory that smbd sets up before others may see it. */
bool mrmr_is_in_the_making(const struct smb_filename *smb_fname);

#endif
