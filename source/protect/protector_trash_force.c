/*
 * MRMR: the protector: emptying the trash of a pool that has no room at all.
 *
 * There may be no room for even one stripe to be left by what is in the trash, as
 * what stays in it needs new parity before the old one goes. Nothing is lost for
 * that: the files stay. But if a client waits for the room, the trash must not keep
 * it for ever. Then one stripe, that needs least, gives of its own, and gets it back
 * before the next one does:
 *
 *     two rows or more   half of them are let go of; in their room the parity of
 *                        what stays is written; then the other half goes, and in
 *                        its room comes the rest. It has half of its rows, rounded
 *                        down, at every instant.
 *     one row            it comes to its end, and what stays of it goes into
 *                        other stripes by the next transaction. In between, it is
 *                        pending, so that it is not forgotten.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>

#include "protector_trash_tight.h"

/* Does a client wait for the room of something in it? */
static bool is_waited_for(const struct tight *t,
			  const struct mrmr_stripe *stripe)
{
	uint32_t i;
	uint32_t j;

	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		for (j = 0; j < slot->num_pieces; j++) {
			const struct tight_file *file =
				tight_find(t, slot->pieces[j].file);

			if (file != NULL &&
			    file->file->trash->freed_bytes <
				    file->file->trash->wanted_bytes) {
				return true;
			}
		}
	}
	return false;
}

/* 1: *stripe (a child of t); 0: there is none; -1 with errno. */
static int choose(struct tight *t, struct mrmr_stripe **stripe)
{
	size_t i;

	for (i = 0; i < t->num_stripes; i++) {
		if (mrmr_catalog_get_stripe(t->p->catalog, t, t->stripes[i].id,
					    stripe) == -1) {
			if (errno != ENOENT) {
				return -1;
			}
			continue;
		}
		if (is_waited_for(t, *stripe)) {
			t->stripes[0] = t->stripes[i];
			return 1;
		}
		TALLOC_FREE(*stripe);
	}
	return 0;
}

enum rows {
	ROWS_LENT, /* half of them */
	ROWS_ALL,  /* again */
};

static int change_rows(struct step *step, uint64_t stripe, unsigned int num,
		       enum rows rows, struct mrmr_error *err)
{
	bool changed = false;

	if (rows == ROWS_ALL) {
		return mrmr_stripes_mend(step->work, stripe, &changed, err) == 0
			       ? 1
			       : -1;
	}
	return mrmr_stripes_lend_rows(step->work, stripe, num, err) == 0 ? 1
									 : -1;
}

/* A transaction of its own. 0, -1. *is_short: it has not all of them. */
static int give_rows(struct tight *t, uint64_t stripe, unsigned int num,
		     enum rows rows, bool *is_short, struct mrmr_error *err)
{
	struct step step;
	int ret = -1;

	if (tight_begin_step(&step, t, err) == -1) {
		return -1;
	}
	if (tight_begin_work(&step, err) == 0) {
		if (protector_begin(t->p, err) == 0) {
			ret = change_rows(&step, stripe, num, rows, err);
		}
		ret = tight_finish(&step, ret, err);
		*is_short = mrmr_stripes_made_short(step.work);
	}
	tight_end_step(&step);
	return ret == 1 ? 0 : -1;
}

static int lend_half(struct tight *t, const struct mrmr_stripe *stripe,
		     struct mrmr_error *err)
{
	bool is_short = false;
	int ret;

	if (give_rows(t, stripe->id, stripe->num_rows / 2, ROWS_LENT, &is_short,
		      err) == -1) {
		return -1;
	}
	ret = tight_leave_some(t, 0, 1, err);
	if (ret == -1 ||
	    give_rows(t, stripe->id, 0, ROWS_ALL, &is_short, err) == -1) {
		return -1;
	}
	if (is_short) {
		t->p->mends_anew = true;
		ret = 0;
	}
	return ret;
}

/* What stays, in place of what leaves: until then it is pending. */
static int wait_for_place(struct step *step)
{
	struct protector *p = step->t->p;
	struct mrmr_change *comes = step->moving.comes;
	size_t num = 0;
	size_t i;

	for (i = 0; i < step->moving.num; i++) {
		struct mrmr_node *node = NULL;

		if (tight_find(step->t, comes[i].file) != NULL) {
			continue;
		}
		if (mrmr_catalog_get(p->catalog, step->moving.batch,
				     comes[i].file, &node) == -1 ||
		    (node->dir_id != MRMR_ID_TRASH &&
		     !pending_has(p->pending, node->id) &&
		     pending_add(p->pending, node->id, node->member,
				 node->size_bytes, 0) == -1)) {
			return -1;
		}
		comes[num++] = comes[i];
	}
	step->moving.num = num;
	return 0;
}

/* They have a place: in a step of its own. 0: not all of them. */
static int find_place(struct step *step, struct mrmr_error *err)
{
	struct moving *moving = &step->moving;
	bool all = true;
	int ret = -1;
	size_t i;

	if (moving->num == 0) {
		return 1;
	}
	TALLOC_FREE(step->work);
	if (tight_begin_work(step, err) == -1) {
		return -1;
	}
	if (protector_begin(step->t->p, err) == 0) {
		ret = mrmr_stripes_apply(step->work, moving->comes, moving->num,
					 err) == 0
			      ? 1
			      : -1;
	}
	if (ret == 1 && mrmr_fault("trash-placed") != 0) {
		ret = mrmr_error_set(err, errno, "stopped by a test");
	}
	for (i = 0; i < moving->num; i++) {
		all = all && moving->comes[i].error == 0;
	}
	ret = tight_finish(step, ret, err);
	return ret == 1 && !all ? 0 : ret;
}

/* The only row: what stays goes elsewhere. */
static int dissolve(struct tight *t, const struct mrmr_stripe *stripe,
		    struct mrmr_error *err)
{
	struct step step;
	int ret;

	if (tight_begin_step(&step, t, err) == -1) {
		return -1;
	}
	ret = tight_add_pieces(&step, stripe->id, true);
	if (ret == -1) {
		protector_fail_catalog(t->p, err);
	} else if (ret == 1) {
		ret = tight_begin_work(&step, err) == 0 &&
				      protector_begin(t->p, err) == 0
			      ? tight_leave(&step, err)
			      : -1;
		if (ret == 1 && wait_for_place(&step) == -1) {
			ret = protector_fail_catalog(t->p, err);
		}
		ret = step.work != NULL ? tight_finish(&step, ret, err) : -1;
	}
	if (ret == 1) {
		ret = find_place(&step, err);
		tight_remove_files(&step);
	}
	tight_end_step(&step);
	return ret;
}

/* If somebody waits for it. */
int tight_leave_by_force(struct tight *t, struct mrmr_error *err)
{
	struct mrmr_stripe *stripe = NULL;
	int ret;

	if (tight_must_stop(t) || !protector_has_all_members(t->p)) {
		return 0;
	}
	ret = choose(t, &stripe);
	if (ret != 1) {
		return ret == -1 ? protector_fail_catalog(t->p, err) : 0;
	}
	mrmr_log(MRMR_LOG_WARNING,
		 "clients wait for room, which only the trash has: stripe "
		 "%llu gives of its parity blocks to be rid of what is in the "
		 "trash, and gets them again",
		 (unsigned long long)stripe->id);
	ret = stripe->num_rows > 1 ? lend_half(t, stripe, err)
				   : dissolve(t, stripe, err);
	t->any = ret == 1;
	return ret == -1 ? -1 : 0;
}
