/*
 * MRMR: stripes being made and changed: their records.
 *
 * What is recorded is what was written: a stripe never claims a row that it has
 * not.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/log.h>

#include "stripes_private.h"

int bare_piece(struct mrmr_stripes *work, const struct mrmr_stripe *stripe,
	       const struct layout_slot *slot, const struct layout_piece *piece,
	       uint32_t offset, struct mrmr_error *err)
{
	struct mrmr_catalog *catalog = work->engine->catalog;
	struct mrmr_change *change =
		stripes_find_change(work, piece->file, piece->index);
	struct mrmr_extent extent;
	uint32_t got = 0;

	if (change != NULL) {
		/* it was found to be the same as before */
		change->extent.state = MRMR_EXTENT_BARE;
		change->extent.stripe = 0;
		change->extent.slot = 0;
		change->extent.slot_offset = 0;
		change->error = ENOSPC;
		return 0;
	}
	if (mrmr_catalog_get_extents(catalog, piece->file, piece->index,
				     &extent, 1, &got) == -1) {
		return errno == ENOENT ? 0 : stripes_fail_catalog(err);
	}
	if (got == 0 || extent.state != MRMR_EXTENT_IN_STRIPE ||
	    extent.stripe != stripe->id || extent.slot != slot->slot ||
	    extent.slot_offset != offset) {
		return 0;
	}
	extent.state = MRMR_EXTENT_BARE;
	extent.stripe = 0;
	extent.slot = 0;
	extent.slot_offset = 0;
	if (mrmr_catalog_put_extents(catalog, piece->file, piece->index,
				     &extent, 1) == -1 ||
	    stripes_note_bare(work) == -1) {
		return stripes_fail_catalog(err);
	}
	return 0;
}

/* All that stays is in no stripe from now on. */
static int bare_all(struct run *run, struct mrmr_error *err)
{
	const struct layout *layout = &run->job->layout;
	uint32_t i;
	uint32_t j;

	for (i = 0; i < layout->num_slots; i++) {
		const struct layout_slot *slot = &layout->slots[i];
		uint32_t offset = 0;

		for (j = 0; j < slot->num_pieces; j++) {
			const struct layout_piece *piece = &slot->pieces[j];

			if (piece->file != MRMR_ID_NONE &&
			    piece->item == NULL &&
			    bare_piece(run->work, run->job->old, slot, piece,
				       offset, err) == -1) {
				return -1;
			}
			offset += piece->len_bytes;
		}
	}
	return 0;
}

static void tell_wrong(struct mrmr_engine *engine,
		       const struct mrmr_change *change)
{
	struct mrmr_decode_wrong wrong = {
		.error = EILSEQ,
		.member = change->member,
		.stripe = change->old.stripe,
		.place = change->old.slot,
		.file = change->file,
		.index = change->index,
	};

	memcpy(wrong.sha256, change->old.sha256, sizeof(wrong.sha256));
	mrmr_decode_report_wrong(&wrong, engine);
}

static void tell_item(struct mrmr_engine *engine, struct item *item,
		      uint64_t stripe)
{
	struct mrmr_change *change = item->change;
	struct mrmr_extent *extent = &change->extent;

	if (item->kind == ITEM_LEAVES || item->outcome == OUTCOME_GIVEN_UP) {
		return;
	}
	*extent = (struct mrmr_extent){.len_bytes = change->len_bytes};
	if (item->outcome == OUTCOME_UNREADABLE) {
		change->error = item->error;
		if (item->error == EILSEQ) {
			tell_wrong(engine, change);
		}
		return;
	}
	memcpy(extent->sha256, item->sha256, sizeof(extent->sha256));
	extent->checksum = item->checksum;
	if (item->outcome == OUTCOME_ZERO) {
		extent->state = MRMR_EXTENT_ZERO;
	} else if (stripe == 0) {
		change->error = ENOSPC;
	} else {
		extent->state = MRMR_EXTENT_IN_STRIPE;
		extent->stripe = stripe;
		extent->slot = item->slot;
		extent->slot_offset = item->offset;
	}
}

static void tell_items(struct run *run, uint64_t stripe)
{
	const struct job *job = run->job;
	size_t i;

	for (i = 0; i < job->num_items; i++) {
		tell_item(run->work->engine, job->items[i], stripe);
	}
}

static bool has_row(const struct mrmr_row *rows, uint32_t num,
		    const struct mrmr_row *row)
{
	uint32_t i;

	for (i = 0; i < num; i++) {
		if (rows[i].member == row->member &&
		    row_is_same_block(&rows[i], row)) {
			return true;
		}
	}
	return false;
}

/* Blocks that the stripe named and names no more. */
static int note_left(struct run *run, const struct mrmr_row *rows, uint32_t num,
		     struct mrmr_error *err)
{
	const struct mrmr_stripe *old = run->job->old;
	uint32_t i;

	for (i = 0; old != NULL && i < old->num_rows; i++) {
		if (!has_row(rows, num, &old->rows[i]) &&
		    stripes_note(&run->work->left, &old->rows[i]) == -1) {
			return stripes_no_memory(err);
		}
	}
	return 0;
}

static int put_record(struct run *run, struct mrmr_row *rows, uint32_t num,
		      uint64_t *id, struct mrmr_error *err)
{
	struct mrmr_catalog *catalog = run->work->engine->catalog;
	struct job *job = run->job;
	struct mrmr_stripe stripe = {
		.id = job->old != NULL ? job->old->id : 0,
		.num_slots = job->layout.num_slots,
		.num_rows = num,
		.rows = rows,
	};

	*id = 0;
	if (note_left(run, rows, num, err) == -1) {
		return -1;
	}
	if (num > 0 && stripe.num_slots > 0) {
		if (num < run->work->rows &&
		    stripes_note_short(run->work) == -1) {
			return stripes_fail_catalog(err);
		}
		if (layout_record(job, &job->layout, &stripe.slots) == -1) {
			return stripes_no_memory(err);
		}
		if (mrmr_catalog_put_stripe(catalog, &stripe, id) == -1) {
			return stripes_fail_catalog(err);
		}
		talloc_free(stripe.slots);
		return open_slots_note(run->work, &job->layout, *id) == -1
			       ? stripes_fail_catalog(err)
			       : 0;
	}
	if (job->old != NULL &&
	    mrmr_catalog_remove_stripe(catalog, job->old->id) == -1) {
		return stripes_fail_catalog(err);
	}
	return 0;
}

static bool is_another(const struct run *run, const struct mrmr_row *rows,
		       uint32_t num)
{
	const struct mrmr_stripe *old = run->job->old;
	uint32_t i;

	if (num != old->num_rows || run->job->is_needed || run->has_written) {
		return true;
	}
	for (i = 0; i < num; i++) {
		if (!has_row(rows, num, &old->rows[i])) {
			return true;
		}
	}
	return false;
}

static void report_loss(struct run *run, uint32_t num)
{
	const struct mrmr_stripe *old = run->job->old;

	if (old == NULL || num >= old->num_rows || run->is_mend ||
	    run->job->layout.num_slots == 0 || num >= run->num_wanted) {
		return;
	}
	mrmr_log(MRMR_LOG_ERROR,
		 "stripe %llu has %u parity blocks instead of %u: no other "
		 "member has room for them",
		 (unsigned long long)old->id, num, old->num_rows);
}

/* With fewer, what is in the stripe already would lose by the change. */
static uint32_t count_needed_rows(const struct run *run)
{
	const struct mrmr_stripe *old = run->job->old;
	uint32_t num = 0;
	uint32_t i;

	for (i = 0; old != NULL && i < old->num_rows; i++) {
		const struct mrmr_row *row = &old->rows[i];
		const struct stripes_member *member =
			stripes_member(run->work, row->member);

		/* of a mend it is known what is there, or may be again */
		num += !run->is_mend || run->is_good[row->row] ||
		       (member != NULL && !member->is_online);
	}
	return num < run->num_wanted ? num : run->num_wanted;
}

/* Of those that the stripe has on members that are there. */
static uint32_t count_rows_there(const struct run *run)
{
	const struct mrmr_stripe *old = run->job->old;
	uint32_t num = 0;
	uint32_t i;

	for (i = 0; old != NULL && i < old->num_rows; i++) {
		const struct stripes_member *member =
			stripes_member(run->work, old->rows[i].member);

		num += member != NULL && member->is_online;
	}
	return num < run->num_wanted ? num : run->num_wanted;
}

static int fail_keeping(const struct run *run, struct mrmr_error *err)
{
	run->work->has_kept = true;
	return mrmr_error_set(err, ENOSPC,
			      "stripe %llu stays as it is: there is no room "
			      "for "
			      "its parity",
			      (unsigned long long)run->job->old->id);
}

/* It stays as it is, with all that was to leave or change. What was to come looks
   for another one. */
void run_leave_undone(struct run *run)
{
	struct job *job = run->job;
	size_t i;

	for (i = 0; i < job->num_items; i++) {
		struct item *item = job->items[i];

		if (item->kind != ITEM_COMES) {
			item->change->error = ENOSPC;
			item->change->extent = item->change->old;
		} else if (item->outcome == OUTCOME_NONE ||
			   item->outcome == OUTCOME_CAME) {
			item->outcome = OUTCOME_GIVEN_UP;
		} else {
			tell_item(run->work->engine, item, 0);
		}
	}
}

int run_record(struct run *run, bool *changed, struct mrmr_error *err)
{
	struct job *job = run->job;
	uint32_t len = layout_len(&job->layout);
	uint32_t num = run->num_written;
	uint64_t id = 0;

	if (changed != NULL) {
		*changed = false;
	}
	if (!job->is_needed && len > 0 && num < count_needed_rows(run)) {
		/* others would lose by it */
		tell_items(run, 0);
		return 0;
	}
	if (run->work->keeps_all && len > 0 && num < count_rows_there(run)) {
		return fail_keeping(run, err);
	}
	if (run->work->options.keeps_each && !run->is_mend && len > 0 &&
	    num < count_rows_there(run)) {
		run_leave_undone(run);
		return 0;
	}
	if (changed != NULL && !is_another(run, run->rows, num)) {
		return 0;
	}
	report_loss(run, num);
	if (num == 0 && len > 0 && bare_all(run, err) == -1) {
		return -1;
	}
	if (put_record(run, run->rows, num, &id, err) == -1) {
		return -1;
	}
	tell_items(run, id);
	if (changed != NULL) {
		*changed = true;
	}
	return 0;
}
