/*
 * Unit tests: somebody takes files out of .mrmr/trash by hand: it is seen, and the
 * stripes that lack them are mended.
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
#include <mrmr/survey.h>

#include "protecting.h"

#define BLOCK (64 * 1024)
#define FILES 24
#define MEMBERS 4

static const char *path_of(unsigned int i)
{
	static char path[32];

	snprintf(path, sizeof(path), "f%u", i);
	return path;
}

/* Some are packed, some have a slot of their own. */
static size_t len_of(unsigned int i)
{
	return i % 3 == 0 ? BLOCK : 3000 + i;
}

/* Of the first member, and one of another. */
static bool is_deleted(unsigned int i)
{
	return i % 8 == 0 || i == 4 || i == 9;
}

static struct world *new_world(const char *parity)
{
	const struct world_shape shape = {
		.num_members = MEMBERS,
		.parity = parity,
		.config = ", \"block_size\": \"64K\"",
	};
	struct world *w = world_new(&shape);
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		client_write_on(w, i % MEMBERS, path_of(i), i, len_of(i));
	}
	protect(w);
	for (i = 0; i < FILES; i++) {
		if (is_deleted(i)) {
			assert_int_equal(do_unlink(w, path_of(i)), 0);
		}
	}
	protect(w);
	return w;
}

static void empty_trash(struct world *w, size_t member)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -r %s",
		 world_member(w, member, ".mrmr/trash"));
	assert_int_equal(system(command), 0);
}

static struct mrmr_check_sums check(struct world *w)
{
	const struct mrmr_check_options options = {0};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_error err = {0};
	struct mrmr_check_result *result =
		mrmr_check(engine, engine, &options, &err);
	struct mrmr_check_sums sums;

	if (result == NULL) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(result->wrong_records, 0);
	sums = result->now;
	talloc_free(engine);
	return sums;
}

static bool is_there(uint16_t member, void *private_data)
{
	(void)member;
	(void)private_data;
	return true;
}

static bool is_kept(const struct mrmr_node *node, const char *path,
		    void *private_data)
{
	char name[512];

	/* members have their numbers in their order */
	snprintf(name, sizeof(name), ".mrmr/trash/%s", path);
	return world_there(world_member(private_data, node->member, name));
}

static struct mrmr_survey survey(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_survey survey;

	assert_return_code(mrmr_survey(engine->catalog, mrmr_pool_rows(w->pool),
				       is_there, is_kept, w, &survey),
			   errno);
	talloc_free(engine);
	return survey;
}

static void verify_rest(struct world *w, unsigned int rows)
{
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		if (!is_deleted(i)) {
			verify(w, path_of(i), i, len_of(i), rows);
		}
	}
}

/* All is as it should be, and of the first member nothing is in the trash. */
static void verify_mended(struct world *w, unsigned int rows)
{
	struct mrmr_check_sums sums = check(w);
	struct mrmr_survey seen = survey(w);

	assert_int_equal(sums.computed_bytes, 0);
	assert_int_equal(sums.lost_bytes, 0);
	assert_int_equal(sums.reduced_bytes, 0);
	assert_int_equal(seen.trash_missing, 0);
	assert_int_equal(seen.degraded_bytes + seen.at_risk_bytes, 0);
	assert_int_equal(pending_of(w), 0);
	verify_rest(w, rows);
	verify_decodable(w);
	verify_tidy(w);
}

static void it_is_seen_and_mended(void **state)
{
	static const char *const parities[] = {"1", "2"};
	unsigned int rows;

	(void)state;
	for (rows = 1; rows <= 2; rows++) {
		struct world *w = new_world(parities[rows - 1]);
		struct mrmr_check_sums sums = check(w);
		struct mrmr_survey seen = survey(w);
		uint64_t trash_bytes = seen.trash_bytes;

		assert_int_equal(sums.computed_bytes, 0);
		assert_int_equal(seen.trash_missing, 0);
		assert_int_equal(seen.degraded_bytes + seen.at_risk_bytes, 0);
		empty_trash(w, 0);

		/* it is told as it is: 0, 4, 8 and 16 lay there */
		sums = check(w);
		assert_int_equal(sums.computed_bytes, len_of(0) + len_of(4) +
							      len_of(8) +
							      len_of(16));
		assert_true(sums.reduced_bytes > 0);
		assert_int_equal(sums.risk_bytes > 0, rows == 1);
		seen = survey(w);
		assert_int_equal(seen.trash_missing, 4);
		assert_int_equal(seen.at_risk_bytes > 0, rows == 1);
		assert_int_equal(seen.degraded_bytes > 0, rows == 2);
		assert_int_equal(seen.lost_bytes, 0);

		protect_and_scan(w);
		verify_mended(w, rows);
		/* the other one stays */
		assert_int_equal(survey(w).trash_bytes,
				 trash_bytes - len_of(0) - len_of(4) -
					 len_of(8) - len_of(16));
		assert_int_equal(world_trashed(w, 1, "f9"), 1);
		world_free(w);
	}
}

/* It was not removed, but put back into the share: then it has its name again. */
static void it_was_put_back(void **state)
{
	struct world *w = new_world("1");
	char command[1200];

	(void)state;
	snprintf(command, sizeof(command), "mv %s/*/f8 %s && mv %s/*/f16 %s",
		 world_member(w, 0, ".mrmr/trash"), world_member(w, 0, "f8"),
		 world_member(w, 0, ".mrmr/trash"),
		 world_member(w, 0, "other"));
	assert_int_equal(system(command), 0);
	mrmr_dir_cache_clear(w->pool);
	protect_and_scan(w);
	verify_mended(w, 1);
	verify(w, "f8", 8, len_of(8), 1);
	verify(w, "other", 16, len_of(16), 1);
	assert_int_equal(world_trashed(w, 0, "f0"), 1);
	assert_int_equal(world_trashed(w, 0, "f4"), 1);
	world_free(w);
}

/* What cannot be looked at is not taken for removed. */
static void a_member_that_is_away(void **state)
{
	struct world *w = new_world("1");
	uint64_t trash_bytes = survey(w).trash_bytes;

	(void)state;
	world_unplug(w, 0);
	protect_and_scan(w);
	assert_int_equal(survey(w).trash_bytes, trash_bytes);
	world_plug(w, 0);
	world_later(w);
	protect_and_scan(w);
	assert_int_equal(survey(w).trash_bytes, trash_bytes);
	assert_int_equal(world_trashed(w, 0, "f0"), 1);
	verify_mended(w, 1);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

static void killed_while_it_is_mended(void **state)
{
	static const char *const faults[] = {
		"protect-applied#1=kill",   "protect-synced#1=kill",
		"protect-committed#1=kill", "catalog-commit#1=kill",
		"catalog-commit#2=kill",    "protect-before-drop#2=kill",
		"stripes-job#1=kill",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = new_world("1");

		empty_trash(w, 0);
		lose_events(w); /* asks for a scan */
		if (!protect_killed(w, faults[i])) {
			fail_msg("%s is not reached", faults[i]);
		}
		verify_rest(w, 0);
		protect(w);
		verify_mended(w, 1);
		world_free(w);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_seen_and_mended),
		cmocka_unit_test(it_was_put_back),
		cmocka_unit_test(a_member_that_is_away),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(killed_while_it_is_mended),
#endif
	};

	return WORLD_MAIN("trash_emptied", tests);
}
