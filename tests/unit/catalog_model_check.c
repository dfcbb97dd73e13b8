/*
 * Unit tests: a catalogue as simple arrays: comparing (catalog_model.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "catalog_model_private.h"

#define OK(call)                                                             \
	do {                                                                 \
		errno = 0;                                                   \
		if ((call) != 0) {                                           \
			fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #call, \
				 strerror(errno));                           \
		}                                                            \
	} while (0)

/* --- nodes ---------------------------------------------------------------------- */

static void check_attributes(const struct model_node *n,
			     const struct mrmr_node *node)
{
	uint8_t *xattrs = model_bytes(n->xattrs_seed, n->xattrs_len);

	assert_int_equal(node->id, n->id);
	assert_int_equal(node->dir_id, n->names[0].dir_id);
	assert_string_equal(node->name, n->names[0].name);
	assert_int_equal(node->kind, n->kind);
	assert_int_equal(node->member, n->member);
	assert_int_equal(node->inode, n->inode);
	assert_int_equal(node->size_bytes, n->size_bytes);
	assert_int_equal(node->mtime_ns, n->mtime_ns);
	assert_int_equal(node->mode, n->mode);
	assert_int_equal(node->uid, n->uid);
	assert_int_equal(node->gid, n->gid);
	assert_int_equal(node->device, n->device);
	assert_int_equal(node->generation, n->generation);
	assert_int_equal(node->num_extents, n->num_extents);
	assert_int_equal(node->xattrs_len, n->xattrs_len);
	if (n->xattrs_len > 0) {
		assert_memory_equal(node->xattrs, xattrs, n->xattrs_len);
	}
	free(xattrs);
	if (n->kind == MRMR_NODE_SYMLINK) {
		char *target = model_target(n);

		assert_string_equal(node->target, target);
		free(target);
	}
}

static void check_names(const struct model_node *n, struct mrmr_catalog *cat,
			void *frame)
{
	struct mrmr_link *links = NULL;
	struct mrmr_node *node = NULL;
	size_t num = 0;
	size_t i;

	OK(mrmr_catalog_links(cat, frame, n->id, &links, &num));
	assert_int_equal(num, n->num_names);
	for (i = 0; i < num; i++) {
		assert_int_equal(links[i].dir_id, n->names[i].dir_id);
		assert_string_equal(links[i].name, n->names[i].name);
		if (n->id == MRMR_ID_ROOT) {
			continue;
		}
		OK(mrmr_catalog_find(cat, frame, links[i].dir_id, links[i].name,
				     &node));
		assert_int_equal(node->id, n->id);
	}
}

/* The path, and with it, that all directories above are there. */
static void check_path(const struct model *m, const struct model_node *n,
		       struct mrmr_catalog *cat, void *frame)
{
	char expected[8192];
	bool in_trash = false;
	char *path = NULL;
	const struct model_node *at = n;

	snprintf(expected, sizeof(expected), "%s", n->names[0].name);
	while (at->id != MRMR_ID_ROOT && !model_is_in_trash(at) &&
	       at->names[0].dir_id != MRMR_ID_ROOT) {
		char longer[8192];

		at = model_find(m, at->names[0].dir_id);
		assert_non_null(at);
		if (snprintf(longer, sizeof(longer), "%s/%s", at->names[0].name,
			     expected) >= (int)sizeof(longer)) {
			return;
		}
		strcpy(expected, longer);
	}
	path = mrmr_catalog_path(cat, frame, n->id, &in_trash);
	assert_non_null(path);
	assert_int_equal(in_trash, model_is_in_trash(n));
	assert_string_equal(path,
			    in_trash ? strchr(expected, '/') + 1 : expected);
}

static void check_extent(const struct mrmr_extent *expected,
			 const struct mrmr_extent *e)
{
	assert_int_equal(e->len_bytes, expected->len_bytes);
	assert_int_equal(e->state, expected->state);
	if (e->state != MRMR_EXTENT_ZERO) {
		assert_memory_equal(e->sha256, expected->sha256, 32);
		assert_int_equal(e->checksum, expected->checksum);
	}
	if (e->state == MRMR_EXTENT_IN_STRIPE) {
		assert_int_equal(e->stripe, expected->stripe);
		assert_int_equal(e->slot, expected->slot);
		assert_int_equal(e->slot_offset, expected->slot_offset);
	}
}

struct each {
	const struct model_node *n;
	uint32_t num;
	uint32_t stop_at;
};

static int check_next(const struct mrmr_extent *extent, uint32_t index,
		      void *private_data)
{
	struct each *each = private_data;

	assert_int_equal(index, each->num);
	if (extent->state != MRMR_EXTENT_UNKNOWN) {
		check_extent(&each->n->extents[index], extent);
	}
	each->num++;
	return each->num == each->stop_at ? 7 : 0;
}

/* One after the other, as far as one likes; and not more than there are. */
static void check_each(const struct model_node *n, struct mrmr_catalog *cat)
{
	struct mrmr_node node = {.id = n->id, .num_extents = n->num_extents};
	struct each each = {.n = n, .stop_at = n->num_extents};

	assert_int_equal(mrmr_catalog_each_extent(cat, &node, check_next,
						  &each),
			 n->num_extents > 0 ? 7 : 0);
	assert_int_equal(each.num, n->num_extents);
	node.num_extents++;
	each = (struct each){.n = n};
	assert_int_equal(mrmr_catalog_each_extent(cat, &node, check_next,
						  &each),
			 -1);
	assert_int_equal(errno, EILSEQ);
	assert_int_equal(each.num, n->num_extents);
}

/* All of them are right, or, if may_be_unknown, not there. */
static void check_extents(const struct model_node *n, struct mrmr_catalog *cat,
			  bool may_be_unknown)
{
	struct mrmr_extent got[MODEL_EXTENTS + 1];
	uint32_t num = 0;
	uint32_t i;

	OK(mrmr_catalog_get_extents(cat, n->id, 0, got, MODEL_EXTENTS + 1,
				    &num));
	assert_int_equal(num, n->num_extents);
	for (i = 0; i < num; i++) {
		if (!may_be_unknown || got[i].state != MRMR_EXTENT_UNKNOWN) {
			check_extent(&n->extents[i], &got[i]);
		}
	}
	/* of few, as all of them have just been looked at */
	if (n->num_extents < 4 || n->num_extents % 64 == 1) {
		check_each(n, cat);
	}
}

static int count(const struct mrmr_node *node, void *private_data)
{
	++*(size_t *)private_data;
	return 0;
}

static void check_dir(const struct model *m, uint64_t dir_id,
		      struct mrmr_catalog *cat)
{
	size_t expected = 0;
	size_t got = 0;
	size_t i, j;

	for (i = 1; i < MODEL_NODES; i++) {
		for (j = 0; m->nodes[i].id != 0 && j < m->nodes[i].num_names;
		     j++) {
			expected += m->nodes[i].names[j].dir_id == dir_id;
		}
	}
	OK(mrmr_catalog_list(cat, dir_id, count, &got));
	assert_int_equal(got, expected);
}

static void check_node(const struct model *m, const struct model_node *n,
		       struct mrmr_catalog *cat)
{
	void *frame = talloc_new(NULL);
	struct mrmr_node *node = NULL;
	uint64_t id;

	OK(mrmr_catalog_get(cat, frame, n->id, &node));
	check_attributes(n, node);
	check_names(n, cat, frame);
	check_path(m, n, cat, frame);
	if (n->inode != 0) {
		OK(mrmr_catalog_find_inode(cat, n->member, n->inode, &id));
		assert_int_equal(id, n->id);
	}
	talloc_free(frame);
}

static void check_nodes(const struct model *m, struct mrmr_catalog *cat)
{
	struct mrmr_node *node = NULL;
	uint64_t after = 0;
	size_t expected = 0;
	size_t got = 0;
	size_t i;

	while (mrmr_catalog_next(cat, NULL, after, &node) == 0) {
		assert_true(node->id > after);
		assert_non_null(model_find(m, node->id));
		after = node->id;
		got++;
		talloc_free(node);
	}
	assert_int_equal(errno, ENOENT);
	for (i = 0; i < MODEL_NODES; i++) {
		const struct model_node *n = &m->nodes[i];

		if (n->id == 0) {
			continue;
		}
		expected++;
		check_node(m, n, cat);
		if (n->kind == MRMR_NODE_FILE) {
			check_extents(n, cat, false);
		}
		if (n->kind == MRMR_NODE_DIRECTORY) {
			check_dir(m, n->id, cat);
		}
	}
	check_dir(m, MRMR_ID_TRASH, cat);
	assert_int_equal(got, expected);
}

/* --- stripes -------------------------------------------------------------------- */

static const struct model_stripe *find_stripe(const struct model *m,
					      uint64_t id)
{
	size_t i;

	for (i = 0; i < MODEL_STRIPES; i++) {
		if (id != 0 && m->stripes[i].id == id) {
			return &m->stripes[i];
		}
	}
	return NULL;
}

static void check_stripe(const struct model_stripe *s,
			 const struct mrmr_stripe *stripe)
{
	uint32_t i, j;

	assert_non_null(s);
	assert_int_equal(stripe->num_slots, s->num_slots);
	for (i = 0; i < s->num_slots; i++) {
		const struct model_slot *a = &s->slots[i];
		const struct mrmr_slot *b = &stripe->slots[i];

		assert_int_equal(b->slot, a->slot);
		assert_int_equal(b->member, a->member);
		assert_int_equal(b->len_bytes, model_slot_bytes(a));
		assert_int_equal(b->num_pieces, a->num_pieces);
		for (j = 0; j < a->num_pieces; j++) {
			assert_int_equal(b->pieces[j].file, a->pieces[j].file);
			assert_int_equal(b->pieces[j].index,
					 a->pieces[j].index);
			assert_int_equal(b->pieces[j].len_bytes,
					 a->pieces[j].len_bytes);
		}
	}
	assert_int_equal(stripe->num_rows, s->num_rows);
	for (i = 0; i < s->num_rows; i++) {
		assert_int_equal(stripe->rows[i].row, s->rows[i].row);
		assert_int_equal(stripe->rows[i].member, s->rows[i].member);
		assert_int_equal(stripe->rows[i].len_bytes,
				 s->rows[i].len_bytes);
		assert_memory_equal(stripe->rows[i].sha256, s->rows[i].sha256,
				    32);
		assert_int_equal(stripe->rows[i].checksum, s->rows[i].checksum);
	}
}

static bool has_row(const struct model_stripe *s, uint16_t member)
{
	uint32_t i;

	for (i = 0; i < s->num_rows; i++) {
		if (s->rows[i].member == member) {
			return true;
		}
	}
	return false;
}

static bool has_slot(const struct model_stripe *s, uint16_t member)
{
	uint32_t i;

	for (i = 0; i < s->num_slots; i++) {
		if (s->slots[i].member == member) {
			return true;
		}
	}
	return false;
}

/* All stripes that the member is in (MRMR_MEMBER_NONE: all), and no other. */
static void check_stripes(const struct model *m, struct mrmr_catalog *cat,
			  uint16_t member)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t after = 0;
	size_t expected = 0;
	size_t got = 0;
	size_t i;

	while (mrmr_catalog_next_stripe(cat, NULL, after, &stripe) == 0) {
		after = stripe->id;
		check_stripe(find_stripe(m, stripe->id), stripe);
		got++;
		talloc_free(stripe);
	}
	assert_int_equal(errno, ENOENT);
	for (i = 0; i < MODEL_STRIPES; i++) {
		const struct model_stripe *s = &m->stripes[i];

		expected += s->id != 0 &&
			    (member == MRMR_MEMBER_NONE || has_row(s, member) ||
			     has_slot(s, member));
	}
	assert_int_equal(got, expected);
}

static void check_scrubbed(const struct model *m, struct mrmr_catalog *cat)
{
	uint16_t day;
	size_t i;

	for (i = 0; i < MODEL_STRIPES; i++) {
		if (m->stripes[i].id != 0) {
			OK(mrmr_catalog_scrubbed(cat, m->stripes[i].id, &day));
			assert_int_equal(day, m->stripes[i].scrubbed_day);
		}
	}
}

static void check_blobs(const struct model *m, struct mrmr_catalog *cat)
{
	size_t i, j;
	uint32_t k;

	for (i = 0; i < MODEL_STRIPES; i++) {
		const struct mrmr_row *row = &m->stripes[i].rows[0];
		uint32_t expected = 0;
		uint32_t uses = 0;

		if (m->stripes[i].id == 0) {
			continue;
		}
		for (j = 0; j < MODEL_STRIPES; j++) {
			const struct model_stripe *s = &m->stripes[j];

			for (k = 0; s->id != 0 && k < s->num_rows; k++) {
				if (s->rows[k].member == row->member &&
				    memcmp(s->rows[k].sha256, row->sha256,
					   32) == 0) {
					expected++;
					break;
				}
			}
		}
		OK(mrmr_catalog_blob_uses(cat, row->member, row->sha256,
					  &uses));
		assert_int_equal(uses, expected);
	}
}

static bool is_in_class(const struct model_stripe *s,
			const struct mrmr_stripe_class *class)
{
	uint16_t num = 0;
	uint16_t i;

	for (i = 0; i < MODEL_MEMBERS; i++) {
		num += has_row(s, i) || has_slot(s, i);
	}
	if (num != class->num_members) {
		return false;
	}
	for (i = 0; i < class->num_members; i++) {
		if (!has_row(s, class->members[i]) &&
		    !has_slot(s, class->members[i])) {
			return false;
		}
	}
	return true;
}

static void check_classes(const struct model *m, struct mrmr_catalog *cat)
{
	struct mrmr_stripe_class *classes = NULL;
	void *frame = talloc_new(NULL);
	size_t num_classes = 0;
	size_t num_in_classes = 0;
	size_t num_stripes = 0;
	size_t i, j;

	OK(mrmr_catalog_classes(cat, frame, &classes, &num_classes));
	for (i = 0; i < num_classes; i++) {
		uint64_t ids[MODEL_STRIPES];
		size_t expected = 0;
		uint32_t num = 0;

		for (j = 0; j < MODEL_STRIPES; j++) {
			expected += m->stripes[j].id != 0 &&
				    is_in_class(&m->stripes[j], &classes[i]);
		}
		assert_int_equal(classes[i].num_stripes, expected);
		OK(mrmr_catalog_class_stripes(cat, classes[i].number, ids,
					      MODEL_STRIPES, &num));
		assert_int_equal(num, expected);
		for (j = 0; j < num; j++) {
			const struct model_stripe *s = find_stripe(m, ids[j]);

			assert_non_null(s);
			assert_true(is_in_class(s, &classes[i]));
		}
		num_in_classes += num;
	}
	for (j = 0; j < MODEL_STRIPES; j++) {
		num_stripes += m->stripes[j].id != 0;
	}
	assert_int_equal(num_in_classes, num_stripes);
	talloc_free(frame);
}

/* --- small things --------------------------------------------------------------- */

static void add_file(const struct model_node *n, struct mrmr_catalog_sums *sums)
{
	uint32_t i;

	if (model_is_in_trash(n)) {
		sums->trash_bytes += n->size_bytes;
		return;
	}
	sums->num_files++;
	sums->file_bytes += n->size_bytes;
	for (i = 0; i < n->num_extents; i++) {
		if (n->extents[i].state != MRMR_EXTENT_BARE) {
			sums->protected_bytes += n->extents[i].len_bytes;
		}
	}
}

static void check_sums(const struct model *m, struct mrmr_catalog *cat,
		       uint16_t member)
{
	const bool all = member == MRMR_MEMBER_NONE;
	struct mrmr_catalog_sums expected = {0};
	struct mrmr_catalog_sums sums;
	size_t i;
	uint32_t j;

	for (i = 0; i < MODEL_NODES; i++) {
		const struct model_node *n = &m->nodes[i];

		if (n->id != 0 && n->kind == MRMR_NODE_FILE &&
		    (all || n->member == member)) {
			add_file(n, &expected);
		}
	}
	for (i = 0; i < MODEL_STRIPES; i++) {
		const struct model_stripe *s = &m->stripes[i];

		if (s->id == 0) {
			continue;
		}
		expected.num_stripes += all;
		for (j = 0; j < s->num_slots; j++) {
			if (all || s->slots[j].member == member) {
				expected.num_slots++;
				expected.slot_bytes +=
					model_slot_bytes(&s->slots[j]);
			}
		}
		for (j = 0; j < s->num_rows; j++) {
			if (all || s->rows[j].member == member) {
				expected.num_blobs++;
				expected.parity_bytes += s->rows[j].len_bytes;
			}
		}
	}
	OK(mrmr_catalog_sums(cat, member, &sums));
	assert_memory_equal(&sums, &expected, sizeof(sums));
}

static void check_notes(const struct model *m, struct mrmr_catalog *cat)
{
	size_t i;

	for (i = 0; i < MODEL_NOTES; i++) {
		const struct model_note *note = &m->notes[i];
		uint8_t *bytes = NULL;
		uint8_t *got = NULL;
		char name[16];
		size_t len = 0;

		snprintf(name, sizeof(name), "note%zu", i);
		got = mrmr_catalog_get_note(cat, NULL, name, &len);
		if (!note->is_there) {
			assert_null(got);
			assert_int_equal(errno, ENOENT);
			continue;
		}
		assert_non_null(got);
		bytes = model_bytes(note->seed, note->len);
		assert_int_equal(len, note->len);
		assert_memory_equal(got, bytes, len);
		free(bytes);
		talloc_free(got);
	}
}

static void check_members(struct mrmr_catalog *cat)
{
	struct mrmr_uuid id, expected;
	uint16_t i;

	assert_int_equal(mrmr_catalog_num_members(cat), MODEL_MEMBERS);
	for (i = 0; i < MODEL_MEMBERS; i++) {
		model_member_id(i, &expected);
		assert_int_equal(mrmr_catalog_member(cat, &expected), i);
		OK(mrmr_catalog_member_id(cat, i, &id));
		assert_true(mrmr_uuid_equal(&id, &expected));
	}
}

void model_check(const struct model *model, struct mrmr_catalog *cat)
{
	uint16_t i;

	check_members(cat);
	check_nodes(model, cat);
	check_stripes(model, cat, MRMR_MEMBER_NONE);
	check_scrubbed(model, cat);
	check_blobs(model, cat);
	check_classes(model, cat);
	for (i = 0; i < MODEL_MEMBERS; i++) {
		check_sums(model, cat, i);
	}
	check_sums(model, cat, MRMR_MEMBER_NONE);
	check_notes(model, cat);
}

/* --- parts ---------------------------------------------------------------------- */

/* Must a part of this member know the extent? */
static bool must_know_extent(const struct model *m, const struct model_node *n,
			     uint32_t index, uint16_t member)
{
	const struct mrmr_extent *e = &n->extents[index];

	if (n->member == member) {
		return true;
	}
	return e->state == MRMR_EXTENT_IN_STRIPE &&
	       has_row(find_stripe(m, e->stripe), member);
}

/* Without what is its share of those in no stripe, and without directories. */
static bool must_know_node(const struct model *m, const struct model_node *n,
			   uint16_t member)
{
	uint32_t i;

	if (n->member == member || n->id == MRMR_ID_ROOT) {
		return true;
	}
	for (i = 0; i < n->num_extents; i++) {
		if (must_know_extent(m, n, i, member)) {
			return true;
		}
	}
	return false;
}

static bool is_in(struct mrmr_catalog *cat, uint64_t id)
{
	struct mrmr_node *node = NULL;
	int ret = mrmr_catalog_get(cat, NULL, id, &node);

	assert_true(ret == 0 || errno == ENOENT);
	talloc_free(node);
	return ret == 0;
}

/* The extents that it must know, and those that it does, are right. */
static void check_part_extents(const struct model *m,
			       const struct model_node *n,
			       struct mrmr_catalog *part, uint16_t member)
{
	struct mrmr_extent got[MODEL_EXTENTS + 1];
	uint32_t num = 0;
	uint32_t i;

	OK(mrmr_catalog_get_extents(part, n->id, 0, got, MODEL_EXTENTS + 1,
				    &num));
	assert_int_equal(num, n->num_extents);
	for (i = 0; i < num; i++) {
		if (must_know_extent(m, n, i, member)) {
			check_extent(&n->extents[i], &got[i]);
		} else if (n->extents[i].state == MRMR_EXTENT_IN_STRIPE) {
			assert_int_equal(got[i].state, MRMR_EXTENT_UNKNOWN);
		}
	}
}

void model_check_part(const struct model *model, struct mrmr_catalog *part,
		      uint16_t member)
{
	struct mrmr_node *node = NULL;
	uint64_t after = 0;
	size_t i;

	for (i = 0; i < MODEL_NODES; i++) {
		const struct model_node *n = &model->nodes[i];

		if (n->id != 0 && must_know_node(model, n, member) &&
		    !is_in(part, n->id)) {
			fail_msg("part %u does not know node %u", member,
				 (unsigned int)n->id);
		}
	}
	while (mrmr_catalog_next(part, NULL, after, &node) == 0) {
		const struct model_node *n = model_find(model, node->id);

		if (n == NULL) {
			fail_msg("part %u has node %u, which is gone", member,
				 (unsigned int)node->id);
		}
		after = node->id;
		check_node(model, n, part);
		if (n->kind == MRMR_NODE_FILE) {
			check_part_extents(model, n, part, member);
		}
		/* what is in a stripe is no business of others */
		if (model_is_in_stripe(n) &&
		    !must_know_node(model, n, member)) {
			fail_msg("part %u need not know node %u", member,
				 (unsigned int)n->id);
		}
		talloc_free(node);
	}
	assert_int_equal(errno, ENOENT);
	check_stripes(model, part, member);
	check_members(part);
}

void model_check_shares(const struct model *model, struct mrmr_catalog **parts,
			unsigned int copies)
{
	unsigned int num_parts = 0;
	size_t i;
	uint16_t p;

	for (p = 0; p < MODEL_MEMBERS; p++) {
		num_parts += parts[p] != NULL;
	}
	for (i = 1; i < MODEL_NODES; i++) {
		const struct model_node *n = &model->nodes[i];
		unsigned int num_others = num_parts;
		unsigned int have = 0;

		if (n->id == 0 || model_is_in_stripe(n)) {
			continue;
		}
		if (n->member != MRMR_MEMBER_NONE && parts[n->member] != NULL) {
			num_others--;
		}
		for (p = 0; p < MODEL_MEMBERS; p++) {
			have += parts[p] != NULL && p != n->member &&
				is_in(parts[p], n->id);
		}
		if (have < copies && have < num_others) {
			fail_msg("node %u is in %u other parts, of %u",
				 (unsigned int)n->id, have, num_others);
		}
	}
}

/* --- importing ------------------------------------------------------------------- */

static void import_extents(struct mrmr_catalog *part, struct mrmr_catalog *cat,
			   const struct mrmr_node *node)
{
	struct mrmr_extent now[MODEL_EXTENTS];
	struct mrmr_extent got[MODEL_EXTENTS];
	uint32_t num_now = 0;
	uint32_t num = 0;
	uint32_t i;

	OK(mrmr_catalog_get_extents(part, node->id, 0, got, MODEL_EXTENTS,
				    &num));
	OK(mrmr_catalog_get_extents(cat, node->id, 0, now, MODEL_EXTENTS,
				    &num_now));
	for (i = 0; i < num; i++) {
		if (i < num_now && now[i].state != MRMR_EXTENT_UNKNOWN &&
		    (got[i].state == MRMR_EXTENT_UNKNOWN ||
		     now[i].sequence >= got[i].sequence)) {
			got[i] = now[i];
		}
	}
	OK(mrmr_catalog_import_extents(cat, node->id, 0, got, num));
}

static void import_links(struct mrmr_catalog *part, struct mrmr_catalog *cat,
			 uint64_t id)
{
	struct mrmr_link *links = NULL;
	size_t num = 0;
	size_t i;

	OK(mrmr_catalog_links(part, cat, id, &links, &num));
	for (i = 1; i < num; i++) {
		if (mrmr_catalog_link(cat, id, links[i].dir_id,
				      links[i].name) == -1) {
			assert_int_equal(errno, EEXIST);
		}
	}
	talloc_free(links);
}

static void import_part(struct mrmr_catalog *part, struct mrmr_catalog *cat)
{
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_node *node = NULL;
	uint64_t after = 0;

	while (mrmr_catalog_next(part, NULL, after, &node) == 0) {
		after = node->id;
		OK(mrmr_catalog_import_node(cat, node));
		if (node->kind == MRMR_NODE_FILE) {
			import_extents(part, cat, node);
		}
		talloc_free(node);
	}
	after = 0;
	while (mrmr_catalog_next_stripe(part, NULL, after, &stripe) == 0) {
		after = stripe->id;
		OK(mrmr_catalog_import_stripe(cat, stripe));
		talloc_free(stripe);
	}
	OK(mrmr_catalog_import_sequence(cat, mrmr_catalog_sequence(part)));
}

void model_check_import(const struct model *model, struct mrmr_catalog **parts,
			struct mrmr_catalog *cat)
{
	struct mrmr_error err = {0};
	struct mrmr_node *node = NULL;
	uint64_t after;
	uint16_t p;
	size_t i;

	OK(mrmr_catalog_begin(cat));
	for (p = 0; p < MODEL_MEMBERS; p++) {
		struct mrmr_uuid id;

		model_member_id(p, &id);
		OK(mrmr_catalog_import_member(cat, p, &id));
		if (parts[p] != NULL) {
			import_part(parts[p], cat);
		}
	}
	/* when all directories are there */
	for (p = 0; p < MODEL_MEMBERS; p++) {
		after = 0;
		while (parts[p] != NULL &&
		       mrmr_catalog_next(parts[p], NULL, after, &node) == 0) {
			after = node->id;
			import_links(parts[p], cat, node->id);
			talloc_free(node);
		}
	}
	OK(mrmr_catalog_commit(cat, &err));
	for (i = 0; i < MODEL_NODES; i++) {
		const struct model_node *n = &model->nodes[i];
		bool known = false;
		uint32_t j;

		for (p = 0; p < MODEL_MEMBERS && n->id != 0; p++) {
			known = known || (parts[p] != NULL &&
					  must_know_node(model, n, p));
		}
		if (!known) {
			continue;
		}
		check_node(model, n, cat);
		for (j = 0; j < n->num_extents; j++) {
			struct mrmr_extent e;
			uint32_t got = 0;

			known = false;
			for (p = 0; p < MODEL_MEMBERS; p++) {
				known = known ||
					(parts[p] != NULL &&
					 must_know_extent(model, n, j, p));
			}
			OK(mrmr_catalog_get_extents(cat, n->id, j, &e, 1,
						    &got));
			assert_int_equal(got, 1);
			if (known) {
				check_extent(&n->extents[j], &e);
			}
		}
	}
	for (i = 0; i < MODEL_STRIPES; i++) {
		const struct model_stripe *s = &model->stripes[i];
		struct mrmr_stripe *stripe = NULL;
		bool known = false;

		for (p = 0; p < MODEL_MEMBERS && s->id != 0; p++) {
			known = known || (parts[p] != NULL &&
					  (has_row(s, p) || has_slot(s, p)));
		}
		if (known) {
			OK(mrmr_catalog_get_stripe(cat, NULL, s->id, &stripe));
			check_stripe(s, stripe);
			talloc_free(stripe);
		}
	}
}
