/*
 * MRMR: the catalogue: from the catalogue to a part: nodes and their names.
 *
 * The theory is in mirror.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "mirror_private.h"

#define LIMBO 3 /* the id of a directory, below FIRST_ID */

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

/* Those that it has in the catalogue. */
static int load_names_now(struct mirroring *m, void *frame, uint64_t id,
			  struct mrmr_link **names, size_t *num)
{
	int ret;

	mirror_ask(m);
	ret = load_names(m->cat, frame, id, names, num);
	mirror_asked(m);
	return ret;
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

/* If its names are other ones now, a node of the part keeps only one, where
   nobody sees it. */
int mirror_hide(struct mirroring *m, uint64_t id)
{
	void *frame = NULL;
	struct mrmr_link *now = NULL;
	struct mrmr_link *was = NULL;
	size_t num_now, num_was, i;
	char name[32];
	uint64_t same_id;
	bool there;
	int ret;

	if (mirror_is_there(m, id, &there) == -1) {
		return -1;
	}
	if (!there) {
		return 0;
	}
	ret = mirror_has_same_name(m, id);
	if (ret != 0) {
		return ret == -1 ? -1 : 0;
	}
	frame = talloc_new(m->frame);
	snprintf(name, sizeof(name), "%llu", (unsigned long long)id);
	ret = load_names(m->part, frame, id, &was, &num_was);
	if (ret == 0 && num_was > 0) {
		ret = load_names_now(m, frame, id, &now, &num_now);
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
			ret = mirror_add_dir(m, was[i].dir_id);
		}
	}
	if (ret == 0) {
		ret = node_move(m->part, frame, was[0].dir_id, was[0].name,
				LIMBO, name);
	}
	if (ret == 0) {
		ret = mirror_add_dir(m, was[0].dir_id);
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
	    load_names_now(m, frame, id, &now, &num_now) == -1) {
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

/* As extents_get, of the catalogue. */
static int get_extents_now(struct mirroring *m, uint64_t id, uint32_t first,
			   struct mrmr_extent *extents, uint32_t num,
			   uint32_t *got)
{
	int ret;

	mirror_ask(m);
	ret = extents_get(m->cat, id, first, extents, num, got);
	mirror_asked(m);
	return ret;
}

/* As node_load, of the catalogue. */
static int load_now(struct mirroring *m, void *frame, uint64_t id,
		    struct entry *entry, struct place *place)
{
	int ret;

	mirror_ask(m);
	ret = node_load(m->cat, frame, id, entry, place);
	mirror_asked(m);
	return ret;
}

static int is_in_a_stripe(struct mirroring *m, const struct entry *entry,
			  bool *yes)
{
	int ret;

	mirror_ask(m);
	ret = extents_in_stripe(m->cat, entry, yes);
	mirror_asked(m);
	return ret;
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
	} else if (is_in_a_stripe(m, entry, &in_stripe) == -1) {
		return -1;
	}
	*wanted = !in_stripe &&
		  part_has_share(m->cat, entry->id, entry->member, m->member);
	return 0;
}

int mirror_is_there(struct mirroring *m, uint64_t id, bool *yes)
{
	struct place place;

	*yes = ids_get(m->part, id, &place) == 0;
	return *yes || errno == ENOENT ? 0 : -1;
}

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
		if (get_extents_now(m, id, have, extents, n, &got) == -1) {
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
		if (get_extents_now(m, id, first, extents, EXTENTS_PER_CHUNK,
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
			if (mirror_add(m, TOUCHED_EXTENT, entry->id, i) == -1) {
				return -1;
			}
		}
		return 0;
	}
	return set_num_extents(m, entry->id, have, want);
}

/* A node of the part that does not belong there any more, by all its names. */
static int remove_node(struct mirroring *m, void *frame, uint64_t id)
{
	struct mrmr_link *names = NULL;
	struct entry entry;
	struct place place;
	uint64_t same_id;
	size_t num, i;

	if (node_load(m->part, frame, id, &entry, &place) == -1) {
		return -1;
	}
	num = 0;
	if (entry.has_links &&
	    load_names(m->part, frame, id, &names, &num) == -1) {
		return -1;
	}
	for (i = 1; i < num; i++) {
		if (node_remove(m->part, frame, names[i].dir_id, names[i].name,
				&same_id) == -1 ||
		    mirror_add_dir(m, names[i].dir_id) == -1) {
			return -1;
		}
	}
	/* by its further names being gone, it is another entry */
	if ((num > 0 && node_load(m->part, frame, id, &entry, &place) == -1) ||
	    node_drop(m->part, &entry, place.dir_id) == -1) {
		return -1;
	}
	if (id == m->last_dir) {
		m->last_dir = 0;
	}
	return mirror_add_dir(m, place.dir_id);
}

/* The id was given to something else by a commit that came to nothing: nothing
   is in it any more, if it is a directory, as its entries are hidden. */
static int replace_other_kind(struct mirroring *m, void *frame,
			      const struct mrmr_node *node)
{
	struct entry old;
	struct place place;

	if (node_load(m->part, frame, node->id, &old, &place) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	return old.kind == node->kind ? 0 : remove_node(m, frame, node->id);
}

static int write_node(struct mirroring *m, void *frame,
		      const struct entry *entry, const struct place *place)
{
	struct mrmr_node *node = NULL;
	struct entry old;
	struct place old_place;
	uint32_t have = 0;
	bool was_own = false;
	int ret;

	if (entry->id != MRMR_ID_ROOT &&
	    mirror_ensure_dirs(m, place->dir_id) == -1) {
		return -1;
	}
	mirror_ask(m);
	ret = node_make(m->cat, frame, entry, place->dir_id, &node);
	mirror_asked(m);
	if (ret == -1) {
		return -1;
	}
	node->sequence = m->sequence;
	if (replace_other_kind(m, frame, node) == -1) {
		return -1;
	}
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
		   mirror_check_free(m, place->dir_id, entry) == -1 ||
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

	if (load_names_now(m, frame, id, &names, &num) == -1) {
		return -1;
	}
	for (i = 1; i < num; i++) {
		if (mirror_ensure_dirs(m, names[i].dir_id) == -1) {
			return -1;
		}
	}
	return 0;
}

/* A part has no name of a directory that the catalogue has not. */
static int check_count(struct mirroring *m, uint64_t dir_id)
{
	uint64_t num = 0;
	uint64_t in_part = 0;
	int ret;

	mirror_ask(m);
	ret = dir_count(m->cat, dir_id, &num);
	mirror_asked(m);
	if (ret == -1 || dir_count(m->part, dir_id, &in_part) == -1) {
		return -1;
	}
	return in_part <= num ? 0 : mirror_disagree();
}

int mirror_ensure_dirs(struct mirroring *m, uint64_t dir_id)
{
	void *frame = NULL;
	struct entry entry;
	struct place place;
	bool there;
	int ret;

	if (check_count(m, dir_id) == -1) {
		return -1;
	}
	if (dir_id == MRMR_ID_ROOT || dir_id == MRMR_ID_TRASH) {
		return 0;
	}
	if (mirror_is_there(m, dir_id, &there) == -1) {
		return -1;
	}
	if (there) {
		return 0;
	}
	frame = talloc_new(m->frame);
	ret = load_now(m, frame, dir_id, &entry, &place);
	if (ret == -1 && errno == ENOENT) {
		ret = damaged_record(m->cat, "the path of a node");
	}
	if (ret == 0) {
		ret = write_node(m, frame, &entry, &place);
	}
	talloc_free(frame);
	return ret;
}

static int put_wanted(struct mirroring *m, struct entry *entry,
		      const struct place *place)
{
	void *frame = talloc_new(m->frame);
	int ret;

	ret = entry_keep(frame, entry);
	if (ret == 0) {
		ret = ensure_all_dirs(m, frame, entry->id);
	}
	if (ret == 0) {
		ret = write_node(m, frame, entry, place);
	}
	talloc_free(frame);
	return ret;
}

static int remove_if_there(struct mirroring *m, uint64_t id)
{
	void *frame = NULL;
	bool there = false;
	int ret;

	if (mirror_is_there(m, id, &there) == -1) {
		return -1;
	}
	if (!there) {
		return 0;
	}
	frame = talloc_new(m->frame);
	ret = remove_node(m, frame, id);
	/* a directory that something of the part is still in */
	if (ret == -1 && errno == ENOTEMPTY) {
		ret = mirror_add_dir(m, id);
	}
	talloc_free(frame);
	return ret;
}

int mirror_node(struct mirroring *m, uint64_t id)
{
	struct entry entry;
	struct place place;
	bool wanted = false;
	int ret;

	if (mirror_now(m, id, &entry, &place) == 0) {
		if (is_wanted(m, &entry, &wanted) == -1) {
			return -1;
		}
	} else if (errno != ENOENT) {
		return -1;
	}
	if (!wanted) {
		return remove_if_there(m, id);
	}
	ret = mirror_plain(m, &entry, place.dir_id);
	return ret == 0 ? put_wanted(m, &entry, &place) : ret == -1 ? -1 : 0;
}

/* Remove a directory that was left by something, if it is not wanted. */
int mirror_review_dir(struct mirroring *m, uint64_t id)
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
	if (mirror_is_there(m, id, &there) == -1 ||
	    dir_count(m->part, id, &num) == -1) {
		return -1;
	}
	if (!there || num > 0) {
		return 0;
	}
	frame = talloc_new(m->frame);
	ret = load_now(m, frame, id, &entry, &place);
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
