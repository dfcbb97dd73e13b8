/*
 * MRMR: can every protected file be had: one file (see mrmr/check.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "check_private.h"

#define TRIES_MAX 100

struct one {
	struct check *check;
	const struct mrmr_node *node;
	mrmr_check_block_fn *fn;
	void *private_data;
	bool is_online; /* its member */
};

/* --- a block that is in a stripe ---------------------------------------------- */

static const struct check_piece *find_piece(const struct one *one,
					    const struct check_stripe *s,
					    const struct mrmr_extent *extent,
					    uint32_t index)
{
	uint32_t i;

	for (i = 0; i < s->num_pieces; i++) {
		const struct check_piece *piece = &s->pieces[i];

		if (piece->file == one->node->id && piece->index == index &&
		    s->stripe->slots[piece->slot].slot == extent->slot &&
		    piece->begin == extent->slot_offset && !piece->is_wrong) {
			return piece;
		}
	}
	return NULL;
}

static enum mrmr_check_state judge(const struct one *one,
				   const struct check_stripe *s,
				   const struct check_piece *piece)
{
	unsigned int wanted = mrmr_pool_rows(one->check->engine->pool);
	int spare = (int)s->rows[NOW] -
		    check_most_gone(s, NOW, piece->begin, piece->end);

	if (piece->gone[NOW] && spare < 0) {
		return MRMR_CHECK_LOST;
	}
	if (spare <= 0) {
		return MRMR_CHECK_AT_RISK;
	}
	return spare < (int)s->stripe->num_rows || s->stripe->num_rows < wanted
		       ? MRMR_CHECK_REDUCED
		       : MRMR_CHECK_WHOLE;
}

static uint32_t count_others(const struct mrmr_slot *slot)
{
	uint32_t num = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		num += slot->pieces[i].file != MRMR_ID_NONE;
	}
	return num - 1;
}

static int tell_piece(const struct one *one, struct mrmr_check_block *block,
		      const struct check_stripe *s,
		      const struct check_piece *piece)
{
	bool *is_gone =
		talloc_zero_array(one->check, bool, s->stripe->num_slots);
	uint32_t i;
	int ret;

	if (is_gone == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < s->num_pieces; i++) {
		is_gone[s->pieces[i].slot] =
			is_gone[s->pieces[i].slot] || s->pieces[i].gone[NOW];
	}
	block->state = judge(one, s, piece);
	block->is_there = !piece->gone[NOW];
	block->stripe = s->stripe;
	block->slot_index = piece->slot;
	block->slot_offset = piece->begin;
	block->num_others = count_others(&s->stripe->slots[piece->slot]);
	block->slot_is_gone = is_gone;
	block->row_is_there = s->row_is_there;
	ret = one->fn(block, one->private_data);
	talloc_free(is_gone);
	return ret;
}

/* --- blocks ---------------------------------------------------------------------- */

/* What no stripe stands for, or none that knows it. */
static int tell_bare(const struct one *one, struct mrmr_check_block *block)
{
	block->state = one->is_online ? MRMR_CHECK_BARE : MRMR_CHECK_LOST;
	return one->fn(block, one->private_data);
}

static int tell_extent(const struct one *one, const struct mrmr_extent *extent,
		       uint32_t index, bool *has_to_retry)
{
	struct mrmr_check_block block = {
		.index = index,
		.offset = (uint64_t)index * one->node->grid_bytes,
		.len_bytes = extent->len_bytes,
	};
	const struct check_piece *piece = NULL;
	struct check_stripe *s = NULL;
	int ret;

	*has_to_retry = false;
	if (extent->state == MRMR_EXTENT_ZERO) {
		block.state = MRMR_CHECK_WHOLE;
		block.is_zero = true;
		return one->fn(&block, one->private_data);
	}
	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		return tell_bare(one, &block);
	}
	s = check_look(one->check, extent->stripe, extent->slot_offset,
		       extent->slot_offset + extent->len_bytes);
	if (s == NULL && errno != ENOENT) {
		return -1;
	}
	piece = s != NULL ? find_piece(one, s, extent, index) : NULL;
	if (piece != NULL) {
		ret = tell_piece(one, &block, s, piece);
	} else {
		*has_to_retry = true;
		ret = 0;
	}
	talloc_free(s);
	return ret;
}

/* *got: 0 if there is none. With the commit that it is of. */
static int get_extent(const struct one *one, uint32_t index,
		      struct mrmr_extent *extent, uint32_t *got,
		      uint64_t *sequence)
{
	struct mrmr_catalog *catalog = one->check->engine->catalog;
	int ret;

	*got = 0;
	if (mrmr_catalog_hold(catalog) == -1) {
		return -1;
	}
	*sequence = mrmr_catalog_sequence(catalog);
	ret = mrmr_catalog_get_extents(catalog, one->node->id, index, extent, 1,
				       got);
	if (ret == -1 && errno == ENOENT) {
		ret = 0;
	}
	return mrmr_catalog_let_go(catalog, ret);
}

/*
 * An extent and its stripe are asked for one after the other: if they do not fit
 * together, and there was a commit meanwhile, once more. *ended: the file is no
 * longer that long, by now.
 */
static int tell_block(const struct one *one, uint32_t index, bool *ended)
{
	struct mrmr_catalog *catalog = one->check->engine->catalog;
	struct mrmr_check_block block = {.index = index};
	struct mrmr_extent extent;
	int tries;

	for (tries = 0; tries < TRIES_MAX; tries++) {
		bool has_to_retry = false;
		uint64_t sequence = 0;
		uint32_t got = 0;
		int ret;

		if (get_extent(one, index, &extent, &got, &sequence) == -1) {
			return -1;
		}
		*ended = got == 0;
		if (*ended) {
			return 0;
		}
		ret = tell_extent(one, &extent, index, &has_to_retry);
		if (!has_to_retry) {
			return ret;
		}
		if (mrmr_catalog_sequence(catalog) == sequence) {
			break;
		}
	}
	block.offset = (uint64_t)index * one->node->grid_bytes;
	block.len_bytes = extent.len_bytes;
	return tell_bare(one, &block);
}

int mrmr_check_blocks(struct mrmr_engine *engine, const struct mrmr_node *node,
		      mrmr_check_block_fn *fn, void *private_data)
{
	static const struct mrmr_check_options options = {0};
	struct one one = {
		.check = check_new(NULL, engine, &options),
		.node = node,
		.fn = fn,
		.private_data = private_data,
		.is_online = mrmr_engine_online(engine, node->member) != NULL,
	};
	bool ended = false;
	uint32_t i;
	int ret = 0;

	if (one.check == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < node->num_extents && ret == 0 && !ended; i++) {
		ret = tell_block(&one, i, &ended);
	}
	talloc_free(one.check);
	return ret;
}
