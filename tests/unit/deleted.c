/*
 * Unit tests: a pool from which files are deleted (see deleted.h).
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/check.h>
#include <mrmr/decode.h>
#include <mrmr/live.h>
#include <mrmr/scrub.h>

#include "deleted.h"

void deleted_make(struct deleted *k)
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

void deleted_free(struct deleted *k)
{
	size_t i;

	unsetenv("MRMR_FAULT");
	protected_free(k->p);
	for (i = 0; i < NUM_FILES; i++) {
		talloc_free(k->files[i]);
	}
}

struct mrmr_trashed *deleted_list(struct deleted *k, size_t *num)
{
	struct mrmr_trashed *items = NULL;
	struct mrmr_error err = {0};

	if (mrmr_trash_list(k->p->engine, k->p->w->pool, &items, num, &err) ==
	    -1) {
		fail_msg("%s", err.text);
	}
	return items;
}

size_t deleted_num(struct deleted *k)
{
	size_t num = 0;

	deleted_list(k, &num);
	return num;
}

struct mrmr_trashed *deleted_file(struct deleted *k, const struct pfile *file,
				  bool told)
{
	struct mrmr_catalog *cat = k->p->engine->catalog;
	struct mrmr_node *node = protected_node(k->p, file);
	struct mrmr_trashed *items = NULL;
	struct mrmr_error err = {0};
	char name[512];
	size_t num = 0;
	size_t i;

	assert_int_equal(do_unlink(k->p->w, file->path), 0);
	items = deleted_list(k, &num);
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

bool deleted_is_live(struct deleted *k, const struct pfile *file)
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

bool deleted_is_computable(struct deleted *k, const struct pfile *file)
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

bool deleted_is_known(struct deleted *k, const struct pfile *file)
{
	struct mrmr_node *node = NULL;
	bool known = mrmr_catalog_get(k->p->engine->catalog, k->p->engine,
				      file->id, &node) == 0;

	talloc_free(node);
	return known;
}

void deleted_check_all(struct deleted *k)
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
		if (deleted_is_known(k, k->files[i])) {
			assert_true(deleted_is_live(k, k->files[i]));
			assert_true(deleted_is_computable(k, k->files[i]));
		}
	}
}

bool deleted_die_in(struct deleted *k, deleted_fn *fn, const char *fault)
{
	int status = 0;
	pid_t pid;

	TALLOC_FREE(k->p->engine);
	world_close(k->p->w);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		struct mrmr_engine *engine = NULL;
		struct mrmr_trashed *items = NULL;
		size_t num = 0;

		world_open_in_child(k->p->w);
		engine = mrmr_engine_open(NULL, k->p->w->pool,
					  MRMR_ENGINE_WRITE, NULL);
		mrmr_trash_list(engine, k->p->w->pool, &items, &num, NULL);
		setenv("MRMR_FAULT", fault, 1);
		fn(k->p->w->pool, engine, items, num);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	world_open(k->p->w);
	protected_reopen(k->p);
	return WIFSIGNALED(status);
}
