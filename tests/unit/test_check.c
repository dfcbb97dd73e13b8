/*
 * Unit tests: can every protected file be had?
 *
 * What check says by names and sizes is compared with what decoding does: for
 * every set of members that is away.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/check.h>
#include <mrmr/decode.h>
#include <mrmr/live.h>

#include "checked.h"

static bool is_lost(const struct mrmr_check_result *r, const struct pfile *file)
{
	return checked_find(r, file) != NULL &&
	       checked_find(r, file)->lost_bytes > 0;
}

/* By reading the file, or computing it. */
static bool can_be_had(struct checked *k, const struct pfile *file)
{
	struct mrmr_node *node = protected_node(k->p, file);
	struct mrmr_decode *job = NULL;
	struct mrmr_live *live = NULL;
	uint8_t *bytes = malloc(file->len);
	bool had = false;

	assert_non_null(bytes);
	if (mrmr_live_open(node, k->p->engine, node, &live) == 0) {
		had = mrmr_live_read(live, bytes, file->len, 0) == 0 &&
		      memcmp(bytes, file->bytes, file->len) == 0;
	}
	if (!had) {
		job = mrmr_decode_extent(node, k->p->engine, node, 0, NULL);
		had = job != NULL && mrmr_decode_run(job, bytes) == 0;
	}
	free(bytes);
	talloc_free(node);
	return had;
}

static void test_healthy(void **state)
{
	struct checked k;
	struct mrmr_check_result *r = NULL;
	uint64_t all = 0;
	size_t i;

	checked_make(&k);
	for (i = 0; i < NUM_FILES; i++) {
		all += k.files[i]->len;
	}
	r = checked_check(&k, NULL);
	assert_int_equal(r->num_stripes, 2);
	assert_int_equal(r->num_files, NUM_FILES);
	assert_int_equal(r->num_listed, 0);
	assert_int_equal(r->now.there_bytes, all);
	assert_int_equal(r->now.computed_bytes, 0);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(r->now.reduced_bytes, 0);
	assert_int_equal(r->unprotected_bytes, 0);
	assert_int_equal(r->missing_rows + r->away_rows + r->short_stripes +
				 r->crowded_stripes + r->changed_files +
				 r->wrong_records,
			 0);
	checked_free(&k);
}

/* Check says that a file is lost exactly when nobody can have its bytes. */
static void test_every_set_of_members(void **state)
{
	struct checked k;
	unsigned int members;
	size_t i;

	checked_make(&k);
	for (members = 0; members < 32; members++) {
		struct mrmr_check_result *then = NULL;
		struct mrmr_check_result *now = NULL;
		bool lose[5];

		for (i = 0; i < 5; i++) {
			lose[i] = (members >> i & 1) != 0;
		}
		protected_hide(k.p, 0);
		then = checked_check(&k, lose);
		assert_int_equal(then->now.lost_bytes, 0);
		protected_hide(k.p, members);
		now = checked_check(&k, NULL);
		for (i = 0; i < NUM_FILES; i++) {
			const struct mrmr_check_file *file =
				checked_find(then, k.files[i]);

			assert_int_equal(is_lost(now, k.files[i]),
					 !can_be_had(&k, k.files[i]));
			assert_int_equal(is_lost(now, k.files[i]),
					 file != NULL &&
						 file->then_lost_bytes > 0);
		}
		assert_int_equal(now->now.lost_files, then->then.lost_files);
		assert_int_equal(now->now.lost_bytes, then->then.lost_bytes);
		assert_int_equal(now->now.computed_bytes,
				 then->then.computed_bytes);
		assert_int_equal(now->now.risk_bytes, then->then.risk_bytes);
		assert_int_equal(now->now.there_bytes, then->then.there_bytes);
		/* what would be lost beside what is away */
		for (i = 0; i < 5; i++) {
			lose[i] = i == 4;
		}
		then = checked_check(&k, lose);
		protected_hide(k.p, members | 1u << 4);
		now = checked_check(&k, NULL);
		assert_int_equal(now->now.lost_bytes, then->then.lost_bytes);
		talloc_free(now);
		talloc_free(then);
	}
	checked_free(&k);
}

/* With one parity block and one member away, the rest of the stripe is at risk,
   but only where the away block has bytes. */
static void test_risk(void **state)
{
	struct checked k;
	struct mrmr_check_result *r = NULL;

	checked_make(&k);
	protected_hide(k.p, 1u << 0); /* slot 0 of stripe 1 ends at 1517 */
	r = checked_check(&k, NULL);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(r->now.computed_bytes, 50000 + 1000 + 17);
	assert_non_null(checked_find(r, k.files[5]));
	assert_int_equal(checked_find(r, k.files[5])->risk_bytes, 3000);
	assert_int_equal(checked_find(r, k.files[7])->risk_bytes, 6000);
	assert_null(checked_find(r, k.files[6])); /* from 3000 on */
	assert_null(checked_find(r, k.files[1])); /* two rows */
	/* of stripe 0, both others miss one of their two */
	assert_int_equal(r->now.reduced_bytes, GRID + 777 + 3000 + 6000);
	assert_int_equal(r->away_rows, 0);
	protected_hide(k.p, 1u << 3);
	r = checked_check(&k, NULL);
	assert_int_equal(r->away_rows, 1);
	assert_int_equal(r->missing_rows, 0);
	checked_free(&k);
}

/* Parity blocks that are gone, or cut. */
static void test_parity(void **state)
{
	struct checked k;
	struct mrmr_check_result *r = NULL;
	struct mrmr_stripe *stripe = NULL;

	checked_make(&k);
	stripe = protected_get_stripe(k.p, k.stripes[0]);
	assert_return_code(truncate(protected_blob(k.p, stripe, 0), 100),
			   errno);
	r = checked_check(&k, NULL);
	assert_int_equal(r->missing_rows, 1);
	assert_int_equal(r->now.risk_bytes, 0);
	assert_int_equal(r->now.reduced_bytes, 50000 + GRID + 777);
	assert_return_code(unlink(protected_blob(k.p, stripe, 1)), errno);
	stripe = protected_get_stripe(k.p, k.stripes[1]);
	assert_return_code(unlink(protected_blob(k.p, stripe, 0)), errno);
	r = checked_check(&k, NULL);
	assert_int_equal(r->missing_rows, 3);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(r->now.risk_files, NUM_FILES);
	assert_int_equal(r->now.risk_bytes, r->now.there_bytes);
	checked_free(&k);
}

/* Files that are gone, cut, overwritten with and without a pre-image. */
static void test_files(void **state)
{
	struct checked k;
	struct mrmr_check_result *r = NULL;

	checked_make(&k);
	/* as clients write: the bytes are in the pre-image */
	protected_overwrite(k.p, k.files[1], 100, 5000, 99);
	r = checked_check(&k, NULL);
	assert_int_equal(r->changed_files, 1);
	assert_true(checked_find(r, k.files[1])->has_changed);
	assert_int_equal(r->now.lost_bytes + r->now.computed_bytes, 0);
	/* cut off behind our back: no pre-image of what is gone */
	assert_return_code(truncate(protected_where(k.p, k.files[7]), 10),
			   errno);
	r = checked_check(&k, NULL);
	assert_int_equal(r->now.computed_bytes, 6000);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(checked_find(r, k.files[3])->risk_bytes, 1000);
	/* one packed file deleted: with the one above, too much in its range */
	assert_return_code(unlink(protected_where(k.p, k.files[3])), errno);
	r = checked_check(&k, NULL);
	assert_int_equal(r->now.lost_files, 2);
	assert_true(is_lost(r, k.files[3]));
	assert_true(is_lost(r, k.files[7]));
	assert_false(can_be_had(&k, k.files[3]));
	assert_false(can_be_had(&k, k.files[7]));
	assert_true(can_be_had(&k, k.files[5]));
	assert_false(is_lost(r, k.files[5]));
	/* a file that is gone, but whose pre-image is whole, is there */
	assert_return_code(unlink(protected_where(k.p, k.files[1])), errno);
	r = checked_check(&k, NULL);
	assert_int_equal(r->now.computed_bytes, 0);
	checked_free(&k);
}

static void test_wrong_records(void **state)
{
	struct checked k;
	struct mrmr_check_result *r = NULL;
	struct mrmr_catalog *cat = NULL;
	struct mrmr_extent extent;
	struct mrmr_error err = {0};
	uint32_t got = 0;

	checked_make(&k);
	cat = k.p->engine->catalog;
	assert_return_code(mrmr_catalog_get_extents(cat, k.files[5]->id, 0,
						    &extent, 1, &got),
			   errno);
	extent.slot_offset++;
	assert_return_code(mrmr_catalog_begin(cat), errno);
	assert_return_code(mrmr_catalog_put_extents(cat, k.files[5]->id, 0,
						    &extent, 1),
			   errno);
	assert_return_code(mrmr_catalog_commit(cat, &err), errno);
	r = checked_check(&k, NULL);
	assert_int_equal(r->wrong_records, 1);
	assert_int_equal(r->now.lost_files, 1);
	assert_true(is_lost(r, k.files[5]));
	/* file c says that it has a second extent where nothing is of it */
	extent.slot_offset--;
	assert_return_code(mrmr_catalog_begin(cat), errno);
	assert_return_code(mrmr_catalog_put_extents(cat, k.files[5]->id, 0,
						    &extent, 1),
			   errno);
	assert_return_code(mrmr_catalog_put_extents(cat, k.files[2]->id, 1,
						    &extent, 1),
			   errno);
	assert_return_code(mrmr_catalog_commit(cat, &err), errno);
	r = checked_check(&k, NULL);
	assert_int_equal(r->wrong_records, 1);
	assert_int_equal(r->now.lost_files, 1);
	assert_int_equal(checked_find(r, k.files[2])->lost_bytes,
			 extent.len_bytes);
	checked_free(&k);
}

/* Bytes in no stripe are lost with their member. */
static void test_bare(void **state)
{
	struct checked k;
	struct mrmr_check_result *r = NULL;
	struct pfile *bare = NULL;
	struct pfile *zeros = NULL;
	bool lose[5] = {false, true};

	checked_make(&k);
	bare = protected_file(k.p, 1, "bare", 9, GRID + 5, GRID);
	zeros = protected_file(k.p, 1, "zeros", 0, GRID + 5, GRID);
	protected_file(k.p, 1, "empty", 1, 0, GRID);
	r = checked_check(&k, lose);
	assert_int_equal(r->unprotected_bytes, GRID + 5);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(r->then.lost_files, 1);
	assert_int_equal(checked_find(r, bare)->then_lost_bytes, GRID + 5);
	assert_null(checked_find(r, zeros));
	protected_hide(k.p, 1u << 1);
	r = checked_check(&k, NULL);
	assert_int_equal(checked_find(r, bare)->lost_bytes, GRID + 5);
	checked_free(&k);
}

/* --- what the catalogue does not know ------------------------------------------- */

struct seen {
	char text[512];
};

static int take(const struct mrmr_check_stray *stray, void *private_data)
{
	struct seen *seen = private_data;
	size_t len = strlen(seen->text);

	snprintf(seen->text + len, sizeof(seen->text) - len, "%s:%llu:%d ",
		 stray->path, (unsigned long long)stray->size_bytes,
		 stray->id != 0);
	return 0;
}

static const char *strays(struct checked *k, size_t member)
{
	static struct seen seen;
	struct mrmr_error err = {0};

	seen.text[0] = '\0';
	assert_int_equal(mrmr_check_strays(k->p->engine, member, take, &seen,
					   &err),
			 0);
	return seen.text;
}

static void test_strays(void **state)
{
	struct checked k;
	char from[512];

	checked_make(&k);
	assert_string_equal(strays(&k, 1), "");
	protected_overwrite(k.p, k.files[6], 4999, 10, 98);
	assert_string_equal(strays(&k, 1), "b/last:5009:1 ");
	world_write(world_drive(k.p->w, 2, "x/y/new"), "new");
	snprintf(from, sizeof(from), "%s", world_drive(k.p->w, 2, "x/y/new"));
	assert_return_code(link(from, world_drive(k.p->w, 2, "x/y/again")),
			   errno);
	assert_return_code(symlink("/etc", world_drive(k.p->w, 2, "x/link")),
			   errno);
	assert_true(strcmp(strays(&k, 2), "x/y/new:3:0 ") == 0 ||
		    strcmp(strays(&k, 2), "x/y/again:3:0 ") == 0);
	protected_unplug(k.p, 1u << 1);
	assert_int_equal(mrmr_check_strays(k.p->engine, 1, take, &from, NULL),
			 -1);
	protected_unplug(k.p, 0);
	checked_free(&k);
}

static bool stop_at_once(void *private_data)
{
	return true;
}

static void test_stop(void **state)
{
	struct mrmr_check_options options = {.should_stop = stop_at_once};
	struct mrmr_check_result *r = NULL;
	struct checked k;

	checked_make(&k);
	r = mrmr_check(k.p->engine, k.p->engine, &options, NULL);
	assert_non_null(r);
	assert_false(r->is_complete);
	checked_free(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healthy),
		cmocka_unit_test(test_every_set_of_members),
		cmocka_unit_test(test_risk),
		cmocka_unit_test(test_parity),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_wrong_records),
		cmocka_unit_test(test_bare),
		cmocka_unit_test(test_strays),
		cmocka_unit_test(test_stop),
	};

	return WORLD_MAIN("check", tests);
}
