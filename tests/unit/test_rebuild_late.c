/*
 * Unit tests: the protector hears of changes on a lost member when its files have
 * been rebuilt elsewhere.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/rebuild.h>

#include "../../source/protect/relocated.h"
#include "protecting.h"
#include "recovering.h"

#define LEN 30000

/* d/f of a member that is lost, of which a change was not protected. It comes back
   as it was before that. */
static struct world *rebuilt(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	client_write_on(w, 0, "d/f", 1, LEN);
	client_write_on(w, 1, "d/g", 2, LEN);
	protect(w);
	client_write(w, "d/f", 3, LEN + 1000);
	world_unplug(w, 0);
	world_later(w);
	assert_true(rebuild_lost(w, 0, true));
	return w;
}

/* Some of its files are left until the protector has heard. */
static void rebuild_some(struct world *w, uint64_t num)
{
	const struct mrmr_rebuild_options options = {
		.lost = 0,
		.onto = MRMR_REBUILD_SPREAD,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	if (mrmr_rebuild(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(result.files, num);
	assert_false(result.is_complete);
	assert_int_equal(mrmr_rebuild_forget(engine, 0, &err), -1);
	talloc_free(engine);
}

/* It is known where it is, and nothing is known of the lost member. */
static void check(struct world *w, const char *path)
{
	protect(w);
	assert_true(do_where(w, path) != 0 && do_where(w, path) != SIZE_MAX);
	verify(w, path, 1, LEN, 1);
	assert_true(rebuild_lost(w, 0, false));
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

static void test_same_name(void **state)
{
	check(rebuilt(), "d/f");
}

static void test_renamed_since(void **state)
{
	struct world *w = rebuilt();

	assert_int_equal(do_rename(w, "d/f", "d/h"), 0);
	check(w, "d/h");
}

static void test_directory_renamed_since(void **state)
{
	struct world *w = rebuilt();

	assert_int_equal(do_rename(w, "d", "e"), 0);
	check(w, "e/f");
}

/* What had its name before the directory was renamed is another one. */
static void test_and_made_again(void **state)
{
	struct world *w = rebuilt();

	assert_int_equal(do_rename(w, "d", "e"), 0);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	client_write(w, "d/f", 7, LEN);
	protect(w);
	verify(w, "d/f", 7, LEN, 1);
	check(w, "e/f");
}

/* Of the file, a further name is known to the queue alone. */
static void test_linked(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	client_write_on(w, 0, "d/f", 1, LEN);
	client_write_on(w, 1, "d/g", 2, LEN);
	protect(w);
	assert_int_equal(do_link(w, "d/f", "d/h"), 0);
	assert_int_equal(do_link(w, "d/f", "d/i"), 0);
	assert_int_equal(do_unlink(w, "d/i"), 0);
	assert_int_equal(do_rename(w, "d", "e"), 0);
	world_unplug(w, 0);
	world_later(w);
	assert_true(rebuild_lost(w, 0, false));
	assert_true(do_where(w, "e/h") == do_where(w, "e/f"));
	assert_string_equal(do_list(w, "e"), "f g h");
	protect(w);
	verify(w, "e/h", 1, LEN, 1);
	check(w, "e/f");
}

/* And it has no other one any more. */
static void test_linked_alone(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	client_write_on(w, 0, "d/f", 1, LEN);
	client_write_on(w, 1, "d/g", 2, LEN);
	protect(w);
	assert_int_equal(do_link(w, "d/f", "d/h"), 0);
	assert_int_equal(do_rename(w, "d/g", "d/f"), 0);
	world_unplug(w, 0);
	world_later(w);
	assert_true(rebuild_lost(w, 0, false));
	assert_string_equal(do_list(w, "d"), "f h");
	verify_decodable(w);
	check(w, "d/h");
}

/* One of its names is in the trash, and its last one has just been removed: it comes
   back to the trash, and out of the slot of one that does not yet. */
static void test_trashed(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	client_write_on(w, 0, "d/f", 1, 3000);
	client_write_on(w, 0, "d/o", 2, 2000);
	client_write_on(w, 1, "d/g", 3, LEN);
	assert_int_equal(do_link(w, "d/f", "d/h"), 0);
	protect(w);
	assert_int_equal(do_unlink(w, "d/h"), 0);
	protect(w);
	assert_int_equal(do_unlink(w, "d/f"), 0);
	assert_int_equal(do_unlink(w, "d/o"), 0);
	world_unplug(w, 0);
	world_later(w);
	rebuild_some(w, 1);
	assert_string_equal(do_list(w, "d"), "g");
	verify_decodable(w);
	protect(w);
	assert_true(rebuild_lost(w, 0, false));
	verify(w, "d/g", 3, LEN, 1);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* A file of the lost member gets the name of another one, after which it comes
   back. */
static void test_replaced(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	client_write_on(w, 0, "d/f", 1, LEN);
	client_write_on(w, 0, "d/o", 2, LEN);
	client_write_on(w, 1, "d/g", 3, LEN);
	protect(w);
	world_unplug(w, 0);
	world_later(w);
	serve(w);
	assert_int_equal(do_rename(w, "d/f", "d/o"), 0);
	stop_serving(w);
	rebuild_some(w, 1); /* the old one is to go to the trash */
	protect(w);
	assert_true(rebuild_lost(w, 0, false));
	assert_string_equal(do_list(w, "d"), "g o");
	check(w, "d/o");
}

/* What is still to be heard of files that were rebuilt in several turns. */
static void test_notes(void **state)
{
	struct world *w = recover_busy_world();
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	const struct relocation first[] = {{3, 70, 7}, {1, 20, 2}};
	const struct relocation second[] = {{1, 10, 1}};
	struct relocation *list = NULL;

	assert_false(relocated_any(engine->catalog));
	assert_null(relocated_load(engine, engine->catalog));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(relocated_find(NULL, 1, 10), MRMR_ID_NONE);
	assert_int_equal(mrmr_catalog_begin(engine->catalog), 0);
	assert_int_equal(relocated_note(engine->catalog, first, 2), 0);
	assert_int_equal(relocated_note(engine->catalog, second, 1), 0);
	assert_int_equal(mrmr_catalog_commit(engine->catalog, NULL), 0);
	assert_true(relocated_any(engine->catalog));
	list = relocated_load(engine, engine->catalog);
	assert_non_null(list);
	assert_int_equal(relocated_find(list, 1, 10), 1);
	assert_int_equal(relocated_find(list, 1, 20), 2);
	assert_int_equal(relocated_find(list, 3, 70), 7);
	assert_int_equal(relocated_find(list, 3, 20), MRMR_ID_NONE);
	/* one is missing: the others are known */
	assert_int_equal(mrmr_catalog_begin(engine->catalog), 0);
	assert_int_equal(mrmr_catalog_put_note(engine->catalog, "relocated.0",
					       NULL, 0),
			 0);
	assert_int_equal(mrmr_catalog_commit(engine->catalog, NULL), 0);
	list = relocated_load(engine, engine->catalog);
	assert_non_null(list);
	assert_int_equal(relocated_find(list, 1, 10), 1);
	assert_int_equal(relocated_find(list, 1, 20), MRMR_ID_NONE);
	talloc_free(engine);
	protect(w); /* which has heard of all there is */
	engine = open_engine(w, MRMR_ENGINE_READ);
	assert_false(relocated_any(engine->catalog));
	assert_null(relocated_load(engine, engine->catalog));
	talloc_free(engine);
	world_free(w);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_same_name),
	cmocka_unit_test(test_renamed_since),
	cmocka_unit_test(test_directory_renamed_since),
	cmocka_unit_test(test_and_made_again),
	cmocka_unit_test(test_linked),
	cmocka_unit_test(test_linked_alone),
	cmocka_unit_test(test_trashed),
	cmocka_unit_test(test_replaced),
	cmocka_unit_test(test_notes),
};

int main(void)
{
	return WORLD_MAIN("rebuild_late", tests);
}
