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
#include <sys/types.h>

#include <mrmr/engine.h>

struct mrmr_decode;

/*
 * Prepare to compute extent `index` of a file without reading it. Needs only
 * the range of the other blocks that the extent's piece covers. -1 with *err
 * filled: EIO if more is away than there are parity blocks (the sentence says
 * which members would be needed); what this process is short of, if it could not
 * open enough (mrmr_is_shortage()). A talloc child of mem_ctx. Needs root.
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

/*
 * All pieces of a slot at once, which costs little more than one of them where
 * many small files are packed; or a row that is lost. For many blocks that are
 * most likely all right: nothing is looked for or opened before the run, and
 * what does not come out right is left to the jobs above, which find out why. So
 * it is NULL for want of memory only.
 */
struct mrmr_decode *mrmr_decode_slot(void *mem_ctx, struct mrmr_engine *engine,
				     const struct mrmr_stripe *stripe,
				     const struct mrmr_slot *slot,
				     struct mrmr_error *err);
struct mrmr_decode *mrmr_decode_row_at_once(void *mem_ctx,
					    struct mrmr_engine *engine,
					    const struct mrmr_stripe *stripe,
					    const struct mrmr_row *row,
					    struct mrmr_error *err);

/* Of a slot: its pieces. Where they are right after a run (0 also if some are
   not), their bytes are in out, from (at - that of the first piece) on. */
struct mrmr_decode_piece {
	uint64_t file;
	uint32_t index;
	uint32_t at; /* in the slot */
	uint32_t len_bytes;
	bool is_right;
};
size_t mrmr_decode_num_pieces(const struct mrmr_decode *decode);
const struct mrmr_decode_piece *mrmr_decode_piece(
	const struct mrmr_decode *decode, size_t i);

/*
 * Could all of a file be computed now, as far as can be told without reading? 0,
 * or -1 with *err: why not. Needs root.
 */
int mrmr_decode_can(struct mrmr_engine *engine, const struct mrmr_node *node,
		    struct mrmr_error *err);

/* The length of what it gives. */
size_t mrmr_decode_len(const struct mrmr_decode *decode);

/*
 * Do it. For any thread, one at a time per job; becomes root in it. 0, or -1
 * with errno EIO, or what this process is short of: then out has anything. Where
 * the stripe may have been changed by the protector since the job was made, another
 * job may succeed.
 */
int mrmr_decode_run(struct mrmr_decode *decode, uint8_t *out);

/* A block that did not match its hash, or could not be read although its member
   is there. */
struct mrmr_decode_wrong {
	int error; /* EILSEQ, or why it could not be read */
	uint16_t member;
	uint64_t stripe;
	bool is_parity;
	uint8_t place;      /* slot or row */
	uint64_t file;      /* data: whose extent it is, */
	uint32_t index;     /* which one */
	uint8_t sha256[32]; /* what it should be */
};

/* Those that a job found in its last run, once each; *num of them. */
const struct mrmr_decode_wrong *mrmr_decode_wrong(
	const struct mrmr_decode *decode, size_t *num);

/*
 * Write them to the log, with their files' names, and count them (also for
 * everybody, by their members: mrmr/trouble.h): for the
 * thread that has the catalogue, after a run. Returns how many there were. What
 * was reported is not reported again.
 */
size_t mrmr_decode_report(struct mrmr_decode *decode,
			  struct mrmr_engine *engine);

/* One that was found in another way. */
void mrmr_decode_report_wrong(const struct mrmr_decode_wrong *wrong,
			      struct mrmr_engine *engine);

/* How many this process has reported that did not match their hash. */
uint64_t mrmr_decode_wrong_count(void);

/*
 * A file whose member is away, or whose bytes are bad, read as if it were there:
 * keeps the extents computed last, computes ahead of a sequential reader, in
 * threads. Threads may read at the same time; the catalogue is only asked in
 * mrmr_reader_open and mrmr_reader_prepare.
 *
 * What is read is the protected version, as long as that is: node->size_bytes.
 * A NULL from open, and -1 from prepare, come with *err.
 */
struct mrmr_reader;
struct mrmr_reader *mrmr_reader_open(void *mem_ctx, struct mrmr_engine *engine,
				     const struct mrmr_node *node,
				     struct mrmr_error *err);

/*
 * Have all that is needed for a range at hand; by the catalogue's thread. Costs
 * nothing if it is. -1 if its first byte cannot be computed; a long range may be
 * prepared in part, and ends before what cannot be computed. The engine must be
 * there as long as the reader.
 */
int mrmr_reader_prepare(struct mrmr_reader *reader, uint64_t offset, size_t len,
			struct mrmr_error *err);

/*
 * Then, in any thread: bytes read (less at the end of the file, or where what
 * was prepared ends), or -1: EIO. Then prepare and read again, once: what it was
 * to be computed from may have been changed by the protector meanwhile. EAGAIN:
 * the range was not prepared, or has been forgotten since.
 */
ssize_t mrmr_reader_read(struct mrmr_reader *reader, void *buf, size_t len,
			 uint64_t offset);

/* How much to keep and how many threads, for readers opened from now on; 0: as
   it is by default (for each process a 256th of the machine's memory, but 16 to
   64 MiB; 2). */
void mrmr_reader_limits(size_t cache_bytes, unsigned int threads);

#endif
