/*
 * Unit tests: files of several names that are in the trash, and names there that
 * the catalogue has and the member has not.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/check.h>
#include <mrmr/trash.h>
#include <mrmr/undelete.h>

#include "protecting.h"

#define LEN 100000

/* Files on three members, of which "f", on the first one, is "g" as well. */
static struct world *make(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4, .parity = "1"});

	client_write_on(w, 0, "f", 1, LEN);
	client_write_on(w, 1, "other1", 2, LEN);
	client_write_on(w, 2, "other2", 3, LEN);
	protect(w);
	assert_int_equal(do_link(w, "f", "g"), 0);
	return w;
}

/* Each protected byte is there, and need not be computed. */
static void verify_all_there(struct world *w)
{
	const struct mrmr_check_options options = {.lose = NULL};
	const struct mrmr_catalog_sums sums = sums_of(w);
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_error err = {0};
	struct mrmr_check_result *result =
		mrmr_check(engine, engine, &options, &err);

	assert_non_null(result);
	assert_int_equal(result->now.computed_bytes, 0);
	assert_int_equal(result->now.lost_bytes, 0);
	assert_int_equal(result->now.there_bytes,
			 sums.protected_bytes + sums.trash_bytes);
	talloc_free(engine);
	verify_decodable(w);
}

static void verify_emptied(struct world *w)
{
	struct mrmr_purge_result result = purge_trash(w);

	assert_int_equal(result.num_left, 0);
	assert_int_equal(world_trashed(w, 0, "f") + world_trashed(w, 0, "g"),
			 0);
	assert_int_equal(sums_of(w).trash_bytes, 0);
	verify(w, "other1", 2, LEN, 1);
	verify(w, "other2", 3, LEN, 1);
	verify_tidy(w);
}

/* One of two names is in the trash, and purged there before the protector has
   heard of it; the other one follows it. */
static void purged_before_it_is_told(void **state)
{
	struct world *w = make();

	(void)state;
	assert_int_equal(do_unlink(w, "f"), 0);
	assert_int_equal(purge_trash(w).num_removed, 1);
	assert_int_equal(do_unlink(w, "g"), 0);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "g"), 1);
	verify_all_there(w);
	verify_emptied(w);
	world_free(w);
}

/* Of two names in the trash, one is gone, behind MRMR's back or by an older MRMR:
   its bytes are there under the other one, and a scan forgets it. */
static void one_of_two_names(void **state)
{
	static const char *const names[] = {"f", "g"};
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct world *w = make();
		char command[512];

		assert_int_equal(do_unlink(w, "f"), 0);
		assert_int_equal(do_unlink(w, "g"), 0);
		protect(w);
		verify_all_there(w);
		snprintf(command, sizeof(command), "find %s -name %s -delete",
			 world_drive(w, 0, ".mrmr/trash"), names[i]);
		assert_int_equal(system(command), 0);
		assert_int_equal(world_trashed(w, 0, names[i]), 0);
		assert_int_equal(world_trashed(w, 0, names[1 - i]), 1);
		verify_all_there(w);
		protect_and_scan(w);
		verify_all_there(w);
		verify_emptied(w);
		world_free(w);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(purged_before_it_is_told),
	cmocka_unit_test(one_of_two_names),
};

int main(void)
{
	return WORLD_MAIN("trash_names", tests);
}
