/*
 * MRMR: recovering the catalogue: the records of one part.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "recover_private.h"

#define EXTENTS_AT_ONCE 64

/* --- nodes -------------------------------------------------------------------------- */

static uint64_t rank_of(const struct recover *rc,
			const struct recover_part *from,
			const struct mrmr_node *node)
{
	return recover_rank(rc, from, recover_leaves_node(rc, node->id),
			    node->sequence);
}

/* Its own member was told of a commit after the one that this is from, and does
   not have it any more. */
static bool is_removed_node(const struct recover *rc,
			    const struct recover_part *from,
			    const struct mrmr_node *node)
{
	const struct recover_part *own = recover_part_of(rc, node->member);
	struct mrmr_node *there = NULL;

	if (own == NULL || own == from || own->sequence < node->sequence ||
	    !recover_can_tell(rc, own, recover_leaves_node(rc, node->id))) {
		return false;
	}
	if (mrmr_catalog_get(own->part, NULL, node->id, &there) == 0) {
		talloc_free(there);
		return false;
	}
	return errno == ENOENT;
}

/* The name of a node that is later than the one that has it. */
static int free_name(struct recover *rc, const struct mrmr_node *node)
{
	struct mrmr_node *holder = NULL;
	char name[64];
	bool is_directory;
	int ret;

	if (mrmr_catalog_find(rc->catalog, rc, node->dir_id, node->name,
			      &holder) == -1) {
		return -1;
	}
	is_directory = holder->kind == MRMR_NODE_DIRECTORY;
	if (is_directory) {
		snprintf(name, sizeof(name), ".recovered.%llx",
			 (unsigned long long)holder->id);
	} else {
		snprintf(name, sizeof(name), "%u/recovered/%llx",
			 holder->member, (unsigned long long)holder->id);
	}
	ret = holder->sequence > node->sequence
		      ? 1
		      : mrmr_catalog_rename(rc->catalog, node->dir_id,
					    node->name,
					    is_directory ? MRMR_ID_ROOT
							 : MRMR_ID_TRASH,
					    name);
	talloc_free(holder);
	rc->result->conflicts++;
	return ret;
}

/* 1: another node has its name, and is later. */
static int put_node(struct recover *rc, const struct mrmr_node *node)
{
	int ret = mrmr_catalog_import_node(rc->catalog, node);

	if (ret == -1 && errno == EEXIST) {
		ret = free_name(rc, node);
		if (ret == 0) {
			ret = mrmr_catalog_import_node(rc->catalog, node);
		}
	}
	return ret;
}

/* Extents that another version of the file had. */
static int fit_extents(struct recover *rc, const struct mrmr_node *known,
		       const struct mrmr_node *node)
{
	uint32_t num = node->num_extents;

	if (known->kind != MRMR_NODE_FILE) {
		return 0;
	}
	if (known->grid_bytes != node->grid_bytes) {
		num = 0;
	}
	return known->num_extents > num
		       ? mrmr_catalog_cut_extents(rc->catalog, node->id, num)
		       : 0;
}

/* 1: the node of this part is the one that counts, or as good; 0: a later one
   is known; 2: it is not taken at all. */
static int take_node(struct recover *rc, const struct recover_part *from,
		     struct mrmr_node *node)
{
	struct mrmr_node *known = NULL;
	int ret = 1;

	if (is_removed_node(rc, from, node)) {
		rc->result->removed++;
		return 2;
	}
	node->sequence = rank_of(rc, from, node);
	if (mrmr_catalog_get(rc->catalog, rc, node->id, &known) == -1) {
		if (errno != ENOENT) {
			return -1;
		}
		ret = put_node(rc, node);
		return ret == -1 ? -1 : ret == 1 ? 2 : 1;
	}
	if (known->sequence > node->sequence ||
	    (known->sequence == node->sequence && node->id != MRMR_ID_ROOT)) {
		ret = known->sequence == node->sequence ? 1 : 0;
	} else if (known->kind != node->kind ||
		   fit_extents(rc, known, node) == -1) {
		ret = known->kind != node->kind ? 0 : -1;
	} else {
		ret = put_node(rc, node);
		ret = ret == -1 ? -1 : ret == 1 ? 0 : 1;
	}
	talloc_free(known);
	return ret;
}

/* --- extents -------------------------------------------------------------------------- */

static bool is_better(const struct mrmr_extent *a, const struct mrmr_extent *b)
{
	if (a->state == MRMR_EXTENT_UNKNOWN) {
		return false;
	}
	return b->state == MRMR_EXTENT_UNKNOWN || a->sequence > b->sequence;
}

/* Of each, what is known; what is later. num is what the node has by what
   counts. */
static int merge_extents(struct recover *rc, const struct recover_part *part,
			 uint64_t id, uint32_t first, uint32_t num)
{
	struct mrmr_extent from[EXTENTS_AT_ONCE];
	struct mrmr_extent into[EXTENTS_AT_ONCE];
	uint32_t got = 0;
	uint32_t have = 0;
	uint32_t i;

	if (mrmr_catalog_get_extents(part->part, id, first, from, num, &got) ==
		    -1 ||
	    mrmr_catalog_get_extents(rc->catalog, id, first, into, num,
				     &have) == -1) {
		return -1;
	}
	for (i = 0; i < got; i++) {
		from[i].sequence =
			recover_rank(rc, part,
				     recover_leaves_extent(rc, id, first + i),
				     from[i].sequence);
		if (i >= have || is_better(&from[i], &into[i])) {
			into[i] = from[i];
		}
	}
	num = got > have ? got : have;
	if (num == 0) {
		return 0;
	}
	return mrmr_catalog_import_extents(rc->catalog, id, first, into, num);
}

static int take_extents(struct recover *rc, const struct recover_part *from,
			const struct mrmr_node *node, bool counts)
{
	struct mrmr_node *known = NULL;
	uint32_t num = node->num_extents;
	uint32_t first;
	int ret = 0;

	if (!counts) {
		if (mrmr_catalog_get(rc->catalog, rc, node->id, &known) == -1) {
			return -1;
		}
		/* those of another grid are of another version */
		num = known->grid_bytes != node->grid_bytes ? 0
		      : known->num_extents < num            ? known->num_extents
							    : num;
		talloc_free(known);
	}
	for (first = 0; ret == 0 && first < num; first += EXTENTS_AT_ONCE) {
		uint32_t some = num - first < EXTENTS_AT_ONCE ? num - first
							      : EXTENTS_AT_ONCE;

		ret = merge_extents(rc, from, node->id, first, some);
	}
	return ret;
}

static int import_nodes(struct recover *rc, const struct recover_part *from)
{
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	while (mrmr_catalog_next(from->part, rc, id, &node) == 0) {
		int taken = take_node(rc, from, node);

		id = node->id;
		if (taken == -1 ||
		    (taken != 2 && node->kind == MRMR_NODE_FILE &&
		     take_extents(rc, from, node, taken == 1) == -1)) {
			return recover_fail(rc);
		}
		TALLOC_FREE(node);
		if (recover_step(rc) == -1) {
			return -1;
		}
	}
	return errno == ENOENT ? 0 : recover_fail(rc);
}

/* --- stripes ---------------------------------------------------------------------------- */

static bool lacks_stripe(const struct recover *rc, uint16_t number,
			 const struct recover_part *from,
			 const struct mrmr_stripe *stripe)
{
	const struct recover_part *other = recover_part_of(rc, number);
	struct mrmr_stripe *there = NULL;

	if (other == NULL || other == from ||
	    other->sequence < stripe->sequence ||
	    !recover_can_tell(rc, other,
			      recover_leaves_stripe(rc, stripe->id))) {
		return false;
	}
	if (mrmr_catalog_get_stripe(other->part, NULL, stripe->id, &there) ==
	    0) {
		talloc_free(there);
		return false;
	}
	return errno == ENOENT;
}

static bool is_removed_stripe(const struct recover *rc,
			      const struct recover_part *from,
			      const struct mrmr_stripe *stripe)
{
	uint32_t i;

	if (stripe->id >= rc->last.next_stripe &&
	    recover_leaves_stripe(rc, stripe->id)) {
		return true;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		if (lacks_stripe(rc, stripe->slots[i].member, from, stripe)) {
			return true;
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		if (lacks_stripe(rc, stripe->rows[i].member, from, stripe)) {
			return true;
		}
	}
	return false;
}

static int take_stripe(struct recover *rc, const struct recover_part *from,
		       struct mrmr_stripe *stripe)
{
	uint64_t rank =
		recover_rank(rc, from, recover_leaves_stripe(rc, stripe->id),
			     stripe->sequence);
	struct mrmr_stripe *known = NULL;
	bool is_known;

	if (mrmr_catalog_get_stripe(rc->catalog, rc, stripe->id, &known) == 0) {
		is_known = known->sequence >= rank;
		talloc_free(known);
		if (is_known) {
			return 0;
		}
	} else if (errno != ENOENT) {
		return -1;
	}
	if (is_removed_stripe(rc, from, stripe)) {
		rc->result->removed++;
		return 0;
	}
	stripe->sequence = rank;
	return mrmr_catalog_import_stripe(rc->catalog, stripe);
}

static int import_stripes(struct recover *rc, const struct recover_part *from)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;

	while (mrmr_catalog_next_stripe(from->part, rc, id, &stripe) == 0) {
		id = stripe->id;
		if (take_stripe(rc, from, stripe) == -1) {
			return recover_fail(rc);
		}
		TALLOC_FREE(stripe);
		if (recover_step(rc) == -1) {
			return -1;
		}
	}
	return errno == ENOENT ? 0 : recover_fail(rc);
}

int recover_import(struct recover *rc, const struct recover_part *from)
{
	return import_nodes(rc, from) == -1 ? -1 : import_stripes(rc, from);
}

/* --- further names ------------------------------------------------------------------------ */

static int add_links(struct recover *rc, const struct recover_part *from,
		     const struct mrmr_node *node)
{
	struct mrmr_node *known = NULL;
	struct mrmr_link *links = NULL;
	void *frame = talloc_new(rc);
	size_t num = 0;
	size_t i;
	int ret = 0;

	/* only of the version that counts */
	if (mrmr_catalog_get(rc->catalog, frame, node->id, &known) == 0 &&
	    known->sequence == rank_of(rc, from, node) &&
	    mrmr_catalog_links(from->part, frame, node->id, &links, &num) ==
		    0) {
		for (i = 1; i < num && ret == 0; i++) {
			ret = mrmr_catalog_link(rc->catalog, node->id,
						links[i].dir_id, links[i].name);
			if (ret == -1 && (errno == EEXIST || errno == ENOENT)) {
				ret = 0;
			}
		}
	}
	talloc_free(frame);
	return ret;
}

int recover_links(struct recover *rc)
{
	size_t i;

	for (i = 0; i < rc->num_parts; i++) {
		const struct recover_part *from = &rc->parts[i];
		struct mrmr_node *node = NULL;
		uint64_t id = 0;

		while (mrmr_catalog_next(from->part, rc, id, &node) == 0) {
			id = node->id;
			if (node->kind != MRMR_NODE_DIRECTORY &&
			    add_links(rc, from, node) == -1) {
				return recover_fail(rc);
			}
			TALLOC_FREE(node);
			if (recover_step(rc) == -1) {
				return -1;
			}
		}
		if (errno != ENOENT) {
			return recover_fail(rc);
		}
	}
	return 0;
}
