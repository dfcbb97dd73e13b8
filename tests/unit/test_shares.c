/*
 * Unit tests: what is in no stripe is known to enough members, whoever leaves and
 * however many rows are wanted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>

#include <cmocka.h>
#include <talloc.h>

#include "../../source/protect/shares.h"
#include "protecting.h"
#include "recovering.h"

#define NUM 30

/* Empty directories, empty files and symlinks, on members 1 to 4 of five. */
static struct world *full_of_names(const char *parity)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = parity});
	char path[32];
	unsigned int i;

	client_write_on(w, 0, "d/f", 1, 30000);
	client_write_on(w, 1, "d/g", 2, 30000);
	for (i = 0; i < NUM; i++) {
		snprintf(path, sizeof(path), "d/directory%u", i);
		assert_int_equal(do_mkdir(w, path, 0755), 0);
		snprintf(path, sizeof(path), "d/empty%u", i);
		client_write_on(w, 1 + i % 4, path, 1, 0);
		snprintf(path, sizeof(path), "d/symlink%u", i);
		assert_int_equal(do_symlink(w, "somewhere", path), 0);
	}
	protect(w);
	return w;
}

static void check_names(struct mrmr_catalog *catalog, const char *what)
{
	struct mrmr_node *d = NULL;
	struct mrmr_node *node = NULL;
	char name[32];
	unsigned int i;

	assert_int_equal(mrmr_catalog_find(catalog, NULL, MRMR_ID_ROOT, "d",
					   &d),
			 0);
	for (i = 0; i < NUM; i++) {
		snprintf(name, sizeof(name), "%s%u", what, i);
		if (mrmr_catalog_find(catalog, d, d->id, name, &node) == -1) {
			fail_msg("%s is not known", name);
		}
	}
	talloc_free(d);
}

/* The state directory is lost, and this member as well. */
static void lose_too(struct world *w, size_t member)
{
	struct mrmr_engine *engine = NULL;

	world_close(w);
	lose_catalogue(w, true);
	world_unplug(w, member);
	world_open(w);
	recover_well(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	check_names(engine->catalog, "directory");
	check_names(engine->catalog, "empty");
	check_names(engine->catalog, "symlink");
	talloc_free(engine);
	world_free(w);
}

static void test_a_member_is_rebuilt(void **state)
{
	size_t member;

	for (member = 1; member < 5; member++) {
		struct world *w = full_of_names("1");

		world_unplug(w, 0);
		world_later(w);
		assert_true(rebuild_lost(w, 0, false));
		lose_too(w, member);
	}
}

static void test_more_rows(void **state)
{
	size_t member;

	for (member = 2; member < 5; member++) {
		struct world *w = full_of_names("1");

		world_configure(w, "2", NULL);
		protect(w);
		world_unplug(w, 1);
		lose_too(w, member);
	}
}

static uint64_t sequence(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	uint64_t sequence = mrmr_catalog_sequence(engine->catalog);

	talloc_free(engine);
	return sequence;
}

/* It is done once, and again only when there is a reason. */
static void test_nothing_to_do(void **state)
{
	struct world *w = full_of_names("1");
	uint64_t before;

	protect(w);
	before = sequence(w);
	protect(w);
	assert_int_equal(sequence(w), before);
	world_configure(w, "2", NULL);
	protect(w);
	assert_true(sequence(w) > before);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

static bool has_begun(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	bool has = mrmr_catalog_has_note(engine->catalog, "sharing");

	talloc_free(engine);
	return has;
}

/* Wherever it is killed, it goes on. */
static void test_killed(void **state)
{
	bool was_begun = false;
	bool was_killed = true;
	unsigned int i;

	shares_per_transaction = 7;
	for (i = 1; was_killed; i++) {
		struct world *w = full_of_names("1");
		char fault[32];

		world_configure(w, "2", NULL);
		snprintf(fault, sizeof(fault), "catalog-commit#%u=kill", i);
		was_killed = protect_killed(w, fault);
		was_begun = was_begun || has_begun(w);
		protect(w);
		assert_false(has_begun(w));
		world_unplug(w, 1);
		lose_too(w, 2 + i % 3);
	}
	assert_true(was_begun && i > 10);
	shares_per_transaction = 8192;
}

/* The state directory is full, or cannot be read or written for a moment: what was done
   by then stays, and the next one goes on. */
static void test_failing(void **state)
{
	static const char *const faults[] = {"catalog-commit#%u=EIO",
					     "catalog-commit#%u=ENOSPC",
					     "catalog-prepare#%u=ENOSPC",
					     "catalog-store#%u=EIO"};
	bool was_begun = false;
	unsigned int i;

	shares_per_transaction = 7;
	for (i = 0; i < 32; i++) {
		struct world *w = full_of_names("1");
		char fault[32];

		world_configure(w, "2", NULL);
		snprintf(fault, sizeof(fault), faults[i % 4], 1 + i / 4);
		protect_disturbed(w, fault, false);
		was_begun = was_begun || has_begun(w);
		protect(w);
		assert_false(has_begun(w));
		world_unplug(w, 1);
		lose_too(w, 2 + i % 3);
	}
	assert_true(was_begun);
	shares_per_transaction = 8192;
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_member_is_rebuilt),
	cmocka_unit_test(test_more_rows),
	cmocka_unit_test(test_nothing_to_do),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_killed),
	cmocka_unit_test(test_failing),
#endif
};

int main(void)
{
	return WORLD_MAIN("shares", tests);
}
