/*
 * MRMR: recovering the catalogue: the last commit, which may not have happened.
 *
 * A commit writes the parts one after another, and then the catalogue. Killed in
 * between, some parts are of after it, and others of before it. As long as all
 * members are there that does not matter: what the commit touched is known as it
 * is after it, or as it was before it. With members lost it may be that a stripe is
 * known as it is by now, and its files are not:
 *
 *	member         a (slot)    b (slot)    c (row)    d (row)
 *	file of b      -           new         old        new
 *	stripe         new         new         old        new
 *	                           lost                   lost
 *
 * The new parity is of no use here: nobody knows the hash of b's new block. But
 * nothing of what was before is gone: that is removed after the commit. Parts that
 * do not have it know what it takes, as they are of one time.
 *
 * So if something is not known by the latest records, it is tried to leave that
 * commit out. Each part has a list of what it touched. Of these things those parts
 * count that do not have it, before those that have; a stripe that it made has
 * never been. The rest is the same in both.
 *
 * What is right for one stripe may be wrong for another, so it is chosen for each
 * family: stripes and files that the commit touched, and that are in each other,
 * before or after it. If less is missing without the commit, it is left out of that
 * family. (A part may have no last commit because its member was away, and the
 * commit has happened. Then parity blocks from before it are not there any more, and
 * it stays.)
 *
 * In both ways, records of something that the commit touched fit together only if
 * both are of after it, or both of before it: places and lengths may be the same.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/log.h>

#include "recover_private.h"

/* Things are numbered, nodes first. A family is a tree of them, and what is told of
   it stands at its root. */
struct recover_family {
	size_t parent;
	uint64_t missing[RECOVER_CHOSEN]; /* blocks, with and without */
	bool has_happened; /* what was before is not there any more */
	bool is_left;
};

/* --- what it touched -------------------------------------------------------------- */

static bool is_partial(const struct recover *rc)
{
	return rc->last.before != 0;
}

/* Parts that were away were told of what they had missed as well: so it is what
   the lists of all have. */

static bool has_extent(const struct recover *rc, uint64_t id, uint32_t index)
{
	bool has = is_partial(rc);
	size_t i;

	for (i = 0; i < rc->last.num && has; i++) {
		has = mrmr_catalog_last_has_extent(rc->parts[i].last, id,
						   index);
	}
	return has;
}

static bool has_node(const struct recover *rc, uint64_t id)
{
	bool has = is_partial(rc);
	size_t i;

	for (i = 0; i < rc->last.num && has; i++) {
		has = mrmr_catalog_last_has_node(rc->parts[i].last, id);
	}
	return has;
}

static bool has_stripe(const struct recover *rc, uint64_t id)
{
	bool has = is_partial(rc);
	size_t i;

	for (i = 0; i < rc->last.num && has; i++) {
		has = mrmr_catalog_last_has_stripe(rc->parts[i].last, id);
	}
	return has;
}

/* --- families ------------------------------------------------------------------------ */

static int compare_ids(const void *a_void, const void *b_void)
{
	uint64_t a = *(const uint64_t *)a_void;
	uint64_t b = *(const uint64_t *)b_void;

	return a < b ? -1 : a > b;
}

/* SIZE_MAX: it is none of the things. */
static size_t node_number(const struct recover_last *last, uint64_t id)
{
	const uint64_t *found =
		last->num_nodes > 0 ? bsearch(&id, last->nodes, last->num_nodes,
					      sizeof(id), compare_ids)
				    : NULL;

	return found != NULL ? (size_t)(found - last->nodes) : SIZE_MAX;
}

static size_t stripe_number(const struct recover_last *last, uint64_t id)
{
	const uint64_t *found =
		last->num_stripes > 0
			? bsearch(&id, last->stripes, last->num_stripes,
				  sizeof(id), compare_ids)
			: NULL;

	return found != NULL ? last->num_nodes + (size_t)(found - last->stripes)
			     : SIZE_MAX;
}

static struct recover_family *family_of(const struct recover_last *last,
					size_t number)
{
	struct recover_family *family = last->family;

	if (number == SIZE_MAX) {
		return NULL;
	}
	while (family[number].parent != number) {
		family[number].parent = family[family[number].parent].parent;
		number = family[number].parent;
	}
	return &family[number];
}

static void join(struct recover_last *last, size_t a, size_t b)
{
	struct recover_family *x = family_of(last, a);
	struct recover_family *y = family_of(last, b);

	if (x != NULL && y != NULL) {
		y->parent = x->parent;
	}
}

static void join_stripe(struct recover_last *last,
			const struct mrmr_stripe *stripe)
{
	size_t number = stripe_number(last, stripe->id);
	uint32_t i;
	uint32_t j;

	for (i = 0; i < stripe->num_slots; i++) {
		for (j = 0; j < stripe->slots[i].num_pieces; j++) {
			join(last, number,
			     node_number(last,
					 stripe->slots[i].pieces[j].file));
		}
	}
}

struct joining {
	struct recover_last *last;
	size_t number; /* of the node */
};

static int join_extent(const struct mrmr_extent *extent, uint32_t index,
		       void *private_data)
{
	const struct joining *j = private_data;

	if (extent->state == MRMR_EXTENT_IN_STRIPE) {
		join(j->last, j->number,
		     stripe_number(j->last, extent->stripe));
	}
	return 0;
}

static int join_all(struct recover *rc, struct mrmr_catalog *part)
{
	struct recover_last *last = &rc->last;
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_node *node = NULL;
	size_t i;

	for (i = 0; i < last->num_stripes; i++) {
		if (mrmr_catalog_get_stripe(part, rc, last->stripes[i],
					    &stripe) == 0) {
			join_stripe(last, stripe);
			TALLOC_FREE(stripe);
		} else if (errno != ENOENT) {
			return -1;
		}
	}
	for (i = 0; i < last->num_nodes; i++) {
		struct joining j = {.last = last, .number = i};
		int ret = 0;

		if (mrmr_catalog_get(part, rc, last->nodes[i], &node) == 0) {
			ret = mrmr_catalog_each_extent(part, node, join_extent,
						       &j);
			TALLOC_FREE(node);
		} else if (errno != ENOENT) {
			ret = -1;
		}
		if (ret == -1) {
			return -1;
		}
	}
	return 0;
}

static int make_families(struct recover *rc)
{
	struct recover_last *last = &rc->last;
	const struct mrmr_catalog_last *list = rc->parts[0].last;
	size_t num;
	size_t i;

	last->nodes = mrmr_catalog_last_nodes(list, rc, &last->num_nodes);
	last->stripes = mrmr_catalog_last_stripes(list, rc, &last->num_stripes);
	if (last->nodes == NULL || last->stripes == NULL) {
		return -1;
	}
	num = last->num_nodes + last->num_stripes;
	last->family = talloc_zero_array(rc, struct recover_family, num + 1);
	if (last->family == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num; i++) {
		last->family[i].parent = i;
	}
	for (i = 0; i < rc->num_parts; i++) {
		if (join_all(rc, rc->parts[i].part) == -1) {
			return -1;
		}
	}
	return 0;
}

int recover_last_load(struct recover *rc)
{
	struct recover_last *last = &rc->last;
	size_t i;

	last->sequence = rc->parts[0].sequence;
	for (i = 0;
	     i < rc->num_parts && rc->parts[i].sequence == last->sequence;
	     i++) {
		rc->parts[i].last = mrmr_catalog_last(rc, rc->parts[i].part);
		if (rc->parts[i].last == NULL) {
			return recover_fail(rc);
		}
	}
	last->num = i;
	if (i == rc->num_parts) {
		return 0;
	}
	last->before = rc->parts[i].sequence;
	last->next_stripe = mrmr_catalog_next_stripe_id(rc->parts[i].part);
	return make_families(rc) == -1 ? recover_fail(rc) : 0;
}

/* --- which way -------------------------------------------------------------------------- */

void recover_last_begin(struct recover *rc, enum recover_way way)
{
	size_t num = rc->last.num_nodes + rc->last.num_stripes;
	size_t i;

	for (i = 0; i < num; i++) {
		rc->last.family[i].missing[way] = 0;
	}
}

bool recover_last_is_missed(const struct recover *rc)
{
	size_t num = rc->last.num_nodes + rc->last.num_stripes;
	size_t i;

	for (i = 0; i < num; i++) {
		if (rc->last.family[i].missing[RECOVER_WITH] > 0) {
			return true;
		}
	}
	return false;
}

bool recover_last_choose(struct recover *rc)
{
	size_t num = rc->last.num_nodes + rc->last.num_stripes;
	bool any = false;
	size_t i;

	for (i = 0; i < num; i++) {
		struct recover_family *family = &rc->last.family[i];

		family->is_left = !family->has_happened &&
				  family->missing[RECOVER_WITHOUT] <
					  family->missing[RECOVER_WITH];
		any = any || family->is_left;
	}
	if (any) {
		mrmr_log(MRMR_LOG_INFO,
			 "the last commit did not reach all parts; some of it "
			 "is left out");
	}
	return any;
}

static bool is_left(const struct recover *rc, size_t number)
{
	const struct recover_family *family = NULL;

	if (rc->last.way != RECOVER_CHOSEN) {
		return rc->last.way == RECOVER_WITHOUT;
	}
	family = family_of(&rc->last, number);
	return family != NULL && family->is_left;
}

bool recover_leaves_node(const struct recover *rc, uint64_t id)
{
	return rc->last.way != RECOVER_WITH && has_node(rc, id) &&
	       is_left(rc, node_number(&rc->last, id));
}

bool recover_leaves_extent(const struct recover *rc, uint64_t id,
			   uint32_t index)
{
	return rc->last.way != RECOVER_WITH && has_extent(rc, id, index) &&
	       is_left(rc, node_number(&rc->last, id));
}

bool recover_leaves_stripe(const struct recover *rc, uint64_t id)
{
	return rc->last.way != RECOVER_WITH && has_stripe(rc, id) &&
	       is_left(rc, stripe_number(&rc->last, id));
}

/* --- what counts ------------------------------------------------------------------------- */

static bool has_it(const struct recover *rc, const struct recover_part *part)
{
	return part->sequence == rc->last.sequence;
}

/* Those that are of the moment before it. A part that is older was away. */
static bool is_of_before(const struct recover *rc,
			 const struct recover_part *part)
{
	return part->sequence == rc->last.before;
}

uint64_t recover_rank(const struct recover *rc, const struct recover_part *from,
		      bool is_left, uint64_t sequence)
{
	const struct recover_last *last = &rc->last;

	if (!is_left) {
		return sequence;
	}
	if (is_of_before(rc, from)) {
		return last->sequence;
	}
	return sequence == last->sequence ? sequence - 1 : sequence;
}

bool recover_can_tell(const struct recover *rc, const struct recover_part *part,
		      bool is_left)
{
	return !is_left || !has_it(rc, part);
}

bool recover_is_of_one_time(const struct recover *rc, uint64_t id,
			    uint32_t index, const struct mrmr_extent *extent,
			    const struct mrmr_stripe *stripe)
{
	uint64_t sequence = rc->last.sequence;

	return (extent->sequence == sequence) ==
		       (stripe->sequence == sequence) ||
	       !has_extent(rc, id, index) || !has_stripe(rc, stripe->id);
}

/* --- what is missing ----------------------------------------------------------------------- */

static void note(struct recover *rc, size_t number, uint64_t num)
{
	struct recover_family *family = family_of(&rc->last, number);

	if (rc->last.way < RECOVER_CHOSEN && family != NULL) {
		family->missing[rc->last.way] += num;
	}
}

void recover_note_bare(struct recover *rc, uint64_t id, uint32_t index,
		       const struct mrmr_extent *extent)
{
	/* what is known by that commit only was not protected before it */
	if (!recover_leaves_extent(rc, id, index) ||
	    extent->sequence == rc->last.sequence) {
		note(rc, node_number(&rc->last, id), 1);
	}
}

void recover_note_lost(struct recover *rc, const struct mrmr_stripe *stripe,
		       uint64_t num)
{
	note(rc, stripe_number(&rc->last, stripe->id), num);
}

void recover_look_at_rows(struct recover *rc, const struct mrmr_stripe *stripe)
{
	struct recover_family *family = NULL;
	uint32_t i;

	if (rc->last.way != RECOVER_WITHOUT ||
	    stripe->sequence != rc->last.sequence ||
	    !has_stripe(rc, stripe->id)) {
		return;
	}
	family = family_of(&rc->last, stripe_number(&rc->last, stripe->id));
	for (i = 0; i < stripe->num_rows && family != NULL; i++) {
		const struct mrmr_row *row = &stripe->rows[i];
		const struct recover_part *part =
			recover_part_of(rc, row->member);
		int fd;

		if (part == NULL) {
			continue;
		}
		fd = mrmr_blob_open(part->member->private_fd, row->sha256);
		if (fd != -1) {
			close(fd);
		} else if (errno == ENOENT) {
			family->has_happened = true;
		}
	}
}
