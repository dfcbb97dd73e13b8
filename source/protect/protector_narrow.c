/*
 * MRMR: the protector: stripes that are too wide for their rows.
 *
 * With U units, a stripe that shall have N rows has place for U - N slots. One
 * that was filled when fewer rows were wanted must give slots away: these leave
 * it, it gets its rows, and they go into other stripes; all in one transaction,
 * so that they are protected at every instant. If there is no room for them
 * elsewhere, the transaction is cancelled, and the stripe stays as it is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "protector_private.h"

/* Those that take least to move, where a row can go then. */
static const struct mrmr_slot *pick(struct protector *p,
				    const struct mrmr_stripe *stripe,
				    const bool *is_picked)
{
	const struct mrmr_slot *best = NULL;
	bool best_takes = false;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];
		const struct mrmr_member *member =
			mrmr_engine_online(p->engine, slot->member);
		bool takes = member != NULL &&
			     member->config->role != MRMR_ROLE_DATA;

		if (member == NULL || is_picked[i]) {
			continue;
		}
		if (best == NULL || (takes && !best_takes) ||
		    (takes == best_takes &&
		     slot->len_bytes < best->len_bytes)) {
			best = slot;
			best_takes = takes;
		}
	}
	return best;
}

/* 1: they are chosen. 0: it need not, or cannot, become narrower. */
static int choose(struct moving *m, const struct mrmr_stripe *stripe)
{
	struct protector *p = m->p;
	size_t rows = mrmr_pool_rows(p->pool);
	size_t units = p->pool->units.num;
	size_t most = units > rows ? units - rows : 1;
	bool *is_picked =
		talloc_zero_array(m->batch, bool, stripe->num_slots + 1);
	size_t left = stripe->num_slots;

	if (is_picked == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (stripe->num_rows >= rows || left <= most) {
		return 0;
	}
	for (; left > most; left--) {
		const struct mrmr_slot *slot = pick(p, stripe, is_picked);
		int ret;

		if (slot == NULL) {
			return 0;
		}
		is_picked[slot - stripe->slots] = true;
		ret = moving_add_slot(m, stripe, slot);
		if (ret != 1) {
			return ret;
		}
	}
	return 1;
}

int narrow_and_mend(struct protector *p, struct mrmr_stripes *work,
		    const struct mrmr_stripe *stripe, bool *mended,
		    struct mrmr_error *err)
{
	struct moving m = {.p = p, .batch = batch_new(p)};
	int ret;

	if (m.batch == NULL) {
		return protector_no_memory(err);
	}
	ret = p->cannot_narrow ? 0 : choose(&m, stripe);
	if (ret == -1) {
		protector_fail_catalog(p, err);
	} else if (ret == 0) {
		ret = mrmr_stripes_mend(work, stripe->id, mended, err);
	} else {
		/* the row first: else they might come back */
		ret = moving_apply(&m, work, m.leaves, err);
		if (ret == 0) {
			ret = mrmr_stripes_mend(work, stripe->id, mended, err);
		}
		if (ret == 0) {
			ret = moving_apply(&m, work, m.comes, err);
		}
		p->cannot_narrow = p->cannot_narrow || m.has_no_place;
	}
	talloc_free(m.batch);
	return ret;
}
