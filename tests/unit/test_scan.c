/*
 * Unit tests: what was changed behind MRMR's back, and what is too much to
 * believe.
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
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/scan.h>

#include "protecting.h"

#define NUM_FILES 30u
#define LEN 5000u

static const char *path_of(unsigned int i)
{
	static char path[64];

	snprintf(path, sizeof(path), "d%u/f%u", i % 3, i);
	return path;
}

/* Files on each of three members; a fourth one is for parity. */
static struct world *make(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4, .parity = "1"});
	unsigned int i;

	for (i = 0; i < NUM_FILES; i++) {
		char other[64];

		client_write_on(w, 0, path_of(i), i + 1, LEN);
		snprintf(other, sizeof(other), "other/%u", i);
		client_write_on(w, 1, other, 100 + i, LEN);
	}
	protect(w);
	return w;
}

/* A directory that somebody has made on a member, of which the pool has one: it gets the
   attributes. */
static void test_a_directory_made_by_hand(void **state)
{
	struct world *w = make();
	char value[8];

	(void)state;
	assert_return_code(setxattr(world_spine(w, "d1"), "user.probe", "x", 1,
				    0),
			   errno);
	assert_return_code(mkdir(world_drive(w, 2, "d1"), 0755), errno);
	assert_return_code(setxattr(world_drive(w, 2, "d1"), "user.other", "y",
				    1, 0),
			   errno);
	protect(w);
	assert_int_equal(getxattr(world_drive(w, 2, "d1"), "user.probe", value,
				  sizeof(value)),
			 -1);
	protect_and_scan(w);
	assert_int_equal(getxattr(world_drive(w, 2, "d1"), "user.probe", value,
				  sizeof(value)),
			 1);
	assert_int_equal(getxattr(world_drive(w, 2, "d1"), "user.other", value,
				  sizeof(value)),
			 -1);
	assert_int_equal(getxattr(world_spine(w, "d1"), "user.other", value,
				  sizeof(value)),
			 -1);
	world_free(w);
}

static int run(struct world *w, bool scan, const bool *accept, bool names_only,
	       struct mrmr_protect_result *result)
{
	const struct mrmr_protect_options options = {
		.everything = true,
		.scan = scan,
		.names_only = names_only,
		.accept_loss = accept,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_error err = {0};
	int ret = mrmr_protect(engine, &options, result, &err);

	ret = ret == -1 ? err.code : 0;
	talloc_free(engine);
	return ret;
}

static void look(struct world *w, struct mrmr_scan_member *members)
{
	const struct mrmr_scan_options options = {0};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_error err = {0};

	if (mrmr_scan_look(engine, &options, members, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
}

/* Behind the pool's back. */
static void change(struct world *w, unsigned int from, unsigned int to)
{
	unsigned int i;

	for (i = from; i < to; i++) {
		world_write(world_member(w, 0, path_of(i)), "encrypted!");
	}
}

static void test_few_are_believed(void **state)
{
	struct world *w = make();
	struct mrmr_scan_member members[4];
	struct mrmr_protect_result result;
	struct mrmr_catalog_sums sums;

	change(w, 0, 3);
	assert_return_code(unlink(world_member(w, 0, path_of(4))), errno);
	assert_return_code(rename(world_member(w, 0, path_of(5)),
				  world_member(w, 0, "moved")),
			   errno);
	world_write(world_member(w, 2, "new"), "new");
	look(w, members);
	assert_int_equal(members[0].num_files, NUM_FILES);
	assert_int_equal(members[0].num_changed, 3);
	assert_int_equal(members[0].num_gone, 2);
	assert_int_equal(members[1].num_same, NUM_FILES);
	assert_false(mrmr_scan_is_doubtful(&members[0]));
	assert_int_equal(run(w, true, NULL, false, &result), 0);
	look(w, members);
	assert_int_equal(members[0].num_same, NUM_FILES - 1);
	assert_int_equal(members[2].num_same, 1);
	verify(w, "moved", 6, LEN, 1);
	verify_bytes(w, path_of(1), (const uint8_t *)"encrypted!", 10, 1);
	verify_unknown(w, path_of(4));
	verify_decodable(w);
	verify_tidy(w);
	sums = sums_of(w);
	assert_int_equal(sums.num_files, 2 * NUM_FILES);
	world_free(w);
}

/* A file has another name, and another file has its own: in whatever order a scan
   comes by them, it sees both. */
static void test_a_name_given_on(void **state)
{
	unsigned int moved_last;

	for (moved_last = 0; moved_last < 2; moved_last++) {
		struct world *w = make();
		struct mrmr_protect_result result;
		struct mrmr_scan_member members[4];
		const char *name = world_member(w, 0, "d1/f4");
		const char *other = world_member(w, 0, "d1/other");
		const char *aside = world_member(w, 0, "d1/aside");

		(void)state;
		if (moved_last == 1) {
			assert_return_code(rename(name, aside), errno);
			world_write(name, "another one");
			assert_return_code(rename(aside, other), errno);
		} else {
			world_write(aside, "another one");
			assert_return_code(rename(name, other), errno);
			assert_return_code(rename(aside, name), errno);
		}
		assert_int_equal(run(w, true, NULL, false, &result), 0);
		verify(w, "d1/other", 5, LEN, 1);
		verify_bytes(w, "d1/f4", (const uint8_t *)"another one", 11, 1);
		look(w, members);
		assert_int_equal(members[0].num_same, NUM_FILES + 1);
		verify_tidy(w);
		world_free(w);
	}
}

/* Files whose names have gone round. */
static void test_names_go_round(void **state)
{
	static const char *const names[] = {"d0/f0", "d0/f3", "d0/f6", "d0/f9"};
	unsigned int num;
	unsigned int i;

	for (num = 2; num <= 4; num++) {
		struct world *w = make();
		struct mrmr_protect_result result;
		struct mrmr_scan_member members[4];

		(void)state;
		assert_return_code(rename(world_member(w, 0, names[num - 1]),
					  world_member(w, 0, "d0/aside")),
				   errno);
		for (i = num - 1; i > 0; i--) {
			assert_return_code(rename(world_member(w, 0,
							       names[i - 1]),
						  world_member(w, 0, names[i])),
					   errno);
		}
		assert_return_code(rename(world_member(w, 0, "d0/aside"),
					  world_member(w, 0, names[0])),
				   errno);
		assert_int_equal(run(w, true, NULL, false, &result), 0);
		/* f0 has the bytes of seed 1, f3 those of 4 */
		for (i = 0; i < num; i++) {
			verify(w, names[(i + 1) % num], 3 * i + 1, LEN, 1);
		}
		look(w, members);
		assert_int_equal(members[0].num_same, NUM_FILES);
		verify_tidy(w);
		world_free(w);
	}
}

/* A file in the trash that has another name too, which nobody told of: of a
   directory that was renamed, when who did that was killed. */
static void test_a_link_in_the_trash(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;

	(void)state;
	assert_int_equal(do_link(w, path_of(0), "d0/g"), 0);
	assert_int_equal(do_unlink(w, path_of(0)), 0);
	protect(w);
	assert_return_code(rename(world_member(w, 0, "d0"),
				  world_member(w, 0, "e")),
			   errno);
	assert_int_equal(run(w, true, NULL, false, &result), 0);
	verify(w, "e/g", 1, LEN, 1);
	verify_unknown(w, "d0/g");
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* After a power cut, a scan is asked for; a drive that is not there then was there
   when the power went. */
static void test_one_that_was_away(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;
	static const char text[] = "nobody has told of this";

	world_write(world_member(w, 0, path_of(1)), text);
	world_unplug(w, 0);
	world_later(w);
	assert_int_equal(run(w, true, NULL, false, &result), 0);
	assert_int_equal(run(w, false, NULL, false, &result), 0);
	world_plug(w, 0);
	world_later(w);
	assert_int_equal(run(w, false, NULL, false, &result), 0);
	assert_int_equal(result.protected_files, 1);
	verify_bytes(w, path_of(1), (const uint8_t *)text, strlen(text), 1);
	/* and that was that */
	world_write(world_member(w, 0, path_of(2)), text);
	assert_int_equal(run(w, false, NULL, false, &result), 0);
	assert_int_equal(result.protected_files, 0);
	world_free(w);
}

/* A power cut can leave new bytes, or some of them, in a file that has its old
   time: what the client kept before tells of it. */
static void test_an_old_time(void **state)
{
	struct world *w = make();
	uint8_t *bytes = seeded(2, LEN);
	uint8_t *part = seeded(900, 100);
	struct timespec ts[2];
	struct stat st;

	assert_return_code(stat(world_member(w, 0, path_of(1)), &st), errno);
	client_overwrite(w, path_of(1), 900, 100, 50);
	memcpy(bytes + 50, part, 100);
	ts[0] = st.st_atim;
	ts[1] = st.st_mtim;
	assert_return_code(utimensat(AT_FDCWD, world_member(w, 0, path_of(1)),
				     ts, 0),
			   errno);
	lose_events(w);
	protect(w);
	verify_bytes(w, path_of(1), bytes, LEN, 1);
	verify_decodable(w);
	verify_tidy(w);
	free(bytes);
	free(part);
	world_free(w);
}

/* A file was removed on a member, and made again on another, and that was
   protected; the power cut has taken the removal back. */
static void check_one_that_is_back(bool is_away, const char *fault)
{
	struct world *w = make();
	const char *path = path_of(1);
	const char *trash = NULL;
	struct mrmr_node *node = NULL;
	struct mrmr_engine *engine = NULL;
	bool in_trash = false;
	uint64_t inode;
	uint64_t id;
	struct stat st;

	assert_return_code(stat(world_member(w, 0, path), &st), errno);
	inode = (uint64_t)st.st_ino;
	assert_int_equal(do_unlink(w, path), 0);
	client_write_on(w, 2, path, 700, LEN);
	protect(w);
	engine = open_engine(w, MRMR_ENGINE_READ);
	assert_return_code(mrmr_catalog_find_inode(engine->catalog, 0, inode,
						   &id),
			   errno);
	trash = mrmr_catalog_path(engine->catalog, engine, id, &in_trash);
	assert_non_null(trash);
	assert_true(in_trash);
	trash = talloc_asprintf(engine, ".mrmr/trash/%s", trash);
	assert_return_code(rename(world_member(w, 0, trash),
				  world_member(w, 0, path)),
			   errno);
	talloc_free(engine);
	world_later(w);
	assert_int_equal(do_where(w, path), 0);
	lose_events(w);
	/* others of its stripe need its bytes: they are found there */
	verify_decodable(w);
	if (is_away) {
		world_unplug(w, 2);
		world_later(w);
		protect(w);
		world_plug(w, 2);
		world_later(w);
	}
	if (fault != NULL) {
		assert_int_equal(protect_killed(w, fault),
				 strstr(fault, "kill") != NULL);
		world_later(w);
		/* the new one has not left its stripes for it */
		engine = open_engine(w, MRMR_ENGINE_READ);
		assert_return_code(mrmr_catalog_find_path(engine->catalog,
							  engine, path, &node),
				   errno);
		assert_int_equal(node->member, engine->number[2]);
		assert_int_equal(node->num_extents, 1);
		talloc_free(engine);
	}
	protect_and_scan(w);
	assert_int_equal(do_where(w, path), 2);
	verify(w, path, 700, LEN, 1);
	assert_string_equal(world_where(w, path), "2");
	/* and the other one is where it was, for the parity of others */
	engine = open_engine(w, MRMR_ENGINE_READ);
	assert_return_code(mrmr_catalog_get(engine->catalog, engine, id, &node),
			   errno);
	assert_int_equal(node->dir_id, MRMR_ID_TRASH);
	assert_int_equal(node->num_extents, 1);
	talloc_free(engine);
	assert_int_equal(world_trashed(w, 0, "f1"), 1);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

static void test_one_that_is_back(void **state)
{
	check_one_that_is_back(false, NULL);
}

/* The member with the new one was not there at first. */
static void test_one_that_is_back_alone(void **state)
{
	check_one_that_is_back(true, NULL);
}

/* Nobody has made another one, and a client removes it once more: it is in the
   trash again, elsewhere. */
static void test_one_that_is_removed_again(void **state)
{
	struct world *w = make();
	const char *path = path_of(1);
	char command[2048];

	assert_int_equal(do_unlink(w, path), 0);
	protect(w);
	snprintf(command, sizeof(command), "mv %s/*/%s %s",
		 world_member(w, 0, ".mrmr/trash"), path,
		 world_member(w, 0, path));
	assert_int_equal(system(command), 0);
	/* another process has a folder of its own in the trash */
	world_close(w);
	world_open(w);
	assert_int_equal(do_where(w, path), 0);
	assert_int_equal(do_unlink(w, path), 0);
	assert_int_equal(do_where(w, path), SIZE_MAX);
	protect(w);
	/* others of its stripe need its bytes */
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS
/* It is in the trash in the end, and was nowhere else but there or under its
   name. */
static void test_one_that_is_back_failing(void **state)
{
	static const char *const faults[] = {
		"trash=kill",           "trash=EIO",
		"back-moved=kill",      "back-moved=EIO",
		"catalog-prepare=kill", "catalog-prepare=ENOSPC",
	};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		check_one_that_is_back(false, faults[i]);
	}
}
#endif

/* More than are on their way at a time, on several members. */
#define MANY 9000u

static void test_very_many(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3, .parity = "1"});
	struct mrmr_scan_member members[3];
	struct mrmr_protect_result result;
	char name[64];
	unsigned int i;

	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many%u", i);
		world_write(world_member(w, i % 10 == 0, name), "x");
	}
	assert_int_equal(run(w, true, NULL, true, &result), 0);
	for (i = 0; i < MANY; i += 100) {
		snprintf(name, sizeof(name), "many%u", i);
		assert_return_code(unlink(world_member(w, 1, name)), errno);
		snprintf(name, sizeof(name), "many%u", i + 1);
		world_write(world_member(w, 0, name), "changed");
	}
	look(w, members);
	assert_int_equal(members[0].num_files, MANY / 10 * 9);
	assert_int_equal(members[0].num_changed, MANY / 100);
	assert_int_equal(members[0].num_gone, 0);
	assert_int_equal(members[0].num_same, MANY / 10 * 9 - MANY / 100);
	assert_int_equal(members[1].num_files, MANY / 10);
	assert_int_equal(members[1].num_gone, MANY / 100);
	assert_int_equal(members[1].num_changed, 0);
	assert_int_equal(members[2].num_files, 0);
#ifdef MRMR_WITH_FAULTS
	setenv("MRMR_FAULT", "scan-look#200=EIO", 1);
	assert_int_equal(run(w, true, NULL, true, &result), EIO);
	unsetenv("MRMR_FAULT");
	assert_int_equal(sums_of(w).num_files, MANY);
#endif
	world_free(w);
}

/* Parity stays as it is, and everything can still be computed. */
static void check_is_untouched(struct world *w)
{
	struct mrmr_catalog_sums sums = sums_of(w);
	unsigned int i;

	assert_int_equal(sums.num_files, 2 * NUM_FILES);
	assert_int_equal(sums.protected_bytes, 2 * NUM_FILES * LEN);
	world_unplug(w, 0);
	mrmr_pool_look(w->pool);
	for (i = 0; i < NUM_FILES; i++) {
		verify(w, path_of(i), i + 1, LEN, 1);
	}
	world_plug(w, 0);
	mrmr_pool_look(w->pool);
}

static void test_many_are_not_believed(void **state)
{
	struct world *w = make();
	bool accept[4] = {false, true, true, true};
	struct mrmr_scan_member members[4];
	struct mrmr_protect_result result;

	change(w, 0, 22);
	look(w, members);
	assert_true(mrmr_scan_is_doubtful(&members[0]));
	assert_false(mrmr_scan_is_doubtful(&members[1]));
	assert_int_equal(run(w, true, NULL, false, &result), ECANCELED);
	assert_true(result.is_scan_refused);
	check_is_untouched(w);
	/* others' are accepted: that is no answer */
	assert_int_equal(run(w, true, accept, false, &result), ECANCELED);
	check_is_untouched(w);
	/* one that asks for nothing goes on with what it knows */
	assert_int_equal(run(w, false, NULL, false, &result), 0);
	assert_true(result.is_scan_refused);
	check_is_untouched(w);
	/* and it is still asked for */
	accept[0] = true;
	assert_int_equal(run(w, false, accept, false, &result), 0);
	assert_false(result.is_scan_refused);
	verify_bytes(w, path_of(1), (const uint8_t *)"encrypted!", 10, 1);
	verify(w, path_of(25), 26, LEN, 1);
	verify_decodable(w);
	world_free(w);
}

static void test_an_empty_drive(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;
	unsigned int i;

	for (i = 0; i < NUM_FILES; i++) {
		assert_return_code(unlink(world_member(w, 0, path_of(i))),
				   errno);
	}
	assert_int_equal(run(w, true, NULL, false, &result), ECANCELED);
	assert_int_equal(sums_of(w).num_files, 2 * NUM_FILES);
	world_free(w);
}

/* What was moved is there; what clients did was told. */
static void test_many_with_a_reason(void **state)
{
	struct world *w = make();
	struct mrmr_scan_member members[4];
	struct mrmr_protect_result result;
	unsigned int i;

	assert_return_code(mkdir(world_member(w, 0, "to"), 0755), errno);
	for (i = 0; i < NUM_FILES; i++) {
		char to[64];

		snprintf(to, sizeof(to), "to/%u", i);
		assert_return_code(rename(world_member(w, 0, path_of(i)),
					  world_member(w, 0, to)),
				   errno);
	}
	look(w, members);
	assert_int_equal(members[0].num_gone, NUM_FILES);
	assert_int_equal(members[0].num_moved, NUM_FILES);
	assert_false(mrmr_scan_is_doubtful(&members[0]));
	assert_int_equal(run(w, true, NULL, false, &result), 0);
	verify(w, "to/7", 8, LEN, 1);
	for (i = 0; i < NUM_FILES; i++) {
		char path[64];

		snprintf(path, sizeof(path), "other/%u", i);
		client_write(w, path, 200 + i, LEN + 1);
	}
	assert_int_equal(run(w, true, NULL, false, &result), 0);
	verify(w, "other/7", 207, LEN + 1, 1);
	world_free(w);
}

static void test_names_only(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;

	change(w, 0, 1);
	world_write(world_member(w, 2, "new"), "new");
	assert_int_equal(run(w, true, NULL, true, &result), 0);
	assert_int_equal(result.protected_files, 0);
	assert_int_equal(pending_of(w), 2);
	assert_int_equal(run(w, false, NULL, false, &result), 0);
	assert_int_equal(result.protected_files, 2);
	verify_bytes(w, "new", (const uint8_t *)"new", 3, 1);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

/* A member that cannot be read has lost nothing. */
static void test_failing(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;

	setenv("MRMR_FAULT", "scan-look#5=EIO", 1);
	assert_int_equal(run(w, true, NULL, false, &result), EIO);
	unsetenv("MRMR_FAULT");
	check_is_untouched(w);
	world_free(w);
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_directory_made_by_hand),
	cmocka_unit_test(test_few_are_believed),
	cmocka_unit_test(test_a_name_given_on),
	cmocka_unit_test(test_names_go_round),
	cmocka_unit_test(test_a_link_in_the_trash),
	cmocka_unit_test(test_one_that_was_away),
	cmocka_unit_test(test_an_old_time),
	cmocka_unit_test(test_one_that_is_back),
	cmocka_unit_test(test_one_that_is_back_alone),
	cmocka_unit_test(test_one_that_is_removed_again),
	cmocka_unit_test(test_very_many),
	cmocka_unit_test(test_many_are_not_believed),
	cmocka_unit_test(test_an_empty_drive),
	cmocka_unit_test(test_many_with_a_reason),
	cmocka_unit_test(test_names_only),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_failing),
	cmocka_unit_test(test_one_that_is_back_failing),
#endif
};

int main(void)
{
	return WORLD_MAIN("scan", tests);
}
