/*
 * MRMR: computing blocks from the rest of their stripe: doing it.
 *
 * By chunks: of each input as much as stays in a near cache with the others,
 * decoded straight into the caller's buffer and hashed while it is hot; where one
 * counts as it is (the parity block, if one block is lost), it is read into that
 * buffer at once. What
 * cannot be read is an erasure from then on; the chunk begins anew with another
 * plan, and what was computed before stays.
 *
 * If the hash is not the right one in the end, one of the inputs is wrong
 * though it could be read. Then, in this order:
 *   1. each input is compared with its own hash: a parity block with its name,
 *      pieces of slots as whole extents. What does not match is an erasure, and
 *      all is computed again, until the result is right, or no more is found
 *      and all inputs are what they should be;
 *   2. then the records of this stripe contradict each other. As the hash still
 *      tells a right result from a wrong one, it is tried to leave out one
 *      input, then two.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/digest.h>
#include <mrmr/fault.h>
#include <mrmr/fault_bytes.h>
#include <mrmr/file.h>
#include <mrmr/shortage.h>
#include <mrmr/thread_root.h>

#include "decode_private.h"

/* Chunks of all inputs together: what a core has near it. */
#define NEAR_BYTES ((size_t)512 * 1024)
#define CHUNK_MAX ((size_t)128 * 1024)
#define CHUNK_MIN ((size_t)16 * 1024)
#define PAGE ((size_t)4096)

/* Combinations that are tried when all inputs seem right. */
#define TRIALS_MAX 64

struct run {
	struct mrmr_decode *decode;
	struct mrmr_digest *digest;
	uint8_t *out;
	struct decode_stretch stretch;
	size_t chunk_bytes;
	uint8_t *buffers; /* one of chunk_bytes for each input */

	/* Pre-images are looked for. Not at first: most files have none, and
	   the hash tells if one was overwritten a moment ago. */
	bool is_sure;

	/* Of a whole slot: what is hashed, up to where. */
	uint32_t piece;
	uint32_t hashed;
};

/* --- reading inputs ----------------------------------------------------------- */

static int read_blob(int fd, uint8_t *buf, size_t len, uint64_t offset)
{
	if (mrmr_fault("decode-blob") != 0) {
		return -1;
	}
	if (mrmr_read_fully(fd, buf, len, offset) == -1) {
		return -1;
	}
	mrmr_fault_flip("decode-row-bytes", buf, len);
	return 0;
}

static int read_row(struct mrmr_decode *decode, struct decode_block *block,
		    uint32_t begin, uint32_t end,
		    struct mrmr_parity_input *input, uint8_t *buf)
{
	if (end > block->len_bytes) {
		end = block->len_bytes;
	}
	if (begin >= end) {
		return 0;
	}
	if (read_blob(block->fd, buf, end - begin, begin) == -1) {
		block->error = errno;
		decode_note_row(decode, block, block->error);
		return -1;
	}
	input->data = buf;
	input->len_bytes = end - begin;
	return 0;
}

static uint32_t lower(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t higher(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static int read_piece(const struct run *r, struct decode_piece *piece,
		      uint8_t *buf, size_t len, uint64_t offset)
{
	return r->is_sure
		       ? mrmr_live_read(piece->live, buf, len, offset)
		       : mrmr_live_read_unsure(piece->live, buf, len, offset);
}

/* The pieces in [begin, end), with zeros between them, but not behind them. */
static int read_slot(const struct run *r, struct decode_block *block,
		     uint32_t begin, uint32_t end,
		     struct mrmr_parity_input *input, uint8_t *buf)
{
	uint32_t at = begin;
	uint32_t i = decode_find_piece(block, begin);

	for (; i < block->num_pieces && block->pieces[i].begin < end; i++) {
		struct decode_piece *piece = &block->pieces[i];
		uint32_t from = higher(piece->begin, begin);
		uint32_t to = lower(piece->end, end);

		memset(buf + (at - begin), 0, from - at);
		if (read_piece(r, piece, buf + (from - begin), to - from,
			       piece->file_offset + (from - piece->begin)) ==
		    -1) {
			piece->error = errno;
			decode_note_piece(r->decode, block, piece,
					  piece->error);
			return -1;
		}
		mrmr_fault_flip("decode-slot-bytes", buf + (from - begin),
				to - from);
		if (to == piece->end) {
			mrmr_live_let_go(piece->live);
		}
		at = to;
	}
	input->data = buf;
	input->len_bytes = at - begin;
	return 0;
}

/* One of them into out, if it can be; -1: something could not be read, which is
   an erasure now. */
static int read_inputs(struct run *r, uint32_t begin, uint32_t end,
		       struct mrmr_parity_input *inputs, uint8_t *out)
{
	size_t in_place = mrmr_parity_plan_in_place(&r->stretch.plan);
	uint8_t i;

	for (i = 0; i < r->stretch.plan.num_inputs; i++) {
		struct decode_block *block = r->stretch.inputs[i];
		uint8_t *buf = r->buffers + (size_t)i * r->chunk_bytes;
		int ret;

		if (i == in_place) {
			buf = out;
		}
		inputs[i] = (struct mrmr_parity_input){
			.place = r->stretch.plan.input[i],
		};
		ret = decode_is_row(block) ? read_row(r->decode, block, begin,
						      end, &inputs[i], buf)
					   : read_slot(r, block, begin, end,
						       &inputs[i], buf);
		if (ret == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- computing ------------------------------------------------------------------ */

/* Some shapes of inputs go through the same buffers: as large as for the most
   inputs there can be. */
static int make_buffers(struct run *r)
{
	size_t num = r->decode->num_blocks > 0 ? r->decode->num_blocks : 1;
	size_t len = r->decode->end - r->decode->begin;
	size_t chunk = NEAR_BYTES / num / PAGE * PAGE;

	if (chunk < CHUNK_MIN) {
		chunk = CHUNK_MIN;
	}
	if (chunk > CHUNK_MAX) {
		chunk = CHUNK_MAX;
	}
	if (chunk > len) {
		/* a multiple of 64 keeps the buffers aligned */
		chunk = (len + 63) / 64 * 64;
	}
	r->chunk_bytes = chunk;
	r->buffers = aligned_alloc(64, num * chunk);
	if (r->buffers == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

/*
 * *at moves on as far as was computed. -1 only if it cannot go on: more is lost
 * than there are rows.
 */
static int compute_chunk(struct run *r, uint32_t *at)
{
	const struct mrmr_parity_plan *plan = &r->stretch.plan;
	struct mrmr_parity_input inputs[MRMR_PARITY_SLOTS];
	struct mrmr_parity_output output = {.place = r->decode->want};
	uint32_t end = r->stretch.end;

	if (end - *at > r->chunk_bytes) {
		end = *at + (uint32_t)r->chunk_bytes;
	}
	output.data = r->out + (*at - r->decode->begin);
	if (read_inputs(r, *at, end, inputs, output.data) == -1) {
		return decode_stretch_make(r->decode, *at, &r->stretch);
	}
	if (mrmr_parity_plan_run(plan, inputs, &output, end - *at) == -1) {
		return -1;
	}
	if (r->decode->wanted == NULL) {
		mrmr_digest_add(r->digest, output.data, end - *at);
	}
	*at = end;
	return 0;
}

/* 1: what was computed is right. 0: it is not. -1: it cannot be computed. */
static int compute(struct run *r)
{
	uint8_t sha256[MRMR_SHA256_LEN];
	uint32_t at = r->decode->begin;

	mrmr_digest_start(r->digest);
	r->stretch.end = at;
	while (at < r->decode->end) {
		if (at >= r->stretch.end &&
		    decode_stretch_make(r->decode, at, &r->stretch) == -1) {
			return -1;
		}
		if (compute_chunk(r, &at) == -1) {
			return -1;
		}
	}
	mrmr_digest_end(r->digest, sha256);
	return memcmp(sha256, r->decode->sha256, sizeof(sha256)) == 0;
}

/* As compute(); what was overwritten since it was opened is looked for if it has
   to be. */
static int compute_surely(struct run *r)
{
	int ret = compute(r);

	if (ret == 0 && !r->is_sure) {
		r->is_sure = true;
		ret = compute(r);
	}
	return ret;
}

/* --- all pieces of a slot ------------------------------------------------------ */

/* Hash what has been computed before it leaves the near cache. */
static void hash_up_to(struct run *r, uint32_t at)
{
	struct mrmr_decode *decode = r->decode;

	while (r->piece < decode->num_wanted) {
		struct decode_wanted *wanted = &decode->wanted[r->piece];
		uint32_t begin = wanted->piece.at;
		uint32_t end = begin + wanted->piece.len_bytes;
		uint32_t from = higher(begin, r->hashed);
		uint32_t to = lower(end, at);
		uint8_t sha256[MRMR_SHA256_LEN];

		if (begin >= at) {
			break;
		}
		if (from == begin) {
			mrmr_digest_start(r->digest);
		}
		mrmr_digest_add(r->digest, r->out + (from - decode->begin),
				to - from);
		if (to < end) {
			break;
		}
		mrmr_digest_end(r->digest, sha256);
		wanted->piece.is_right =
			memcmp(sha256, wanted->sha256, sizeof(sha256)) == 0;
		r->piece++;
	}
	r->hashed = at;
}

/* Where more is lost than there are rows, the hashes of the pieces say so. */
static void compute_pieces(struct run *r)
{
	uint32_t at = r->decode->begin;

	r->stretch.end = at;
	r->piece = 0;
	r->hashed = at;
	while (at < r->decode->end) {
		int ret = 0;

		if (at >= r->stretch.end) {
			ret = decode_stretch_make(r->decode, at, &r->stretch);
		}
		if (ret == 0) {
			ret = compute_chunk(r, &at);
		}
		if (ret == -1) {
			memset(r->out + (at - r->decode->begin), 0,
			       r->stretch.end - at);
			at = r->stretch.end;
		}
		hash_up_to(r, at);
	}
}

static bool are_all_right(const struct mrmr_decode *decode)
{
	uint32_t i;

	for (i = 0; i < decode->num_wanted; i++) {
		if (!decode->wanted[i].piece.is_right) {
			return false;
		}
	}
	return true;
}

static int compute_at_once(struct run *r)
{
	if (r->decode->wanted != NULL) {
		compute_pieces(r);
		if (!are_all_right(r->decode)) {
			r->is_sure = true;
			compute_pieces(r);
		}
		return 0;
	}
	if (compute_surely(r) == 1) {
		return 0;
	}
	errno = EIO;
	return -1;
}

/* --- inputs that are wrong -------------------------------------------------------- */

/*
 * Do len_bytes from one place or another match a hash? Through the buffers,
 * whose content nobody needs by now. 0: yes. EILSEQ: no. Else why they cannot
 * be read.
 */
static int check_bytes(struct run *r, const struct decode_block *row,
		       const struct decode_piece *piece,
		       const uint8_t sha256[MRMR_SHA256_LEN])
{
	uint32_t len = row != NULL ? row->len_bytes : piece->end - piece->begin;
	uint8_t got[MRMR_SHA256_LEN];
	uint32_t at = 0;

	mrmr_digest_start(r->digest);
	while (at < len) {
		uint32_t part = lower(len - at, (uint32_t)r->chunk_bytes);
		int ret;

		if (row != NULL) {
			ret = read_blob(row->fd, r->buffers, part, at);
		} else {
			ret = mrmr_live_read(piece->live, r->buffers, part,
					     piece->file_offset + at);
		}
		if (ret == -1) {
			return errno;
		}
		mrmr_digest_add(r->digest, r->buffers, part);
		at += part;
	}
	mrmr_digest_end(r->digest, got);
	return memcmp(got, sha256, sizeof(got)) == 0 ? 0 : EILSEQ;
}

/* True if that made an erasure of it. */
static bool check_row(struct run *r, struct decode_block *block)
{
	if (block->error != 0 || block->is_checked) {
		return false;
	}
	block->is_checked = true;
	block->error = check_bytes(r, block, NULL, block->sha256);
	if (block->error == EILSEQ) {
		decode_note_row(r->decode, block, EILSEQ);
	}
	return block->error != 0;
}

static bool check_piece(struct run *r, struct decode_block *block,
			struct decode_piece *piece)
{
	if (piece->error != 0 || piece->is_checked) {
		return false;
	}
	piece->is_checked = true;
	piece->error = check_bytes(r, NULL, piece, piece->sha256);
	if (piece->error == EILSEQ) {
		decode_note_piece(r->decode, block, piece, EILSEQ);
	}
	return piece->error != 0;
}

/* All inputs, also those that no plan has taken yet: they are the next. */
static bool find_wrong(struct run *r)
{
	bool found = false;
	uint32_t i;
	uint32_t j;

	for (i = 0; i < r->decode->num_blocks; i++) {
		struct decode_block *block = &r->decode->blocks[i];

		if (decode_is_row(block)) {
			found = check_row(r, block) || found;
			continue;
		}
		for (j = 0; j < block->num_pieces; j++) {
			found = check_piece(r, block, &block->pieces[j]) ||
				found;
		}
	}
	return found;
}

/* --- combinations ------------------------------------------------------------------- */

static void note_left_out(struct mrmr_decode *decode)
{
	uint32_t i;

	for (i = 0; i < decode->num_blocks; i++) {
		const struct decode_block *block = &decode->blocks[i];

		if (!block->is_left_out) {
			continue;
		}
		if (decode_is_row(block)) {
			decode_note_row(decode, block, EILSEQ);
		} else if (block->num_pieces > 0) {
			decode_note_piece(decode, block, &block->pieces[0],
					  EILSEQ);
		}
	}
}

/* Leave out num more blocks, from a first one on. */
static bool try_without(struct run *r, uint32_t first, int num,
			unsigned int *trials)
{
	uint32_t i;

	for (i = first; i < r->decode->num_blocks; i++) {
		struct decode_block *block = &r->decode->blocks[i];
		bool is_right;

		if (*trials == 0) {
			return false;
		}
		block->is_left_out = true;
		if (num > 1) {
			is_right = try_without(r, i + 1, num - 1, trials);
		} else {
			(*trials)--;
			is_right = compute(r) == 1;
			if (is_right) {
				note_left_out(r->decode);
			}
		}
		if (is_right) {
			return true;
		}
		block->is_left_out = false;
	}
	return false;
}

static bool try_combinations(struct run *r)
{
	unsigned int trials = TRIALS_MAX;

	return try_without(r, 0, 1, &trials) || try_without(r, 0, 2, &trials);
}

static int decode(struct run *r)
{
	int ret = compute_surely(r);

	while (ret == 0 && find_wrong(r)) {
		ret = compute(r);
	}
	if (ret == 1 || (ret == 0 && try_combinations(r))) {
		return 0;
	}
	if (ret == 0 || errno != ENOMEM) {
		int shortage = decode_shortage(r->decode);

		errno = shortage != 0 ? shortage : EIO;
	}
	return -1;
}

int mrmr_decode_run(struct mrmr_decode *job, uint8_t *out)
{
	struct run r = {.decode = job, .out = out};
	struct mrmr_thread_root root;
	int saved_errno;
	int ret;

	if (job->is_zero) {
		memset(out, 0, mrmr_decode_len(job));
		return 0;
	}
	if (mrmr_thread_root_enter(&root) == -1) {
		return -1;
	}
	ret = make_buffers(&r);
	if (ret == 0) {
		r.digest = mrmr_digest_new();
		ret = job->is_at_once ? compute_at_once(&r) : decode(&r);
	}
	saved_errno = errno;
	mrmr_digest_free(r.digest);
	free(r.buffers);
	mrmr_thread_root_leave(&root);
	errno = saved_errno;
	return ret;
}
