/*
 * MRMR: computing blocks from the rest of their stripe: making the job.
 *
 * What the job will read is found and opened here, as that takes the catalogue;
 * beyond a number of files they are left closed, and opened when they are read.
 *
 * A job for all of a block takes its files as the catalogue has them, and finds
 * out when it reads them (mrmr_live_expect): what fails so is for a job that
 * looks. And where small files are packed, a parity block is one file instead of
 * hundreds: as many as are not needed stand in for slots.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/shortage.h>

#include "decode_private.h"

/* Files that a job keeps open, at most. */
#define OPEN_FILES_MAX 64

/* Slots with so many pieces are rather computed than read. */
#define PIECES_MANY 8

static int free_decode(struct mrmr_decode *decode)
{
	uint32_t i;

	for (i = 0; i < decode->num_blocks; i++) {
		if (decode->blocks[i].fd != -1) {
			close(decode->blocks[i].fd);
		}
	}
	free(decode->wrong);
	return 0;
}

/* --- what the blocks need -------------------------------------------------------- */

struct making {
	struct mrmr_engine *engine;
	struct mrmr_decode *decode;
	struct mrmr_live_member *member; /* of the slot that is looked at */
	int member_error;
	uint32_t num_files;
	bool is_closed;    /* there are too many files to keep them open */
	bool is_at_once;   /* all of a block */
	uint32_t num_rows; /* that can be read */
};

/* A piece whose bytes nothing is known of is lost. */
static void open_piece(struct making *m, const struct mrmr_slot *slot,
		       struct decode_piece *to)
{
	struct mrmr_catalog *catalog = m->engine->catalog;
	struct mrmr_node *node = NULL;
	struct mrmr_extent extent;
	uint32_t got = 0;

	to->error = EIO;
	if (mrmr_catalog_get(catalog, m->decode, to->file, &node) == -1) {
		to->error = mrmr_is_shortage(errno) ? errno : EIO;
		return;
	}
	if (mrmr_catalog_get_extents(catalog, to->file, to->index, &extent, 1,
				     &got) == 0 &&
	    got == 1 && extent.state == MRMR_EXTENT_IN_STRIPE &&
	    extent.stripe == m->decode->stripe && extent.slot == slot->slot &&
	    extent.slot_offset == to->begin &&
	    extent.len_bytes == to->end - to->begin &&
	    node->member == slot->member) {
		to->file_offset = (uint64_t)to->index * node->grid_bytes;
		memcpy(to->sha256, extent.sha256, sizeof(to->sha256));
		to->error = m->member_error;
	}
	if (to->error == 0 &&
	    mrmr_live_open_on(m->decode, m->engine, m->member, node,
			      m->is_closed, &to->live) == -1) {
		to->error = errno;
	}
	talloc_free(node);
}

/* What the hash of the whole tells is not asked of the catalogue. */
static void expect_piece(struct making *m, struct decode_piece *to)
{
	struct mrmr_node *node = NULL;

	to->error = m->member_error;
	if (to->error != 0) {
		return;
	}
	if (mrmr_catalog_get(m->engine->catalog, m->decode, to->file, &node) ==
	    -1) {
		to->error = EIO;
		return;
	}
	to->file_offset = (uint64_t)to->index * node->grid_bytes;
	if (mrmr_live_expect(m->decode, m->engine, m->member, node,
			     &to->live) == -1) {
		to->error = errno;
	}
	talloc_free(node);
}

static bool is_in_range(const struct mrmr_decode *decode, uint32_t begin,
			uint32_t end)
{
	return begin < decode->end && end > decode->begin;
}

static int add_slot(struct making *m, const struct mrmr_slot *slot,
		    struct decode_block *block)
{
	struct mrmr_decode *decode = m->decode;
	uint32_t at = 0;
	uint32_t i;

	block->place = slot->slot;
	block->member = slot->member;
	block->pieces = talloc_zero_array(decode, struct decode_piece,
					  slot->num_pieces);
	if (block->pieces == NULL) {
		errno = ENOMEM;
		return -1;
	}
	m->member = mrmr_live_member_open(decode, m->engine, slot->member);
	m->member_error = m->member == NULL ? errno : 0;
	for (i = 0; i < slot->num_pieces; i++) {
		const struct mrmr_piece *from = &slot->pieces[i];
		struct decode_piece *to = &block->pieces[block->num_pieces];
		uint32_t end = at + from->len_bytes;

		if (from->file != MRMR_ID_NONE &&
		    is_in_range(decode, at, end)) {
			to->begin = at;
			to->end = end;
			to->file = from->file;
			to->index = from->index;
			if (m->is_at_once) {
				expect_piece(m, to);
			} else {
				m->is_closed = m->num_files++ >= OPEN_FILES_MAX;
				open_piece(m, slot, to);
			}
			block->num_pieces++;
		}
		at = end;
	}
	return 0;
}

/* Nothing of it will be read. */
static int leave_slot(struct making *m, const struct mrmr_slot *slot,
		      struct decode_block *block)
{
	block->place = slot->slot;
	block->member = slot->member;
	block->pieces = talloc_zero(m->decode, struct decode_piece);
	if (block->pieces == NULL) {
		errno = ENOMEM;
		return -1;
	}
	block->num_pieces = 1;
	block->pieces[0].end = slot->len_bytes;
	block->pieces[0].error = ENODEV;
	return 0;
}

/*
 * Of the slots, those that need not be read: what is away, and, in favour of
 * rows that are not needed for it, those with most pieces.
 */
static void choose_left(struct making *m, const struct mrmr_stripe *stripe,
			bool *is_left)
{
	uint32_t spare = m->num_rows;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		is_left[i] =
			stripe->slots[i].slot == m->decode->want ||
			mrmr_engine_online(m->engine,
					   stripe->slots[i].member) == NULL;
		if (is_left[i] && spare > 0) {
			spare--;
		}
	}
	for (; spare > 0; spare--) {
		uint32_t most = PIECES_MANY - 1;
		uint32_t best = UINT32_MAX;

		for (i = 0; i < stripe->num_slots; i++) {
			if (!is_left[i] && stripe->slots[i].num_pieces > most) {
				most = stripe->slots[i].num_pieces;
				best = i;
			}
		}
		if (best == UINT32_MAX) {
			return;
		}
		is_left[best] = true;
	}
}

static int open_row(struct mrmr_engine *engine, const struct mrmr_row *row)
{
	const struct mrmr_member *member =
		mrmr_engine_online(engine, row->member);
	struct stat st = {0};
	int fd;

	if (member == NULL) {
		errno = ENODEV;
		return -1;
	}
	fd = mrmr_blob_open(member->private_fd, row->sha256);
	if (fd == -1) {
		return -1;
	}
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != row->len_bytes) {
		close(fd);
		errno = EIO;
		return -1;
	}
	return fd;
}

static void add_row(struct making *m, const struct mrmr_row *row,
		    struct decode_block *block)
{
	block->place = mrmr_parity_row(row->row);
	block->member = row->member;
	block->len_bytes = row->len_bytes;
	memcpy(block->sha256, row->sha256, sizeof(block->sha256));
	block->fd = open_row(m->engine, row);
	block->error = block->fd == -1 ? errno : 0;
	m->num_rows += block->fd != -1;
}

static int add_blocks(struct making *m, const struct mrmr_stripe *stripe)
{
	struct mrmr_decode *decode = m->decode;
	bool is_left[MRMR_PARITY_SLOTS] = {false};
	uint32_t num = stripe->num_slots + stripe->num_rows;
	uint32_t i;

	decode->blocks = talloc_zero_array(decode, struct decode_block, num);
	if (decode->blocks == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num; i++) {
		decode->blocks[i].fd = -1;
	}
	for (i = 0; i < stripe->num_rows; i++) {
		const struct mrmr_row *row = &stripe->rows[i];

		if (mrmr_parity_row(row->row) != decode->want) {
			add_row(m, row, &decode->blocks[decode->num_blocks++]);
		}
	}
	if (m->is_at_once) {
		choose_left(m, stripe, is_left);
	}
	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];
		struct decode_block *block =
			&decode->blocks[decode->num_blocks];

		if (slot->slot == decode->want ||
		    !is_in_range(decode, 0, slot->len_bytes)) {
			continue;
		}
		decode->num_blocks++;
		if ((is_left[i] ? leave_slot(m, slot, block)
				: add_slot(m, slot, block)) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- can it be done? --------------------------------------------------------------- */

const char *decode_member_name(const struct mrmr_engine *engine,
			       uint16_t number)
{
	size_t index = mrmr_engine_member(engine, number);

	return index == SIZE_MAX
		       ? "one that has left the pool"
		       : mrmr_member_name(&engine->pool->members[index]);
}

static bool is_missing(const struct decode_block *block)
{
	uint32_t i;

	for (i = 0; i < block->num_pieces; i++) {
		if (block->pieces[i].error != 0) {
			return true;
		}
	}
	return block->error != 0;
}

int decode_shortage(const struct mrmr_decode *decode)
{
	uint32_t i;
	uint32_t j;

	for (i = 0; i < decode->num_blocks; i++) {
		const struct decode_block *block = &decode->blocks[i];

		if (mrmr_is_shortage(block->error)) {
			return block->error;
		}
		for (j = 0; j < block->num_pieces; j++) {
			if (mrmr_is_shortage(block->pieces[j].error)) {
				return block->pieces[j].error;
			}
		}
	}
	return 0;
}

static int fail_too_few(const struct mrmr_engine *engine,
			const struct mrmr_decode *decode, const char *what,
			struct mrmr_error *err)
{
	int shortage = decode_shortage(decode);
	char *names = NULL;
	uint32_t i;
	int ret;

	if (shortage != 0) {
		return mrmr_error_set(err, shortage,
				      "%s cannot be computed now: %s", what,
				      strerror(shortage));
	}
	names = talloc_strdup(NULL, "");
	for (i = 0; i < decode->num_blocks; i++) {
		const struct decode_block *block = &decode->blocks[i];

		if (names != NULL && is_missing(block)) {
			names = talloc_asprintf_append(
				names, "%s%s", names[0] != '\0' ? ", " : "",
				decode_member_name(engine, block->member));
		}
	}
	ret = mrmr_error_set(err, EIO,
			     "%s cannot be computed: more is missing than "
			     "there are parity blocks for; it would take "
			     "what is on %s",
			     what,
			     names != NULL && names[0] != '\0'
				     ? names
				     : "a further parity block");
	talloc_free(names);
	return ret;
}

/* Is there a plan for each stretch? */
static int check_plans(const struct mrmr_engine *engine,
		       struct mrmr_decode *decode, const char *what,
		       struct mrmr_error *err)
{
	struct decode_stretch stretch;
	uint32_t at = decode->begin;

	while (at < decode->end) {
		if (decode_stretch_make(decode, at, &stretch) == -1) {
			return fail_too_few(engine, decode, what, err);
		}
		at = stretch.end;
	}
	return 0;
}

/* --- jobs --------------------------------------------------------------------------- */

struct mrmr_decode *decode_new(void *mem_ctx, struct mrmr_error *err)
{
	struct mrmr_decode *decode = talloc_zero(mem_ctx, struct mrmr_decode);

	if (decode == NULL) {
		mrmr_error_set(err, ENOMEM, "not enough memory");
		return NULL;
	}
	talloc_set_destructor(decode, free_decode);
	return decode;
}

static int fill(struct mrmr_decode *decode, struct mrmr_engine *engine,
		const struct mrmr_stripe *stripe, const char *what,
		struct mrmr_error *err)
{
	struct making m = {.engine = engine, .decode = decode};

	decode->stripe = stripe->id;
	if (add_blocks(&m, stripe) == -1) {
		return mrmr_error_set(err, errno, "%s: %s", what,
				      strerror(errno));
	}
	return check_plans(engine, decode, what, err);
}

int decode_fill_at_once(struct mrmr_decode *decode, struct mrmr_engine *engine,
			const struct mrmr_stripe *stripe)
{
	struct making m = {
		.engine = engine,
		.decode = decode,
		.is_at_once = true,
	};

	decode->stripe = stripe->id;
	decode->is_at_once = true;
	return add_blocks(&m, stripe);
}

static int fail_extent(const struct mrmr_node *node, uint32_t index,
		       const char *why, struct mrmr_error *err)
{
	return mrmr_error_set(err, EIO,
			      "block %lu of %s cannot be computed: %s",
			      (unsigned long)index, node->name, why);
}

static int take_extent(struct mrmr_decode *decode, struct mrmr_engine *engine,
		       const struct mrmr_node *node, uint32_t index,
		       struct mrmr_error *err)
{
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_extent extent;
	char what[400];
	uint32_t got = 0;
	int ret;

	if (mrmr_catalog_get_extents(engine->catalog, node->id, index, &extent,
				     1, &got) == -1 ||
	    got != 1) {
		return fail_extent(node, index, "nothing is known of it", err);
	}
	memcpy(decode->sha256, extent.sha256, sizeof(decode->sha256));
	decode->end = extent.len_bytes;
	if (extent.state == MRMR_EXTENT_ZERO) {
		decode->is_zero = true;
		return 0;
	}
	if (extent.state != MRMR_EXTENT_IN_STRIPE) {
		return fail_extent(node, index, "it is not protected", err);
	}
	if (mrmr_catalog_get_stripe(engine->catalog, decode, extent.stripe,
				    &stripe) == -1) {
		return fail_extent(node, index, "its stripe is not known", err);
	}
	decode->want = extent.slot;
	decode->begin = extent.slot_offset;
	decode->end = extent.slot_offset + extent.len_bytes;
	snprintf(what, sizeof(what), "block %lu of %s", (unsigned long)index,
		 node->name);
	ret = fill(decode, engine, stripe, what, err);
	talloc_free(stripe);
	return ret;
}

struct mrmr_decode *mrmr_decode_extent(void *mem_ctx,
				       struct mrmr_engine *engine,
				       const struct mrmr_node *node,
				       uint32_t index, struct mrmr_error *err)
{
	struct mrmr_decode *decode = decode_new(mem_ctx, err);

	if (decode != NULL &&
	    take_extent(decode, engine, node, index, err) == -1) {
		int saved_errno = errno;

		talloc_free(decode);
		errno = saved_errno;
		return NULL;
	}
	return decode;
}

struct mrmr_decode *mrmr_decode_row(void *mem_ctx, struct mrmr_engine *engine,
				    const struct mrmr_stripe *stripe,
				    uint8_t row, struct mrmr_error *err)
{
	struct mrmr_decode *decode = decode_new(mem_ctx, err);
	const struct mrmr_row *found = NULL;
	char what[64];
	int saved_errno;
	uint32_t i;

	for (i = 0; i < stripe->num_rows; i++) {
		if (stripe->rows[i].row == row) {
			found = &stripe->rows[i];
		}
	}
	if (decode == NULL) {
		return NULL;
	}
	if (found == NULL) {
		talloc_free(decode);
		mrmr_error_set(err, EINVAL, "stripe %llu has no row %u",
			       (unsigned long long)stripe->id, row);
		return NULL;
	}
	memcpy(decode->sha256, found->sha256, sizeof(decode->sha256));
	decode->want = mrmr_parity_row(row);
	decode->end = found->len_bytes;
	snprintf(what, sizeof(what), "row %u of stripe %llu", row,
		 (unsigned long long)stripe->id);
	if (fill(decode, engine, stripe, what, err) == -1) {
		saved_errno = errno;
		talloc_free(decode);
		errno = saved_errno;
		return NULL;
	}
	return decode;
}

size_t mrmr_decode_len(const struct mrmr_decode *decode)
{
	return decode->end - decode->begin;
}
