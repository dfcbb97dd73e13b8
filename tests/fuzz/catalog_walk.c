/*
 * Asks a catalogue for everything, and changes it in all ways.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/xattrs.h>

#include "catalog_walk.h"
#include "fuzz.h"

#define STEPS_MAX 60
#define EXTENTS_MAX 70

/* So that the sanitizers see whether all of it is there. */
static volatile uint64_t sink;

static void use(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		sum += at[i];
	}
	sink += sum;
}

static void use_text(const char *text)
{
	if (text != NULL) {
		use(text, strlen(text));
	}
}

static void check_node(const struct mrmr_node *node)
{
	FUZZ_MUST(node->kind >= MRMR_NODE_DIRECTORY &&
		  node->kind <= MRMR_NODE_SPECIAL);
	/* what becomes a path on a member must stay below it */
	FUZZ_MUST(node->name != NULL);
	if (node->dir_id != MRMR_ID_TRASH && node->id != MRMR_ID_ROOT) {
		FUZZ_MUST(strchr(node->name, '/') == NULL);
		FUZZ_MUST(node->name[0] != '\0');
		FUZZ_MUST(strcmp(node->name, ".") != 0 &&
			  strcmp(node->name, "..") != 0);
	}
	use_text(node->target);
	if (node->xattrs != NULL) {
		size_t len = 0;

		use(node->xattrs, node->xattrs_len);
		mrmr_xattrs_check(node->xattrs, node->xattrs_len);
		mrmr_xattrs_find(node->xattrs, node->xattrs_len, "user.a",
				 &len);
	}
}

static int see(const struct mrmr_node *node, void *private_data)
{
	unsigned int *left = private_data;

	check_node(node);
	return --*left == 0;
}

static void read_extents(struct mrmr_catalog *cat, const struct mrmr_node *node)
{
	struct mrmr_extent extents[EXTENTS_MAX];
	uint32_t got = 0;

	if (mrmr_catalog_get_extents(cat, node->id, 0, extents, EXTENTS_MAX,
				     &got) == 0) {
		FUZZ_MUST(got <= EXTENTS_MAX && got <= node->num_extents);
		use(extents, got * sizeof(extents[0]));
	}
	mrmr_catalog_get_extents(cat, node->id, node->num_extents - 1, extents,
				 2, &got);
}

static bool has_dots(const char *path)
{
	const char *at = path;

	while (at != NULL) {
		at += strspn(at, "/");
		if (strncmp(at, "..", 2) == 0 &&
		    (at[2] == '/' || at[2] == '\0')) {
			return true;
		}
		at = strchr(at, '/');
	}
	return false;
}

static void read_node(struct mrmr_catalog *cat, void *frame,
		      const struct mrmr_node *node)
{
	struct mrmr_link *links = NULL;
	struct mrmr_node *same = NULL;
	unsigned int left = STEPS_MAX;
	bool in_trash = false;
	uint64_t id = 0;
	char *path = mrmr_catalog_path(cat, frame, node->id, &in_trash);
	size_t num = 0;
	size_t i;

	check_node(node);
	if (path != NULL) {
		FUZZ_MUST(path[0] != '/' && !has_dots(path));
		if (!in_trash) {
			mrmr_catalog_find_path(cat, frame, path, &same);
		}
	}
	if (mrmr_catalog_links(cat, frame, node->id, &links, &num) == 0) {
		for (i = 0; i < num; i++) {
			use_text(links[i].name);
			FUZZ_MUST(!has_dots(links[i].name));
		}
	}
	mrmr_catalog_find(cat, frame, node->dir_id, node->name, &same);
	mrmr_catalog_find_inode(cat, node->member, node->inode, &id);
	if (node->kind == MRMR_NODE_DIRECTORY) {
		mrmr_catalog_list(cat, node->id, see, &left);
	} else if (node->kind == MRMR_NODE_FILE) {
		read_extents(cat, node);
	}
}

static void read_stripe(struct mrmr_catalog *cat,
			const struct mrmr_stripe *stripe)
{
	uint32_t uses = 0;
	uint16_t day = 0;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		use(slot->pieces, slot->num_pieces * sizeof(slot->pieces[0]));
		FUZZ_MUST(i == 0 || stripe->slots[i - 1].slot < slot->slot);
	}
	for (i = 0; i < stripe->num_rows; i++) {
		const struct mrmr_row *row = &stripe->rows[i];

		use(row->sha256, sizeof(row->sha256));
		FUZZ_MUST(i == 0 || stripe->rows[i - 1].row < row->row);
		mrmr_catalog_blob_uses(cat, row->member, row->sha256, &uses);
	}
	mrmr_catalog_scrubbed(cat, stripe->id, &day);
}

static void read_classes(struct mrmr_catalog *cat, void *frame)
{
	struct mrmr_stripe_class *classes = NULL;
	uint64_t ids[STEPS_MAX];
	uint32_t got = 0;
	size_t num = 0;
	size_t i;

	if (mrmr_catalog_classes(cat, frame, &classes, &num) == -1) {
		return;
	}
	for (i = 0; i < num && i < STEPS_MAX; i++) {
		use(classes[i].members,
		    classes[i].num_members * sizeof(classes[i].members[0]));
		if (mrmr_catalog_class_stripes(cat, classes[i].number, ids,
					       STEPS_MAX, &got) == 0) {
			FUZZ_MUST(got <= STEPS_MAX);
			use(ids, got * sizeof(ids[0]));
		}
	}
}

void catalog_walk_read(struct mrmr_catalog *cat)
{
	void *frame = talloc_new(NULL);
	struct mrmr_catalog_sums sums;
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_node *node = NULL;
	struct mrmr_error err = {0};
	unsigned int left = STEPS_MAX;
	struct mrmr_uuid uuid;
	uint64_t after = 0;
	size_t len = 0;
	unsigned int i;

	mrmr_catalog_check(cat, &err);
	for (i = 0;
	     i < STEPS_MAX && mrmr_catalog_next(cat, frame, after, &node) == 0;
	     i++) {
		FUZZ_MUST(node->id > after);
		after = node->id;
		read_node(cat, frame, node);
	}
	mrmr_catalog_list(cat, MRMR_ID_ROOT, see, &left);
	left = STEPS_MAX;
	mrmr_catalog_list(cat, MRMR_ID_TRASH, see, &left);
	after = 0;
	for (i = 0; i < STEPS_MAX &&
		    mrmr_catalog_next_stripe(cat, frame, after, &stripe) == 0;
	     i++) {
		FUZZ_MUST(stripe->id > after);
		after = stripe->id;
		read_stripe(cat, stripe);
	}
	read_classes(cat, frame);
	for (i = 0; i < 6; i++) {
		mrmr_catalog_sums(cat, (uint16_t)i, &sums);
		mrmr_catalog_member_id(cat, (uint16_t)i, &uuid);
	}
	mrmr_catalog_sums(cat, MRMR_MEMBER_NONE, &sums);
	mrmr_catalog_get_note(cat, frame, "short", &len);
	talloc_free(frame);
}

/* --- changes ---------------------------------------------------------------------- */

static void change_node(struct mrmr_catalog *cat, struct mrmr_node *node)
{
	struct mrmr_extent extent = {
		.len_bytes = 1,
		.state = MRMR_EXTENT_BARE,
	};
	unsigned int what = (unsigned int)(node->id % 5);
	struct mrmr_node fresh = *node;

	node->mtime_ns++;
	mrmr_catalog_put(cat, node, NULL);
	fresh.id = 0;
	fresh.name = (char *)"fresh";
	fresh.xattrs = NULL;
	fresh.xattrs_len = 0;
	mrmr_catalog_put(cat, &fresh, NULL);
	if (what == 0) {
		mrmr_catalog_rename(cat, node->dir_id, node->name, MRMR_ID_ROOT,
				    "moved");
	} else if (what == 1) {
		mrmr_catalog_link(cat, node->id, MRMR_ID_ROOT, "linked");
	} else if (what == 2 && node->kind == MRMR_NODE_FILE) {
		mrmr_catalog_put_extents(cat, node->id, node->num_extents,
					 &extent, 1);
	} else if (what == 3 && node->kind == MRMR_NODE_FILE) {
		mrmr_catalog_cut_extents(cat, node->id, 0);
	}
	mrmr_catalog_remove(cat, node->dir_id, node->name);
}

static void change_all(struct mrmr_catalog *cat, void *frame)
{
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_node *node = NULL;
	uint64_t after = 0;
	unsigned int i;

	for (i = 0; i < STEPS_MAX &&
		    mrmr_catalog_next_stripe(cat, frame, after, &stripe) == 0;
	     i++) {
		after = stripe->id;
		mrmr_catalog_set_scrubbed(cat, after, 1);
		if (after % 2 == 0) {
			mrmr_catalog_put_stripe(cat, stripe, NULL);
		} else {
			mrmr_catalog_remove_stripe(cat, after);
		}
	}
	after = 0;
	for (i = 0;
	     i < STEPS_MAX && mrmr_catalog_next(cat, frame, after, &node) == 0;
	     i++) {
		after = node->id;
		if (after != MRMR_ID_ROOT) {
			change_node(cat, node);
		}
	}
}

void catalog_walk_change(struct mrmr_catalog *cat, struct mrmr_catalog *part)
{
	void *frame = talloc_new(NULL);
	struct mrmr_error err = {0};

	if (part != NULL) {
		mrmr_catalog_attach(cat, 0, part);
	}
	if (mrmr_catalog_begin(cat) == 0) {
		change_all(cat, frame);
		mrmr_catalog_commit(cat, &err);
	}
	if (part != NULL) {
		mrmr_catalog_refresh_part(cat, 0, &err);
		mrmr_catalog_attach(cat, 0, NULL);
	}
	talloc_free(frame);
}

/* --- recovering --------------------------------------------------------------------- */

void catalog_walk_import(struct mrmr_catalog *from, struct mrmr_catalog *to)
{
	void *frame = talloc_new(NULL);
	struct mrmr_extent extents[EXTENTS_MAX];
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_node *node = NULL;
	struct mrmr_error err = {0};
	uint64_t after = 0;
	uint32_t got = 0;
	unsigned int i;

	if (mrmr_catalog_begin(to) == -1) {
		talloc_free(frame);
		return;
	}
	mrmr_catalog_import_sequence(to, mrmr_catalog_sequence(from));
	for (i = 0;
	     i < STEPS_MAX && mrmr_catalog_next(from, frame, after, &node) == 0;
	     i++) {
		after = node->id;
		if (mrmr_catalog_import_node(to, node) == 0 &&
		    node->kind == MRMR_NODE_FILE &&
		    mrmr_catalog_get_extents(from, after, 0, extents,
					     EXTENTS_MAX, &got) == 0) {
			mrmr_catalog_import_extents(to, after, 0, extents, got);
		}
	}
	after = 0;
	for (i = 0; i < STEPS_MAX &&
		    mrmr_catalog_next_stripe(from, frame, after, &stripe) == 0;
	     i++) {
		after = stripe->id;
		mrmr_catalog_import_stripe(to, stripe);
	}
	mrmr_catalog_commit(to, &err);
	talloc_free(frame);
	catalog_walk_read(to);
}
