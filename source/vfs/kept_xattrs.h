/*
 * MRMR: the Samba module: what listings have found out about extended attributes.
 *
 * Clients list the same directories again and again, and for each file smbd asks
 * for two things that hardly ever change. Whoever changes an extended attribute,
 * the name or the inode's rights changes the ctime as well, on file systems where
 * it tells (mrmr/ctime_tells.h): the same inode with the same ctime has the same
 * extended attributes, and the same file has been found by its name.
 *
 * An inode's place in the table follows from its number, and the newest one there
 * stays: nothing else bounds what is kept.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_KEPT_XATTRS_H
#define VFS_KEPT_XATTRS_H

#include "vfs_mrmr.h"

/* What a call has given: len bytes, or none such. Longer ones are not kept. */
struct mrmr_kept_value {
	int8_t len; /* or one of these */
	char bytes[55];
};

#define MRMR_KEPT_UNKNOWN (-1)
#define MRMR_KEPT_NONE (-2) /* ENODATA */

struct mrmr_kept_xattrs {
	dev_t dev;
	ino_t ino; /* 0: an empty place */
	struct timespec ctime;
	uid_t uid; /* who asked */
	struct mrmr_kept_value dos_attributes;
	struct mrmr_kept_value names; /* as listxattr gives them */
};

/*
 * The place of the file that stat has just given st of, to take from and to fill;
 * it is good until the next call. NULL if nothing is to be kept: it changed a
 * moment ago, and may change once more without another ctime; or no memory.
 */
struct mrmr_kept_xattrs *mrmr_kept_xattrs_of(struct mrmr_share *share,
					     const struct stat *st, uid_t uid);

/* Everything that the share keeps is forgotten and freed. */
void mrmr_kept_xattrs_free(struct mrmr_share *share);

/* As getxattr into size bytes at to: *len is what it returns, with errno. False if
   it has to be asked. */
bool mrmr_kept_value_get(const struct mrmr_kept_value *value, void *to,
			 size_t size, ssize_t *len);

/* What it has given: len, with errno, bytes at from, which has room for size. */
void mrmr_kept_value_set(struct mrmr_kept_value *value, const void *from,
			 size_t size, ssize_t len);

#endif
