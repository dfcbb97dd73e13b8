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
 * nothing is left behind. That data has this SHA-256 is the caller's promise.
 */
int mrmr_blob_write(int private_fd, const uint8_t sha256[32], const void *data,
		    size_t len);

/* The same, but what is there, whatever it is, is replaced; durable when it
   returns. For one whose bytes have gone bad. */
int mrmr_blob_replace(int private_fd, const uint8_t sha256[32],
		      const void *data, size_t len);

/* -1 with ENOENT if there is none. */
int mrmr_blob_remove(int private_fd, const uint8_t sha256[32]);

/* Call fn for each blob of a member until it returns non-zero. fn may remove
   the blob it is called for. -1 with errno if not all could be seen. */
int mrmr_blob_walk(int private_fd,
		   int (*fn)(const uint8_t sha256[32], uint64_t size_bytes,
			     void *private_data),
		   void *private_data);

/* Remove what a writer that died left half written. For the holder of the
   catalogue's lock (mrmr/catalog.h), before it writes any itself. */
void mrmr_blob_sweep(int private_fd);

#endif
