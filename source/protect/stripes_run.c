/*
 * MRMR: stripes being made and changed: computing parity.
 *
 * Two ways lead to the same parity blocks:
 *   update  the old ones, with what leaves taken away and what comes added:
 *           reads old parity, old bytes and new bytes;
 *   encode  anew from all that is in the stripe: reads all of it.
 * Update needs right old bytes and right old parity, encode needs right bytes of
 * all that stays. Where something is not to be had, another way or the rest of
 * the stripe may do (stripes_job.c has the order).
 *
 * Both add up block by block: a piece that has a recorded hash is read as a
 * whole, compared with it, and only then added to the rows. So memory is that of
 * the rows and of one piece, however wide the stripe is, and what turns out to
 * be wrong has spoilt nothing. New bytes are hashed and added as they come. (A
 * stripe that has nothing but new ones is faster done in another order:
 * stripes_across.c.)
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "stripes_private.h"

void run_free(struct run *run)
{
	size_t i;

	for (i = 0; i < run->num_hashes; i++) {
		mrmr_hashes_free(run->hashes[i]);
	}
	free(run->hashes);
	run->hashes = NULL;
	run->num_hashes = 0;
	buffer_free(&run->piece);
	buffer_free(&run->parity);
}

void run_lend(struct run *to, struct run *from)
{
	to->hashes = from->hashes;
	to->num_hashes = from->num_hashes;
	to->piece = from->piece;
	to->parity = from->parity;
	from->hashes = NULL;
	from->num_hashes = 0;
	from->piece = (struct buffer){0};
	from->parity = (struct buffer){0};
}

int run_need_hashes(struct run *run, size_t num)
{
	struct mrmr_hashes **list = run->hashes;

	if (run->num_hashes >= num) {
		return 0;
	}
	list = realloc(list, num * sizeof(list[0]));
	if (list == NULL) {
		errno = ENOMEM;
		return -1;
	}
	run->hashes = list;
	while (run->num_hashes < num) {
		list[run->num_hashes++] = mrmr_hashes_new();
	}
	return 0;
}

static int begin(struct run *run, struct mrmr_error *err)
{
	uint32_t len = layout_len(&run->job->layout);
	uint32_t i;

	if (run->job->old != NULL) {
		const struct mrmr_stripe *old = run->job->old;

		for (i = 0; i < old->num_rows; i++) {
			if (old->rows[i].len_bytes > len) {
				len = old->rows[i].len_bytes;
			}
		}
		for (i = 0; i < old->num_slots; i++) {
			if (old->slots[i].len_bytes > len) {
				len = old->slots[i].len_bytes;
			}
		}
	}
	run->len_bytes = len;
	run->stride = ((size_t)len + 4095) / 4096 * 4096;
	run->num_rows = 0;
	run->num_written = 0;
	run->hashed_bytes = 0;
	run->num_wanted = stripes_rows(run->work, run->job->old);
	memset(run->is_kept, 0, sizeof(run->is_kept));
	if (run_need_hashes(run, 1) == -1 ||
	    buffer_need(&run->parity, run->stride * run->num_wanted) == -1) {
		return stripes_no_memory(err);
	}
	return 0;
}

uint8_t *run_row_data(const struct run *run, uint32_t i)
{
	return run->parity.data + i * run->stride;
}

/* parity' = parity + coefficient * bytes. The place is a good one. */
static void add(struct run *run, uint8_t slot, uint32_t offset,
		const uint8_t *data, uint32_t len_bytes)
{
	const struct mrmr_parity_input input = {.place = slot,
						.data = data,
						.len_bytes = len_bytes};
	struct mrmr_parity_output outputs[MRMR_PARITY_ROWS];
	uint32_t i;

	for (i = 0; i < run->num_rows; i++) {
		outputs[i].place = mrmr_parity_row(run->row[i]);
		outputs[i].data = run_row_data(run, i) + offset;
	}
	(void)mrmr_parity_update(&input, 1, outputs, run->num_rows, len_bytes);
}

/* What a damaged record says is not to lead out of the buffers. */
static int check_place(const struct run *run, uint8_t slot, uint32_t offset,
		       uint32_t len_bytes, struct mrmr_error *err)
{
	if (slot >= MRMR_PARITY_SLOTS || offset > run->len_bytes ||
	    len_bytes > run->len_bytes - offset) {
		return mrmr_error_set(err, EILSEQ,
				      "a record of a stripe is not sound");
	}
	return 0;
}

/* --- what comes ------------------------------------------------------------------ */

static void take_out_item(struct run *run, struct item *item)
{
	struct layout_slot *slot = layout_slot(&run->job->layout, item->slot);
	struct layout_piece *piece =
		slot != NULL ? layout_find(slot, item->offset) : NULL;

	if (piece != NULL && piece->item == item) {
		layout_take_out(piece);
	}
}

static void add_part(const struct item *item, const uint8_t *data,
		     uint32_t offset, uint32_t len_bytes, void *private_data)
{
	add(private_data, item->slot, item->offset + offset, data, len_bytes);
}

/* What was added before it turned out that the rest can't be read goes by being
   added once more. */
static void add_read(struct run *run, struct item *item)
{
	struct new_bytes to = {
		.hashes = run->hashes[0],
		.data = run->piece.data,
		.fn = add_part,
		.private_data = run,
	};

	item->outcome = OUTCOME_CAME;
	if (read_new(run->work, item, &to) == -1) {
		item->outcome = OUTCOME_UNREADABLE;
		item->error = errno;
		add(run, item->slot, item->offset, to.data, to.done_bytes);
	} else if (to.is_zero) {
		item->outcome = OUTCOME_ZERO;
	}
}

/* Zeros need no place, and what cannot be read gets none. */
static int add_new(struct run *run, struct item *item, struct mrmr_error *err)
{
	const struct mrmr_change *change = item->change;

	if (item->outcome == OUTCOME_ZERO ||
	    item->outcome == OUTCOME_UNREADABLE) {
		return 0; /* was found before */
	}
	if (check_place(run, item->slot, item->offset, change->len_bytes,
			err) == -1) {
		return -1;
	}
	if (item->bytes != NULL) {
		item->outcome = OUTCOME_CAME;
		add(run, item->slot, item->offset, item->bytes,
		    change->len_bytes);
		return 0;
	}
	if (buffer_need(&run->piece, change->len_bytes) == -1) {
		return stripes_no_memory(err);
	}
	add_read(run, item);
	if (item->outcome != OUTCOME_CAME) {
		take_out_item(run, item);
	}
	return 0;
}

/* --- from the old parity ------------------------------------------------------------ */

/* 1: it is there; 0: it is not. */
static int take_row(struct run *run, const struct mrmr_row *row,
		    enum effort effort)
{
	uint8_t *data = run_row_data(run, run->num_rows);

	if (read_row(run->work, row, data) == -1 &&
	    (effort == EFFORT_READ ||
	     decode_row(run->work, run->job->old, row, data) == -1)) {
		return 0;
	}
	memset(data + row->len_bytes, 0, run->stride - row->len_bytes);
	run->row[run->num_rows++] = row->row;
	return 1;
}

static bool take_rows(struct run *run, enum effort effort)
{
	const struct mrmr_stripe *old = run->job->old;
	uint32_t i;

	for (i = 0; i < old->num_rows && run->num_rows < run->num_wanted; i++) {
		const struct mrmr_row *row = &old->rows[i];
		const struct stripes_member *member =
			stripes_member(run->work, row->member);

		if (take_row(run, row, effort) == 1) {
			continue;
		}
		if (effort != EFFORT_LOSE) {
			return false;
		}
		/* as long as nothing changes, what is away stays right */
		run->is_kept[row->row] =
			run->is_mend && member != NULL && !member->is_online;
	}
	return run->num_rows > 0;
}

/* Behind the longest slot there can be zeros only. */
static bool ends_in_zeros(struct run *run)
{
	uint32_t len = layout_len(&run->job->layout);
	uint32_t i;

	for (i = 0; i < run->num_rows; i++) {
		if (!mrmr_is_all_zero(run_row_data(run, i) + len,
				      run->len_bytes - len)) {
			return false;
		}
	}
	return true;
}

static int take_away_old(struct run *run, struct item *item, enum effort effort,
			 struct mrmr_error *err)
{
	const struct mrmr_change *change = item->change;

	if (buffer_need(&run->piece, change->old.len_bytes) == -1) {
		return stripes_no_memory(err);
	}
	if (read_old(run->work, change, effort != EFFORT_READ,
		     run->piece.data) == -1) {
		return 0;
	}
	if (check_place(run, item->old_slot, item->old_offset,
			change->old.len_bytes, err) == -1) {
		return -1;
	}
	add(run, item->old_slot, item->old_offset, run->piece.data,
	    change->old.len_bytes);
	return 1;
}

int run_update(struct run *run, enum effort effort, struct mrmr_error *err)
{
	struct job *job = run->job;
	size_t i;

	if (job->old == NULL || begin(run, err) == -1) {
		return job->old == NULL ? 0 : -1;
	}
	if (!take_rows(run, effort)) {
		return 0;
	}
	for (i = 0; i < job->num_items; i++) {
		struct item *item = job->items[i];

		if (item->kind != ITEM_COMES) {
			int ret = take_away_old(run, item, effort, err);

			if (ret != 1) {
				return ret;
			}
		}
		if (item->kind != ITEM_LEAVES &&
		    add_new(run, item, err) == -1) {
			return -1;
		}
	}
	layout_tidy(&job->layout);
	return ends_in_zeros(run) ? 1 : 0;
}

/* --- from all that is in the stripe --------------------------------------------------- */

/* The numbers that the rows had, and the lowest that are free. */
static void choose_rows(struct run *run)
{
	const struct mrmr_stripe *old = run->job->old;
	struct unit_set slots = {{0}};
	struct unit_set takers = {{0}};
	unsigned int wanted;
	bool is_used[MRMR_PARITY_ROWS] = {false};
	uint32_t i;

	for (i = 0; i < run->job->layout.num_slots; i++) {
		stripes_add_unit(run->work, run->job->layout.slots[i].member,
				 &slots);
	}
	pthread_mutex_lock(&run->work->lock);
	for (i = 0; i < run->work->num_members; i++) {
		const struct stripes_member *member = &run->work->members[i];

		if (!unit_has(&slots, member->unit) &&
		    (member->may_have_parity || run->is_mend)) {
			unit_add(&takers, member->unit);
		}
	}
	pthread_mutex_unlock(&run->work->lock);
	wanted = unit_count(&takers);
	wanted = wanted < run->num_wanted ? wanted : run->num_wanted;
	for (i = 0; old != NULL && i < old->num_rows && run->num_rows < wanted;
	     i++) {
		run->row[run->num_rows++] = old->rows[i].row;
		is_used[old->rows[i].row] = true;
	}
	for (i = 0; run->num_rows < wanted; i++) {
		if (!is_used[i]) {
			run->row[run->num_rows++] = (uint8_t)i;
		}
	}
}

static int add_staying(struct run *run, struct layout_slot *slot,
		       struct layout_piece *piece, uint32_t offset,
		       enum effort effort, struct mrmr_error *err)
{
	enum found found;

	if (buffer_need(&run->piece, piece->len_bytes) == -1) {
		return stripes_no_memory(err);
	}
	if (run->is_in_thread) {
		found = read_source(run->work, slot, piece, run->piece.data);
	} else {
		found = read_piece(run->work, run->job->old, slot, piece,
				   offset, effort != EFFORT_READ,
				   run->piece.data);
	}
	if (found == FOUND_LIVE || found == FOUND_COMPUTED) {
		if (check_place(run, slot->slot, offset, piece->len_bytes,
				err) == -1) {
			return -1;
		}
		add(run, slot->slot, offset, run->piece.data, piece->len_bytes);
		return 1;
	}
	if (effort != EFFORT_LOSE) {
		return 0;
	}
	/* When others are back, it may be computed again. */
	if (found == FOUND_AWAY && run->work->options.keeps_each) {
		run->must_wait = true;
		return 0;
	}
	if (bare_piece(run->work, run->job->old, slot, piece, offset, err) ==
	    -1) {
		return -1;
	}
	layout_take_out(piece);
	return 1;
}

static int add_slot(struct run *run, struct layout_slot *slot,
		    enum effort effort, struct mrmr_error *err)
{
	uint32_t offset = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		struct layout_piece *piece = &slot->pieces[i];
		uint32_t len = piece->len_bytes;
		int ret = 1;

		if (piece->item != NULL) {
			if (add_new(run, piece->item, err) == -1) {
				ret = -1;
			}
		} else if (piece->file != MRMR_ID_NONE) {
			ret = add_staying(run, slot, piece, offset, effort,
					  err);
		}
		if (ret != 1) {
			return ret;
		}
		offset += len;
	}
	return 1;
}

int run_begin_anew(struct run *run, struct mrmr_error *err)
{
	if (begin(run, err) == -1) {
		return -1;
	}
	/* a slot that is left has no unit to keep rows away from */
	layout_tidy(&run->job->layout);
	choose_rows(run);
	return 0;
}

int run_encode(struct run *run, enum effort effort, struct mrmr_error *err)
{
	struct layout *layout = &run->job->layout;
	uint32_t i;

	if (run->job->old == NULL) {
		return run_across(run, err);
	}
	if (run_begin_anew(run, err) == -1) {
		return -1;
	}
	memset(run->parity.data, 0, run->stride * run->num_rows);
	for (i = 0; i < layout->num_slots; i++) {
		int ret = add_slot(run, &layout->slots[i], effort, err);

		if (ret != 1) {
			return ret;
		}
	}
	layout_tidy(layout);
	return 1;
}
