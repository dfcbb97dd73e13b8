/*
 * Unit tests: the trash: what is in it, bringing it back, removing it for good.
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/check.h>
#include <mrmr/decode.h>
#include <mrmr/live.h>
#include <mrmr/scrub.h>
#include <mrmr/undelete.h>

#include "protected.h"

#define GRID 65536
#define NUM_FILES 5
#define LEN ((size_t)GRID + 777)

/* Five members, two rows on 3 and 4. Large files on 0, 1, 2 in two stripes; two
   small ones of 0 in one slot, beside one of 1. */
struct pool {
	struct protected *p;
	struct pfile *files[NUM_FILES];
	uint64_t stripes[3];
};

static void make_pool(struct pool *k)
{
	static const struct world_shape shape = {.num_members = 5,
						 .parity = "2"};
	static const struct prow rows[] = {{0, 3}, {1, 4}};
	struct pfile **f = k->files;
	uint32_t i;

	k->p = protected_new(&shape);
	f[0] = protected_file(k->p, 0, "a/b/large", 1, LEN, GRID);
	f[1] = protected_file(k->p, 1, "large1", 2, LEN, GRID);
	f[2] = protected_file(k->p, 2, "large2", 3, LEN, GRID);
	f[3] = protected_file(k->p, 0, "a/small", 4, 1000, GRID);
	f[4] = protected_file(k->p, 0, "a/tiny", 5, 17, GRID);
	/* the pool is closed in some tests */
	for (i = 0; i < NUM_FILES; i++) {
		talloc_steal(NULL, f[i]);
	}
	for (i = 0; i < 2; i++) {
		k->stripes[i] =
			protected_stripe(k->p,
					 (struct pslot[]){{0, {{f[0], i, 0}}},
							  {1, {{f[1], i, 0}}},
							  {2, {{f[2], i, 0}}},
							  {0}},
					 rows, 2);
	}
	k->stripes[2] = protected_stripe(k->p,
					 (struct pslot[]){{0,
							   {{f[3], 0, 0},
							    {f[4], 0, 0}}},
							  {0}},
					 rows, 2);
}

static void free_pool(struct pool *k)
{
	size_t i;

	unsetenv("MRMR_FAULT");
	protected_free(k->p);
	for (i = 0; i < NUM_FILES; i++) {
		talloc_free(k->files[i]);
	}
}

static struct mrmr_trashed *list(struct pool *k, size_t *num)
{
	struct mrmr_trashed *items = NULL;
	struct mrmr_error err = {0};

	if (mrmr_trash_list(k->p->engine, k->p->w->pool, &items, num, &err) ==
	    -1) {
		fail_msg("%s", err.text);
	}
	return items;
}

static size_t num_in_trash(struct pool *k)
{
	size_t num = 0;

	list(k, &num);
	return num;
}

/* A client deletes it, and, if told is true, the protector hears of it. Its place
   in the trash. */
static struct mrmr_trashed *delete_file(struct pool *k,
					const struct pfile *file, bool told)
{
	struct mrmr_catalog *cat = k->p->engine->catalog;
	struct mrmr_node *node = protected_node(k->p, file);
	struct mrmr_trashed *items = NULL;
	struct mrmr_error err = {0};
	char name[512];
	size_t num = 0;
	size_t i;

	assert_int_equal(do_unlink(k->p->w, file->path), 0);
	items = list(k, &num);
	for (i = 0; i < num; i++) {
		if (items[i].st.st_ino == node->inode &&
		    items[i].member == file->member) {
			break;
		}
	}
	assert_true(i < num);
	assert_string_equal(items[i].path, file->path);
	if (told) {
		snprintf(name, sizeof(name), "%u/%s", node->member,
			 items[i].trash_path);
		assert_return_code(mrmr_catalog_begin(cat), errno);
		assert_return_code(mrmr_catalog_rename(cat, node->dir_id,
						       node->name,
						       MRMR_ID_TRASH, name),
				   errno);
		assert_return_code(mrmr_catalog_commit(cat, &err), errno);
	}
	talloc_free(node);
	return &items[i];
}

static int purge(struct pool *k, const struct mrmr_trashed *items, size_t num,
		 struct mrmr_purge_result *result)
{
	const struct mrmr_purge_options options = {.progress = NULL};

	return mrmr_trash_purge(k->p->w->pool, k->p->engine, items, num,
				&options, result, NULL);
}

static bool is_live(struct pool *k, const struct pfile *file)
{
	struct mrmr_node *node = protected_node(k->p, file);
	struct mrmr_live *live = NULL;
	uint8_t *bytes = malloc(file->len);
	bool right;

	assert_non_null(bytes);
	right = mrmr_live_open(node, k->p->engine, node, &live) == 0 &&
		mrmr_live_read(live, bytes, file->len, 0) == 0 &&
		memcmp(bytes, file->bytes, file->len) == 0;
	free(bytes);
	talloc_free(node);
	return right;
}

/* Can it be computed without its member, and another one? */
static bool is_computable(struct pool *k, const struct pfile *file)
{
	struct mrmr_node *node = protected_node(k->p, file);
	uint8_t *bytes = malloc(GRID);
	bool right = true;
	uint32_t i;

	assert_non_null(bytes);
	protected_hide(k->p, 1u << file->member | 1u << (file->member + 1));
	for (i = 0; i * (size_t)GRID < file->len; i++) {
		size_t left = file->len - (size_t)i * GRID;
		struct mrmr_decode *job =
			mrmr_decode_extent(node, k->p->engine, node, i, NULL);

		right = right && job != NULL &&
			mrmr_decode_run(job, bytes) == 0 &&
			memcmp(bytes, file->bytes + (size_t)i * GRID,
			       left < GRID ? left : GRID) == 0;
	}
	protected_hide(k->p, 0);
	free(bytes);
	talloc_free(node);
	return right;
}

static bool is_known(struct pool *k, const struct pfile *file)
{
	struct mrmr_node *node = NULL;
	bool known = mrmr_catalog_get(k->p->engine->catalog, k->p->engine,
				      file->id, &node) == 0;

	talloc_free(node);
	return known;
}

/* All that the catalogue knows is there, and right. */
static void check_all(struct pool *k)
{
	const struct mrmr_scrub_options options = {.deep = true};
	const struct mrmr_check_options check_options = {.lose = NULL};
	struct mrmr_check_result *checked = NULL;
	struct mrmr_scrub_result result;
	size_t i;

	checked = mrmr_check(k->p->engine, k->p->engine, &check_options, NULL);
	assert_non_null(checked);
	assert_int_equal(checked->now.lost_bytes, 0);
	assert_int_equal(checked->now.computed_bytes, 0);
	assert_int_equal(checked->wrong_records, 0);
	assert_int_equal(checked->missing_rows, 0);
	TALLOC_FREE(k->p->engine);
	assert_int_equal(mrmr_scrub(k->p->w->pool, &options, &result, NULL), 0);
	protected_reopen(k->p);
	assert_int_equal(result.wrong_blocks + result.changed_blocks +
				 result.wrong_records,
			 0);
	for (i = 0; i < NUM_FILES; i++) {
		if (is_known(k, k->files[i])) {
			assert_true(is_live(k, k->files[i]));
			assert_true(is_computable(k, k->files[i]));
		}
	}
}

/* --- list --------------------------------------------------------------------- */

static void test_list(void **state)
{
	struct pool k;
	struct mrmr_trashed *item = NULL;
	size_t num = 0;

	make_pool(&k);
	assert_int_equal(num_in_trash(&k), 0);
	item = delete_file(&k, k.files[0], false);
	assert_int_equal(item->member, 0);
	assert_int_equal(item->st.st_size, LEN);
	assert_true(item->time_s <= time(NULL) &&
		    item->time_s > time(NULL) - 100);
	world_write(world_drive(k.p->w, 2, ".mrmr/trash/mine/old"), "x");
	world_write(world_drive(k.p->w, 2,
				".mrmr/trash/20200102T030405Z.x/d/older"),
		    "x");
	item = list(&k, &num);
	assert_int_equal(num, 3);
	assert_string_equal(item[2].path, "d/older");
	assert_int_equal(item[2].time_s, 1577934245);
	free_pool(&k);
}

/* --- purge ---------------------------------------------------------------------- */

static void test_purge(void **state)
{
	struct pool k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *item = NULL;
	uint64_t inode;

	make_pool(&k);
	/* the protector has not heard of it: it is in its stripe by its name */
	item = delete_file(&k, k.files[0], false);
	assert_int_equal(purge(&k, item, 1, &result), 0);
	assert_int_equal(result.num_left, 1);
	assert_int_equal(result.num_removed, 0);
	assert_int_equal(num_in_trash(&k), 1);
	assert_true(is_live(&k, k.files[0]));
	/* others in the stripes */
	item = delete_file(&k, k.files[1], true);
	inode = (uint64_t)item->st.st_ino;
	assert_int_equal(purge(&k, item, 1, &result), 0);
	assert_int_equal(result.num_left, 0);
	assert_int_equal(result.num_removed, 1);
	assert_int_equal(result.removed_bytes, LEN);
	assert_int_equal(num_in_trash(&k), 1);
	assert_false(is_known(&k, k.files[1]));
	assert_int_equal(mrmr_guard_find(k.p->engine->guard,
					 &k.p->w->pool->members[1].config->id,
					 inode),
			 0);
	assert_true(is_live(&k, k.files[0]));
	assert_true(is_computable(&k, k.files[0]));
	assert_true(is_computable(&k, k.files[2]));
	free_pool(&k);
}

/* All of it at once, with one that was never protected, and one that is gone. */
static void test_purge_all(void **state)
{
	struct pool k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *items = NULL;
	size_t num = 0;

	make_pool(&k);
	delete_file(&k, k.files[0], true);
	delete_file(&k, k.files[2], true);
	delete_file(&k, k.files[3], true);
	world_write(world_drive(k.p->w, 3, ".mrmr/trash/mine/x/y"), "x");
	items = list(&k, &num);
	assert_int_equal(num, 4);
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 4);
	assert_int_equal(num_in_trash(&k), 0);
	assert_false(world_there(world_drive(k.p->w, 3, ".mrmr/trash/mine")));
	assert_true(world_there(world_drive(k.p->w, 3, ".mrmr/trash")));
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 0);
	check_all(&k);
	free_pool(&k);
}

/* With a further name in the share, only the one in the trash goes. */
static void test_purge_links(void **state)
{
	struct pool k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *items = NULL;
	size_t num = 0;

	make_pool(&k);
	world_write(world_drive(k.p->w, 2, ".mrmr/trash/mine/x"), "x");
	assert_return_code(unlink(world_drive(k.p->w, 2, ".mrmr/trash/mine/x")),
			   errno);
	assert_return_code(link(protected_where(k.p, k.files[2]),
				world_drive(k.p->w, 2, ".mrmr/trash/mine/x")),
			   errno);
	items = list(&k, &num);
	assert_int_equal(num, 1);
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 1);
	check_all(&k);
	free_pool(&k);
}

/* Two names, which both are in the trash. */
static void test_purge_both_names(void **state)
{
	struct pool k;
	struct mrmr_purge_result result;
	struct mrmr_trashed *items = NULL;
	struct mrmr_catalog *cat = NULL;
	struct mrmr_node *node = NULL;
	struct mrmr_error err = {0};
	char path[512];
	char name[64];
	size_t num = 0;

	make_pool(&k);
	cat = k.p->engine->catalog;
	items = delete_file(&k, k.files[2], true);
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

	items = list(&k, &num);
	assert_int_equal(num, 2);
	assert_int_equal(purge(&k, items, num, &result), 0);
	assert_int_equal(result.num_removed, 2);
	assert_int_equal(num_in_trash(&k), 0);
	check_all(&k);
	free_pool(&k);
}

/* --- restore ----------------------------------------------------------------------- */

static int restore(struct pool *k, const struct mrmr_trashed *item,
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
	struct pool k;
	struct mrmr_trashed *item = NULL;
	struct mrmr_node *node = NULL;
	size_t member = 9;
	struct stat st;
	int told;

	for (told = 0; told < 2; told++) {
		make_pool(&k);
		item = delete_file(&k, k.files[0], told != 0);
		assert_int_equal(do_stat(k.p->w, "a/b/large", &member, &st),
				 ENOENT);
		assert_int_equal(restore(&k, item, "a/b/large"), 0);
		assert_int_equal(do_stat(k.p->w, "a/b/large", &member, &st), 0);
		assert_int_equal(member, 0);
		assert_int_equal(st.st_ino, item->st.st_ino);
		assert_int_equal(st.st_nlink, 1);
		assert_int_equal(num_in_trash(&k), 0);
		assert_true(is_live(&k, k.files[0]));
		node = protected_node(k.p, k.files[0]);
		assert_int_equal(node->num_extents, 2);
		assert_string_equal(node->name, "large");
		assert_int_equal(restore(&k, item, "a/b/large"), EEXIST);
		assert_int_equal(restore(&k, item, "other"), ENOENT);
		check_all(&k);
		free_pool(&k);
	}
}

static void test_restore_elsewhere(void **state)
{
	struct pool k;
	struct mrmr_trashed *item = NULL;
	bool in_trash = false;
	struct stat st;
	size_t member;

	make_pool(&k);
	item = delete_file(&k, k.files[1], true);
	/* a file of this name, on any member, is not replaced */
	world_write(world_drive(k.p->w, 4, "taken"), "mine");
	world_later(k.p->w);
	assert_int_equal(restore(&k, item, "taken"), EEXIST);
	assert_string_equal(world_read(world_drive(k.p->w, 4, "taken")),
			    "mine");
	assert_int_equal(restore(&k, item, "taken/x"), ENOTDIR);
	assert_int_equal(restore(&k, item, ".mrmr"), EINVAL);
	assert_int_equal(num_in_trash(&k), 1);
	assert_true(is_live(&k, k.files[1]));
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
	check_all(&k);
	free_pool(&k);
}

/* --- faults ------------------------------------------------------------------------- */

#ifdef MRMR_WITH_FAULTS

enum what {
	PURGE,
	RESTORE,
};

/* In a process of its own; true if it died. */
static bool die_in(struct pool *k, enum what what, const char *fault)
{
	int status = 0;
	pid_t pid;

	TALLOC_FREE(k->p->engine);
	world_close(k->p->w);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		const struct mrmr_purge_options options = {.progress = NULL};
		struct mrmr_purge_result result;
		struct mrmr_engine *engine = NULL;
		struct mrmr_trashed *items = NULL;
		size_t num = 0;

		world_open_in_child(k->p->w);
		engine = mrmr_engine_open(NULL, k->p->w->pool,
					  MRMR_ENGINE_WRITE, NULL);
		mrmr_trash_list(engine, k->p->w->pool, &items, &num, NULL);
		setenv("MRMR_FAULT", fault, 1);
		if (what == PURGE) {
			mrmr_trash_purge(k->p->w->pool, engine, items, num,
					 &options, &result, NULL);
		} else {
			mrmr_trash_restore(k->p->w->pool, engine, items,
					   "new/name", NULL);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	world_open(k->p->w);
	protected_reopen(k->p);
	return WIFSIGNALED(status);
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
		struct pool k;
		size_t num = 0;

		make_pool(&k);
		protected_overwrite(k.p, k.files[3], 0, 10, 9);
		delete_file(&k, k.files[1], true);
		delete_file(&k, k.files[3], true);
		if (!die_in(&k, PURGE, faults[i])) {
			fail_msg("%s does not kill", faults[i]);
		}
		check_all(&k);
		items = list(&k, &num);
		assert_int_equal(purge(&k, items, num, &result), 0);
		assert_int_equal(num_in_trash(&k), 0);
		assert_false(is_known(&k, k.files[1]));
		check_all(&k);
		free_pool(&k);
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
	struct pool k;

	make_pool(&k);
	delete_file(&k, k.files[1], true);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct mrmr_purge_result result;
		struct mrmr_trashed *items = NULL;
		size_t num = 0;

		items = list(&k, &num);
		setenv("MRMR_FAULT", faults[i], 1);
		purge(&k, items, num, &result);
		unsetenv("MRMR_FAULT");
		/* it is there as long as it is known */
		assert_int_equal(num_in_trash(&k),
				 is_known(&k, k.files[1]) ? 1 : 0);
		check_all(&k);
	}
	free_pool(&k);
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
		struct pool k;

		make_pool(&k);
		delete_file(&k, k.files[0], true);
		if (!die_in(&k, RESTORE, faults[i])) {
			fail_msg("%s does not kill", faults[i]);
		}
		/* its protected bytes are found at every instant */
		check_all(&k);
		assert_true(is_known(&k, k.files[0]));
		free_pool(&k);
	}
}

static void test_restore_fails(void **state)
{
	struct pool k;
	struct mrmr_trashed *item = NULL;

	make_pool(&k);
	item = delete_file(&k, k.files[0], true);
	setenv("MRMR_FAULT", "restore-link=EIO", 1);
	assert_int_equal(restore(&k, item, "name"), EIO);
	setenv("MRMR_FAULT", "restore-linked=EIO", 1);
	assert_int_equal(restore(&k, item, "name"), EIO);
	unsetenv("MRMR_FAULT");
	assert_false(world_there(world_drive(k.p->w, 0, "name")));
	assert_int_equal(num_in_trash(&k), 1);
	assert_int_equal(restore(&k, item, "name"), 0);
	check_all(&k);
	free_pool(&k);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_purge),
		cmocka_unit_test(test_purge_all),
		cmocka_unit_test(test_purge_links),
		cmocka_unit_test(test_purge_both_names),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_restore_elsewhere),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(test_purge_kill),
		cmocka_unit_test(test_purge_fails),
		cmocka_unit_test(test_restore_kill),
		cmocka_unit_test(test_restore_fails),
#endif
	};

	return WORLD_MAIN("undelete", tests);
}
