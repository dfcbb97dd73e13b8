/*
 * Unit tests: markers.
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

#include <mrmr/marker.h>

#include "scratch.h"

#define POOL "10000000-0000-4000-8000-000000000000"
#define OTHER_POOL "20000000-0000-4000-8000-000000000000"
#define A "aaaa0000-0000-4000-8000-000000000001"
#define B "bbbb0000-0000-4000-8000-000000000002"

static struct mrmr_marker marker_of(const char *pool, const char *member)
{
	struct mrmr_marker marker = {0};

	assert_true(mrmr_uuid_parse(pool, &marker.pool_id));
	assert_true(mrmr_uuid_parse(member, &marker.member_id));
	return marker;
}

static int open_root(void **state)
{
	int fd = open(*state, O_PATH | O_DIRECTORY);

	assert_int_not_equal(fd, -1);
	return fd;
}

static void read_fails(void **state, int code, const char *hint)
{
	struct mrmr_marker marker = {0};
	struct mrmr_error err = {0};
	int fd = open_root(state);

	errno = 0;
	assert_int_equal(mrmr_marker_read(fd, "/mnt/a", &marker, &err), -1);
	if (err.code != code || errno != code ||
	    strstr(err.text, hint) == NULL ||
	    strncmp(err.text, "/mnt/a", 6) != 0) {
		fail_msg("%d, %s", err.code, err.text);
	}
	assert_true(mrmr_uuid_is_nil(&marker.pool_id));
	assert_int_equal(mrmr_marker_read(fd, "/mnt/a", &marker, NULL), -1);
	close(fd);
}

static void write_and_read(void **state)
{
	struct mrmr_marker marker = marker_of(POOL, A);
	struct mrmr_marker found = {0};
	struct mrmr_error err = {0};
	struct stat st = {0};
	int fd = open_root(state);

	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), 0);
	assert_int_equal(err.code, 0);
	assert_int_equal(mrmr_marker_read(fd, "/mnt/a", &found, &err), 0);
	assert_true(mrmr_marker_equal(&marker, &found));
	assert_string_equal(scratch_read(state, ".mrmr/config.json"),
			    "{\"drive_id\": \"" POOL "\", "
			    "\"mount_id\": \"" A "\"}\n");
	assert_int_equal(stat(scratch_path(state, ".mrmr"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(scratch_path(state, ".mrmr/config.json"), &st),
			 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_nlink, 1);
	close(fd);
}

static void write_again_changes_nothing_but_the_mode(void **state)
{
	struct mrmr_marker marker = marker_of(POOL, A);
	struct mrmr_error err = {0};
	struct stat before = {0};
	struct stat after = {0};
	const char *path = scratch_path(state, ".mrmr/config.json");
	int fd = open_root(state);

	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(chmod(scratch_path(state, ".mrmr"), 0755), 0);
	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(stat(scratch_path(state, ".mrmr"), &after), 0);
	assert_int_equal(after.st_mode & 07777, 0700);
	close(fd);
}

static void write_spares_what_is_there(void **state)
{
	struct mrmr_marker marker = marker_of(POOL, A);
	struct mrmr_marker other_pool = marker_of(OTHER_POOL, A);
	struct mrmr_marker other_member = marker_of(POOL, B);
	struct mrmr_error err = {0};
	int fd = open_root(state);

	assert_int_equal(mkdir(scratch_path(state, ".mrmr"), 0700), 0);
	scratch_write(state, ".mrmr/mrmr.db", "kept");
	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), 0);
	assert_string_equal(scratch_read(state, ".mrmr/mrmr.db"), "kept");

	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &other_pool, &err),
			 -1);
	assert_int_equal(err.code, EEXIST);
	assert_non_null(strstr(err.text, "another pool"));
	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &other_member, &err),
			 -1);
	assert_int_equal(err.code, EEXIST);
	assert_non_null(strstr(err.text, A));

	scratch_write(state, ".mrmr/config.json", "notes of mine");
	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), -1);
	assert_int_equal(err.code, EINVAL);
	assert_string_equal(scratch_read(state, ".mrmr/config.json"),
			    "notes of mine");
	close(fd);
}

static void remove_takes_only_its_own(void **state)
{
	struct mrmr_marker marker = marker_of(POOL, A);
	struct mrmr_marker other = marker_of(POOL, B);
	struct mrmr_error err = {0};
	int fd = open_root(state);

	assert_int_equal(mrmr_marker_remove(fd, "/mnt/a", &marker, &err), 0);
	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), 0);
	assert_int_equal(mrmr_marker_remove(fd, "/mnt/a", &other, &err), -1);
	assert_int_equal(err.code, EEXIST);
	assert_int_equal(mrmr_marker_remove(fd, "/mnt/a", &marker, &err), 0);
	assert_int_equal(access(scratch_path(state, ".mrmr"), F_OK), -1);

	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), 0);
	scratch_write(state, ".mrmr/mrmr.db", "kept");
	assert_int_equal(mrmr_marker_remove(fd, "/mnt/a", &marker, &err), 0);
	assert_null(scratch_read(state, ".mrmr/config.json"));
	assert_string_equal(scratch_read(state, ".mrmr/mrmr.db"), "kept");
	close(fd);
}

static void no_marker(void **state)
{
	read_fails(state, ENOENT, "mounted");
	assert_int_equal(mkdir(scratch_path(state, ".mrmr"), 0700), 0);
	read_fails(state, ENOENT, "mounted");
}

static void marker_with_wrong_content(void **state)
{
	assert_int_equal(mkdir(scratch_path(state, ".mrmr"), 0700), 0);
	scratch_write(state, ".mrmr/config.json", "");
	read_fails(state, EINVAL, "not a marker");
	scratch_write(state, ".mrmr/config.json", "{\"drive_id\": ");
	read_fails(state, EINVAL, "line 1");
	scratch_write(state, ".mrmr/config.json", "[1]");
	read_fails(state, EINVAL, "drive_id");
	scratch_write(state, ".mrmr/config.json",
		      "{\"drive_id\": \"" POOL "\"}");
	read_fails(state, EINVAL, "mount_id");
	scratch_write(state, ".mrmr/config.json",
		      "{\"drive_id\": \"" POOL "\", \"mount_id\": 1}");
	read_fails(state, EINVAL, "mount_id");
	scratch_write(state, ".mrmr/config.json",
		      "{\"drive_id\": \"x\", \"mount_id\": \"" A "\"}");
	read_fails(state, EINVAL, "drive_id");
	scratch_write(state, ".mrmr/config.json",
		      "{\"drive_id\": \"00000000-0000-0000-0000-000000000000\","
		      " \"mount_id\": \"" A "\"}");
	read_fails(state, EINVAL, "drive_id");
	assert_int_equal(truncate(scratch_path(state, ".mrmr/config.json"),
				  65537),
			 0);
	read_fails(state, EINVAL, "too large");
}

/* A later version may write more than this one knows. */
static void marker_with_more_keys_is_one(void **state)
{
	struct mrmr_marker found = {0};
	struct mrmr_marker marker = marker_of(POOL, A);
	int fd = open_root(state);

	assert_int_equal(mkdir(scratch_path(state, ".mrmr"), 0700), 0);
	scratch_write(state, ".mrmr/config.json",
		      "{\"since\": 3, \"mount_id\": \"" A "\", "
		      "\"drive_id\": \"" POOL "\"}");
	assert_int_equal(mrmr_marker_read(fd, "/mnt/a", &found, NULL), 0);
	assert_true(mrmr_marker_equal(&marker, &found));
	close(fd);
}

static void marker_that_is_no_file(void **state)
{
	const char *path = scratch_path(state, ".mrmr/config.json");

	scratch_write(state, ".mrmr", "");
	read_fails(state, EINVAL, "no marker");
	assert_int_equal(unlink(scratch_path(state, ".mrmr")), 0);
	assert_int_equal(mkdir(scratch_path(state, ".mrmr"), 0700), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	read_fails(state, EINVAL, "no marker");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	read_fails(state, EINVAL, "no marker");
}

/* Who may write to the root of a member must not make another directory look
   like one. */
static void symlinks_are_not_followed(void **state)
{
	struct mrmr_marker marker = marker_of(POOL, A);
	struct mrmr_error err = {0};
	int fd = open_root(state);

	assert_int_equal(mkdir(scratch_path(state, "real"), 0700), 0);
	scratch_write(state, "real/config.json",
		      "{\"mount_id\": \"" A "\", \"drive_id\": \"" POOL "\"}");
	assert_int_equal(symlink("real", scratch_path(state, ".mrmr")), 0);
	read_fails(state, EINVAL, "no marker");
	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), -1);
	assert_int_equal(unlink(scratch_path(state, ".mrmr")), 0);

	assert_int_equal(mkdir(scratch_path(state, ".mrmr"), 0700), 0);
	assert_int_equal(symlink("../real/config.json",
				 scratch_path(state, ".mrmr/config.json")),
			 0);
	read_fails(state, EINVAL, "no marker");
	assert_int_equal(mrmr_marker_write(fd, "/mnt/a", &marker, &err), -1);
	close(fd);
}

/* What file systems of Windows would take for it as well. */
static void names_that_are_private(void **state)
{
	static const char *const names[] = {".mrmr",  ".MRMR",    ".Mrmr.",
					    ".mrmr ", ".mrmr. .", ".mrmr..."};
	static const char *const others[] = {"",        "mrmr",    ".mrm",
					     ".mrmr.d", ".mrmr x", " .mrmr"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_true(mrmr_is_private_name(names[i]));
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_false(mrmr_is_private_name(others[i]));
	}
}

#define IN_SCRATCH(test) \
	cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_are_private),
		IN_SCRATCH(write_and_read),
		IN_SCRATCH(write_again_changes_nothing_but_the_mode),
		IN_SCRATCH(write_spares_what_is_there),
		IN_SCRATCH(remove_takes_only_its_own),
		IN_SCRATCH(no_marker),
		IN_SCRATCH(marker_with_wrong_content),
		IN_SCRATCH(marker_with_more_keys_is_one),
		IN_SCRATCH(marker_that_is_no_file),
		IN_SCRATCH(symlinks_are_not_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
