/*
 * Unit tests: the catalogue made anew after a commit that did not come to its end,
 * with members lost on top (source/protect/recover_last.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/check.h>
#include <mrmr/decode.h>
#include <mrmr/fault.h>
#include <mrmr/recover.h>

#include "protecting.h"
#include "recovering.h"

#define MEMBERS 5
#define ROWS 2

/* --- files ---------------------------------------------------------------------- */

struct version {
	unsigned int seed;
	size_t len;
};

static const char *path_of(unsigned int i)
{
	static char path[32];

	snprintf(path, sizeof(path), "d/f%u", i);
	return path;
}

static struct version before(unsigned int i)
{
	return (struct version){.seed = i + 1, .len = 3000 + 100 * i};
}

static void check_all(struct world *w, unsigned int part)
{
	const struct mrmr_check_options options = {0};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_error err = {0};
	struct mrmr_check_result *result =
		mrmr_check(engine, engine, &options, &err);

	if (result == NULL) {
		fail_msg("%s", err.text);
	}
	if (result->wrong_records != 0 || result->now.lost_bytes != 0) {
		fail_msg("killed at part %u: %" PRIu64
			 " wrong records, %" PRIu64 " bytes lost",
			 part, result->wrong_records, result->now.lost_bytes);
	}
	talloc_free(engine);
}

/* Nobody knows the file of a block any more: when all are there, it leaves the
   stripe. */
static void test_unknown_piece(void **state)
{
	static const size_t damaged[] = {2, 3, 4};
	struct mrmr_recover_result result;
	struct world *w = world_new(
		&(struct world_shape){.num_members = MEMBERS, .parity = "2"});
	size_t i;

	for (i = 0; i < 3; i++) {
		client_write_on(w, i, path_of((unsigned int)i),
				before((unsigned int)i).seed,
				before((unsigned int)i).len);
	}
	protect(w);
	world_close(w);
	lose_catalogue(w, true);
	for (i = 0; i < 3; i++) {
		assert_return_code(unlink(world_drive(w, damaged[i],
						      ".mrmr/mrmr.db")),
				   errno);
	}
	world_unplug(w, 4);
	world_open(w);
	result = recover_well(w);
	assert_int_equal(result.lost_pieces, 1);
	protect(w);
	world_plug(w, 4);
	protect(w);
	check_all(w, 0);
	for (i = 0; i < 3; i++) {
		verify(w, path_of((unsigned int)i),
		       before((unsigned int)i).seed,
		       before((unsigned int)i).len, ROWS);
	}
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

#define FILES 9

/* --- a pool whose protector is killed ------------------------------------------- */

/* File i is on member i % 3, so its parity is on the last two; some on all. */
static size_t member_of(unsigned int i)
{
	return i < 6 ? i % 3 : i % MEMBERS;
}

/* What becomes of it: some have other bytes in the same place, some are longer. */
static struct version after(unsigned int i)
{
	struct version version = before(i);

	if (i % 4 != 3) {
		version.seed += 100;
		version.len += i % 2 == 0 ? 0 : 2000;
	}
	return version;
}

static struct world *make_pool(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = MEMBERS, .parity = "2"});
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		client_write_on(w, member_of(i), path_of(i), before(i).seed,
				before(i).len);
	}
	protect(w);
	return w;
}

/* NULL: it came to its end before. */
static struct world *make_killed(unsigned int part)
{
	struct world *w = make_pool();
	char fault[32];
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		if (after(i).seed != before(i).seed) {
			client_write(w, path_of(i), after(i).seed,
				     after(i).len);
		}
	}
	for (i = 0; i < MEMBERS; i++) {
		char path[32];

		snprintf(path, sizeof(path), "d/new%u", i);
		client_write_on(w, i, path, 200 + i, 5000);
	}
	snprintf(fault, sizeof(fault), "catalog-part#%u=kill", part);
	if (!protect_killed(w, fault)) {
		world_free(w);
		return NULL;
	}
	return w;
}

/* --- what is there ------------------------------------------------------------------ */

static bool has_bytes(struct mrmr_reader *reader, struct version version)
{
	uint8_t *bytes = seeded(version.seed, version.len);
	uint8_t *got = malloc(version.len + 1);
	struct mrmr_error err = {0};
	size_t done = 0;
	bool same;

	while (done < version.len) {
		ssize_t n = -1;

		if (mrmr_reader_prepare(reader, done, version.len - done,
					&err) == 0) {
			n = mrmr_reader_read(reader, got + done,
					     version.len - done, done);
		}
		if (n <= 0) {
			break;
		}
		done += (size_t)n;
	}
	same = done == version.len && memcmp(bytes, got, done) == 0;
	free(bytes);
	free(got);
	return same;
}

static bool is_lost(unsigned int lost, unsigned int i)
{
	return (lost >> member_of(i) & 1) != 0;
}

/* Each file of those that are lost can be had, as it was or as it is. */
static void check_files(struct world *w, unsigned int part, unsigned int lost)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		struct mrmr_reader *reader = NULL;
		struct mrmr_node *node = NULL;
		struct mrmr_error err = {0};
		struct version version = before(i);

		if (!is_lost(lost, i)) {
			continue;
		}
		if (mrmr_catalog_find_path(engine->catalog, engine, path_of(i),
					   &node) == -1) {
			fail_msg("killed at part %u, without %x: %s is not "
				 "known",
				 part, lost, path_of(i));
		}
		if (node->size_bytes != version.len || node->num_extents == 0) {
			version = after(i);
		}
		reader = mrmr_reader_open(engine, engine, node, &err);
		assert_non_null(reader);
		if (!has_bytes(reader, version) &&
		    !has_bytes(reader, after(i))) {
			fail_msg("killed at part %u, without %x: %s cannot be "
				 "had",
				 part, lost, path_of(i));
		}
	}
	talloc_free(engine);
}

static void unplug(struct world *w, unsigned int lost)
{
	size_t i;

	for (i = 0; i < MEMBERS; i++) {
		if ((lost >> i & 1) != 0) {
			world_unplug(w, i);
		}
	}
}

static void plug(struct world *w, unsigned int lost)
{
	size_t i;

	for (i = 0; i < MEMBERS; i++) {
		if ((lost >> i & 1) != 0) {
			world_plug(w, i);
		}
	}
}

/* --- the tests ----------------------------------------------------------------------- */

/* Invariants 2 and 6: at whatever part the commit ended, and whichever members are
   lost with the catalogue, all that was protected can be had. */
static void test_files(void **state)
{
	struct world *w = NULL;
	unsigned int part;
	unsigned int lost;

	for (part = 1; (w = make_killed(part)) != NULL; part++) {
		for (lost = 1; lost < 1u << MEMBERS; lost++) {
			if (__builtin_popcount(lost) > ROWS) {
				continue;
			}
			world_close(w);
			lose_catalogue(w, true);
			unplug(w, lost);
			world_open(w);
			recover_well(w);
			check_files(w, part, lost);
			world_close(w);
			plug(w, lost);
			world_open(w);
		}
		world_free(w);
	}
	assert_true(part > 2 * MEMBERS);
}

/* When they are back, all is put in order. */
static void test_order(void **state)
{
	struct world *w = NULL;
	unsigned int part;

	for (part = 1; (w = make_killed(part)) != NULL; part++) {
		unsigned int lost = 1u << part % MEMBERS;

		world_close(w);
		lose_catalogue(w, true);
		unplug(w, lost);
		world_open(w);
		recover_well(w);
		protect(w);
		world_close(w);
		plug(w, lost);
		world_open(w);
		protect(w);
		check_all(w, part);
		verify_decodable(w);
		world_free(w);
	}
}

/* --- no room ------------------------------------------------------------------------- */

static void lose(struct world *w, unsigned int lost)
{
	world_close(w);
	lose_catalogue(w, true);
	unplug(w, lost);
	world_open(w);
}

static void bring_back(struct world *w, unsigned int lost)
{
	world_close(w);
	plug(w, lost);
	world_open(w);
}

/* Recovering it takes three catalogues: with the last commit, without, and the best
   of both. Of how many steps in all. 0: it does not. */
static unsigned long count_steps(struct world *w, unsigned int lost)
{
	unsigned long steps;

	lose(w, lost);
	world_log();
	setenv("MRMR_FAULT", "recover-step#1000000=EIO", 1);
	recover_well(w);
	steps = mrmr_fault_times("recover-step");
	unsetenv("MRMR_FAULT");
	if (strstr(world_log(), "some of it is left out") == NULL) {
		steps = 0;
	}
	bring_back(w, lost);
	return steps;
}

static struct world *find_one(unsigned int *part, unsigned int *lost,
			      unsigned long *steps)
{
	struct world *w = NULL;

	for (*part = 1; (w = make_killed(*part)) != NULL; (*part)++) {
		for (*lost = 1; *lost < 1u << MEMBERS; (*lost)++) {
			if (__builtin_popcount(*lost) == ROWS) {
				*steps = count_steps(w, *lost);
				if (*steps > 0) {
					return w;
				}
			}
		}
		world_free(w);
	}
	fail_msg("no commit is ever left out");
	return NULL;
}

/* The disk is full while the second one is made: the first one gives way. */
static void test_room_for_one(void **state)
{
	unsigned long steps = 0;
	unsigned int part;
	unsigned int lost;
	struct world *w = find_one(&part, &lost, &steps);
	unsigned long at;

	(void)state;
	for (at = steps / 3 + 2; at < steps - steps / 3; at += 5) {
		char fault[48];

		lose(w, lost);
		snprintf(fault, sizeof(fault), "recover-step#%lu=ENOSPC", at);
		setenv("MRMR_FAULT", fault, 1);
		recover_well(w);
		assert_true(mrmr_fault_times("recover-step") > steps);
		unsetenv("MRMR_FAULT");
		check_files(w, part, lost);
		bring_back(w, lost);
	}
	world_free(w);
}

/* And there is not room for one: nothing is made, as what the last commit has not
   reached would be gone for good. */
static void test_no_room(void **state)
{
	unsigned long steps = 0;
	unsigned int part;
	unsigned int lost;
	struct world *w = find_one(&part, &lost, &steps);
	unsigned int num_failed = 0;
	unsigned long at;

	(void)state;
	for (at = 1; at < steps + 3; at += 4) {
		struct mrmr_recover_result result;
		struct mrmr_error err = {0};
		char fault[96];
		int ret;

		lose(w, lost);
		snprintf(fault, sizeof(fault),
			 "recover-step#%lu=ENOSPC,recover-step#%lu=ENOSPC", at,
			 at + 1);
		setenv("MRMR_FAULT", fault, 1);
		ret = try_recover(w, false, &result, &err);
		unsetenv("MRMR_FAULT");
		if (ret == -1) {
			num_failed++;
			assert_int_equal(err.code, ENOSPC);
			assert_non_null(strstr(err.text, "make room"));
			assert_int_equal(mrmr_recover_look(w->pool, &err), 0);
			assert_false(
				world_there(world_path(w, "state/catalogue")));
			recover_well(w);
		}
		check_files(w, part, lost);
		bring_back(w, lost);
	}
	/* whichever of the three it was */
	assert_true(num_failed > steps / 6);
	world_free(w);
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_unknown_piece),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_files),         cmocka_unit_test(test_order),
	cmocka_unit_test(test_room_for_one),  cmocka_unit_test(test_no_room),
#endif
};

int main(void)
{
	return WORLD_MAIN("recover-last", tests);
}
