/*
 * MRMR: computing blocks from the rest of their stripe.
 *
 * Reading what is needed (other slots' protected bytes, parity blocks) may
 * find that some of it is not there or not right. Nothing tells which block is
 * wrong, but the hash of what is wanted tells whether the result is right: so
 * combinations are tried, those first that leave out what could not be read,
 * and what does not match its own hash or checksum is an erasure. What is
 * returned matched its SHA-256 (invariant 4).
 *
 * A job is made by the thread that has the catalogue, with all that it needs
 * opened, and run in any thread.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_DECODE_H
#define MRMR_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/engine.h>

struct mrmr_decode;

/*
 * Prepare to compute extent `index` of a file without reading it. Needs only
 * the range of the other blocks that the extent's piece covers. -1 with *err
 * filled: EIO if more is away than there are parity blocks (the sentence says
 * which members would be needed). A talloc child of mem_ctx.
 */
struct mrmr_decode *mrmr_decode_extent(void *mem_ctx,
				       struct mrmr_engine *engine,
				       const struct mrmr_node *node,
				       uint32_t index, struct mrmr_error *err);

/* The same for the parity block of a row, whole, for which no SHA-256 is asked
   of the caller: it is the row's. */
struct mrmr_decode *mrmr_decode_row(void *mem_ctx, struct mrmr_engine *engine,
				    const struct mrmr_stripe *stripe,
				    uint8_t row, struct mrmr_error *err);

/* The length of what it gives. */
size_t mrmr_decode_len(const struct mrmr_decode *decode);

/* Do it. For any thread, one at a time per job. 0, or -1 with errno EIO. */
int mrmr_decode_run(struct mrmr_decode *decode, uint8_t *out);

/*
 * A file whose member is away, or whose bytes are bad, read as if it were there:
 * keeps the extents computed last, computes ahead of a sequential reader, in
 * threads. Threads may read at the same time; the catalogue is only asked in
 * mrmr_reader_open and mrmr_reader_prepare.
 */
struct mrmr_reader;
struct mrmr_reader *mrmr_reader_open(void *mem_ctx, struct mrmr_engine *engine,
				     const struct mrmr_node *node,
				     struct mrmr_error *err);
/* Have all that is needed for a range at hand; by the catalogue's thread. */
int mrmr_reader_prepare(struct mrmr_reader *reader, uint64_t offset, size_t len,
			struct mrmr_error *err);
/* Then, in any thread: bytes read (less at the end of the file), or -1 EIO. */
ssize_t mrmr_reader_read(struct mrmr_reader *reader, void *buf, size_t len,
			 uint64_t offset);

#endif
