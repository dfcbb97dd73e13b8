/*
 * MRMR: the protector: slots that leave their stripe for another one.
 *
 * Their bytes stay where they are; what changes is by which parity they are
 * protected. All is done in one transaction, so that they are so at every
 * instant: first they leave, then they come to other stripes, of which the new
 * parity is written before the old one goes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "protector_private.h"

static int need_place(struct moving *m)
{
	size_t size = talloc_array_length(m->comes);

	if (m->num < size) {
		return 0;
	}
	size = size > 0 ? 2 * size : 16;
	m->leaves =
		talloc_realloc(m->batch, m->leaves, struct mrmr_change, size);
	m->comes = talloc_realloc(m->batch, m->comes, struct mrmr_change, size);
	if (m->leaves == NULL || m->comes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

int moving_add_piece(struct moving *m, const struct mrmr_stripe *stripe,
		     const struct mrmr_slot *slot,
		     const struct mrmr_piece *piece)
{
	struct protector *p = m->p;
	struct mrmr_live_member *member = batch_member(m->batch, slot->member);
	struct mrmr_change *leave = NULL;
	struct mrmr_node *node = NULL;
	struct mrmr_live *live = NULL;
	struct mrmr_extent extent;
	uint32_t got = 0;

	if (member == NULL ||
	    mrmr_catalog_get(p->catalog, m->batch, piece->file, &node) == -1 ||
	    mrmr_catalog_get_extents(p->catalog, piece->file, piece->index,
				     &extent, 1, &got) == -1 ||
	    mrmr_live_open_on(m->batch, p->engine, member, node, true, &live) ==
		    -1) {
		return errno == ENOMEM ? -1 : 0;
	}
	if (got != 1 || extent.state != MRMR_EXTENT_IN_STRIPE ||
	    extent.stripe != stripe->id || extent.slot != slot->slot) {
		return 0;
	}
	if (need_place(m) == -1) {
		return -1;
	}
	leave = &m->leaves[m->num];
	*leave = (struct mrmr_change){
		.file = node->id,
		.member = node->member,
		.index = piece->index,
		.offset = (uint64_t)piece->index * node->grid_bytes,
		.old = extent,
		.has_old = true,
		.was = live,
	};
	m->comes[m->num] = *leave;
	m->comes[m->num].has_old = false;
	m->comes[m->num].was = NULL;
	m->comes[m->num].now = live;
	m->comes[m->num].len_bytes = extent.len_bytes;
	m->comes[m->num].only_moves = true;
	m->num++;
	return 1;
}

int moving_add_slot(struct moving *m, const struct mrmr_stripe *stripe,
		    const struct mrmr_slot *slot)
{
	int ret = 1;
	uint32_t i;

	for (i = 0; i < slot->num_pieces && ret == 1; i++) {
		if (slot->pieces[i].file != MRMR_ID_NONE) {
			ret = moving_add_piece(m, stripe, slot,
					       &slot->pieces[i]);
		}
	}
	return ret;
}

int moving_apply(struct moving *m, struct mrmr_stripes *work,
		 struct mrmr_change *changes, struct mrmr_error *err)
{
	size_t i;
	int ret;

	mrmr_stripes_keep_all(work, true);
	ret = mrmr_stripes_apply(work, changes, m->num, err);
	mrmr_stripes_keep_all(work, false);
	if (ret == -1) {
		m->has_no_place = m->has_no_place || err->code == EIO ||
				  err->code == ENOSPC;
		return -1;
	}
	for (i = 0; i < m->num; i++) {
		m->has_no_place = m->has_no_place || changes[i].error != 0;
		if (changes[i].error == EILSEQ) {
			return mrmr_error_set(err, EILSEQ,
					      "blocks that have to leave their "
					      "stripe do not have the bytes "
					      "that they should");
		}
		if (changes[i].error != 0) {
			return mrmr_error_set(err, changes[i].error,
					      "blocks that have to leave their "
					      "stripe find no other one: %s",
					      strerror(changes[i].error));
		}
	}
	return 0;
}
