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

#include "protected.h"

#define GRID 65536
#define NUM_FILES 8

/* Five members. Stripe 0: one large extent each of 0, 1, 2; rows on 3 and 4.
   Stripe 1: packed files on 0 and 1 with a gap, large on 3; row on 2. */
struct pool {
	struct protected *p;
	struct pfile *files[NUM_FILES];
	uint64_t stripes[2];
};

static void make_pool(struct pool *k)
{
	static const struct world_shape shape = {.num_members = 5,
						 .parity = "1"};
	static const struct prow rows[] = {{0, 3}, {2, 4}};
	static const struct prow row[] = {{0, 2}};
	struct pfile **f = k->files;

	k->p = protected_new(&shape);
	f[0] = protected_file(k->p, 0, "a/large", 1, 50000, GRID);
	f[1] = protected_file(k->p, 1, "b/large", 2, GRID, GRID);
	f[2] = protected_file(k->p, 2, "c", 3, 777, GRID);
	f[3] = protected_file(k->p, 0, "a/small", 4, 1000, GRID);
	f[4] = protected_file(k->p, 0, "a/tiny", 5, 17, GRID);
	f[5] = protected_file(k->p, 1, "b/small", 6, 3000, GRID);
	f[6] = protected_file(k->p, 1, "b/last", 7, 5000, GRID);
	f[7] = protected_file(k->p, 3, "d", 8, 6000, GRID);
	k->stripes[0] = protected_stripe(k->p,
					 (struct pslot[]){{0, {{f[0], 0, 0}}},
							  {1, {{f[1], 0, 0}}},
							  {5, {{f[2], 0, 0}}},
							  {0}},
					 rows, 2);
	k->stripes[1] = protected_stripe(k->p,
					 (struct pslot[]){{0,
							   {{f[3], 0, 0},
							    {NULL, 0, 500},
							    {f[4], 0, 0}}},
							  {1,
							   {{f[5], 0, 0},
							    {f[6], 0, 0}}},
							  {2, {{f[7], 0, 0}}},
							  {0}},
					 row, 1);
}

static void free_pool(struct pool *k)
{
	protected_hide(k->p, 0);
	protected_free(k->p);
}

static struct mrmr_check_result *check(struct pool *k, const bool *lose)
{
	struct mrmr_check_options options = {.lose = lose};
	struct mrmr_error err = {0};
	struct mrmr_check_result *result =
		mrmr_check(k->p->engine, k->p->engine, &options, &err);

	if (result == NULL) {
		fail_msg("%s", err.text);
	}
	assert_true(result->is_complete);
	return result;
}

static const struct mrmr_check_file *find(const struct mrmr_check_result *r,
					  const struct pfile *file)
{
	size_t i;

	for (i = 0; i < r->num_listed; i++) {
		if (r->files[i].id == file->id) {
			return &r->files[i];
		}
	}
	return NULL;
}

static bool is_lost(const struct mrmr_check_result *r, const struct pfile *file)
{
	return find(r, file) != NULL && find(r, file)->lost_bytes > 0;
}

/* By reading the file, or computing it. */
static bool can_be_had(struct pool *k, const struct pfile *file)
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
	struct pool k;
	struct mrmr_check_result *r = NULL;
	uint64_t all = 0;
	size_t i;

	make_pool(&k);
	for (i = 0; i < NUM_FILES; i++) {
		all += k.files[i]->len;
	}
	r = check(&k, NULL);
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
	free_pool(&k);
}

/* Check says that a file is lost exactly when nobody can have its bytes. */
static void test_every_set_of_members(void **state)
{
	struct pool k;
	unsigned int members;
	size_t i;

	make_pool(&k);
	for (members = 0; members < 32; members++) {
		struct mrmr_check_result *then = NULL;
		struct mrmr_check_result *now = NULL;
		bool lose[5];

		for (i = 0; i < 5; i++) {
			lose[i] = (members >> i & 1) != 0;
		}
		protected_hide(k.p, 0);
		then = check(&k, lose);
		assert_int_equal(then->now.lost_bytes, 0);
		protected_hide(k.p, members);
		now = check(&k, NULL);
		for (i = 0; i < NUM_FILES; i++) {
			const struct mrmr_check_file *file =
				find(then, k.files[i]);

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
		then = check(&k, lose);
		protected_hide(k.p, members | 1u << 4);
		now = check(&k, NULL);
		assert_int_equal(now->now.lost_bytes, then->then.lost_bytes);
		talloc_free(now);
		talloc_free(then);
	}
	free_pool(&k);
}

/* With one parity block and one member away, the rest of the stripe is at risk,
   but only where the away block has bytes. */
static void test_risk(void **state)
{
	struct pool k;
	struct mrmr_check_result *r = NULL;

	make_pool(&k);
	protected_hide(k.p, 1u << 0); /* slot 0 of stripe 1 ends at 1517 */
	r = check(&k, NULL);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(r->now.computed_bytes, 50000 + 1000 + 17);
	assert_non_null(find(r, k.files[5]));
	assert_int_equal(find(r, k.files[5])->risk_bytes, 3000);
	assert_int_equal(find(r, k.files[7])->risk_bytes, 6000);
	assert_null(find(r, k.files[6])); /* from 3000 on */
	assert_null(find(r, k.files[1])); /* two rows */
	/* of stripe 0, both others miss one of their two */
	assert_int_equal(r->now.reduced_bytes, GRID + 777 + 3000 + 6000);
	assert_int_equal(r->away_rows, 0);
	protected_hide(k.p, 1u << 3);
	r = check(&k, NULL);
	assert_int_equal(r->away_rows, 1);
	assert_int_equal(r->missing_rows, 0);
	free_pool(&k);
}

/* Parity blocks that are gone, or cut. */
static void test_parity(void **state)
{
	struct pool k;
	struct mrmr_check_result *r = NULL;
	struct mrmr_stripe *stripe = NULL;

	make_pool(&k);
	stripe = protected_get_stripe(k.p, k.stripes[0]);
	assert_return_code(truncate(protected_blob(k.p, stripe, 0), 100),
			   errno);
	r = check(&k, NULL);
	assert_int_equal(r->missing_rows, 1);
	assert_int_equal(r->now.risk_bytes, 0);
	assert_int_equal(r->now.reduced_bytes, 50000 + GRID + 777);
	assert_return_code(unlink(protected_blob(k.p, stripe, 1)), errno);
	stripe = protected_get_stripe(k.p, k.stripes[1]);
	assert_return_code(unlink(protected_blob(k.p, stripe, 0)), errno);
	r = check(&k, NULL);
	assert_int_equal(r->missing_rows, 3);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(r->now.risk_files, NUM_FILES);
	assert_int_equal(r->now.risk_bytes, r->now.there_bytes);
	free_pool(&k);
}

/* Files that are gone, cut, overwritten with and without a pre-image. */
static void test_files(void **state)
{
	struct pool k;
	struct mrmr_check_result *r = NULL;

	make_pool(&k);
	/* as clients write: the bytes are in the pre-image */
	protected_overwrite(k.p, k.files[1], 100, 5000, 99);
	r = check(&k, NULL);
	assert_int_equal(r->changed_files, 1);
	assert_true(find(r, k.files[1])->has_changed);
	assert_int_equal(r->now.lost_bytes + r->now.computed_bytes, 0);
	/* cut off behind our back: no pre-image of what is gone */
	assert_return_code(truncate(protected_where(k.p, k.files[7]), 10),
			   errno);
	r = check(&k, NULL);
	assert_int_equal(r->now.computed_bytes, 6000);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(find(r, k.files[3])->risk_bytes, 1000);
	/* one packed file deleted: with the one above, too much in its range */
	assert_return_code(unlink(protected_where(k.p, k.files[3])), errno);
	r = check(&k, NULL);
	assert_int_equal(r->now.lost_files, 2);
	assert_true(is_lost(r, k.files[3]));
	assert_true(is_lost(r, k.files[7]));
	assert_false(can_be_had(&k, k.files[3]));
	assert_false(can_be_had(&k, k.files[7]));
	assert_true(can_be_had(&k, k.files[5]));
	assert_false(is_lost(r, k.files[5]));
	/* a file that is gone, but whose pre-image is whole, is there */
	assert_return_code(unlink(protected_where(k.p, k.files[1])), errno);
	r = check(&k, NULL);
	assert_int_equal(r->now.computed_bytes, 0);
	free_pool(&k);
}

static void test_wrong_records(void **state)
{
	struct pool k;
	struct mrmr_check_result *r = NULL;
	struct mrmr_catalog *cat = NULL;
	struct mrmr_extent extent;
	struct mrmr_error err = {0};
	uint32_t got = 0;

	make_pool(&k);
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
	r = check(&k, NULL);
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
	r = check(&k, NULL);
	assert_int_equal(r->wrong_records, 1);
	assert_int_equal(r->now.lost_files, 1);
	assert_int_equal(find(r, k.files[2])->lost_bytes, extent.len_bytes);
	free_pool(&k);
}

/* Bytes in no stripe are lost with their member. */
static void test_bare(void **state)
{
	struct pool k;
	struct mrmr_check_result *r = NULL;
	struct pfile *bare = NULL;
	struct pfile *zeros = NULL;
	bool lose[5] = {false, true};

	make_pool(&k);
	bare = protected_file(k.p, 1, "bare", 9, GRID + 5, GRID);
	zeros = protected_file(k.p, 1, "zeros", 0, GRID + 5, GRID);
	protected_file(k.p, 1, "empty", 1, 0, GRID);
	r = check(&k, lose);
	assert_int_equal(r->unprotected_bytes, GRID + 5);
	assert_int_equal(r->now.lost_bytes, 0);
	assert_int_equal(r->then.lost_files, 1);
	assert_int_equal(find(r, bare)->then_lost_bytes, GRID + 5);
	assert_null(find(r, zeros));
	protected_hide(k.p, 1u << 1);
	r = check(&k, NULL);
	assert_int_equal(find(r, bare)->lost_bytes, GRID + 5);
	free_pool(&k);
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

static const char *strays(struct pool *k, size_t member)
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
	struct pool k;
	char from[512];

	make_pool(&k);
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
	free_pool(&k);
}

static bool stop_at_once(void *private_data)
{
	return true;
}

static void test_stop(void **state)
{
	struct mrmr_check_options options = {.should_stop = stop_at_once};
	struct mrmr_check_result *r = NULL;
	struct pool k;

	make_pool(&k);
	r = mrmr_check(k.p->engine, k.p->engine, &options, NULL);
	assert_non_null(r);
	assert_false(r->is_complete);
	free_pool(&k);
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
