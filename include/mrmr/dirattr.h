/*
 * MRMR: the attributes of directories, the same wherever they exist.
 *
 * Mode, owner and group, extended attributes (ACLs are such) and times. When a
 * clone and its spine directory differ, the spine is right: a drive that joins,
 * or comes back, must not open to everybody what clients see as closed. Rights
 * are changed through the share, or on the spine. What changes while a member
 * is away is noted (mrmr/missed.h), as a look at modes and owners does not show
 * that an ACL differs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_DIRATTR_H
#define MRMR_DIRATTR_H

#include <stdbool.h>
#include <sys/stat.h>

#include <mrmr/catalog.h>
#include <mrmr/dir.h>

/*
 * A clone that was made without a directory of the spine to copy, with this
 * mode and root as its owner, has no rights of its own: it takes the spine's,
 * or those of the directory it is in.
 */
#define MRMR_BARE_MODE 01000

bool mrmr_directory_is_bare(const struct stat *st);

/*
 * Make mode, owner and extended attributes of to_fd those of from_fd. Both are
 * real descriptors, of directories or of files. What the file system of to_fd
 * cannot keep (owners on exFAT, xattrs on NFS) is left out. Needs root. 0, or
 * -1 with errno.
 */
int mrmr_attributes_copy(int from_fd, int to_fd);

/* Those that the catalogue has of a node. Needs root. 0, or -1 with errno. */
int mrmr_attributes_set(int fd, const struct mrmr_node *node);

/* Set atime and mtime of a descriptor. */
int mrmr_times_set(int fd, const struct stat *st);

/* fsync of a file or directory, where there is such a thing. */
int mrmr_sync(int fd);

/*
 * Make `name` in the directory at_fd, a copy of the directory from_fd without
 * what is in it: first in staging_fd (a folder on the same file system that
 * only root can enter), then renamed into place, so that it never shows with
 * wrong rights. The mtime of at_fd is kept. Needs root. EEXIST if it is there.
 */
int mrmr_directory_copy(int from_fd, int staging_fd, int at_fd,
			const char *name);

/* The same with the attributes, and the mtime, that the catalogue has of a
   directory. */
int mrmr_directory_make(const struct mrmr_node *node, int staging_fd, int at_fd,
			const char *name);

/*
 * Give a clone the attributes of its spine directory, as root. False if another
 * process is changing the directory: then nothing was done.
 */
bool mrmr_dir_reconcile(struct mrmr_dir *dir, size_t member, int clone_fd);

/*
 * After a change of the spine directory's attributes: the same onto all its
 * clones. name is the extended attribute to copy, or NULL for everything.
 * Members that are away, or in trouble, get it when the clone is next looked up.
 */
void mrmr_dir_mirror(struct mrmr_dir *dir, const char *name);

/*
 * Gives the spine directory's attributes to each clone of it that has other extended
 * ones, as root: that of a directory made by hand on a member has none, and would be
 * what is left if the spine and all others were lost. Rights are seen to whenever a
 * clone is looked up.
 */
void mrmr_dir_align(struct mrmr_dir *dir);

/* The same for its times. */
void mrmr_dir_mirror_times(struct mrmr_dir *dir, const struct timespec ts[2]);

#endif
