/*
 * Unit tests: the trash: what is in it, and bringing it back.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "deleted.h"

/* --- list --------------------------------------------------------------------- */

static void test_list(void **state)
{
	struct deleted k;
	struct mrmr_trashed *item = NULL;
	time_t begun_s;
	size_t num = 0;

	deleted_make(&k);
	begun_s = time(NULL);
	assert_int_equal(deleted_num(&k), 0);
	item = deleted_file(&k, k.files[0], false);
	assert_int_equal(item->member, 0);
	assert_int_equal(item->st.st_size, LEN);
	/* time() may be behind other clocks by a tick */
	assert_true(item->time_s >= begun_s - 1 &&
		    item->time_s <= time(NULL) + 1);
	world_write(world_drive(k.p->w, 2, ".mrmr/trash/mine/old"), "x");
	world_write(world_drive(k.p->w, 2,
				".mrmr/trash/20200102T030405Z.x/d/older"),
		    "x");
	item = deleted_list(&k, &num);
	assert_int_equal(num, 3);
	assert_string_equal(item[2].path, "d/older");
	assert_int_equal(item[2].time_s, 1577934245);
	deleted_free(&k);
}

/* --- restore ----------------------------------------------------------------------- */

static int restore(struct deleted *k, const struct mrmr_trashed *item,
		   const char *path)
{
	struct mrmr_error err = {0};

	return mrmr_trash_restore(k->p->w->pool, k->p->engine, item, path,
				  &err) == 0
		       ? 0
		       : err.code;
}

static void test_restore(void **state)
{
	struct deleted k;
	struct mrmr_trashed *item = NULL;
	struct mrmr_node *node = NULL;
	size_t member = 9;
	struct stat st;
	int told;

	for (told = 0; told < 2; told++) {
		deleted_make(&k);
		item = deleted_file(&k, k.files[0], told != 0);
		assert_int_equal(do_stat(k.p->w, "a/b/large", &member, &st),
				 ENOENT);
		if (told == 0) {
			assert_int_equal(restore(&k, item, "a/b/large"),
					 ESTALE);
			assert_true(deleted_is_live(&k, k.files[0]));
			assert_int_equal(deleted_num(&k), 1);
			deleted_free(&k);
			continue;
		}
		assert_int_equal(restore(&k, item, "a/b/large"), 0);
		assert_int_equal(do_stat(k.p->w, "a/b/large", &member, &st), 0);
		assert_int_equal(member, 0);
		assert_int_equal(st.st_ino, item->st.st_ino);
		assert_int_equal(st.st_nlink, 1);
		assert_int_equal(deleted_num(&k), 0);
		assert_true(deleted_is_live(&k, k.files[0]));
		node = protected_node(k.p, k.files[0]);
		assert_int_equal(node->num_extents, 2);
		assert_string_equal(node->name, "large");
		assert_int_equal(restore(&k, item, "a/b/large"), EEXIST);
		assert_int_equal(restore(&k, item, "other"), ENOENT);
		deleted_check_all(&k);
		deleted_free(&k);
	}
}

static void test_restore_elsewhere(void **state)
{
	struct deleted k;
	struct mrmr_trashed *item = NULL;
	bool in_trash = false;
	struct stat st;
	size_t member;

	deleted_make(&k);
	item = deleted_file(&k, k.files[1], true);
	/* a file of this name, on any member, is not replaced */
	world_write(world_drive(k.p->w, 4, "taken"), "mine");
	world_later(k.p->w);
	assert_int_equal(restore(&k, item, "taken"), EEXIST);
	assert_string_equal(world_read(world_drive(k.p->w, 4, "taken")),
			    "mine");
	assert_int_equal(restore(&k, item, "taken/x"), ENOTDIR);
	assert_int_equal(restore(&k, item, ".mrmr"), EINVAL);
	assert_int_equal(deleted_num(&k), 1);
	assert_true(deleted_is_live(&k, k.files[1]));
	/* directories that nobody has, with the rights of those above */
	assert_int_equal(do_mkdir(k.p->w, "new", 0750), 0);
	assert_int_equal(restore(&k, item, "new/er/est/name"), 0);
	assert_int_equal(do_stat(k.p->w, "new/er/est", &member, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(do_where(k.p->w, "new/er/est/name"), 1);
	assert_string_equal(mrmr_catalog_path(k.p->engine->catalog, k.p->engine,
					      k.files[1]->id, &in_trash),
			    "new/er/est/name");
	assert_false(in_trash);
	deleted_check_all(&k);
	deleted_free(&k);
}

/* What had the name was deleted just now, and the protector does not know. */
static void test_restore_over_deleted(void **state)
{
	struct deleted k;
	struct mrmr_trashed *item = NULL;
	const char *path = NULL;

	deleted_make(&k);
	path = k.files[1]->path;
	deleted_file(&k, k.files[1], false);
	item = deleted_file(&k, k.files[0], true);
	assert_int_equal(restore(&k, item, path), ESTALE);
	assert_string_equal(world_where(k.p->w, path), "");
	assert_int_equal(deleted_num(&k), 2);
	assert_true(deleted_is_live(&k, k.files[0]));
	deleted_free(&k);
}

/* --- faults ------------------------------------------------------------------------- */

#ifdef MRMR_WITH_FAULTS

static void restore_first(struct mrmr_pool *pool, struct mrmr_engine *engine,
			  struct mrmr_trashed *items, size_t num)
{
	mrmr_trash_restore(pool, engine, items, "new/name", NULL);
}

static void test_restore_kill(void **state)
{
	static const char *const faults[] = {
		"restore-link=kill",
		"restore-linked=kill",
		"restore-entered=kill",
	};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct deleted k;

		deleted_make(&k);
		deleted_file(&k, k.files[0], true);
		if (!deleted_die_in(&k, restore_first, faults[i])) {
			fail_msg("%s does not kill", faults[i]);
		}
		/* its protected bytes are found at every instant */
		deleted_check_all(&k);
		assert_true(deleted_is_known(&k, k.files[0]));
		deleted_free(&k);
	}
}

static void test_restore_fails(void **state)
{
	struct deleted k;
	struct mrmr_trashed *item = NULL;

	deleted_make(&k);
	item = deleted_file(&k, k.files[0], true);
	setenv("MRMR_FAULT", "restore-link=EIO", 1);
	assert_int_equal(restore(&k, item, "name"), EIO);
	setenv("MRMR_FAULT", "restore-linked=EIO", 1);
	assert_int_equal(restore(&k, item, "name"), EIO);
	unsetenv("MRMR_FAULT");
	assert_false(world_there(world_drive(k.p->w, 0, "name")));
	assert_int_equal(deleted_num(&k), 1);
	assert_int_equal(restore(&k, item, "name"), 0);
	deleted_check_all(&k);
	deleted_free(&k);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_restore_elsewhere),
		cmocka_unit_test(test_restore_over_deleted),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(test_restore_kill),
		cmocka_unit_test(test_restore_fails),
#endif
	};

	return WORLD_MAIN("undelete", tests);
}
