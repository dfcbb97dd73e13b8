/*
 * MRMR: parity blocks as files: .mrmr/parity/xx/<sha256>.blob, where xx are the
 * first two digits. Named by their content, never changed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_BLOB_H
#define MRMR_BLOB_H

#include <stddef.h>
#include <stdint.h>

#define MRMR_PARITY_FOLDER "parity" /* below the member's .mrmr */

/* For reading. A descriptor, or -1 with errno. For any thread, as the rest. */
int mrmr_blob_open(int private_fd, const uint8_t sha256[32]);

/*
 * Write one under a temporary name and rename it into place; if it is there
 * already with this length, nothing is done. It is durable after the next
 * syncfs of the member, and not before. -1 with errno: ENOSPC, EIO...; then
 * nothing is left behind.
 */
int mrmr_blob_write(int private_fd, const uint8_t sha256[32], const void *data,
		    size_t len);

int mrmr_blob_remove(int private_fd, const uint8_t sha256[32]);

/* Call fn for each blob of a member until it returns non-zero. */
int mrmr_blob_walk(int private_fd,
		   int (*fn)(const uint8_t sha256[32], uint64_t size_bytes,
			     void *private_data),
		   void *private_data);

#endif
