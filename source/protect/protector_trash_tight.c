/*
 * MRMR: the protector: emptying the trash of a pool that is full.
 *
 * A file leaves its stripes one by one, with whatever else of the trash is to leave
 * them: a stripe of which nothing stays needs no parity any more. Those go first
 * that need least. Each step is a transaction, by which what stays in the stripe
 * keeps all its parity, or it is not made; what it sets free is there for the next
 * one. What has left a stripe is in none; the file goes when that is so of all of
 * it, until then it is in the trash with all its bytes.
 *
 * There may be no room for even one of them. Nothing is lost for that: the files
 * stay in the trash, unless a client waits for the room (protector_trash_force.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>

#include "protector_trash_tight.h"

#define TOGETHER_MAX 256 /* stripes at a time */
#define IN_VAIN_MAX 16   /* that cannot be left, one after another */

/* --- what there is ---------------------------------------------------------------- */

static int by_id(const void *a_void, const void *b_void)
{
	const struct tight_file *a = a_void;
	const struct tight_file *b = b_void;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int by_stripe(const void *a_void, const void *b_void)
{
	const struct tight_stripe *a = a_void;
	const struct tight_stripe *b = b_void;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int by_need(const void *a_void, const void *b_void)
{
	const struct tight_stripe *a = a_void;
	const struct tight_stripe *b = b_void;

	if (a->need_bytes != b->need_bytes) {
		return a->need_bytes < b->need_bytes ? -1 : 1;
	}
	return by_stripe(a, b);
}

struct tight_file *tight_find(const struct tight *t, uint64_t id)
{
	const struct tight_file key = {.id = id};

	return id == MRMR_ID_NONE || t->num_files == 0
		       ? NULL
		       : bsearch(&key, t->files, t->num_files, sizeof(key),
				 by_id);
}

static int add_stripe(struct tight *t, uint64_t id)
{
	size_t size = talloc_array_length(t->stripes);

	if (t->num_stripes == size) {
		t->stripes = talloc_realloc(t, t->stripes, struct tight_stripe,
					    size > 0 ? 2 * size : 64);
		if (t->stripes == NULL) {
			errno = ENOMEM;
			return -1;
		}
	}
	t->stripes[t->num_stripes++] = (struct tight_stripe){.id = id};
	return 0;
}

static int add_extents(struct tight *t, const struct mrmr_node *node,
		       uint32_t *num_left)
{
	struct mrmr_extent *extents = NULL;
	uint32_t i;
	int ret = 0;

	*num_left = 0;
	if (target_load_extents(t->p, t, node, &extents) == -1) {
		return -1;
	}
	for (i = 0; i < node->num_extents && ret == 0; i++) {
		if (extents[i].state == MRMR_EXTENT_IN_STRIPE) {
			ret = add_stripe(t, extents[i].stripe);
			(*num_left)++;
		}
	}
	talloc_free(extents);
	return ret;
}

/* 1: it is of those that go stripe by stripe; 0: it stays, or goes as it is. */
static int add_file(struct tight *t, struct trashed *file, bool *is_free)
{
	void *frame = talloc_new(t);
	struct mrmr_node *node = NULL;
	enum trash_place place;
	uint32_t num_left = 0;
	int ret = 0;

	*is_free = false;
	if (frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (trash_find_place(t->p, frame, file, &node, &place) == -1) {
		ret = errno == EBUSY ? 0 : -1;
	} else if (place != TRASH_IN_TRASH) {
		*is_free = true;
	} else if (add_extents(t, node, &num_left) == -1) {
		ret = -1;
	} else if (num_left == 0) {
		*is_free = true;
	} else {
		t->files[t->num_files++] = (struct tight_file){
			.id = node->id,
			.file = file,
			.num_left = num_left,
		};
		ret = 1;
	}
	talloc_free(frame);
	return ret;
}

/* How long the parity is that it needs without them. */
static uint64_t need_of(const struct tight *t, const struct mrmr_stripe *stripe)
{
	uint32_t longest = 0;
	uint32_t i;
	uint32_t j;

	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];
		uint32_t end = 0;

		for (j = 0; j < slot->num_pieces; j++) {
			const struct mrmr_piece *piece = &slot->pieces[j];

			end += piece->len_bytes;
			if (end > longest && piece->file != MRMR_ID_NONE &&
			    tight_find(t, piece->file) == NULL) {
				longest = end;
			}
		}
	}
	return (uint64_t)longest * stripe->num_rows;
}

static int order_stripes(struct tight *t)
{
	struct mrmr_stripe *stripe = NULL;
	size_t num = 0;
	size_t i;

	if (t->num_stripes == 0) {
		return 0;
	}
	qsort(t->stripes, t->num_stripes, sizeof(t->stripes[0]), by_stripe);
	for (i = 0; i < t->num_stripes; i++) {
		if (num > 0 && t->stripes[num - 1].id == t->stripes[i].id) {
			continue;
		}
		t->stripes[num] = t->stripes[i];
		if (mrmr_catalog_get_stripe(t->p->catalog, t, t->stripes[i].id,
					    &stripe) == -1) {
			if (errno != ENOENT) {
				return -1;
			}
			continue;
		}
		t->stripes[num++].need_bytes = need_of(t, stripe);
		TALLOC_FREE(stripe);
	}
	t->num_stripes = num;
	qsort(t->stripes, num, sizeof(t->stripes[0]), by_need);
	return 0;
}

/* NULL with *err. What needs no parity to leave has left. */
static struct tight *look(struct protector *p, struct trashed **files,
			  size_t num, struct mrmr_error *err)
{
	struct tight *t = talloc_zero(p, struct tight);
	struct trashed **free_files = NULL;
	size_t num_free = 0;
	int ret = 0;
	size_t i;

	if (t != NULL) {
		t->p = p;
		t->files = talloc_array(t, struct tight_file, num + 1);
		free_files = talloc_array(t, struct trashed *, num + 1);
	}
	if (t == NULL || t->files == NULL || free_files == NULL) {
		talloc_free(t);
		protector_no_memory(err);
		return NULL;
	}
	for (i = 0; i < num && ret != -1; i++) {
		bool is_free = false;

		if (files[i]->is_removed) {
			continue;
		}
		ret = add_file(t, files[i], &is_free);
		if (is_free) {
			free_files[num_free++] = files[i];
		}
	}
	if (ret != -1 && t->num_files > 0) {
		qsort(t->files, t->num_files, sizeof(t->files[0]), by_id);
	}
	if (ret == -1 || order_stripes(t) == -1) {
		protector_fail_catalog(p, err);
		talloc_free(t);
		return NULL;
	}
	if (num_free > 0 && trash_leave(p, free_files, num_free, err) == -1) {
		TALLOC_FREE(t);
		return NULL;
	}
	for (i = 0; i < num_free; i++) {
		t->any = t->any || free_files[i]->is_removed;
	}
	return t;
}

/* --- a step -------------------------------------------------------------------------- */

int tight_begin_step(struct step *step, struct tight *t, struct mrmr_error *err)
{
	*step = (struct step){.t = t, .moving = {.p = t->p}};
	step->moving.batch = batch_new(t->p);
	return step->moving.batch != NULL ? 0 : protector_no_memory(err);
}

int tight_begin_work(struct step *step, struct mrmr_error *err)
{
	const struct mrmr_stripes_options options = {
		.uses_all = true,
		.steps_back = step->t->p->options->background,
		.is_urgent = protector_is_urgent,
		.private_data = step->t->p,
	};

	/* by the last look it is known what there is */
	mrmr_pool_look_at_space(step->t->p->pool);
	step->work = mrmr_stripes_new(step->moving.batch, step->t->p->engine,
				      &options);
	return step->work != NULL ? 0 : protector_no_memory(err);
}

void tight_end_step(struct step *step)
{
	size_t i;

	for (i = 0; i < step->moving.num; i++) {
		struct tight_file *file =
			tight_find(step->t, step->moving.leaves[i].file);

		if (file != NULL) {
			file->num_leaving = 0;
		}
	}
	talloc_free(step->moving.batch);
}

/* 1; 0 if its bytes are not there. */
int tight_add_pieces(struct step *step, uint64_t id, bool with_all)
{
	struct tight *t = step->t;
	struct mrmr_stripe *stripe = NULL;
	uint32_t i;
	uint32_t j;
	int ret = 1;

	if (mrmr_catalog_get_stripe(t->p->catalog, step->moving.batch, id,
				    &stripe) == -1) {
		return errno == ENOENT ? 1 : -1;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		for (j = 0; j < slot->num_pieces && ret == 1; j++) {
			const struct mrmr_piece *piece = &slot->pieces[j];
			struct tight_file *file = tight_find(t, piece->file);

			if (piece->file == MRMR_ID_NONE ||
			    (file == NULL && !with_all)) {
				continue;
			}
			ret = moving_add_piece(&step->moving, stripe, slot,
					       piece);
			if (file != NULL && ret == 1) {
				file->num_leaving++;
			}
		}
	}
	return ret;
}

/* What they were is known as before, and that they are in no stripe. */
static int bare(struct step *step)
{
	struct mrmr_catalog *catalog = step->t->p->catalog;
	size_t i;

	for (i = 0; i < step->moving.num; i++) {
		const struct mrmr_change *change = &step->moving.leaves[i];
		struct mrmr_extent extent = change->old;

		extent.state = MRMR_EXTENT_BARE;
		extent.stripe = 0;
		extent.slot = 0;
		extent.slot_offset = 0;
		if (mrmr_catalog_put_extents(catalog, change->file,
					     change->index, &extent, 1) == -1) {
			return -1;
		}
	}
	return 0;
}

static int leave_catalog(struct step *step, struct tight_file *file)
{
	struct target target = {.entry = WINDOW_NONE, .is_gone = true};
	struct mrmr_node *node = NULL;

	if (mrmr_catalog_get(step->t->p->catalog, step->moving.batch, file->id,
			     &node) == -1) {
		return -1;
	}
	target.old = node;
	target.node = *node;
	step->gone[step->num_gone++] = file;
	return target_remove_gone(step->t->p, &target);
}

static int leave_catalog_if_free(struct step *step)
{
	size_t i;

	step->gone = talloc_array(step->moving.batch, struct tight_file *,
				  step->moving.num + 1);
	if (step->gone == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < step->moving.num; i++) {
		struct tight_file *file =
			tight_find(step->t, step->moving.leaves[i].file);

		if (file == NULL || file->num_leaving == 0) {
			continue;
		}
		file->num_left -= file->num_leaving;
		file->num_leaving = 0;
		if (file->num_left == 0 && leave_catalog(step, file) == -1) {
			return -1;
		}
	}
	return 0;
}

/* Within the transaction. 1: done; 0: what stays would lose by it. */
int tight_leave(struct step *step, struct mrmr_error *err)
{
	struct protector *p = step->t->p;

	if (moving_apply(&step->moving, step->work, step->moving.leaves, err) ==
	    -1) {
		return mrmr_stripes_kept(step->work) ? 0 : -1;
	}
	if (bare(step) == -1 || leave_catalog_if_free(step) == -1) {
		return protector_fail_catalog(p, err);
	}
	if (mrmr_fault("trash-stripe-left") != 0) {
		return mrmr_error_set(err, errno, "stopped by a test");
	}
	return 1;
}

int tight_finish(struct step *step, int ret, struct mrmr_error *err)
{
	struct protector *p = step->t->p;

	if (ret == 1 && (mrmr_stripes_sync(step->work, err) == -1 ||
			 protector_commit(p, err) == -1)) {
		ret = -1;
	}
	if (ret != 1) {
		int error = ret == -1 ? err->code : 0;

		if (ret == -1) {
			protector_cancel(p);
		} else {
			protector_take_back(p);
		}
		mrmr_stripes_abort(step->work);
		err->code = error;
		return ret;
	}
	(void)mrmr_fault("trash-stripe-committed");
	mrmr_stripes_finish(step->work);
	step->t->any = true;
	return 1;
}

void tight_remove_files(struct step *step)
{
	size_t i;

	for (i = 0; i < step->num_gone; i++) {
		trash_remove_file(step->gone[i]->file);
	}
}

/* So many stripes of the list. 1; 0: not all of them can be left; -1. */
int tight_leave_some(struct tight *t, size_t first, size_t num,
		     struct mrmr_error *err)
{
	struct step step;
	int ret = 1;
	size_t i;

	if (tight_begin_step(&step, t, err) == -1) {
		return -1;
	}
	for (i = first; i < first + num && ret == 1; i++) {
		ret = tight_add_pieces(&step, t->stripes[i].id, false);
	}
	if (ret == -1) {
		protector_fail_catalog(t->p, err);
	} else if (ret == 1 && step.moving.num > 0) {
		ret = tight_begin_work(&step, err) == 0 &&
				      protector_begin(t->p, err) == 0
			      ? tight_leave(&step, err)
			      : -1;
		ret = step.work != NULL ? tight_finish(&step, ret, err) : -1;
	}
	if (ret == 1) {
		tight_remove_files(&step);
	}
	tight_end_step(&step);
	return ret;
}

bool tight_must_stop(struct tight *t)
{
	return protector_should_stop(t->p) || protector_gives_way(t->p);
}

/* As many at a time as there is room for. */
static int leave_all(struct tight *t, struct mrmr_error *err)
{
	unsigned int in_vain = 0;
	size_t most = 1;
	size_t i = 0;

	while (i < t->num_stripes && in_vain < IN_VAIN_MAX &&
	       !tight_must_stop(t)) {
		size_t left = t->num_stripes - i;
		size_t num = most < left ? most : left;
		int ret = tight_leave_some(t, i, num, err);

		if (ret == -1) {
			return -1;
		}
		if (ret == 0 && num > 1) {
			most = num / 2;
			continue;
		}
		i += num;
		in_vain = ret == 1 ? 0 : in_vain + 1;
		if (ret == 1 && most < TOGETHER_MAX) {
			most *= 2;
		}
	}
	return 0;
}

/* --- all of it ---------------------------------------------------------------------------- */

int trash_leave_by_stripes(struct protector *p, struct trashed **files,
			   size_t num, struct mrmr_error *err)
{
	bool any = true;
	int ret = 0;

	/* each time, something has left its stripe */
	while (ret == 0 && any && !protector_should_stop(p)) {
		struct tight *t = look(p, files, num, err);

		if (t == NULL) {
			return -1;
		}
		ret = leave_all(t, err);
		if (ret == 0 && !t->any) {
			ret = tight_leave_by_force(t, err);
		}
		any = t->any;
		talloc_free(t);
	}
	return ret;
}
