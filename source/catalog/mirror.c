/*
 * MRMR: the catalogue: from the catalogue to a part.
 *
 * Which nodes, extents and stripes a part has is said in mrmr/catalog.h. Here
 * it is kept so by looking at what a batch touched, and nothing else:
 *
 * 1. Stripes. The part's own old record of a stripe is compared with what the
 *    catalogue says now. Pieces that came into, or left, the stripes in which
 *    the member has a row change the files' references (refs.c); these files
 *    and extents have to be looked at as well.
 * 2. Names. A batch may have exchanged names, so first, every node whose names
 *    are not what they were is taken out of the way, into a directory that
 *    nobody sees (LIMBO); then each is given the names that it has now. (Most
 *    changes leave names alone, and are noted as such: keeps_names.)
 * 3. Nodes. One that belongs into the part is written, with the directories
 *    above it. One that does not is removed, and with it the directories that
 *    are empty by that and are not otherwise wanted.
 * 4. Extents. A part has all extents of its member's own files. Of others, it
 *    has those that are in stripes with its row; the rest are marked unknown.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "mirror_private.h"

/* --- lists -------------------------------------------------------------------- */

int mirror_add(struct mirroring *m, enum touched_kind kind, uint64_t id,
	       uint32_t index)
{
	if (m->num_more == talloc_array_length(m->more)) {
		struct touched *more =
			talloc_realloc(m->frame, m->more, struct touched,
				       2 * m->num_more + 64);

		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		m->more = more;
	}
	/* what stripes lead to has not got other names by that */
	m->more[m->num_more++] = (struct touched){.kind = kind,
						  .keeps_names = true,
						  .id = id,
						  .index = index};
	return 0;
}

static int add_id(struct mirroring *m, uint64_t **list, size_t *num,
		  uint64_t id)
{
	if (*num > 0 && (*list)[*num - 1] == id) {
		return 0;
	}
	if (*num == talloc_array_length(*list)) {
		uint64_t *more = talloc_realloc(m->frame, *list, uint64_t,
						2 * *num + 64);

		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		*list = more;
	}
	(*list)[(*num)++] = id;
	return 0;
}

int mirror_add_dir(struct mirroring *m, uint64_t id)
{
	return add_id(m, &m->dirs, &m->num_dirs, id);
}

int mirror_add_whole(struct mirroring *m, uint64_t id)
{
	return add_id(m, &m->whole, &m->num_whole, id);
}

/* --- what the catalogue says ---------------------------------------------------- */

#define SEEN_MAX 32768

struct seen_node *mirror_see(struct mrmr_catalog *cat, void *mem_ctx,
			     const struct touched *list, size_t num)
{
	struct seen_node *seen = NULL;
	size_t num_seen = 0;
	size_t num_nodes = 0;
	size_t i;

	/* they come first */
	while (num_nodes < num && num_nodes < SEEN_MAX &&
	       list[num_nodes].kind == TOUCHED_NODE) {
		num_nodes++;
	}
	seen = talloc_array(mem_ctx, struct seen_node, num_nodes);
	for (i = 0; seen != NULL && i < num_nodes; i++) {
		struct seen_node *one = &seen[num_seen];

		one->id = list[i].id;
		one->is_there =
			node_peek(cat, one->id, &one->entry, &one->place) == 0;
		/* what is wrong is found again where it is needed */
		num_seen += one->is_there || errno == ENOENT;
	}
	return num_seen == num_nodes
		       ? seen
		       : talloc_realloc(mem_ctx, seen, struct seen_node,
					num_seen);
}

/* They are asked for in the order of their ids, once and again. */
static const struct seen_node *find_seen(struct mirroring *m, uint64_t id)
{
	size_t low = 0;
	size_t high = m->num_seen;

	if (m->seen_at + 1 < m->num_seen && m->seen[m->seen_at + 1].id == id) {
		m->seen_at++;
		return &m->seen[m->seen_at];
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->seen[middle].id < id) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == m->num_seen || m->seen[low].id != id) {
		return NULL;
	}
	m->seen_at = low;
	return &m->seen[low];
}

int mirror_now(struct mirroring *m, uint64_t id, struct entry *entry,
	       struct place *place)
{
	const struct seen_node *seen = find_seen(m, id);
	int ret;

	if (seen == NULL) {
		mirror_ask(m);
		ret = node_peek(m->cat, id, entry, place);
		mirror_asked(m);
		return ret;
	}
	if (!seen->is_there) {
		errno = ENOENT;
		return -1;
	}
	*entry = seen->entry;
	*place = seen->place;
	return 0;
}

/* --- stripes ------------------------------------------------------------------ */

static bool has_member_row(const struct mrmr_stripe *stripe, uint16_t member)
{
	uint32_t i;

	for (i = 0; stripe != NULL && i < stripe->num_rows; i++) {
		if (stripe->rows[i].member == member) {
			return true;
		}
	}
	return false;
}

static bool has_member(const struct mrmr_stripe *stripe, uint16_t member)
{
	uint32_t i;

	for (i = 0; stripe != NULL && i < stripe->num_slots; i++) {
		if (stripe->slots[i].member == member) {
			return true;
		}
	}
	return has_member_row(stripe, member);
}

/* NULL if there is none. */
static int load_stripe(struct mrmr_catalog *cat, void *frame, uint64_t id,
		       struct mrmr_stripe **stripe)
{
	struct stored_stripe stored;

	*stripe = NULL;
	if (stripe_load(cat, frame, id, &stored) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	*stripe = stored.stripe;
	return 0;
}

/* The pieces of a stripe with a row of the member, sorted. */
static int list_pieces(const struct mirroring *m, void *frame,
		       const struct mrmr_stripe *stripe, struct touched **list,
		       size_t *num)
{
	size_t n = 0;
	uint32_t i, j;

	*num = 0;
	if (!has_member_row(stripe, m->member)) {
		return 0;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		n += stripe->slots[i].num_pieces;
	}
	*list = talloc_array(frame, struct touched, n + 1);
	if (*list == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		for (j = 0; j < slot->num_pieces; j++) {
			if (slot->pieces[j].file == 0) {
				continue;
			}
			(*list)[(*num)++] = (struct touched){
				.kind = TOUCHED_EXTENT,
				.id = slot->pieces[j].file,
				.index = slot->pieces[j].index,
			};
		}
	}
	*num = touched_unique(*list, *num);
	return 0;
}

static int compare_pieces(const struct touched *a, const struct touched *b)
{
	if (a->id != b->id) {
		return a->id < b->id ? -1 : 1;
	}
	return a->index < b->index ? -1 : a->index > b->index;
}

static int change_refs(struct mirroring *m, const struct touched *piece,
		       int64_t delta)
{
	if (refs_add(m->part, piece->id, delta) == -1 ||
	    mirror_add(m, TOUCHED_NODE, piece->id, 0) == -1) {
		return -1;
	}
	return mirror_add(m, TOUCHED_EXTENT, piece->id, piece->index);
}

static int compare_stripes(struct mirroring *m, void *frame,
			   const struct mrmr_stripe *old,
			   const struct mrmr_stripe *new)
{
	struct touched *a = NULL;
	struct touched *b = NULL;
	size_t num_a, num_b;
	size_t i = 0;
	size_t j = 0;

	if (list_pieces(m, frame, old, &a, &num_a) == -1 ||
	    list_pieces(m, frame, new, &b, &num_b) == -1) {
		return -1;
	}
	while (i < num_a || j < num_b) {
		int order = i == num_a   ? 1
			    : j == num_b ? -1
					 : compare_pieces(&a[i], &b[j]);
		int ret = 0;

		if (order < 0) {
			ret = change_refs(m, &a[i++], -1);
		} else if (order > 0) {
			ret = change_refs(m, &b[j++], 1);
		} else {
			i++;
			j++;
		}
		if (ret == -1) {
			return -1;
		}
	}
	return 0;
}

static int mirror_stripe(struct mirroring *m, uint64_t id)
{
	void *frame = talloc_new(m->frame);
	struct mrmr_stripe *old = NULL;
	struct mrmr_stripe *new = NULL;
	int ret;

	mirror_ask(m);
	ret = load_stripe(m->cat, frame, id, &new);
	mirror_asked(m);
	if (ret == 0) {
		ret = load_stripe(m->part, frame, id, &old);
	}
	if (ret == 0) {
		ret = compare_stripes(m, frame, old, new);
	}
	if (ret == 0 && has_member(new, m->member)) {
		new->sequence = m->sequence;
		ret = stripe_put(m->part, new);
	} else if (ret == 0 && old != NULL) {
		ret = stripe_remove(m->part, id);
	}
	talloc_free(frame);
	return ret;
}

/* --- extents ------------------------------------------------------------------ */

/* Has the member a row of a stripe? */
static int ask_stripe(struct mirroring *m, uint64_t id, bool *has_row)
{
	struct known_stripe *known = &m->known[id % KNOWN_STRIPES];
	struct mrmr_stripe *stripe = NULL;

	if (known->id != id) {
		if (load_stripe(m->part, m->frame, id, &stripe) == -1) {
			return -1;
		}
		known->id = id;
		known->has_row = has_member_row(stripe, m->member);
		talloc_free(stripe);
	}
	*has_row = known->has_row;
	return 0;
}

int mirror_extent(struct mirroring *m, const struct entry *entry,
		  struct mrmr_extent *extent)
{
	bool is_wanted =
		entry->member == m->member || extent->state == MRMR_EXTENT_ZERO;

	if (!is_wanted && extent->state == MRMR_EXTENT_IN_STRIPE &&
	    ask_stripe(m, extent->stripe, &is_wanted) == -1) {
		return -1;
	}
	if (!is_wanted) {
		*extent = (struct mrmr_extent){.state = MRMR_EXTENT_UNKNOWN};
	}
	extent->sequence = m->sequence;
	return 0;
}

/* Extents of one node with successive indexes. */
static int mirror_run(struct mirroring *m, uint64_t id, uint32_t first,
		      uint32_t num)
{
	struct mrmr_extent extents[EXTENTS_PER_CHUNK];
	void *frame = talloc_new(m->frame);
	struct entry entry;
	struct place place;
	bool there = false;
	uint32_t got = 0;
	uint32_t i;
	int ret;

	ret = mirror_is_there(m, id, &there);
	if (ret == 0 && there) {
		mirror_ask(m);
		ret = node_load(m->cat, frame, id, &entry, &place);
		if (ret == 0) {
			ret = extents_get(m->cat, id, first, extents, num,
					  &got);
		}
		mirror_asked(m);
	}
	for (i = 0; ret == 0 && i < got; i++) {
		ret = mirror_extent(m, &entry, &extents[i]);
	}
	if (ret == 0 && got > 0) {
		ret = extents_put(m->part, id, first, extents, got);
	}
	talloc_free(frame);
	return ret;
}

static int mirror_extents(struct mirroring *m, const struct touched *list,
			  size_t num)
{
	size_t whole = 0;
	size_t i = 0;

	while (i < num) {
		uint32_t n = 1;

		/* both lists are sorted */
		while (whole < m->num_whole && m->whole[whole] < list[i].id &&
		       list[i].kind == TOUCHED_EXTENT) {
			whole++;
		}
		if (list[i].kind != TOUCHED_EXTENT ||
		    (whole < m->num_whole && m->whole[whole] == list[i].id)) {
			i++;
			continue;
		}
		while (i + n < num && n < EXTENTS_PER_CHUNK &&
		       list[i + n].kind == TOUCHED_EXTENT &&
		       list[i + n].id == list[i].id &&
		       list[i + n].index == list[i].index + n) {
			n++;
		}
		if (mirror_run(m, list[i].id, list[i].index, n) == -1) {
			return -1;
		}
		i += n;
	}
	return 0;
}

/* --- all of it ------------------------------------------------------------------- */

static int mirror_members(struct mirroring *m)
{
	struct mrmr_uuid id;
	uint16_t number;
	int ret;

	for (number = m->part->head.num_members;
	     number < m->cat->head.num_members; number++) {
		mirror_ask(m);
		ret = member_id(m->cat, number, &id);
		mirror_asked(m);
		if (ret == -1 || member_put(m->part, number, &id) == -1) {
			return -1;
		}
	}
	return 0;
}

static int mirror_nodes(struct mirroring *m, const struct touched *list,
			size_t num)
{
	size_t i;

	for (i = 0; i < num && list[i].kind == TOUCHED_NODE; i++) {
		if (!list[i].keeps_names && mirror_hide(m, list[i].id) == -1) {
			return -1;
		}
	}
	for (i = 0; i < num && list[i].kind == TOUCHED_NODE; i++) {
		if (mirror_node(m, list[i].id) == -1) {
			return -1;
		}
	}
	return 0;
}

static int mirror_all(struct mirroring *m, const struct touched *list,
		      size_t num)
{
	struct touched *all = NULL;
	size_t num_all = 0;
	size_t num_stripes = 0;
	size_t i;

	/* they come last */
	while (num_stripes < num &&
	       list[num - 1 - num_stripes].kind == TOUCHED_STRIPE) {
		num_stripes++;
	}
	num -= num_stripes;
	for (i = 0; i < num_stripes; i++) {
		if (mirror_stripe(m, list[num + i].id) == -1) {
			return -1;
		}
	}
	m->num_more = touched_unique(m->more, m->num_more);
	all = touched_merge(m->frame, list, num, m->more, m->num_more,
			    &num_all);
	if (all == NULL) {
		return -1;
	}
	m->num_more = 0;
	if (mirror_nodes(m, all, num_all) == -1 ||
	    mirror_extents(m, all, num_all) == -1) {
		return -1;
	}
	/* what a change of its member brought */
	m->num_more = touched_unique(m->more, m->num_more);
	if (mirror_extents(m, m->more, m->num_more) == -1) {
		return -1;
	}
	for (i = 0; i < m->num_dirs; i++) {
		if (mirror_review_dir(m, m->dirs[i]) == -1) {
			return -1;
		}
	}
	return mirror_members(m);
}

int mirror(struct mrmr_catalog *cat, struct attached *to,
	   const struct touched *list, size_t num, const struct seen_node *seen)
{
	struct mirroring m = {
		.seen = seen,
		.num_seen = talloc_array_length(seen),
		.cat = cat,
		.part = to->part,
		.member = to->member,
		.sequence = cat->head.sequence,
	};
	int ret;

	m.frame = talloc_new(NULL);
	if (m.frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = mirror_all(&m, list, num);
	to->part->head.next_id = cat->head.next_id;
	to->part->head.next_stripe = cat->head.next_stripe;
	talloc_free(m.frame);
	return ret;
}
