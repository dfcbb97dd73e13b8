/*
 * MRMR: can every protected file be had (see mrmr/check.h).
 *
 * A stripe is looked at twice at once: as it is, and as it would be without
 * some members ("then"). In each view a block is there or gone, and bytes that
 * are gone are computable where no more slots are gone than parity blocks are
 * there:
 *
 *	slot 0      |=====a=====|====b (gone)===|==c==|
 *	slot 1      |======d (gone)=====|
 *	gone        |1          |2      |1      |0    |
 *
 * With one parity block, a is there but at risk (one more loss would be too
 * many), d and b are lost, both for the stretch in the middle, and c could be
 * lost without harm. The profile of what is gone is a list of steps.
 *
 * The catalogue may change between two questions to it. So a stripe with which
 * something is wrong is looked at again if there was a commit since, before
 * anything is said about it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/check.h>
#include <mrmr/live.h>

#include "check_private.h"

#define LOOKS_MAX 100

/* --- what is there ----------------------------------------------------------- */

/* Files are open one after another, and extents of one file come in turn: the
   last ones are kept, until the next commit. */
static struct check_open *open_slot_of(struct check *c, uint64_t file)
{
	return &c->open[(file * UINT64_C(0x9e3779b97f4a7c15)) >> 58];
}

static void forget_open(struct check *c)
{
	size_t i;

	for (i = 0; i < CHECK_OPEN_FILES; i++) {
		TALLOC_FREE(c->open[i].node);
		c->open[i] = (struct check_open){0};
	}
}

/* The file of a piece; error is set if nothing is known of it. */
static struct check_open *open_file(struct check *c, uint64_t file)
{
	struct check_open *open = open_slot_of(c, file);
	size_t index;

	if (open->file == file) {
		return open;
	}
	TALLOC_FREE(open->node);
	*open = (struct check_open){.file = file};
	if (mrmr_catalog_get(c->engine->catalog, c, file, &open->node) == -1) {
		open->error = errno;
		return open;
	}
	index = mrmr_engine_member(c->engine, open->node->member);
	if (index == SIZE_MAX || c->members[index] == NULL) {
		open->error = ENODEV;
	} else if (mrmr_live_open_on(open->node, c->engine, c->members[index],
				     open->node, false, &open->live) == -1) {
		open->error = errno;
	} else {
		open->has_changed = !mrmr_live_is_unchanged(open->live);
	}
	return open;
}

static bool row_is_there(struct check *c, const struct mrmr_row *row)
{
	const struct mrmr_member *member =
		mrmr_engine_online(c->engine, row->member);
	struct stat st = {0};
	bool is_there;
	int fd;

	if (member == NULL) {
		return false;
	}
	fd = mrmr_blob_open(member->private_fd, row->sha256);
	if (fd == -1) {
		return false;
	}
	is_there = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		   (uint64_t)st.st_size == row->len_bytes;
	close(fd);
	return is_there;
}

static bool is_to_be_lost(const struct check *c, uint16_t number)
{
	size_t index = mrmr_engine_member(c->engine, number);

	return c->options->lose != NULL && index != SIZE_MAX &&
	       c->options->lose[index];
}

/* --- one stripe ------------------------------------------------------------------ */

static int look_at_rows(struct check *c, struct check_stripe *s)
{
	const struct mrmr_stripe *stripe = s->stripe;
	uint32_t i;

	s->row_is_there = talloc_zero_array(s, bool, stripe->num_rows);
	if (s->row_is_there == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < stripe->num_rows; i++) {
		const struct mrmr_row *row = &stripe->rows[i];

		s->row_is_there[i] = row_is_there(c, row);
		if (s->row_is_there[i]) {
			s->rows[NOW]++;
			s->rows[THEN] += !is_to_be_lost(c, row->member);
		} else if (mrmr_engine_online(c->engine, row->member) == NULL) {
			s->away_rows++;
		} else {
			s->missing_rows++;
			s->is_troubled = true;
		}
	}
	return 0;
}

/* Do file and stripe tell the same of a piece? */
static bool records_agree(struct check *c, const struct mrmr_stripe *stripe,
			  const struct mrmr_slot *slot,
			  const struct check_piece *piece)
{
	const struct mrmr_piece recorded = {
		.file = piece->file,
		.index = piece->index,
		.len_bytes = piece->end - piece->begin,
	};
	struct mrmr_extent extent;

	return mrmr_catalog_piece_extent(c->engine->catalog, stripe->id,
					 slot->slot, &recorded, piece->begin,
					 &extent);
}

static void look_at_piece(struct check *c, struct check_stripe *s,
			  struct check_piece *piece)
{
	struct check_open *open = open_file(c, piece->file);

	piece->gone[NOW] = true;
	piece->has_changed = open->has_changed;
	if (piece->is_wrong || open->node == NULL ||
	    open->node->member != piece->member) {
		piece->is_wrong = true;
		s->is_troubled = true;
	} else if (open->error == 0 &&
		   mrmr_live_has(open->live, piece->end - piece->begin,
				 (uint64_t)piece->index *
					 open->node->grid_bytes)) {
		piece->gone[NOW] = false;
	} else if (open->error != ENODEV) {
		s->is_troubled = true;
	}
	piece->gone[THEN] = piece->gone[NOW] || is_to_be_lost(c, piece->member);
}

/* Those pieces that have something in a range, by what is recorded. */
static int list_pieces(struct check *c, struct check_stripe *s, uint32_t begin,
		       uint32_t end)
{
	const struct mrmr_stripe *stripe = s->stripe;
	uint32_t num = 0;
	uint32_t i;
	uint32_t j;

	for (i = 0; i < stripe->num_slots; i++) {
		num += stripe->slots[i].num_pieces;
	}
	s->pieces = talloc_zero_array(s, struct check_piece, num);
	if (s->pieces == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];
		uint32_t at = 0;

		for (j = 0; j < slot->num_pieces; j++) {
			const struct mrmr_piece *from = &slot->pieces[j];
			struct check_piece *piece = &s->pieces[s->num_pieces];

			piece->begin = at;
			at += from->len_bytes;
			piece->end = at;
			if (from->file == MRMR_ID_NONE || at <= begin ||
			    piece->begin >= end) {
				continue;
			}
			piece->slot = i;
			piece->member = slot->member;
			piece->file = from->file;
			piece->index = from->index;
			piece->is_wrong =
				!records_agree(c, stripe, slot, piece);
			s->num_pieces++;
		}
	}
	return 0;
}

/* Two blocks where one accident takes both. */
static bool is_crowded(struct check *c, const struct mrmr_stripe *stripe)
{
	bool seen[MRMR_MEMBERS_MAX] = {false};
	uint32_t num = stripe->num_slots + stripe->num_rows;
	uint32_t i;

	for (i = 0; i < num; i++) {
		uint16_t number =
			i < stripe->num_slots
				? stripe->slots[i].member
				: stripe->rows[i - stripe->num_slots].member;
		size_t index = mrmr_engine_member(c->engine, number);
		uint8_t unit;

		if (index == SIZE_MAX) {
			continue;
		}
		unit = c->engine->pool->units.unit[index];
		if (seen[unit]) {
			return true;
		}
		seen[unit] = true;
	}
	return false;
}

/* --- taking it down --------------------------------------------------------------- */

static int note(struct check *c, const struct check_piece *piece,
		enum check_view view, bool is_lost)
{
	struct mrmr_check_file *file =
		check_find_file(c, piece->file, piece->member);
	uint64_t len = piece->end - piece->begin;

	if (file == NULL) {
		return -1;
	}
	if (view == NOW) {
		*(is_lost ? &file->lost_bytes : &file->risk_bytes) += len;
	} else {
		*(is_lost ? &file->then_lost_bytes : &file->then_risk_bytes) +=
			len;
	}
	return 0;
}

static int take_piece(struct check *c, const struct check_stripe *s,
		      const struct check_piece *piece, enum check_view view)
{
	struct mrmr_check_sums *sums =
		view == NOW ? &c->result->now : &c->result->then;
	uint64_t len = piece->end - piece->begin;
	int spare = (int)s->rows[view] -
		    check_most_gone(s, view, piece->begin, piece->end);

	if (piece->gone[view]) {
		/* what the records contradict, nobody can compute */
		if (spare >= 0 && !piece->is_wrong) {
			sums->computed_bytes += len;
			return 0;
		}
		sums->lost_bytes += len;
		return note(c, piece, view, true);
	}
	sums->there_bytes += len;
	if (spare < (int)s->stripe->num_rows) {
		sums->reduced_bytes += len;
	}
	if (spare <= 0) {
		sums->risk_bytes += len;
		return note(c, piece, view, false);
	}
	return 0;
}

static int take_stripe(struct check *c, const struct check_stripe *s)
{
	struct mrmr_check_result *result = c->result;
	uint32_t i;

	result->num_stripes++;
	result->missing_rows += s->missing_rows;
	result->away_rows += s->away_rows;
	result->crowded_stripes += is_crowded(c, s->stripe);
	result->short_stripes +=
		s->stripe->num_rows < mrmr_pool_rows(c->engine->pool);
	for (i = 0; i < s->num_pieces; i++) {
		const struct check_piece *piece = &s->pieces[i];

		if (piece->has_changed) {
			struct mrmr_check_file *file =
				check_find_file(c, piece->file, piece->member);

			if (file == NULL) {
				return -1;
			}
			file->has_changed = true;
		}
		result->wrong_records += piece->is_wrong;
		c->num_pieces += !piece->is_wrong;
		if (take_piece(c, s, piece, NOW) == -1 ||
		    take_piece(c, s, piece, THEN) == -1) {
			return -1;
		}
	}
	return 0;
}

/* What the records say: all of it of one commit. No drive is asked meanwhile, which
   may take its time. */
static int read_records(struct check *c, struct check_stripe *s, uint64_t id,
			uint32_t begin, uint32_t end, uint64_t *sequence)
{
	struct mrmr_catalog *catalog = c->engine->catalog;
	int ret = -1;

	if (mrmr_catalog_hold(catalog) == -1) {
		return -1;
	}
	*sequence = mrmr_catalog_sequence(catalog);
	if (mrmr_catalog_get_stripe(catalog, s, id, &s->stripe) == 0) {
		ret = list_pieces(c, s, begin, end);
	}
	return mrmr_catalog_let_go(catalog, ret);
}

static int look_at_stripe(struct check *c, struct check_stripe *s, uint64_t id,
			  uint32_t begin, uint32_t end)
{
	uint64_t sequence = 0;
	uint32_t i;

	if (read_records(c, s, id, begin, end, &sequence) == -1) {
		return -1;
	}
	if (sequence != c->sequence) {
		forget_open(c);
		c->sequence = sequence;
	}
	if (look_at_rows(c, s) == -1) {
		return -1;
	}
	for (i = 0; i < s->num_pieces; i++) {
		look_at_piece(c, s, &s->pieces[i]);
	}
	return 0;
}

struct check_stripe *check_look(struct check *c, uint64_t id, uint32_t begin,
				uint32_t end)
{
	struct check_stripe *s = NULL;
	int looks;
	int ret;

	for (looks = 0;; looks++) {
		s = talloc_zero(c, struct check_stripe);
		if (s == NULL) {
			errno = ENOMEM;
			return NULL;
		}
		ret = look_at_stripe(c, s, id, begin, end);
		if (ret == -1 || !s->is_troubled || looks + 1 == LOOKS_MAX ||
		    mrmr_catalog_sequence(c->engine->catalog) == c->sequence) {
			break;
		}
		talloc_free(s);
	}
	if (ret == -1 || check_make_profile(s, NOW) == -1 ||
	    check_make_profile(s, THEN) == -1) {
		int saved_errno = errno;

		talloc_free(s);
		errno = saved_errno;
		return NULL;
	}
	return s;
}

/* 0, or -1. The stripe may be gone by now. */
static int check_stripe(struct check *c, uint64_t id)
{
	struct check_stripe *s = check_look(c, id, 0, UINT32_MAX);
	int ret;

	if (s == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	ret = take_stripe(c, s);
	talloc_free(s);
	return ret;
}

/* --- all of them ------------------------------------------------------------------ */

static int check_stripes(struct check *c)
{
	const struct mrmr_check_options *options = c->options;
	struct mrmr_catalog_sums sums = {0};
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;

	if (mrmr_catalog_sums(c->engine->catalog, MRMR_MEMBER_NONE, &sums) ==
	    -1) {
		return -1;
	}
	while (mrmr_catalog_next_stripe(c->engine->catalog, c, id, &stripe) ==
	       0) {
		id = stripe->id;
		TALLOC_FREE(stripe);
		if (check_should_stop(c)) {
			return 0;
		}
		if (options->progress != NULL) {
			options->progress(c->result->num_stripes,
					  sums.num_stripes,
					  options->private_data);
		}
		if (check_stripe(c, id) == -1) {
			return -1;
		}
	}
	return errno == ENOENT ? 0 : -1;
}

static int close_check(struct check *c)
{
	forget_open(c);
	return 0;
}

struct check *check_new(void *mem_ctx, struct mrmr_engine *engine,
			const struct mrmr_check_options *options)
{
	struct check *c = talloc_zero(mem_ctx, struct check);
	size_t i;

	if (c == NULL) {
		return NULL;
	}
	c->engine = engine;
	c->options = options;
	c->result = talloc_zero(c, struct mrmr_check_result);
	c->members = talloc_zero_array(c, struct mrmr_live_member *,
				       engine->pool->num_members);
	if (c->result == NULL || c->members == NULL) {
		talloc_free(c);
		return NULL;
	}
	talloc_set_destructor(c, close_check);
	for (i = 0; i < engine->pool->num_members; i++) {
		c->members[i] =
			mrmr_live_member_open(c, engine, engine->number[i]);
	}
	return c;
}

struct mrmr_check_result *mrmr_check(void *mem_ctx, struct mrmr_engine *engine,
				     const struct mrmr_check_options *options,
				     struct mrmr_error *err)
{
	struct check *c = check_new(mem_ctx, engine, options);
	struct mrmr_check_result *result = NULL;
	uint64_t sequence;
	int ret;

	if (c == NULL) {
		mrmr_error_set(err, ENOMEM, "not enough memory");
		return NULL;
	}
	sequence = mrmr_catalog_sequence(engine->catalog);
	ret = check_stripes(c);
	if (ret == 0 && !check_should_stop(c)) {
		ret = check_nodes(c, sequence);
	}
	if (ret == 0) {
		ret = check_count_files(c);
	}
	if (ret == -1) {
		mrmr_error_set(err, errno,
			       "the catalogue in %s cannot be read: %s",
			       engine->pool->config->state_dir,
			       mrmr_catalog_why(errno));
	} else {
		c->result->is_complete = !check_should_stop(c);
		result = talloc_steal(mem_ctx, c->result);
	}
	talloc_free(c);
	return result;
}
