/*
 * Unit tests of the format of the catalogue: a reader that was written from
 * docs/catalogue.md (tests/tools/catalog_reader.py) finds what MRMR finds.
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "catalog_world.h"
#include "scratch.h"

static void put_hex(FILE *out, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	size_t i;

	for (i = 0; i < len; i++) {
		fprintf(out, "%02x", at[i]);
	}
}

static void put_name(FILE *out, const struct mrmr_link *name)
{
	fprintf(out, " name %llu ", (unsigned long long)name->dir_id);
	put_hex(out, name->name, strlen(name->name));
	fputc('\n', out);
}

static void put_extent(FILE *out, const struct mrmr_extent *e)
{
	fprintf(out, " extent %d len %u sha256 ", e->state, e->len_bytes);
	put_hex(out, e->sha256, sizeof(e->sha256));
	fprintf(out, " sum %016llx stripe %llu slot %u offset %u\n",
		(unsigned long long)e->checksum, (unsigned long long)e->stripe,
		e->slot, e->slot_offset);
}

static void put_node(FILE *out, struct mrmr_catalog *cat,
		     const struct mrmr_node *n)
{
	struct mrmr_extent extents[MODEL_EXTENTS];
	void *frame = talloc_new(NULL);
	struct mrmr_link *names = NULL;
	uint32_t num_extents = 0;
	size_t num_names = 0;
	size_t i;

	fprintf(out,
		"node %llu kind %d member %u inode %llu size %llu mtime %lld "
		"mode %o uid %u gid %u device %llu grid %u generation %u "
		"xattrs ",
		(unsigned long long)n->id, n->kind, n->member,
		(unsigned long long)n->inode, (unsigned long long)n->size_bytes,
		(long long)n->mtime_ns, n->mode, n->uid, n->gid,
		(unsigned long long)n->device, n->grid_bytes, n->generation);
	put_hex(out, n->xattrs, n->xattrs_len);
	fputs(" target ", out);
	put_hex(out, n->target, n->target != NULL ? strlen(n->target) : 0);
	fputc('\n', out);
	assert_int_equal(mrmr_catalog_links(cat, frame, n->id, &names,
					    &num_names),
			 0);
	for (i = 0; i < num_names; i++) {
		put_name(out, &names[i]);
	}
	if (n->kind == MRMR_NODE_FILE) {
		assert_int_equal(mrmr_catalog_get_extents(cat, n->id, 0,
							  extents,
							  MODEL_EXTENTS,
							  &num_extents),
				 0);
	}
	for (i = 0; i < num_extents; i++) {
		put_extent(out, &extents[i]);
	}
	talloc_free(frame);
}

static void put_stripe(FILE *out, struct mrmr_catalog *cat,
		       const struct mrmr_stripe *s)
{
	uint16_t day = 0;
	uint32_t i, j;

	assert_int_equal(mrmr_catalog_scrubbed(cat, s->id, &day), 0);
	fprintf(out, "stripe %llu day %u\n", (unsigned long long)s->id, day);
	for (i = 0; i < s->num_slots; i++) {
		const struct mrmr_slot *slot = &s->slots[i];

		fprintf(out, " slot %u member %u len %u\n", slot->slot,
			slot->member, slot->len_bytes);
		for (j = 0; j < slot->num_pieces; j++) {
			fprintf(out, "  piece %llu %u %u\n",
				(unsigned long long)slot->pieces[j].file,
				slot->pieces[j].index,
				slot->pieces[j].len_bytes);
		}
	}
	for (i = 0; i < s->num_rows; i++) {
		const struct mrmr_row *row = &s->rows[i];

		fprintf(out, " row %u member %u len %u sha256 ", row->row,
			row->member, row->len_bytes);
		put_hex(out, row->sha256, sizeof(row->sha256));
		fprintf(out, " sum %016llx\n",
			(unsigned long long)row->checksum);
	}
}

static void put_notes(FILE *out, struct mrmr_catalog *cat)
{
	size_t i;

	for (i = 0; i < MODEL_NOTES; i++) {
		uint8_t *note = NULL;
		char name[16];
		size_t len = 0;

		snprintf(name, sizeof(name), "note%zu", i);
		note = mrmr_catalog_get_note(cat, NULL, name, &len);
		if (note != NULL) {
			fputs("note ", out);
			put_hex(out, name, strlen(name));
			fputc(' ', out);
			put_hex(out, note, len);
			fputc('\n', out);
			talloc_free(note);
		}
	}
}

static void dump(struct catalog_world *w, struct mrmr_catalog *cat,
		 const char *name)
{
	FILE *out = fopen(scratch_path(&w->scratch, name), "w");
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_node *node = NULL;
	uint64_t after = 0;
	uint16_t i;

	for (i = 0; i < mrmr_catalog_num_members(cat); i++) {
		struct mrmr_uuid id;

		assert_int_equal(mrmr_catalog_member_id(cat, i, &id), 0);
		fprintf(out, "member %u ", i);
		put_hex(out, id.byte, sizeof(id.byte));
		fputc('\n', out);
	}
	put_notes(out, cat);
	while (mrmr_catalog_next(cat, NULL, after, &node) == 0) {
		after = node->id;
		put_node(out, cat, node);
		talloc_free(node);
	}
	after = 0;
	while (mrmr_catalog_next_stripe(cat, NULL, after, &stripe) == 0) {
		after = stripe->id;
		put_stripe(out, cat, stripe);
		talloc_free(stripe);
	}
	fclose(out);
}

/* The program fails if anything but what it prints makes no sense. */
static void compare(struct catalog_world *w, const char *folder,
		    const char *name, const char *dumped)
{
	char *command = NULL;
	int status;

	assert_true(asprintf(&command,
			     "/usr/bin/python3 -B '%s/tools/catalog_reader.py' "
			     "'%s' '%s' >'%s' && cmp '%s' '%s'",
			     MRMR_TESTS, scratch_path(&w->scratch, folder),
			     name, scratch_path(&w->scratch, "read"),
			     scratch_path(&w->scratch, "read"),
			     scratch_path(&w->scratch, dumped)) > 0);
	status = system(command);
	assert_int_equal(status, 0);
	free(command);
}

static void run(struct catalog_world *w)
{
	unsigned int i, round;
	uint16_t member;

	for (member = 0; member < 3; member++) {
		catalog_world_attach(w, member);
		catalog_world_refresh(w, member);
	}
	for (round = 0; round < 5; round++) {
		for (i = 0; i < 4; i++) {
			unsigned int j;

			catalog_world_begin(w);
			for (j = 0; j < 100; j++) {
				model_change(w->model, w->cat, &w->random);
			}
			catalog_world_commit(w);
		}
		dump(w, w->cat, "dumped");
		compare(w, "state/catalogue", "0.tdb", "dumped");
	}
	for (member = 0; member < 3; member++) {
		char folder[16];

		snprintf(folder, sizeof(folder), "m%u", member);
		dump(w, w->parts[member], "dumped");
		compare(w, folder, "mrmr.db", "dumped");
	}
}

static void test_another_reader_finds_the_same(void **state)
{
	run(*state);
}

static void test_another_reader_finds_the_same_in_many_files(void **state)
{
	struct catalog_world *w = *state;

	catalog_world_make_small_files(w);
	run(w);
	assert_true(catalog_world_num_files(w, MRMR_MEMBER_NONE) > 3);
}

int main(void)
{
#define TEST(name)                                                 \
	cmocka_unit_test_setup_teardown(name, catalog_world_setup, \
					catalog_world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_another_reader_finds_the_same),
		TEST(test_another_reader_finds_the_same_in_many_files),
	};

	return cmocka_run_group_tests_name("catalog: format", tests, NULL,
					   NULL);
}
