/*
 * Unit tests: a catalogue as simple arrays: random changes (catalog_model.h).
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
#include <sys/stat.h>

#include <cmocka.h>

#include "catalog_model_private.h"

uint64_t model_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t model_below(uint64_t *state, uint64_t n)
{
	return model_random(state) % n;
}

void model_member_id(uint16_t member, struct mrmr_uuid *id)
{
	memset(id, 0, sizeof(*id));
	id->byte[0] = (uint8_t)(member + 1);
	id->byte[15] = 0x77;
}

void model_init(struct model *model)
{
	memset(model, 0, sizeof(*model));
	model->nodes[0] = (struct model_node){
		.id = MRMR_ID_ROOT,
		.kind = MRMR_NODE_DIRECTORY,
		.member = MRMR_MEMBER_NONE,
		.mode = S_IFDIR | 0755,
		.num_names = 1,
	};
}

/* --- looking at the model ----------------------------------------------------- */

const struct model_node *model_find(const struct model *m, uint64_t id)
{
	size_t i;

	for (i = 0; i < MODEL_NODES; i++) {
		if (id != 0 && m->nodes[i].id == id) {
			return &m->nodes[i];
		}
	}
	return NULL;
}

const struct model_node *model_find_name(const struct model *m, uint64_t dir_id,
					 const char *name)
{
	size_t i, j;

	for (i = 1; i < MODEL_NODES; i++) {
		const struct model_node *n = &m->nodes[i];

		for (j = 0; n->id != 0 && j < n->num_names; j++) {
			if (n->names[j].dir_id == dir_id &&
			    strcmp(n->names[j].name, name) == 0) {
				return n;
			}
		}
	}
	return NULL;
}

bool model_is_in_stripe(const struct model_node *n)
{
	uint32_t i;

	for (i = 0; i < n->num_extents; i++) {
		if (n->extents[i].state == MRMR_EXTENT_IN_STRIPE) {
			return true;
		}
	}
	return false;
}

bool model_is_in_trash(const struct model_node *n)
{
	return n->names[0].dir_id == MRMR_ID_TRASH;
}

static bool has_entries(const struct model *m, uint64_t dir_id)
{
	size_t i, j;

	for (i = 1; i < MODEL_NODES; i++) {
		for (j = 0; m->nodes[i].id != 0 && j < m->nodes[i].num_names;
		     j++) {
			if (m->nodes[i].names[j].dir_id == dir_id) {
				return true;
			}
		}
	}
	return false;
}

/* Is the directory dir_id the node, or below it? */
static bool is_below(const struct model *m, uint64_t dir_id, uint64_t id)
{
	while (dir_id != MRMR_ID_ROOT) {
		const struct model_node *n = model_find(m, dir_id);

		if (dir_id == id) {
			return true;
		}
		assert_non_null(n);
		dir_id = n->names[0].dir_id;
	}
	return dir_id == id;
}

uint8_t *model_bytes(uint32_t seed, uint32_t len)
{
	uint64_t state = seed;
	uint8_t *bytes = malloc(len + 1);
	uint32_t i;

	for (i = 0; i < len; i++) {
		bytes[i] = (uint8_t)model_random(&state);
	}
	return bytes;
}

char *model_target(const struct model_node *n)
{
	char *target = malloc(n->target_len + 1);

	memset(target, 'a' + (int)(n->id % 26), n->target_len);
	target[n->target_len] = '\0';
	return target;
}

/* --- choosing ------------------------------------------------------------------- */

struct changing {
	struct model *m;
	struct mrmr_catalog *cat;
	uint64_t *random;
};

static uint64_t below(struct changing *c, uint64_t n)
{
	return model_below(c->random, n);
}

static bool one_in(struct changing *c, uint64_t n)
{
	return below(c, n) == 0;
}

/* A node of this kind (0: any), or NULL. */
/* NULL only if there is none of the kind; of kind 0 the root is always there. */
static struct model_node *some_node(struct changing *c, int kind)
{
	size_t first = below(c, MODEL_NODES);
	size_t i;

	for (i = 0; i < MODEL_NODES; i++) {
		struct model_node *n = &c->m->nodes[(first + i) % MODEL_NODES];

		if (n->id != 0 && (kind == 0 || (int)n->kind == kind)) {
			return n;
		}
	}
	return NULL;
}

static uint64_t some_dir(struct changing *c)
{
	struct model_node *n = some_node(c, MRMR_NODE_DIRECTORY);

	return n == NULL || one_in(c, 3) ? MRMR_ID_ROOT : n->id;
}

static void some_name(struct changing *c, char name[220])
{
	uint64_t n = below(c, 60);

	if (n < 55) {
		snprintf(name, 220, "n%u", (unsigned int)n);
	} else {
		snprintf(name, 220, "%0*u", 50 + (int)n * 2, (unsigned int)n);
	}
}

static struct model_node *free_node(struct model *m)
{
	size_t i;

	for (i = 1; i < MODEL_NODES; i++) {
		if (m->nodes[i].id == 0) {
			return &m->nodes[i];
		}
	}
	return NULL;
}

/* --- nodes ---------------------------------------------------------------------- */

static void some_attributes(struct changing *c, struct model_node *n)
{
	uint32_t type = n->kind == MRMR_NODE_DIRECTORY ? S_IFDIR
			: n->kind == MRMR_NODE_FILE    ? S_IFREG
			: n->kind == MRMR_NODE_SYMLINK ? S_IFLNK
						       : S_IFBLK;

	n->size_bytes = one_in(c, 5) ? 0 : model_random(c->random) >> 24;
	n->mtime_ns = (int64_t)model_random(c->random) >> below(c, 40);
	n->mode = type | (uint32_t)below(c, 010000);
	n->uid = one_in(c, 4) ? (uint32_t)model_random(c->random) : 1000;
	n->gid = one_in(c, 4) ? (uint32_t)model_random(c->random) : 100;
	n->device = n->kind == MRMR_NODE_SPECIAL ? model_random(c->random) : 0;
	n->generation = (uint32_t)model_random(c->random);
	n->xattrs_seed = (uint32_t)below(c, 3);
	n->xattrs_len = one_in(c, 3)   ? (uint32_t)below(c, 40)
			: one_in(c, 3) ? (uint32_t)below(c, 5000)
				       : 0;
	if (n->kind == MRMR_NODE_SYMLINK) {
		n->target_len =
			1 + (uint32_t)below(c, one_in(c, 4) ? 3000 : 60);
	}
	if (n->kind != MRMR_NODE_DIRECTORY && !model_is_in_stripe(n) &&
	    !model_is_in_trash(n)) {
		n->member = (uint16_t)below(c, MODEL_MEMBERS);
		n->inode = one_in(c, 9) ? 0 : ++c->m->last_inode;
	}
}

static int put(struct changing *c, const struct model_node *n, uint64_t id,
	       uint64_t *new_id)
{
	uint8_t *xattrs = model_bytes(n->xattrs_seed, n->xattrs_len);
	char *target = model_target(n);
	struct mrmr_node node = {
		.id = id,
		.dir_id = n->names[0].dir_id,
		.name = (char *)n->names[0].name,
		.kind = n->kind,
		.member = n->member,
		.inode = n->inode,
		.size_bytes = n->size_bytes,
		.mtime_ns = n->mtime_ns,
		.mode = n->mode,
		.uid = n->uid,
		.gid = n->gid,
		.device = n->device,
		.xattrs = n->xattrs_len > 0 ? xattrs : NULL,
		.xattrs_len = n->xattrs_len,
		.target = n->kind == MRMR_NODE_SYMLINK ? target : NULL,
		.grid_bytes = n->kind == MRMR_NODE_FILE ? MODEL_GRID : 0,
		.generation = n->generation,
	};
	int ret;

	errno = 0;
	ret = mrmr_catalog_put(c->cat, &node, new_id);
	free(xattrs);
	free(target);
	return ret;
}

static void make_node(struct changing *c)
{
	static const enum mrmr_node_kind kinds[] = {
		MRMR_NODE_DIRECTORY, MRMR_NODE_DIRECTORY, MRMR_NODE_FILE,
		MRMR_NODE_FILE,      MRMR_NODE_FILE,      MRMR_NODE_FILE,
		MRMR_NODE_SYMLINK,   MRMR_NODE_SPECIAL,
	};
	struct model_node *place = free_node(c->m);
	struct model_node *n = calloc(1, sizeof(*n));
	const struct model_node *dir = NULL;
	int expected = 0;
	uint64_t id = 0;

	n->kind = kinds[below(c, 8)];
	n->member = MRMR_MEMBER_NONE;
	n->num_names = 1;
	n->names[0].dir_id = some_dir(c);
	some_name(c, n->names[0].name);
	if (one_in(c, 40)) {
		n->names[0].dir_id = some_node(c, 0)->id;
	}
	some_attributes(c, n);
	dir = model_find(c->m, n->names[0].dir_id);
	if (dir->kind != MRMR_NODE_DIRECTORY) {
		expected = ENOTDIR;
	} else if (model_find_name(c->m, dir->id, n->names[0].name) != NULL) {
		expected = EEXIST;
	}
	if (place == NULL && expected == 0) {
		free(n);
		return;
	}
	if (expected != 0) {
		assert_int_equal(put(c, n, 0, &id), -1);
		assert_int_equal(errno, expected);
	} else {
		assert_int_equal(put(c, n, 0, &id), 0);
		assert_true(id > c->m->last_id);
		c->m->last_id = id;
		n->id = id;
		/* it is filled by the id */
		if (n->kind == MRMR_NODE_SYMLINK) {
			assert_int_equal(put(c, n, id, NULL), 0);
		}
		*place = *n;
	}
	free(n);
}

static void change_node(struct changing *c)
{
	struct model_node *n = some_node(c, 0);

	some_attributes(c, n);
	assert_int_equal(put(c, n, n->id, NULL), 0);
}

/* The first name is one outside of the trash, if there is one. */
static void keep_out_of_trash(struct model_node *n)
{
	struct model_name in_trash = n->names[0];
	uint32_t i = 0;

	while (i < n->num_names && n->names[i].dir_id == MRMR_ID_TRASH) {
		i++;
	}
	if (i == 0 || i >= n->num_names) {
		return;
	}
	n->names[0] = n->names[i];
	memmove(&n->names[i], &n->names[i + 1],
		(n->num_names - i - 1) * sizeof(n->names[0]));
	n->names[n->num_names - 1] = in_trash;
}

static void rename_node(struct changing *c)
{
	struct model_node *n = some_node(c, 0);
	struct model_name *from = NULL;
	struct model_name to;
	int expected = 0;
	int ret;

	if (n->id == MRMR_ID_ROOT) {
		return;
	}
	from = &n->names[below(c, n->num_names)];
	memset(&to, 0, sizeof(to));
	to.dir_id = some_dir(c);
	some_name(c, to.name);
	if (n->kind == MRMR_NODE_FILE && one_in(c, 4)) {
		to.dir_id = MRMR_ID_TRASH;
		snprintf(to.name, sizeof(to.name), "%u/some/p%u.%u", n->member,
			 (unsigned int)n->id, (unsigned int)below(c, 3));
	}
	if (from->dir_id == to.dir_id && strcmp(from->name, to.name) == 0) {
		expected = 0;
	} else if (model_find_name(c->m, to.dir_id, to.name) != NULL) {
		expected = EEXIST;
	} else if (n->kind == MRMR_NODE_DIRECTORY &&
		   is_below(c->m, to.dir_id, n->id)) {
		expected = EINVAL;
	}
	errno = 0;
	ret = mrmr_catalog_rename(c->cat, from->dir_id, from->name, to.dir_id,
				  to.name);
	assert_int_equal(ret, expected == 0 ? 0 : -1);
	if (expected == 0) {
		*from = to;
		keep_out_of_trash(n);
	} else {
		assert_int_equal(errno, expected);
	}
}

static void link_node(struct changing *c)
{
	struct model_node *n = some_node(c, 0);
	struct model_name to;
	int expected = 0;
	int ret;

	if (n->num_names == MODEL_NAMES) {
		return;
	}
	memset(&to, 0, sizeof(to));
	to.dir_id = some_dir(c);
	some_name(c, to.name);
	if (n->kind == MRMR_NODE_DIRECTORY) {
		expected = EPERM;
	} else if (model_find_name(c->m, to.dir_id, to.name) != NULL) {
		expected = EEXIST;
	}
	errno = 0;
	ret = mrmr_catalog_link(c->cat, n->id, to.dir_id, to.name);
	assert_int_equal(ret, expected == 0 ? 0 : -1);
	if (expected == 0) {
		n->names[n->num_names++] = to;
		keep_out_of_trash(n);
	} else {
		assert_int_equal(errno, expected);
	}
}

static void remove_node(struct changing *c)
{
	struct model_node *n = some_node(c, 0);
	int expected = 0;
	uint32_t i;
	int ret;

	if (n->id == MRMR_ID_ROOT) {
		return;
	}
	i = (uint32_t)below(c, n->num_names);
	if (n->num_names == 1 && n->kind == MRMR_NODE_DIRECTORY &&
	    has_entries(c->m, n->id)) {
		expected = ENOTEMPTY;
	} else if (n->num_names == 1 && model_is_in_stripe(n)) {
		expected = EBUSY;
	}
	errno = 0;
	ret = mrmr_catalog_remove(c->cat, n->names[i].dir_id, n->names[i].name);
	assert_int_equal(ret, expected == 0 ? 0 : -1);
	if (expected != 0) {
		assert_int_equal(errno, expected);
		return;
	}
	n->num_names--;
	memmove(&n->names[i], &n->names[i + 1],
		(n->num_names - i) * sizeof(n->names[0]));
	if (n->num_names == 0) {
		memset(n, 0, sizeof(*n));
		return;
	}
	keep_out_of_trash(n);
}

/* --- extents -------------------------------------------------------------------- */

static struct mrmr_extent some_extent(struct changing *c)
{
	struct mrmr_extent e = {
		.len_bytes = 1 + (uint32_t)below(c, MODEL_GRID),
		.state = MRMR_EXTENT_BARE,
	};
	size_t i;

	if (one_in(c, 6)) {
		e.state = MRMR_EXTENT_ZERO;
		return e;
	}
	if (one_in(c, 2)) {
		e.len_bytes = MODEL_GRID;
	}
	for (i = 0; i < sizeof(e.sha256); i++) {
		e.sha256[i] = (uint8_t)model_random(c->random);
	}
	e.checksum = model_random(c->random);
	return e;
}

static void put_extents(struct changing *c)
{
	struct model_node *n = some_node(c, MRMR_NODE_FILE);
	struct mrmr_extent extents[80];
	uint32_t first, num, i;

	if (n == NULL) {
		return;
	}
	first = (uint32_t)below(c, n->num_extents + 1);
	num = 1 + (uint32_t)below(c, one_in(c, 4) ? 80 : 3);
	if (first + num > MODEL_EXTENTS) {
		return;
	}
	for (i = 0; i < num; i++) {
		if (first + i < n->num_extents &&
		    n->extents[first + i].state == MRMR_EXTENT_IN_STRIPE) {
			return;
		}
		extents[i] = some_extent(c);
	}
	assert_int_equal(mrmr_catalog_put_extents(c->cat, n->id, first, extents,
						  num),
			 0);
	memcpy(&n->extents[first], extents, num * sizeof(extents[0]));
	if (first + num > n->num_extents) {
		n->num_extents = first + num;
	}
	errno = 0;
	assert_int_equal(mrmr_catalog_put_extents(c->cat, n->id,
						  n->num_extents + 1, extents,
						  1),
			 -1);
	assert_int_equal(errno, EINVAL);
}

static void cut_extents(struct changing *c)
{
	struct model_node *n = some_node(c, MRMR_NODE_FILE);
	uint32_t num, i;

	if (n == NULL) {
		return;
	}
	num = (uint32_t)below(c, n->num_extents + 1);
	for (i = num; i < n->num_extents; i++) {
		if (n->extents[i].state == MRMR_EXTENT_IN_STRIPE) {
			return;
		}
	}
	assert_int_equal(mrmr_catalog_cut_extents(c->cat, n->id, num), 0);
	memset(&n->extents[num], 0,
	       (n->num_extents - num) * sizeof(n->extents[0]));
	n->num_extents = num;
}

/* --- stripes -------------------------------------------------------------------- */

uint32_t model_slot_bytes(const struct model_slot *slot)
{
	uint32_t len = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		len += slot->pieces[i].len_bytes;
	}
	return len;
}

static int put_stripe(struct changing *c, const struct model_stripe *s,
		      uint64_t *id)
{
	struct mrmr_slot slots[MODEL_SLOTS];
	struct mrmr_stripe stripe = {
		.id = s->id,
		.num_slots = s->num_slots,
		.slots = slots,
		.num_rows = s->num_rows,
		.rows = (struct mrmr_row *)s->rows,
	};
	uint32_t i;

	for (i = 0; i < s->num_slots; i++) {
		slots[i] = (struct mrmr_slot){
			.slot = s->slots[i].slot,
			.member = s->slots[i].member,
			.len_bytes = model_slot_bytes(&s->slots[i]),
			.num_pieces = s->slots[i].num_pieces,
			.pieces = (struct mrmr_piece *)s->slots[i].pieces,
		};
	}
	return mrmr_catalog_put_stripe(c->cat, &stripe, id);
}

static void put_extent(struct changing *c, struct model_node *n, uint32_t index)
{
	assert_int_equal(mrmr_catalog_put_extents(c->cat, n->id, index,
						  &n->extents[index], 1),
			 0);
}

/* Extents of the slot's pieces are in the stripe, or no more. */
static void mark_slot(struct changing *c, const struct model_stripe *s,
		      const struct model_slot *slot, bool in)
{
	uint32_t offset = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		const struct mrmr_piece *piece = &slot->pieces[i];
		struct model_node *n = NULL;
		struct mrmr_extent *e = NULL;

		if (piece->file != 0) {
			n = (struct model_node *)model_find(c->m, piece->file);
			assert_non_null(n);
			e = &n->extents[piece->index];
			e->state =
				in ? MRMR_EXTENT_IN_STRIPE : MRMR_EXTENT_BARE;
			e->stripe = in ? s->id : 0;
			e->slot = in ? slot->slot : 0;
			e->slot_offset = in ? offset : 0;
			put_extent(c, n, piece->index);
		}
		offset += piece->len_bytes;
	}
}

static bool has_member(const struct model_stripe *s, uint16_t member)
{
	uint32_t i;

	for (i = 0; i < s->num_slots; i++) {
		if (s->slots[i].member == member) {
			return true;
		}
	}
	for (i = 0; i < s->num_rows; i++) {
		if (s->rows[i].member == member) {
			return true;
		}
	}
	return false;
}

/* Bare extents of the member's files, as a slot. */
static void fill_slot(struct changing *c, struct model_slot *slot)
{
	uint32_t max = 1 + (uint32_t)below(c, one_in(c, 3) ? MODEL_PIECES : 3);
	size_t first = below(c, MODEL_NODES);
	size_t i;
	uint32_t j;

	slot->num_pieces = 0;
	for (i = 0; i < MODEL_NODES; i++) {
		struct model_node *n = &c->m->nodes[(first + i) % MODEL_NODES];

		if (n->id == 0 || n->member != slot->member) {
			continue;
		}
		for (j = 0; j < n->num_extents; j++) {
			if (n->extents[j].state != MRMR_EXTENT_BARE ||
			    slot->num_pieces == max) {
				continue;
			}
			if (slot->num_pieces + 1 < max && one_in(c, 9)) {
				slot->pieces[slot->num_pieces++] =
					(struct mrmr_piece){.len_bytes = 7};
			}
			slot->pieces[slot->num_pieces++] = (struct mrmr_piece){
				.file = n->id,
				.index = j,
				.len_bytes = n->extents[j].len_bytes,
			};
		}
	}
}

static struct mrmr_row some_row(struct changing *c, uint8_t row,
				uint16_t member)
{
	struct mrmr_row r = {
		.row = row,
		.member = member,
		.len_bytes = (uint32_t)below(c, MODEL_GRID),
		.checksum = model_random(c->random),
	};

	/* so that the same content is found in several */
	memset(r.sha256, (int)below(c, 9), sizeof(r.sha256));
	if (one_in(c, 2)) {
		memcpy(r.sha256, &r.checksum, sizeof(r.checksum));
	}
	return r;
}

/* A member that is not in it, or MRMR_MEMBER_NONE. */
static uint16_t other_member(struct changing *c, const struct model_stripe *s)
{
	uint16_t first = (uint16_t)below(c, MODEL_MEMBERS);
	uint16_t i;

	for (i = 0; i < MODEL_MEMBERS; i++) {
		uint16_t member = (uint16_t)((first + i) % MODEL_MEMBERS);

		if (!has_member(s, member)) {
			return member;
		}
	}
	return MRMR_MEMBER_NONE;
}

static void make_stripe(struct changing *c)
{
	struct model_stripe *s = NULL;
	uint32_t want_slots = 1 + (uint32_t)below(c, MODEL_SLOTS);
	uint32_t want_rows = 1 + (uint32_t)below(c, 2);
	uint64_t id = 0;
	uint32_t i;

	for (i = 0; i < MODEL_STRIPES && c->m->stripes[i].id != 0; i++) {
	}
	if (i == MODEL_STRIPES) {
		return;
	}
	s = &c->m->stripes[i];
	memset(s, 0, sizeof(*s));
	for (i = 0; i < want_slots; i++) {
		struct model_slot *slot = &s->slots[s->num_slots];

		slot->member = other_member(c, s);
		slot->slot = (uint8_t)(2 * i);
		fill_slot(c, slot);
		s->num_slots += slot->num_pieces > 0;
	}
	for (i = 0; i < want_rows; i++) {
		s->rows[s->num_rows] =
			some_row(c, (uint8_t)i, other_member(c, s));
		s->num_rows++;
	}
	if (s->num_slots == 0) {
		memset(s, 0, sizeof(*s));
		return;
	}
	/* forget what fill_slot left */
	for (i = s->num_slots; i < MODEL_SLOTS; i++) {
		memset(&s->slots[i], 0, sizeof(s->slots[i]));
	}
	assert_int_equal(put_stripe(c, s, &id), 0);
	assert_true(id > c->m->last_stripe);
	c->m->last_stripe = id;
	s->id = id;
	for (i = 0; i < s->num_slots; i++) {
		mark_slot(c, s, &s->slots[i], true);
	}
}

static struct model_stripe *some_stripe(struct changing *c)
{
	size_t first = below(c, MODEL_STRIPES);
	size_t i;

	for (i = 0; i < MODEL_STRIPES; i++) {
		struct model_stripe *s =
			&c->m->stripes[(first + i) % MODEL_STRIPES];

		if (s->id != 0) {
			return s;
		}
	}
	return NULL;
}

static void remove_stripe(struct changing *c)
{
	struct model_stripe *s = some_stripe(c);
	uint32_t i;

	if (s == NULL) {
		return;
	}
	for (i = 0; i < s->num_slots; i++) {
		mark_slot(c, s, &s->slots[i], false);
	}
	assert_int_equal(mrmr_catalog_remove_stripe(c->cat, s->id), 0);
	memset(s, 0, sizeof(*s));
}

/* A slot leaves, or another one joins at the end, or a row goes elsewhere, or
   is dropped, or added. */
static void change_stripe(struct changing *c)
{
	struct model_stripe *s = some_stripe(c);
	uint16_t member;
	uint32_t i;

	if (s == NULL) {
		return;
	}
	member = other_member(c, s);
	i = (uint32_t)below(c, s->num_rows);
	switch (below(c, 5)) {
	case 0:
		if (s->num_slots < 2) {
			return;
		}
		i = (uint32_t)below(c, s->num_slots);
		mark_slot(c, s, &s->slots[i], false);
		s->num_slots--;
		memmove(&s->slots[i], &s->slots[i + 1],
			(s->num_slots - i) * sizeof(s->slots[0]));
		memset(&s->slots[s->num_slots], 0, sizeof(s->slots[0]));
		break;
	case 1:
		if (s->num_slots == MODEL_SLOTS || member == MRMR_MEMBER_NONE) {
			return;
		}
		i = s->num_slots;
		s->slots[i].member = member;
		s->slots[i].slot = (uint8_t)(s->slots[i - 1].slot + 1);
		fill_slot(c, &s->slots[i]);
		if (s->slots[i].num_pieces == 0) {
			memset(&s->slots[i], 0, sizeof(s->slots[i]));
			return;
		}
		s->num_slots++;
		mark_slot(c, s, &s->slots[i], true);
		break;
	case 2:
		if (member == MRMR_MEMBER_NONE) {
			return;
		}
		s->rows[i] = some_row(c, s->rows[i].row, member);
		break;
	case 3:
		if (s->num_rows < 2) {
			return;
		}
		s->num_rows--;
		memmove(&s->rows[i], &s->rows[i + 1],
			(s->num_rows - i) * sizeof(s->rows[0]));
		memset(&s->rows[s->num_rows], 0, sizeof(s->rows[0]));
		break;
	default:
		if (s->num_rows == MODEL_ROWS || member == MRMR_MEMBER_NONE) {
			return;
		}
		i = s->num_rows++;
		s->rows[i] =
			some_row(c, (uint8_t)(s->rows[i - 1].row + 1), member);
		break;
	}
	assert_int_equal(put_stripe(c, s, NULL), 0);
}

/* --- small things --------------------------------------------------------------- */

static void scrub(struct changing *c)
{
	struct model_stripe *s = some_stripe(c);

	if (s != NULL) {
		s->scrubbed_day = (uint16_t)model_random(c->random);
		assert_int_equal(mrmr_catalog_set_scrubbed(c->cat, s->id,
							   s->scrubbed_day),
				 0);
	}
}

static void put_note(struct changing *c)
{
	size_t i = below(c, MODEL_NOTES);
	struct model_note *note = &c->m->notes[i];
	uint8_t *bytes = NULL;
	char name[16];

	snprintf(name, sizeof(name), "note%zu", i);
	note->is_there = !one_in(c, 4);
	note->seed = (uint32_t)model_random(c->random);
	note->len = (uint32_t)below(c, 300);
	bytes = model_bytes(note->seed, note->len);
	assert_int_equal(mrmr_catalog_put_note(c->cat, name,
					       note->is_there ? bytes : NULL,
					       note->len),
			 0);
	free(bytes);
}

void model_change(struct model *model, struct mrmr_catalog *cat,
		  uint64_t *random)
{
	static void (*const changes[])(struct changing * c) = {
		make_node,     make_node,     make_node,     make_node,
		change_node,   change_node,   rename_node,   rename_node,
		link_node,     remove_node,   remove_node,   put_extents,
		put_extents,   put_extents,   put_extents,   cut_extents,
		make_stripe,   make_stripe,   make_stripe,   remove_stripe,
		change_stripe, change_stripe, change_stripe, scrub,
		put_note,
	};
	struct changing c = {.m = model, .cat = cat, .random = random};

	changes[below(&c, sizeof(changes) / sizeof(changes[0]))](&c);
}
