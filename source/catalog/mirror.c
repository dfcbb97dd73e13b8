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
 *    nobody sees (LIMBO); then each is given the names that it has now.
 * 3. Nodes. One that belongs into the part is written, with the directories
 *    above it. One that does not is removed, and with it the directories that
 *    are empty by that and are not otherwise wanted.
 * 4. Extents. A part has all extents of its member's own files. Of others, it
 *    has those that are in stripes with its row; the rest are marked unknown.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

#define LIMBO 3 /* the id of a directory, below FIRST_ID */
#define DEPTH_MAX 4096

struct mirroring {
	struct mrmr_catalog *cat;
	struct mrmr_catalog *part;
	uint16_t member;
	uint64_t sequence;
	void *frame;
	struct touched *more; /* nodes and extents that stripes lead to */
	size_t num_more;
	uint64_t *dirs; /* that something left */
	size_t num_dirs;
	uint64_t last_stripe; /* that was asked about, and the answer */
	bool last_has_row;
};

/* --- lists -------------------------------------------------------------------- */

static int add_more(struct mirroring *m, enum touched_kind kind, uint64_t id,
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
	m->more[m->num_more++] =
		(struct touched){.kind = kind, .id = id, .index = index};
	return 0;
}

static int add_id(struct mirroring *m, uint64_t **ids, size_t *num, uint64_t id)
{
	if (*num == talloc_array_length(*ids)) {
		uint64_t *more =
			talloc_realloc(m->frame, *ids, uint64_t, 2 * *num + 64);

		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		*ids = more;
	}
	(*ids)[(*num)++] = id;
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
	    add_more(m, TOUCHED_NODE, piece->id, 0) == -1) {
		return -1;
	}
	return add_more(m, TOUCHED_EXTENT, piece->id, piece->index);
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

	ret = load_stripe(m->cat, frame, id, &new);
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

/* --- names -------------------------------------------------------------------- */

/* All names of a node; none if it is not there. */
static int load_names(struct mrmr_catalog *cat, void *frame, uint64_t id,
		      struct mrmr_link **names, size_t *num)
{
	struct mrmr_link *others = NULL;
	size_t num_others = 0;
	struct entry entry;
	struct place place;

	*num = 0;
	if (node_load(cat, frame, id, &entry, &place) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (entry.has_links &&
	    links_get(cat, frame, id, &others, &num_others) == -1) {
		return -1;
	}
	*names = talloc_array(frame, struct mrmr_link, num_others + 1);
	if (*names == NULL) {
		errno = ENOMEM;
		return -1;
	}
	(*names)[0].dir_id = place.dir_id;
	(*names)[0].name = talloc_strndup(frame, entry.name, entry.name_len);
	if ((*names)[0].name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (num_others > 0) {
		memcpy(*names + 1, others, num_others * sizeof(others[0]));
	}
	*num = num_others + 1;
	return 0;
}

static bool same_names(const struct mrmr_link *a, size_t num_a,
		       const struct mrmr_link *b, size_t num_b)
{
	size_t i;

	if (num_a != num_b) {
		return false;
	}
	for (i = 0; i < num_a; i++) {
		if (a[i].dir_id != b[i].dir_id ||
		    strcmp(a[i].name, b[i].name) != 0) {
			return false;
		}
	}
	return true;
}

static int left_dir(struct mirroring *m, uint64_t id)
{
	return add_id(m, &m->dirs, &m->num_dirs, id);
}

/* If its names are other ones now, a node of the part keeps only one, where
   nobody sees it. */
static int take_out_of_the_way(struct mirroring *m, uint64_t id)
{
	void *frame = talloc_new(m->frame);
	struct mrmr_link *now = NULL;
	struct mrmr_link *was = NULL;
	size_t num_now, num_was, i;
	char name[32];
	uint64_t same_id;
	int ret;

	snprintf(name, sizeof(name), "%llu", (unsigned long long)id);
	ret = load_names(m->part, frame, id, &was, &num_was);
	if (ret == 0 && num_was > 0) {
		ret = load_names(m->cat, frame, id, &now, &num_now);
	}
	if (ret == -1 || num_was == 0 || id == MRMR_ID_ROOT ||
	    same_names(now, num_now, was, num_was)) {
		talloc_free(frame);
		return ret;
	}
	for (i = num_was - 1; ret == 0 && i > 0; i--) {
		ret = node_remove(m->part, frame, was[i].dir_id, was[i].name,
				  &same_id);
		if (ret == 0) {
			ret = left_dir(m, was[i].dir_id);
		}
	}
	if (ret == 0) {
		ret = node_move(m->part, frame, was[0].dir_id, was[0].name,
				LIMBO, name);
	}
	if (ret == 0) {
		ret = left_dir(m, was[0].dir_id);
	}
	talloc_free(frame);
	return ret;
}

/* The names that it has in the catalogue; it has one in the part. */
static int give_names(struct mirroring *m, void *frame, uint64_t id)
{
	struct mrmr_link *now = NULL;
	struct mrmr_link *was = NULL;
	size_t num_now, num_was, i;

	if (load_names(m->part, frame, id, &was, &num_was) == -1 ||
	    load_names(m->cat, frame, id, &now, &num_now) == -1) {
		return -1;
	}
	if (same_names(now, num_now, was, num_was)) {
		return 0;
	}
	if (!same_names(now, 1, was, 1) &&
	    node_move(m->part, frame, was[0].dir_id, was[0].name, now[0].dir_id,
		      now[0].name) == -1) {
		return -1;
	}
	for (i = 1; i < num_now; i++) {
		if (node_add_link(m->part, frame, id, now[i].dir_id,
				  now[i].name) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- nodes -------------------------------------------------------------------- */

static int is_in_a_stripe(struct mrmr_catalog *cat, const struct entry *entry,
			  bool *yes)
{
	struct mrmr_extent extents[EXTENTS_PER_CHUNK];
	uint32_t first;
	uint32_t got;
	uint32_t i;

	*yes = false;
	if (entry->num_extents == 1) {
		*yes = entry->extent.state == MRMR_EXTENT_IN_STRIPE;
		return 0;
	}
	if (entry->protected_bytes == 0) {
		return 0;
	}
	for (first = 0; first < entry->num_extents; first += got) {
		if (extents_get(cat, entry->id, first, extents,
				EXTENTS_PER_CHUNK, &got) == -1) {
			return -1;
		}
		for (i = 0; i < got; i++) {
			if (extents[i].state == MRMR_EXTENT_IN_STRIPE) {
				*yes = true;
				return 0;
			}
		}
		if (got == 0) {
			return damaged_record(cat, "extents");
		}
	}
	return 0;
}

/* Does a node of the catalogue belong into the part? */
static int is_wanted(struct mirroring *m, const struct entry *entry,
		     bool *wanted)
{
	uint64_t num_entries = 0;
	bool in_stripe = false;
	uint64_t refs = 0;

	*wanted = true;
	if (entry->id == MRMR_ID_ROOT || entry->member == m->member) {
		return 0;
	}
	if (refs_get(m->part, entry->id, &refs) == -1) {
		return -1;
	}
	if (refs > 0) {
		return 0;
	}
	if (entry->kind == MRMR_NODE_DIRECTORY) {
		if (dir_count(m->part, entry->id, &num_entries) == -1) {
			return -1;
		}
		if (num_entries > 0) {
			return 0;
		}
	} else if (is_in_a_stripe(m->cat, entry, &in_stripe) == -1) {
		return -1;
	}
	*wanted = !in_stripe &&
		  part_has_share(m->cat, entry->id, entry->member, m->member);
	return 0;
}

static int is_there(struct mirroring *m, uint64_t id, bool *yes)
{
	struct place place;

	*yes = ids_get(m->part, id, &place) == 0;
	return *yes || errno == ENOENT ? 0 : -1;
}

static int ensure_dirs(struct mirroring *m, uint64_t dir_id);

/* As many extents as in the catalogue. New ones are unknown, but for those that
   are all zero: these are in no stripe by which others could know them. */
static int set_num_extents(struct mirroring *m, uint64_t id, uint32_t have,
			   uint32_t want)
{
	struct mrmr_extent extents[EXTENTS_PER_CHUNK];
	uint32_t got;
	uint32_t i;

	if (have > want) {
		return extents_cut(m->part, id, want);
	}
	while (have < want) {
		uint32_t n = EXTENTS_PER_CHUNK - have % EXTENTS_PER_CHUNK;

		n = n < want - have ? n : want - have;
		if (extents_get(m->cat, id, have, extents, n, &got) == -1) {
			return -1;
		}
		if (got != n) {
			return damaged_record(m->cat, "extents");
		}
		for (i = 0; i < n; i++) {
			if (extents[i].state != MRMR_EXTENT_ZERO) {
				extents[i] = (struct mrmr_extent){
					.state = MRMR_EXTENT_UNKNOWN};
			}
			extents[i].sequence = m->sequence;
		}
		if (extents_put(m->part, id, have, extents, n) == -1) {
			return -1;
		}
		have += n;
	}
	return 0;
}

static int copy_all_extents(struct mirroring *m, uint64_t id, uint32_t num)
{
	struct mrmr_extent extents[EXTENTS_PER_CHUNK];
	uint32_t first;
	uint32_t got;
	uint32_t i;

	for (first = 0; first < num; first += got) {
		if (extents_get(m->cat, id, first, extents, EXTENTS_PER_CHUNK,
				&got) == -1) {
			return -1;
		}
		if (got == 0) {
			return damaged_record(m->cat, "extents");
		}
		for (i = 0; i < got; i++) {
			extents[i].sequence = m->sequence;
		}
		if (extents_put(m->part, id, first, extents, got) == -1) {
			return -1;
		}
	}
	return 0;
}

static int write_extents(struct mirroring *m, const struct entry *entry,
			 uint32_t have, bool was_own)
{
	uint32_t want = entry->num_extents;
	bool is_own = entry->member == m->member;

	if (is_own && !was_own) {
		if (have > want &&
		    extents_cut(m->part, entry->id, want) == -1) {
			return -1;
		}
		return copy_all_extents(m, entry->id, want);
	}
	if (!is_own && was_own) {
		/* only those in stripes with a row of the member stay */
		uint32_t i;

		if (set_num_extents(m, entry->id, have, want) == -1) {
			return -1;
		}
		for (i = 0; i < want; i++) {
			if (add_more(m, TOUCHED_EXTENT, entry->id, i) == -1) {
				return -1;
			}
		}
		return 0;
	}
	return set_num_extents(m, entry->id, have, want);
}

static int write_node(struct mirroring *m, void *frame,
		      const struct entry *entry, const struct place *place)
{
	struct mrmr_node *node = NULL;
	struct entry old;
	struct place old_place;
	uint32_t have = 0;
	bool was_own = false;

	if (entry->id != MRMR_ID_ROOT && ensure_dirs(m, place->dir_id) == -1) {
		return -1;
	}
	if (node_make(m->cat, frame, entry, place->dir_id, &node) == -1) {
		return -1;
	}
	node->sequence = m->sequence;
	if (node_load(m->part, frame, node->id, &old, &old_place) == 0) {
		was_own = old.member == m->member;
		have = old.num_extents;
		if (old.grid_bytes != node->grid_bytes && have > 0) {
			if (extents_cut(m->part, node->id, 0) == -1) {
				return -1;
			}
			have = 0;
			was_own = false;
		}
		if (node_update(m->part, node) == -1) {
			return -1;
		}
	} else if (errno != ENOENT ||
		   node_create(m->part, node, node->id) == -1) {
		return -1;
	}
	if (give_names(m, frame, node->id) == -1) {
		return -1;
	}
	return entry->kind == MRMR_NODE_FILE
		       ? write_extents(m, entry, have, was_own)
		       : 0;
}

/* The directories of its further names too. */
static int ensure_all_dirs(struct mirroring *m, void *frame, uint64_t id)
{
	struct mrmr_link *names = NULL;
	size_t num, i;

	if (load_names(m->cat, frame, id, &names, &num) == -1) {
		return -1;
	}
	for (i = 1; i < num; i++) {
		if (ensure_dirs(m, names[i].dir_id) == -1) {
			return -1;
		}
	}
	return 0;
}

/* A directory, and those above it, are in the part. */
static int ensure_dirs(struct mirroring *m, uint64_t dir_id)
{
	void *frame = NULL;
	struct entry entry;
	struct place place;
	bool there;
	int ret;

	if (dir_id == MRMR_ID_ROOT || dir_id == MRMR_ID_TRASH) {
		return 0;
	}
	if (is_there(m, dir_id, &there) == -1) {
		return -1;
	}
	if (there) {
		return 0;
	}
	frame = talloc_new(m->frame);
	ret = node_load(m->cat, frame, dir_id, &entry, &place);
	if (ret == -1 && errno == ENOENT) {
		ret = damaged_record(m->cat, "the path of a node");
	}
	if (ret == 0) {
		ret = write_node(m, frame, &entry, &place);
	}
	talloc_free(frame);
	return ret;
}

/* A node of the part that does not belong there any more, by all its names. */
static int remove_node(struct mirroring *m, void *frame, uint64_t id)
{
	struct mrmr_link *names = NULL;
	struct entry entry;
	struct place place;
	uint64_t same_id;
	size_t num, i;

	if (load_names(m->part, frame, id, &names, &num) == -1) {
		return -1;
	}
	for (i = 1; i < num; i++) {
		if (node_remove(m->part, frame, names[i].dir_id, names[i].name,
				&same_id) == -1 ||
		    left_dir(m, names[i].dir_id) == -1) {
			return -1;
		}
	}
	if (node_load(m->part, frame, id, &entry, &place) == -1 ||
	    node_drop(m->part, &entry, place.dir_id) == -1) {
		return -1;
	}
	return left_dir(m, place.dir_id);
}

static int mirror_node(struct mirroring *m, uint64_t id)
{
	void *frame = talloc_new(m->frame);
	struct entry entry;
	struct place place;
	bool wanted = false;
	bool there = false;
	int ret;

	ret = node_load(m->cat, frame, id, &entry, &place);
	if (ret == 0) {
		ret = is_wanted(m, &entry, &wanted);
	} else if (errno == ENOENT) {
		ret = 0;
	}
	if (ret == 0) {
		ret = is_there(m, id, &there);
	}
	if (ret == 0 && wanted) {
		ret = ensure_all_dirs(m, frame, id);
		if (ret == 0) {
			ret = write_node(m, frame, &entry, &place);
		}
	} else if (ret == 0 && there) {
		ret = remove_node(m, frame, id);
		/* a directory that something of the part is still in */
		if (ret == -1 && errno == ENOTEMPTY) {
			ret = left_dir(m, id);
		}
	}
	talloc_free(frame);
	return ret;
}

/* Remove a directory that was left by something, if it is not wanted. */
static int review_dir(struct mirroring *m, uint64_t id)
{
	void *frame = NULL;
	struct entry entry;
	struct place place;
	uint64_t num = 0;
	bool wanted = false;
	bool there = false;
	int ret;

	if (id < FIRST_ID) {
		return 0;
	}
	if (is_there(m, id, &there) == -1 ||
	    dir_count(m->part, id, &num) == -1) {
		return -1;
	}
	if (!there || num > 0) {
		return 0;
	}
	frame = talloc_new(m->frame);
	ret = node_load(m->cat, frame, id, &entry, &place);
	if (ret == 0) {
		ret = is_wanted(m, &entry, &wanted);
	} else if (errno == ENOENT) {
		ret = 0;
	}
	if (ret == 0 && !wanted) {
		ret = remove_node(m, frame, id);
	}
	talloc_free(frame);
	return ret;
}

/* --- extents ------------------------------------------------------------------ */

/* Does the part know an extent of the catalogue? */
static int is_extent_wanted(struct mirroring *m, const struct entry *entry,
			    const struct mrmr_extent *extent, bool *wanted)
{
	struct mrmr_stripe *stripe = NULL;

	*wanted =
		entry->member == m->member || extent->state == MRMR_EXTENT_ZERO;
	if (*wanted || extent->state != MRMR_EXTENT_IN_STRIPE) {
		return 0;
	}
	if (extent->stripe != m->last_stripe) {
		if (load_stripe(m->part, m->frame, extent->stripe, &stripe) ==
		    -1) {
			return -1;
		}
		m->last_stripe = extent->stripe;
		m->last_has_row = has_member_row(stripe, m->member);
		talloc_free(stripe);
	}
	*wanted = m->last_has_row;
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

	ret = is_there(m, id, &there);
	if (ret == 0 && there) {
		ret = node_load(m->cat, frame, id, &entry, &place);
	}
	if (ret == 0 && there) {
		ret = extents_get(m->cat, id, first, extents, num, &got);
	}
	for (i = 0; ret == 0 && i < got; i++) {
		bool wanted;

		ret = is_extent_wanted(m, &entry, &extents[i], &wanted);
		if (ret == 0 && !wanted) {
			extents[i] = (struct mrmr_extent){
				.state = MRMR_EXTENT_UNKNOWN};
		}
		extents[i].sequence = m->sequence;
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
	size_t i = 0;

	while (i < num) {
		uint32_t n = 1;

		if (list[i].kind != TOUCHED_EXTENT) {
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

	for (number = m->part->head.num_members;
	     number < m->cat->head.num_members; number++) {
		if (member_id(m->cat, number, &id) == -1 ||
		    member_put(m->part, number, &id) == -1) {
			return -1;
		}
	}
	return 0;
}

static int for_nodes(struct mirroring *m, const struct touched *list,
		     size_t num, int (*fn)(struct mirroring *m, uint64_t id))
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (list[i].kind == TOUCHED_NODE && fn(m, list[i].id) == -1) {
			return -1;
		}
	}
	return 0;
}

static int mirror_all(struct mirroring *m, const struct touched *list,
		      size_t num)
{
	struct touched *all = NULL;
	size_t num_all;
	size_t i;

	for (i = 0; i < num; i++) {
		if (list[i].kind == TOUCHED_STRIPE &&
		    mirror_stripe(m, list[i].id) == -1) {
			return -1;
		}
		if (list[i].kind != TOUCHED_STRIPE &&
		    add_more(m, list[i].kind, list[i].id, list[i].index) ==
			    -1) {
			return -1;
		}
	}
	m->num_more = touched_unique(m->more, m->num_more);
	all = m->more;
	num_all = m->num_more;
	m->more = NULL;
	m->num_more = 0;
	if (for_nodes(m, all, num_all, take_out_of_the_way) == -1 ||
	    for_nodes(m, all, num_all, mirror_node) == -1 ||
	    mirror_extents(m, all, num_all) == -1) {
		return -1;
	}
	/* what a change of its member brought */
	m->num_more = touched_unique(m->more, m->num_more);
	if (mirror_extents(m, m->more, m->num_more) == -1) {
		return -1;
	}
	for (i = 0; i < m->num_dirs; i++) {
		if (review_dir(m, m->dirs[i]) == -1) {
			return -1;
		}
	}
	return mirror_members(m);
}

int mirror(struct mrmr_catalog *cat, struct attached *to,
	   const struct touched *list, size_t num)
{
	struct mirroring m = {
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
