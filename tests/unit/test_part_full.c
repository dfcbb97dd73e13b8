/*
 * Unit tests: the parts of the catalogue, as they are attached: one that cannot be
 * written is done without, and told by its member's name; the others are not. And
 * if it is the catalogue itself, no part is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "protecting.h"

#define MEMBERS 4
#define LEN 70000

#ifdef MRMR_WITH_FAULTS

static const char *path_of(unsigned int i)
{
	static char path[16];

	snprintf(path, sizeof(path), "f%u", i);
	return path;
}

/* All parts have to be told something, as a protector was killed after it had
   written them. */
static struct world *new_world(void)
{
	const struct world_shape shape = {
		.num_members = MEMBERS,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	};
	struct world *w = world_new(&shape);
	unsigned int i;

	for (i = 0; i < 2 * MEMBERS; i++) {
		client_write_on(w, i % MEMBERS, path_of(i), i, LEN);
		if (i == MEMBERS - 1) {
			protect(w);
		}
	}
	if (!protect_killed(w, "catalog-parts-written#1=kill")) {
		fail_msg("no part is written");
	}
	world_log();
	return w;
}

static struct mrmr_engine *open_with(struct world *w, const char *fault,
				     struct mrmr_error *err)
{
	struct mrmr_engine *engine = NULL;

	setenv("MRMR_FAULT", fault, 1);
	engine = mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE, err);
	unsetenv("MRMR_FAULT");
	return engine;
}

static bool is_behind(const struct mrmr_engine *engine, size_t member)
{
	return mrmr_catalog_part_is_behind(engine->catalog,
					   engine->number[member]);
}

static void verify_all(struct world *w)
{
	unsigned int i;

	protect(w);
	for (i = 0; i < 2 * MEMBERS; i++) {
		verify(w, path_of(i), i, LEN, 1);
	}
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

static void a_full_member_is_named(void **state)
{
	size_t full;

	(void)state;
	for (full = 0; full < MEMBERS; full++) {
		struct world *w = new_world();
		struct mrmr_error err = {0};
		struct mrmr_engine *engine = NULL;
		const char *log = NULL;
		char fault[64];
		char says[256];
		size_t i;

		snprintf(fault, sizeof(fault), "catalog-part#%zu=ENOSPC",
			 full + 1);
		engine = open_with(w, fault, &err);
		if (engine == NULL) {
			fail_msg("%s", err.text);
		}
		for (i = 0; i < MEMBERS; i++) {
			assert_int_equal(is_behind(engine, i), i == full);
		}
		log = world_log();
		snprintf(says, sizeof(says),
			 "member %s does not get its part of the catalogue: "
			 "the catalogue's part on the member cannot be "
			 "written: No space left on device",
			 mrmr_member_name(&w->pool->members[full]));
		if (strstr(log, says) == NULL) {
			fail_msg("not told: %s\nbut: %s", says, log);
		}
		assert_null(strstr(log, "not attached"));
		talloc_free(engine);
		verify_all(w);
	}
}

/* What makes no sense was met in it, and not where opening it looks: all of it is
   looked at the next time, and if it is damaged, it is made anew then. */
static void a_doubtful_part_is_looked_at(void **state)
{
	struct world *w = new_world();
	struct mrmr_error err = {0};
	struct mrmr_engine *engine = NULL;
	char mark[512];
	const char *log = NULL;

	(void)state;
	snprintf(mark, sizeof(mark), "%s",
		 world_drive(w, 0, ".mrmr/mrmr.db.unclean"));
	engine = open_with(w, "catalog-part#1=EILSEQ", &err);
	if (engine == NULL) {
		fail_msg("%s", err.text);
	}
	assert_true(is_behind(engine, 0));
	talloc_free(engine);
	assert_true(world_there(mark));
	world_log();
	protect(w);
	log = world_log();
	assert_non_null(
		strstr(log, "was not closed as it should be: checking"));
	assert_null(strstr(log, "does not get its part"));
	assert_false(world_there(mark));
	verify_all(w);
}

static void the_catalogue_is_no_members_fault(void **state)
{
	struct world *w = new_world();
	struct mrmr_error err = {0};
	struct mrmr_engine *engine =
		open_with(w, "catalog-commit#1=ENOSPC", &err);
	size_t i;

	(void)state;
	assert_null(engine);
	assert_non_null(strstr(err.text, w->pool->config->state_dir));
	assert_non_null(strstr(err.text, "No space left on device"));
	assert_null(strstr(world_log(), "does not get its part"));
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	for (i = 0; i < MEMBERS; i++) {
		assert_false(is_behind(engine, i));
	}
	talloc_free(engine);
	verify_all(w);
}

#else

static void it_needs_faults(void **state)
{
	(void)state;
	skip();
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(a_full_member_is_named),
		cmocka_unit_test(a_doubtful_part_is_looked_at),
		cmocka_unit_test(the_catalogue_is_no_members_fault),
#else
		cmocka_unit_test(it_needs_faults),
#endif
	};

	return WORLD_MAIN("part_full", tests);
}
