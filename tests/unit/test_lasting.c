/*
 * Unit tests: members whose inode numbers do not last hold nothing protected.
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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/guard.h>
#include <mrmr/lasting.h>
#include <mrmr/rebuild.h>

#include "protecting.h"

#define FAT 1u /* the member that is said to be one */

static struct world *make(void)
{
	return world_new(&(struct world_shape){
		.num_members = 4,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	});
}

/* As the next look at its root would find, if it were one. */
static void turn(struct world *w)
{
	w->pool->members[FAT].unlasting = "FAT";
}

static uint64_t blobs_on(struct world *w, size_t member)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_catalog_sums sums = {0};

	assert_int_equal(mrmr_catalog_sums(engine->catalog,
					   engine->number[member], &sums),
			 0);
	talloc_free(engine);
	return sums.num_blobs;
}

/* Known, with its size, and nothing of it is in a stripe or declared. */
static void check_known_only(struct world *w, const char *path, size_t len)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_node *node = NULL;
	struct stat st;

	assert_return_code(stat(world_member(w, FAT, path), &st), errno);
	assert_int_equal(mrmr_catalog_find_path(engine->catalog, engine, path,
						&node),
			 0);
	assert_int_equal(node->size_bytes, len);
	assert_int_equal(node->num_extents, 0);
	assert_int_equal(node->inode, 0);
	assert_int_equal(mrmr_guard_find(engine->guard,
					 &w->pool->members[FAT].config->id,
					 st.st_ino),
			 0);
	talloc_free(engine);
}

static void test_types(void **state)
{
	assert_string_equal(mrmr_type_without_lasting_inodes(0x4d44), "FAT");
	assert_string_equal(mrmr_type_without_lasting_inodes(0x2011bab0),
			    "exFAT");
	assert_string_equal(mrmr_type_without_lasting_inodes(0x65735546),
			    "FUSE");
	assert_string_equal(mrmr_type_without_lasting_inodes(0xff534d42),
			    "SMB");
	/* ext4, XFS, Btrfs, tmpfs, ntfs3 */
	assert_null(mrmr_type_without_lasting_inodes(0xef53));
	assert_null(mrmr_type_without_lasting_inodes(0x58465342));
	assert_null(mrmr_type_without_lasting_inodes(0x9123683e));
	assert_null(mrmr_type_without_lasting_inodes(0x01021994));
	assert_null(mrmr_type_without_lasting_inodes(0x7366746e));
}

static void test_files_are_left(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;

	turn(w);
	client_write_on(w, FAT, "d/photo", 1, 200000);
	client_write_on(w, FAT, "d/small", 2, 3000);
	client_write_on(w, 0, "d/other", 3, 3000);
	result = protect(w);
	assert_int_equal(result.protected_files, 1);
	assert_int_equal(pending_of(w), 0);
	check_known_only(w, "d/photo", 200000);
	check_known_only(w, "d/small", 3000);
	verify(w, "d/other", 3, 3000, 1);

	/* whatever clients do there */
	client_overwrite(w, "d/photo", 4, 1000, 5000);
	assert_int_equal(do_rename(w, "d/small", "d/renamed"), 0);
	assert_int_equal(protect(w).protected_files, 0);
	check_known_only(w, "d/photo", 200000);
	assert_int_equal(do_unlink(w, "d/photo"), 0);
	protect(w);
	assert_int_equal(protect_and_scan(w).protected_files, 0);
	verify_unknown(w, "d/photo");
	verify_unknown(w, "d/small");
	check_known_only(w, "d/renamed", 3000);
	assert_int_equal(world_trashed(w, FAT, "photo"), 0);
	assert_int_equal(pending_of(w), 0);
	verify(w, "d/other", 3, 3000, 1);
	verify_tidy(w);
	world_free(w);
}

/* Its numbers are others after each mount: that is no change of anything. */
static void test_numbers_change(void **state)
{
	struct world *w = make();
	char from[256], to[256];

	turn(w);
	client_write_on(w, FAT, "a", 1, 3000);
	client_write_on(w, FAT, "b", 2, 4000);
	client_write_on(w, 0, "c", 3, 5000);
	protect(w);
	/* the two exchange theirs */
	snprintf(from, sizeof(from), "%s", world_member(w, FAT, "a"));
	snprintf(to, sizeof(to), "%s", world_member(w, FAT, "b"));
	assert_return_code(renameat2(AT_FDCWD, from, AT_FDCWD, to,
				     RENAME_EXCHANGE),
			   errno);
	protect_and_scan(w);
	check_known_only(w, "a", 4000);
	check_known_only(w, "b", 3000);
	assert_int_equal(world_trashed(w, FAT, "a"), 0);
	verify(w, "c", 3, 5000, 1);
	world_free(w);
}

/* Parity is known by its name. */
static void test_it_has_parity(void **state)
{
	struct world *w = world_new(&(struct world_shape){
		.num_members = 2,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	});

	turn(w);
	client_write_on(w, 0, "a", 1, 100000);
	protect(w);
	assert_true(blobs_on(w, FAT) > 0);
	verify(w, "a", 1, 100000, 1);
	world_free(w);
}

/* What an earlier version has protected there leaves its stripes. */
static void test_what_was_protected_leaves(void **state)
{
	struct world *w = make();

	client_write_on(w, FAT, "old", 1, 200000);
	client_write_on(w, 0, "a", 2, 200000);
	client_write_on(w, 2, "b", 3, 200000);
	protect(w);
	verify(w, "old", 1, 200000, 1);
	turn(w);
	protect_and_scan(w);
	check_known_only(w, "old", 200000);
	assert_int_equal(pending_of(w), 0);
	verify(w, "a", 2, 200000, 1);
	verify(w, "b", 3, 200000, 1);
	verify_tidy(w);
	world_free(w);
}

/* Nothing is rebuilt onto it. */
static void test_no_target(void **state)
{
	struct world *w = world_new(&(struct world_shape){
		.num_members = 3,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	});
	const struct mrmr_rebuild_options options = {
		.lost = 0,
		.onto = MRMR_REBUILD_SPREAD,
	};
	struct mrmr_rebuild_result result;
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};

	turn(w);
	client_write_on(w, 0, "a", 1, 100000);
	protect(w);
	world_unplug(w, 0);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_int_equal(mrmr_rebuild(engine, &options, &result, &err), 0);
	assert_int_equal(result.files, 1);
	talloc_free(engine);
	assert_true(world_there(world_member(w, 2, "a")));
	assert_false(world_there(world_member(w, FAT, "a")));
	world_free(w);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_types),
	cmocka_unit_test(test_files_are_left),
	cmocka_unit_test(test_numbers_change),
	cmocka_unit_test(test_it_has_parity),
	cmocka_unit_test(test_what_was_protected_leaves),
	cmocka_unit_test(test_no_target),
};

int main(void)
{
	return WORLD_MAIN("lasting", tests);
}
