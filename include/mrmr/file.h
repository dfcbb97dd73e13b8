/*
 * MRMR: small files, read and written whole.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_FILE_H
#define MRMR_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a new file gets. An id of -1 is left to the system. */
struct mrmr_file_attributes {
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/*
 * The content of an open regular file of at most max_bytes, with a NUL after
 * it that *len does not count; a talloc child of mem_ctx. NULL with errno:
 * EISDIR for a directory, EINVAL for what else is not a regular file, EFBIG,
 * or what the system said.
 */
char *mrmr_file_read_fd(void *mem_ctx, int fd, size_t max_bytes, size_t *len);

/*
 * Write a file whole or not at all: a temporary file ".NAME.new" beside it,
 * fsync, rename, fsync of the directory. dir_fd may be an O_PATH descriptor.
 * Without may_replace an existing file is EEXIST. -1 with errno: then the name
 * is as it was, unless it was only the last fsync that failed.
 */
int mrmr_file_write(int dir_fd, const char *name, const char *data, size_t len,
		    const struct mrmr_file_attributes *attributes,
		    bool may_replace);

/*
 * Up to len bytes, fewer only where the file ends: how many, or -1 with errno.
 */
ssize_t mrmr_read_upto(int fd, void *buf, size_t len, uint64_t offset);

/*
 * All bytes of a range, however many calls that takes. A file that ends before
 * it is EIO. -1 with errno: what buf has then is not known.
 */
int mrmr_read_fully(int fd, void *buf, size_t len, uint64_t offset);

/* The same for writing; -1 with errno: some of it may have been written. */
int mrmr_write_fully(int fd, const void *buf, size_t len, uint64_t offset);

/*
 * What is read through fd is not to change the file's access time: nobody used
 * it, and smbd gives a durable handle back only if the file's times are what
 * they were. For files of others: needs root. Where it cannot be had, it is not.
 */
void mrmr_file_keep_atime(int fd);

/* Make the entries of a directory durable. dir_fd may be O_PATH. */
int mrmr_file_sync_directory(int dir_fd);

#endif
