/*
 * Unit tests: removing what is in the trash for good.
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

#include "deleted.h"

static int purge(struct deleted *k, const struct mrmr_trashed *items,
		 size_t num, struct mrmr_purge_result *result)
{
	const struct mrmr_purge_options options = {.progress = NULL};

	return mrmr_trash_purge(k->p->w->pool, k->p->engine, items, num,
				&options, result, NULL);
}

static void test_purge(void **state)
{
	struct deleted k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *item = NULL;
	uint64_t inode;

	deleted_make(&k);
	/* the protector has not heard of it: it is in its stripe by its name */
	item = deleted_file(&k, k.files[0], false);
	assert_int_equal(purge(&k, item, 1, &result), 0);
	assert_int_equal(result.num_left, 1);
	assert_int_equal(result.num_removed, 0);
	assert_int_equal(deleted_num(&k), 1);
	assert_true(deleted_is_live(&k, k.files[0]));
	/* others in the stripes */
	item = deleted_file(&k, k.files[1], true);
	inode = (uint64_t)item->st.st_ino;
	assert_int_equal(purge(&k, item, 1, &result), 0);
	assert_int_equal(result.num_left, 0);
	assert_int_equal(result.num_removed, 1);
	assert_int_equal(result.removed_bytes, LEN);
	assert_int_equal(deleted_num(&k), 1);
	assert_false(deleted_is_known(&k, k.files[1]));
	assert_int_equal(mrmr_guard_find(k.p->engine->guard,
					 &k.p->w->pool->members[1].config->id,
					 inode),
			 0);
	assert_true(deleted_is_live(&k, k.files[0]));
	assert_true(deleted_is_computable(&k, k.files[0]));
	assert_true(deleted_is_computable(&k, k.files[2]));
	deleted_free(&k);
}

/* All of it at once, with one that was never protected, and one that is gone. */
static void test_purge_all(void **state)
{
	struct deleted k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *items = NULL;
	size_t num = 0;

	deleted_make(&k);
	deleted_file(&k, k.files[0], true);
	deleted_file(&k, k.files[2], true);
	deleted_file(&k, k.files[3], true);
	world_write(world_drive(k.p->w, 3, ".mrmr/trash/mine/x/y"), "x");
	items = deleted_list(&k, &num);
	assert_int_equal(num, 4);
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 4);
	assert_int_equal(deleted_num(&k), 0);
	assert_false(world_there(world_drive(k.p->w, 3, ".mrmr/trash/mine")));
	assert_true(world_there(world_drive(k.p->w, 3, ".mrmr/trash")));
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 0);
	deleted_check_all(&k);
	deleted_free(&k);
}

/* With a further name in the share, only the one in the trash goes. */
static void test_purge_links(void **state)
{
	struct deleted k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *items = NULL;
	size_t num = 0;

	deleted_make(&k);
	world_write(world_drive(k.p->w, 2, ".mrmr/trash/mine/x"), "x");
	assert_return_code(unlink(world_drive(k.p->w, 2, ".mrmr/trash/mine/x")),
			   errno);
	assert_return_code(link(protected_where(k.p, k.files[2]),
				world_drive(k.p->w, 2, ".mrmr/trash/mine/x")),
			   errno);
	items = deleted_list(&k, &num);
	assert_int_equal(num, 1);
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 1);
	deleted_check_all(&k);
	deleted_free(&k);
}

/* Two names, which both are in the trash. */
static void test_purge_both_names(void **state)
{
	struct deleted k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *items = NULL;
	struct mrmr_catalog *cat = NULL;
	struct mrmr_node *node = NULL;
	struct mrmr_error err = {0};
	char path[512];
	char name[64];
	size_t num = 0;

	deleted_make(&k);
	cat = k.p->engine->catalog;
	items = deleted_file(&k, k.files[2], true);
	node = protected_node(k.p, k.files[2]);
	snprintf(path, sizeof(path), ".mrmr/trash/%s", items->trash_path);
	snprintf(name, sizeof(name), "%u/more/x", node->member);
	world_write(world_drive(k.p->w, 2, ".mrmr/trash/more/x"), "");
	unlink(world_drive(k.p->w, 2, ".mrmr/trash/more/x"));
	assert_return_code(link(world_drive(k.p->w, 2, path),
				world_drive(k.p->w, 2, ".mrmr/trash/more/x")),
			   errno);
	assert_int_equal(mrmr_catalog_begin(cat), 0);
	assert_int_equal(mrmr_catalog_link(cat, node->id, MRMR_ID_TRASH, name),
			 0);
	assert_int_equal(mrmr_catalog_commit(cat, &err), 0);

	items = deleted_list(&k, &num);
	assert_int_equal(num, 2);
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 2);
	assert_int_equal(deleted_num(&k), 0);
	deleted_check_all(&k);
	deleted_free(&k);
}

/* The same, and the protector has heard of neither: one stays, as stripes need it. */
static void test_purge_untold_names(void **state)
{
	struct deleted k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *items = NULL;
	char path[512];
	size_t num = 0;

	deleted_make(&k);
	items = deleted_file(&k, k.files[2], false);
	snprintf(path, sizeof(path), ".mrmr/trash/%s", items->trash_path);
	world_write(world_drive(k.p->w, 2, ".mrmr/trash/more/x"), "");
	unlink(world_drive(k.p->w, 2, ".mrmr/trash/more/x"));
	assert_return_code(link(world_drive(k.p->w, 2, path),
				world_drive(k.p->w, 2, ".mrmr/trash/more/x")),
			   errno);
	items = deleted_list(&k, &num);
	assert_int_equal(num, 2);
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 1);
	assert_int_equal(result.num_left, 1);
	assert_int_equal(deleted_num(&k), 1);
	deleted_free(&k);
}

/* --- faults ------------------------------------------------------------------------- */

#ifdef MRMR_WITH_FAULTS

static void purge_all(struct mrmr_pool *pool, struct mrmr_engine *engine,
		      struct mrmr_trashed *items, size_t num)
{
	const struct mrmr_purge_options options = {.progress = NULL};
	struct mrmr_purge_result result;

	mrmr_trash_purge(pool, engine, items, num, &options, &result, NULL);
}

/* Invariant 2 through a kill: a protected file is not removed before no stripe
   has it; and what was begun can be done again. */
static void test_purge_kill(void **state)
{
	static const char *const faults[] = {
		"purge-left=kill",
		"purge-committed=kill",
		"undo-drop=kill",
		"blob-rename#2=kill",
	};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct mrmr_purge_result result;
		struct mrmr_trashed *items = NULL;
		struct deleted k;
		size_t num = 0;

		deleted_make(&k);
		protected_overwrite(k.p, k.files[3], 0, 10, 9);
		deleted_file(&k, k.files[1], true);
		deleted_file(&k, k.files[3], true);
		if (!deleted_die_in(&k, purge_all, faults[i])) {
			fail_msg("%s does not kill", faults[i]);
		}
		deleted_check_all(&k);
		items = deleted_list(&k, &num);
		assert_int_equal(purge(&k, items, num, &result), 0);
		assert_int_equal(deleted_num(&k), 0);
		assert_false(deleted_is_known(&k, k.files[1]));
		deleted_check_all(&k);
		deleted_free(&k);
	}
}

static void test_purge_fails(void **state)
{
	static const char *const faults[] = {
		"purge-left=EIO",
		"blob-write#1=ENOSPC",
		"blob-write#2=EIO",
	};
	size_t i;
	struct deleted k;

	deleted_make(&k);
	deleted_file(&k, k.files[1], true);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct mrmr_purge_result result;
		struct mrmr_trashed *items = NULL;
		size_t num = 0;

		items = deleted_list(&k, &num);
		setenv("MRMR_FAULT", faults[i], 1);
		purge(&k, items, num, &result);
		unsetenv("MRMR_FAULT");
		/* it is there as long as it is known */
		assert_int_equal(deleted_num(&k),
				 deleted_is_known(&k, k.files[1]) ? 1 : 0);
		deleted_check_all(&k);
	}
	deleted_free(&k);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_purge),
		cmocka_unit_test(test_purge_all),
		cmocka_unit_test(test_purge_links),
		cmocka_unit_test(test_purge_both_names),
		cmocka_unit_test(test_purge_untold_names),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(test_purge_kill),
		cmocka_unit_test(test_purge_fails),
#endif
	};

	return WORLD_MAIN("purge", tests);
}
