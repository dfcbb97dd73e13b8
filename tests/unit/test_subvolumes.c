/*
 * Unit tests: subvolumes of Btrfs inside a member. Each has inode numbers of its
 * own, so a file there may have the number of another file of the member. What
 * is in them is in the share, and not protected.
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
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/guard.h>
#include <mrmr/undo.h>

#include "protecting.h"

#define BTRFS 1u /* the member that is on one */

/* A command of the shell; each %s is that path. */
static bool run(const char *format, const char *path)
{
	char command[3 * MRMR_PATH_MAX];

	snprintf(command, sizeof(command), format, path, path, path);
	return system(command) == 0;
}

/* The member's drive is one of Btrfs from now on. False: that cannot be had. */
static bool turn(struct world *w)
{
	const char *drive = world_drive(w, BTRFS, "");
	bool is_one;

	world_close(w);
	world_unplug(w, BTRFS);
	is_one =
		run("cd '%s' && { truncate -s 256m ../img && "
		    "mkfs.btrfs -q ../img >/dev/null 2>&1 && cp -a .mrmr .. && "
		    "mount -o loop ../img '%s' && mv ../.mrmr '%s'; } "
		    "2>/dev/null",
		    drive);
	world_plug(w, BTRFS);
	world_open(w);
	return is_one;
}

static struct world *make(void)
{
	struct world *w = world_new(&(struct world_shape){
		.num_members = 4,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	});

	if (!turn(w)) {
		world_free(w);
		skip();
	}
	assert_true(run("btrfs subvolume create '%s' >/dev/null",
			world_member(w, BTRFS, "sub")));
	mrmr_dir_cache_clear(w->pool);
	return w;
}

static uint64_t inode_of(const char *path)
{
	struct stat st;

	assert_return_code(stat(path, &st), errno);
	return st.st_ino;
}

/* A file in the subvolume with the number that another file of the member has. */
static void make_twin(struct world *w, const char *path, const char *of)
{
	const char *twin = world_member(w, BTRFS, path);
	char before[2 * MRMR_PATH_MAX];
	uint64_t wanted = inode_of(world_member(w, BTRFS, of));
	unsigned int i;

	for (i = 0; i < 100; i++) {
		world_write(twin, "of the subvolume");
		if (inode_of(twin) == wanted) {
			break;
		}
		snprintf(before, sizeof(before), "%s.%u", twin, i);
		assert_return_code(rename(twin, before), errno);
	}
	assert_true(i < 100);
	assert_true(run("rm -f '%s'.*", twin));
	mrmr_dir_cache_clear(w->pool);
}

static void check_apart(struct world *w, const char *path, const char *of)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_catalog *catalog = engine->catalog;
	struct mrmr_node *twin = NULL;
	struct mrmr_node *node = NULL;
	struct mrmr_link *links = NULL;
	size_t num = 0;

	assert_int_equal(mrmr_catalog_find_path(catalog, engine, path, &twin),
			 0);
	assert_int_equal(mrmr_catalog_find_path(catalog, engine, of, &node), 0);
	assert_int_not_equal(twin->id, node->id);
	assert_int_equal(twin->num_extents, 0);
	assert_int_equal(twin->inode, 0);
	assert_true(node->num_extents > 0);
	assert_int_equal(mrmr_catalog_links(catalog, engine, node->id, &links,
					    &num),
			 0);
	assert_int_equal(num, 1);
	talloc_free(engine);
}

static void test_scan_keeps_apart(void **state)
{
	struct world *w = make();

	client_write_on(w, BTRFS, "a", 1, 100000);
	client_write_on(w, 0, "c", 2, 100000);
	protect(w);
	make_twin(w, "sub/b", "a");
	world_log();
	protect_and_scan(w);
	check_apart(w, "sub/b", "a");
	assert_non_null(strstr(world_log(), "subvolume"));
	assert_int_equal(pending_of(w), 0);
	verify(w, "a", 1, 100000, 1);
	verify(w, "c", 2, 100000, 1);
	verify_tidy(w);
	world_free(w);
}

static void test_events_keep_apart(void **state)
{
	struct world *w = make();

	client_write_on(w, BTRFS, "a", 1, 100000);
	protect(w);
	make_twin(w, "sub/b", "a");
	client_tell(w, "sub/b", MRMR_EVENT_CHANGED);
	protect(w);
	check_apart(w, "sub/b", "a");

	assert_int_equal(do_link(w, "sub/b", "sub/further"), 0);
	protect(w);
	check_apart(w, "sub/further", "a");
	assert_int_equal(do_rename(w, "sub/further", "sub/renamed"), 0);
	protect(w);
	check_apart(w, "sub/renamed", "a");
	verify_unknown(w, "sub/further");
	assert_int_equal(do_unlink(w, "sub/b"), 0);
	protect(w);
	verify_unknown(w, "sub/b");
	assert_int_equal(pending_of(w), 0);
	verify(w, "a", 1, 100000, 1);
	verify_tidy(w);
	world_free(w);
}

/* Two names of which each was taken for one of the other file: a scan tells them
   apart. */
static void test_what_was_mixed_up(void **state)
{
	struct world *w = make();
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	struct mrmr_node *sub = NULL;
	struct mrmr_node *node = NULL;

	client_write_on(w, BTRFS, "a", 1, 100000);
	protect(w);
	make_twin(w, "sub/b", "a");
	protect_and_scan(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_int_equal(mrmr_catalog_find_path(engine->catalog, engine, "a",
						&node),
			 0);
	assert_int_equal(mrmr_catalog_find_path(engine->catalog, engine, "sub",
						&sub),
			 0);
	assert_int_equal(mrmr_catalog_begin(engine->catalog), 0);
	assert_int_equal(mrmr_catalog_remove(engine->catalog, sub->id, "b"), 0);
	assert_int_equal(mrmr_catalog_link(engine->catalog, node->id, sub->id,
					   "b"),
			 0);
	assert_int_equal(mrmr_catalog_commit(engine->catalog, &err), 0);
	talloc_free(engine);
	protect_and_scan(w);
	check_apart(w, "sub/b", "a");
	verify(w, "a", 1, 100000, 1);
	world_free(w);
}

/* Clients may write to what is there. */
static void test_can_be_written(void **state)
{
	struct world *w = make();
	struct mrmr_undo *undo = NULL;
	int fd;

	client_write_on(w, BTRFS, "a", 1, 100000);
	protect(w);
	make_twin(w, "sub/b", "a");
	fd = do_open(w, "sub/b", O_RDWR);
	assert_return_code(fd, errno);
	assert_return_code(mrmr_undo_open(NULL, w->pool, fd, &undo), errno);
	assert_null(undo);
	close(fd);
	world_free(w);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_scan_keeps_apart),
	cmocka_unit_test(test_events_keep_apart),
	cmocka_unit_test(test_what_was_mixed_up),
	cmocka_unit_test(test_can_be_written),
};

int main(void)
{
	return WORLD_MAIN("subvolumes", tests);
}
