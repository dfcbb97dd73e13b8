/*
 * MRMR: stripes being made and changed: bytes, and whether they are right.
 *
 * Parity is never computed from bytes that do not match their recorded hash:
 * each old piece and each parity block is read as a whole and compared before
 * it is used. What does not match is computed from the rest of its stripe
 * (mrmr/decode.h), as the catalogue has it from before this change, or it is
 * not used at all.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/fault.h>
#include <mrmr/fault_bytes.h>
#include <mrmr/file.h>

#include "stripes_private.h"

/* --- buffers ------------------------------------------------------------------- */

#define PAGE_BYTES ((size_t)4096)
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

int buffer_need(struct buffer *buffer, size_t len)
{
	size_t align = len < HUGE_PAGE_BYTES ? PAGE_BYTES : HUGE_PAGE_BYTES;

	if (len <= buffer->size && buffer->data != NULL) {
		return 0;
	}
	free(buffer->data);
	buffer->size = (len / PAGE_BYTES + 1) * PAGE_BYTES;
	buffer->data = aligned_alloc(align, (buffer->size + align - 1) / align *
						    align);
	if (buffer->data == NULL) {
		buffer->size = 0;
		errno = ENOMEM;
		return -1;
	}
	/* The last huge page would be one for a few bytes. That the kernel has
	   none, or none to spare, does not matter. */
	if (align == HUGE_PAGE_BYTES) {
		(void)madvise(buffer->data, len / align * align, MADV_HUGEPAGE);
	}
	return 0;
}

void buffer_free(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){0};
}

/* --- changes of this call --------------------------------------------------------- */

struct mrmr_change *stripes_find_change(struct mrmr_stripes *work,
					uint64_t file, uint32_t index)
{
	size_t low = 0;
	size_t high = work->num_changes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct mrmr_change *change = work->by_place[middle];

		if (change->file == file && change->index == index) {
			return change;
		}
		if (change->file < file ||
		    (change->file == file && change->index < index)) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return NULL;
}

/* --- data -------------------------------------------------------------------------- */

static bool is_right(uint8_t *data, uint32_t len_bytes,
		     const uint8_t sha256[32])
{
	uint8_t got[MRMR_SHA256_LEN];

	mrmr_fault_flip("stripes-old-bytes", data, len_bytes);
	mrmr_sha256(data, len_bytes, got);
	return memcmp(got, sha256, sizeof(got)) == 0;
}

/* The hash says whether looking for pre-images would have told more. */
int read_right(struct mrmr_live *live, uint8_t *data, uint32_t len_bytes,
	       uint64_t offset, const uint8_t sha256[32])
{
	if (mrmr_live_read_unsure(live, data, len_bytes, offset) == 0 &&
	    is_right(data, len_bytes, sha256)) {
		return 0;
	}
	if (mrmr_live_read(live, data, len_bytes, offset) == -1) {
		return -1;
	}
	if (!is_right(data, len_bytes, sha256)) {
		errno = EILSEQ;
		return -1;
	}
	return 0;
}

#define PART_BYTES ((uint32_t)256 * 1024)

void reading_begin(struct mrmr_stripes *work, struct item *item,
		   struct reading *reading)
{
	struct stripes_member *member = NULL;

	reading->item = item;
	reading->error = 0;
	reading->done_bytes = 0;
	reading->is_zero = true;
	if (item == NULL) {
		return;
	}
	member = stripes_member(work, item->change->member);
	if (member != NULL) {
		member->is_used = true;
	}
	mrmr_hashes_start(reading->hashes);
	if (mrmr_fault("stripes-read") != 0) {
		reading->error = errno;
	}
}

int reading_go_on(struct reading *reading, uint8_t *data, uint32_t len_bytes)
{
	const struct mrmr_change *change = reading->item->change;

	if (reading->error != 0) {
		errno = reading->error;
		return -1;
	}
	if (mrmr_live_read(change->now, data, len_bytes,
			   change->offset + reading->done_bytes) == -1) {
		return -1;
	}
	mrmr_hashes_add(reading->hashes, data, len_bytes);
	reading->is_zero =
		reading->is_zero && mrmr_is_all_zero(data, len_bytes);
	reading->done_bytes += len_bytes;
	return 0;
}

int reading_end(struct reading *reading)
{
	struct item *item = reading->item;
	const struct mrmr_change *change = item->change;

	mrmr_hashes_end(reading->hashes, item->sha256, &item->checksum);
	if (change->only_moves && memcmp(item->sha256, change->old.sha256,
					 sizeof(item->sha256)) != 0) {
		errno = EILSEQ;
		return -1;
	}
	return 0;
}

int read_new(struct mrmr_stripes *work, struct item *item, struct new_bytes *to)
{
	struct reading reading = {.hashes = to->hashes};
	uint32_t left = item->change->len_bytes;

	to->done_bytes = 0;
	reading_begin(work, item, &reading);
	while (left > 0) {
		uint32_t at = reading.done_bytes;
		uint32_t len = left < PART_BYTES ? left : PART_BYTES;

		if (reading_go_on(&reading, to->data + at, len) == -1) {
			return -1;
		}
		if (to->fn != NULL) {
			to->fn(item, to->data + at, at, len, to->private_data);
		}
		to->done_bytes = reading.done_bytes;
		left -= len;
	}
	to->is_zero = reading.is_zero;
	return reading_end(&reading);
}

/* By the catalogue, as it is before this call: computed, and right, or -1. */
static int compute_extent(struct mrmr_stripes *work, uint64_t file,
			  uint32_t index, uint32_t len_bytes, uint8_t *data)
{
	struct mrmr_engine *engine = work->engine;
	struct mrmr_node *node = NULL;
	struct mrmr_decode *decode = NULL;
	int ret = -1;

	if (mrmr_catalog_get(engine->catalog, work, file, &node) == -1) {
		return -1;
	}
	decode = mrmr_decode_extent(node, engine, node, index, NULL);
	if (decode != NULL && mrmr_decode_len(decode) == len_bytes) {
		ret = mrmr_decode_run(decode, data);
		mrmr_decode_report(decode, engine);
	}
	talloc_free(node);
	return ret;
}

int read_old(struct mrmr_stripes *work, const struct mrmr_change *change,
	     bool may_compute, uint8_t *data)
{
	const struct mrmr_extent *old = &change->old;

	if (mrmr_fault("stripes-old") == 0 && change->was != NULL &&
	    read_right(change->was, data, old->len_bytes, change->offset,
		       old->sha256) == 0) {
		return 0;
	}
	if (!may_compute) {
		errno = EIO;
		return -1;
	}
	return compute_extent(work, change->file, change->index, old->len_bytes,
			      data);
}

/* --- pieces that stay ----------------------------------------------------------------- */

/* The extent that a piece is, if both agree. */
static bool find_extent(struct mrmr_stripes *work,
			const struct mrmr_stripe *stripe,
			const struct layout_slot *slot,
			const struct layout_piece *piece, uint32_t offset,
			struct mrmr_extent *extent)
{
	const struct mrmr_piece recorded = {
		.file = piece->file,
		.index = piece->index,
		.len_bytes = piece->len_bytes,
	};

	return mrmr_catalog_piece_extent(work->engine->catalog, stripe->id,
					 slot->slot, &recorded, offset, extent);
}

/* The new bytes of an extent that stays as it was: known to be the same. */
static const struct mrmr_change *unchanged(struct mrmr_stripes *work,
					   const struct layout_piece *piece)
{
	const struct mrmr_change *change =
		stripes_find_change(work, piece->file, piece->index);

	return change != NULL && change->now != NULL &&
			       change->extent.state == MRMR_EXTENT_IN_STRIPE
		       ? change
		       : NULL;
}

/* -1 with errno if its file cannot be opened. */
static int open_source(struct mrmr_stripes *work,
		       const struct layout_slot *slot,
		       const struct layout_piece *piece,
		       const struct mrmr_extent *extent, void *mem_ctx,
		       bool is_closed, struct source *source)
{
	struct mrmr_engine *engine = work->engine;
	struct stripes_member *member = stripes_member(work, slot->member);
	struct mrmr_node *node = NULL;
	int ret;

	if (member == NULL || !member->is_online) {
		errno = ENODEV;
		return -1;
	}
	if (member->live == NULL) {
		member->live =
			mrmr_live_member_open(work, engine, slot->member);
		if (member->live == NULL) {
			return -1;
		}
	}
	if (mrmr_catalog_get(engine->catalog, work, piece->file, &node) == -1) {
		return -1;
	}
	ret = mrmr_live_open_on(mem_ctx, engine, member->live, node, is_closed,
				&source->live);
	source->offset = (uint64_t)piece->index * node->grid_bytes;
	memcpy(source->sha256, extent->sha256, sizeof(source->sha256));
	member->is_used = true;
	talloc_free(node);
	return ret;
}

enum found read_source(struct mrmr_stripes *work,
		       const struct layout_slot *slot,
		       const struct layout_piece *piece, uint8_t *data)
{
	const struct mrmr_change *change = unchanged(work, piece);
	const struct source *source = piece->source;
	int ret = -1;

	if (change != NULL) {
		ret = read_right(change->now, data, piece->len_bytes,
				 change->offset, change->old.sha256);
	} else if (source != NULL) {
		ret = read_right(source->live, data, piece->len_bytes,
				 source->offset, source->sha256);
	}
	return ret == 0 ? FOUND_LIVE : FOUND_NOWHERE;
}

/* Files of a job that are kept open, at most. */
#define OPEN_FILES_MAX 32

static int find_source(struct mrmr_stripes *work, struct job *job,
		       struct layout_slot *slot, struct layout_piece *piece,
		       uint32_t offset, size_t *num)
{
	struct mrmr_extent extent;
	struct source *source = NULL;

	if (piece->file == MRMR_ID_NONE || piece->item != NULL ||
	    !find_extent(work, job->old, slot, piece, offset, &extent)) {
		return 0;
	}
	source = talloc_zero(job, struct source);
	if (source == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (open_source(work, slot, piece, &extent, source,
			(*num)++ >= OPEN_FILES_MAX, source) == 0) {
		piece->source = source;
	} else {
		talloc_free(source);
	}
	return 0;
}

int find_sources(struct mrmr_stripes *work, struct job *job)
{
	size_t num = 0;
	uint32_t i;
	uint32_t j;

	for (i = 0; i < job->layout.num_slots; i++) {
		struct layout_slot *slot = &job->layout.slots[i];
		uint32_t offset = 0;

		for (j = 0; j < slot->num_pieces; j++) {
			if (find_source(work, job, slot, &slot->pieces[j],
					offset, &num) == -1) {
				return -1;
			}
			offset += slot->pieces[j].len_bytes;
		}
	}
	return 0;
}

static int read_staying(struct mrmr_stripes *work,
			const struct layout_slot *slot,
			const struct layout_piece *piece,
			const struct mrmr_extent *extent, uint8_t *data)
{
	const struct mrmr_change *change = unchanged(work, piece);
	struct source source = {0};
	void *frame = NULL;
	int ret;

	if (change != NULL) {
		return read_right(change->now, data, piece->len_bytes,
				  change->offset, extent->sha256);
	}
	frame = talloc_new(work);
	ret = open_source(work, slot, piece, extent, frame, false, &source);
	if (ret == 0) {
		ret = read_right(source.live, data, piece->len_bytes,
				 source.offset, source.sha256);
	}
	talloc_free(frame);
	return ret;
}

enum found read_piece(struct mrmr_stripes *work,
		      const struct mrmr_stripe *stripe,
		      const struct layout_slot *slot,
		      const struct layout_piece *piece, uint32_t offset,
		      bool may_compute, uint8_t *data)
{
	const struct stripes_member *member =
		stripes_member(work, slot->member);
	struct mrmr_extent extent;

	if (!find_extent(work, stripe, slot, piece, offset, &extent)) {
		return FOUND_NOWHERE;
	}
	if (read_staying(work, slot, piece, &extent, data) == 0) {
		return FOUND_LIVE;
	}
	if (may_compute && compute_extent(work, piece->file, piece->index,
					  piece->len_bytes, data) == 0) {
		return FOUND_COMPUTED;
	}
	return member != NULL && !member->is_online ? FOUND_AWAY
						    : FOUND_NOWHERE;
}

/* --- parity ------------------------------------------------------------------------------ */

int read_row(struct mrmr_stripes *work, const struct mrmr_row *row,
	     uint8_t *data)
{
	const struct stripes_member *member = stripes_member(work, row->member);
	uint8_t sha256[MRMR_SHA256_LEN];
	struct stat st = {0};
	int saved_errno;
	int ret;
	int fd;

	if (member == NULL || !member->is_online) {
		errno = ENODEV;
		return -1;
	}
	fd = mrmr_blob_open(member->private_fd, row->sha256);
	if (fd == -1) {
		return -1;
	}
	ret = fstat(fd, &st);
	if (ret == 0 &&
	    (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != row->len_bytes)) {
		errno = EILSEQ;
		ret = -1;
	}
	if (ret == 0) {
		ret = mrmr_read_fully(fd, data, row->len_bytes, 0);
	}
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	if (ret == -1) {
		return -1;
	}
	mrmr_fault_flip("stripes-row-bytes", data, row->len_bytes);
	mrmr_sha256(data, row->len_bytes, sha256);
	if (memcmp(sha256, row->sha256, sizeof(sha256)) != 0) {
		errno = EILSEQ;
		return -1;
	}
	return 0;
}

int decode_row(struct mrmr_stripes *work, const struct mrmr_stripe *stripe,
	       const struct mrmr_row *row, uint8_t *data)
{
	struct mrmr_decode *decode =
		mrmr_decode_row(work, work->engine, stripe, row->row, NULL);
	int ret;

	if (decode == NULL) {
		return -1;
	}
	ret = mrmr_decode_run(decode, data);
	mrmr_decode_report(decode, work->engine);
	talloc_free(decode);
	return ret;
}
