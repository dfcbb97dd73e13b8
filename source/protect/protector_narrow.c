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

struct narrowing {
	struct protector *p;
	struct batch *batch;
	struct mrmr_change *leaves; /* talloc */
	struct mrmr_change *comes;
	size_t num;
};

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

/* 1; 0 if it is not as the stripe says, or its bytes are not there. */
static int add_piece(struct narrowing *n, const struct mrmr_stripe *stripe,
		     const struct mrmr_slot *slot,
		     const struct mrmr_piece *piece)
{
	struct protector *p = n->p;
	struct mrmr_live_member *member = batch_member(n->batch, slot->member);
	struct mrmr_change *leave = &n->leaves[n->num];
	struct mrmr_node *node = NULL;
	struct mrmr_live *live = NULL;
	struct mrmr_extent extent;
	uint32_t got = 0;

	if (member == NULL ||
	    mrmr_catalog_get(p->catalog, n->batch, piece->file, &node) == -1 ||
	    mrmr_catalog_get_extents(p->catalog, piece->file, piece->index,
				     &extent, 1, &got) == -1 ||
	    mrmr_live_open_on(n->batch, p->engine, member, node, true, &live) ==
		    -1) {
		return errno == ENOMEM ? -1 : 0;
	}
	if (got != 1 || extent.state != MRMR_EXTENT_IN_STRIPE ||
	    extent.stripe != stripe->id || extent.slot != slot->slot) {
		return 0;
	}
	*leave = (struct mrmr_change){
		.file = node->id,
		.member = node->member,
		.index = piece->index,
		.offset = (uint64_t)piece->index * node->grid_bytes,
		.old = extent,
		.has_old = true,
		.was = live,
	};
	n->comes[n->num] = *leave;
	n->comes[n->num].has_old = false;
	n->comes[n->num].was = NULL;
	n->comes[n->num].now = live;
	n->comes[n->num].len_bytes = extent.len_bytes;
	n->num++;
	return 1;
}

static int add_slot(struct narrowing *n, const struct mrmr_stripe *stripe,
		    const struct mrmr_slot *slot)
{
	size_t num = n->num + slot->num_pieces;
	int ret = 1;
	uint32_t i;

	n->leaves = talloc_realloc(n->batch, n->leaves, struct mrmr_change,
				   num + 1);
	n->comes =
		talloc_realloc(n->batch, n->comes, struct mrmr_change, num + 1);
	if (n->leaves == NULL || n->comes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < slot->num_pieces && ret == 1; i++) {
		if (slot->pieces[i].file != MRMR_ID_NONE) {
			ret = add_piece(n, stripe, slot, &slot->pieces[i]);
		}
	}
	return ret;
}

/* 1: they are chosen. 0: it need not, or cannot, become narrower. */
static int choose(struct narrowing *n, const struct mrmr_stripe *stripe)
{
	struct protector *p = n->p;
	size_t rows = mrmr_pool_rows(p->pool);
	size_t units = p->pool->units.num;
	size_t most = units > rows ? units - rows : 1;
	bool *is_picked =
		talloc_zero_array(n->batch, bool, stripe->num_slots + 1);
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
		ret = add_slot(n, stripe, slot);
		if (ret != 1) {
			return ret;
		}
	}
	return 1;
}

static int apply(struct narrowing *n, struct mrmr_stripes *work,
		 struct mrmr_change *changes, struct mrmr_error *err)
{
	size_t i;

	if (mrmr_stripes_apply(work, changes, n->num, err) == -1) {
		return -1;
	}
	for (i = 0; i < n->num; i++) {
		if (changes[i].error != 0) {
			n->p->cannot_narrow = true;
			return mrmr_error_set(err, changes[i].error,
					      "blocks that have to leave their "
					      "stripe find no other one: %s",
					      strerror(changes[i].error));
		}
	}
	return 0;
}

int narrow_and_mend(struct protector *p, struct mrmr_stripes *work,
		    const struct mrmr_stripe *stripe, bool *mended,
		    struct mrmr_error *err)
{
	struct narrowing n = {.p = p, .batch = batch_new(p)};
	int ret;

	if (n.batch == NULL) {
		return protector_no_memory(err);
	}
	ret = p->cannot_narrow ? 0 : choose(&n, stripe);
	if (ret == -1) {
		protector_fail_catalog(p, err);
	} else if (ret == 0) {
		ret = mrmr_stripes_mend(work, stripe->id, mended, err);
	} else {
		/* the row first: else they might come back */
		ret = apply(&n, work, n.leaves, err);
		if (ret == 0) {
			ret = mrmr_stripes_mend(work, stripe->id, mended, err);
		}
		if (ret == 0) {
			ret = apply(&n, work, n.comes, err);
		}
	}
	talloc_free(n.batch);
	return ret;
}
