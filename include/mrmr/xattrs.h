/*
 * MRMR: all extended attributes of a file, as one value.
 *
 * ACLs (POSIX and Windows), streams, DOS attributes and macOS metadata are
 * extended attributes, so whoever recreates a file needs all of them.
 *
 * The value is a list, sorted by name: name, NUL, length of the value as four
 * bytes (little-endian), the value. So files with the same attributes have the
 * same bytes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_XATTRS_H
#define MRMR_XATTRS_H

#include <stddef.h>
#include <stdint.h>

#define MRMR_XATTRS_MAX (4u << 20) /* more than that is E2BIG */

/*
 * Of a file or directory by its descriptor (not O_PATH). *blob is NULL and *len
 * 0 if there are none, or the file system has no such thing. Needs root to see
 * trusted.* and security.*. A talloc child of mem_ctx.
 */
int mrmr_xattrs_read(void *mem_ctx, int fd, uint8_t **blob, size_t *len);

/* The same of what is at_fd/name itself, which may be a symlink or a special
   file. */
int mrmr_xattrs_read_at(void *mem_ctx, int at_fd, const char *name,
			uint8_t **blob, size_t *len);

/*
 * Make the attributes of fd exactly these: set, replace, remove. What the file
 * system cannot keep is left out, and counted in *left_out (may be NULL). -1
 * with errno, EINVAL if blob is none.
 */
int mrmr_xattrs_write(int fd, const uint8_t *blob, size_t len,
		      unsigned int *left_out);
int mrmr_xattrs_write_at(int at_fd, const char *name, const uint8_t *blob,
			 size_t len, unsigned int *left_out);

/* Is it well-formed? */
int mrmr_xattrs_check(const uint8_t *blob, size_t len);

/* The value of one attribute within blob, or NULL. */
const uint8_t *mrmr_xattrs_find(const uint8_t *blob, size_t len,
				const char *name, size_t *value_len);

#endif
