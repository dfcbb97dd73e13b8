/*
 * Unit tests: extended attributes as one value.
 *
 * On a tmpfs of the test's own, in a mount namespace: it has room for as many as
 * may be. It keeps user.* since Linux 6.6 only, so trusted.* is what is used.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/xattrs.h>

#include "scratch.h"

static int make(void **state, const char *name)
{
	int fd = open(scratch_path(state, name), O_RDWR | O_CREAT, 0644);

	assert_int_not_equal(fd, -1);
	return fd;
}

static void set(int fd, const char *name, const void *value, size_t len)
{
	if (fsetxattr(fd, name, value, len, 0) == -1) {
		fail_msg("%s: %s", name, strerror(errno));
	}
}

static void test_none(void **state)
{
	uint8_t *blob = (uint8_t *)"x";
	size_t len = 7;
	int fd = make(state, "f");

	assert_int_equal(mrmr_xattrs_read(NULL, fd, &blob, &len), 0);
	assert_null(blob);
	assert_int_equal(len, 0);
	assert_int_equal(mrmr_xattrs_check(blob, len), 0);
	assert_int_equal(mrmr_xattrs_write(fd, blob, len, NULL), 0);
	close(fd);
	assert_int_equal(mrmr_xattrs_read(NULL, fd, &blob, &len), -1);
	assert_int_equal(errno, EBADF);
}

/* The same attributes, set in whatever order, are the same bytes. */
static void test_form(void **state)
{
	static const uint8_t want[] = "trusted.a\0\2\0\0\0xy"
				      "trusted.b\0\0\0\0\0"
				      "trusted.c\0\3\0\0\0\0\1\2";
	size_t want_len = sizeof(want) - 1;
	uint8_t *blob = NULL;
	size_t value_len = 0;
	size_t len = 0;
	int fd = make(state, "f");

	set(fd, "trusted.c", "\0\1\2", 3);
	set(fd, "trusted.a", "xy", 2);
	set(fd, "trusted.b", "", 0);
	assert_int_equal(mrmr_xattrs_read(NULL, fd, &blob, &len), 0);
	assert_int_equal(len, want_len);
	assert_memory_equal(blob, want, want_len);
	assert_memory_equal(mrmr_xattrs_find(blob, len, "trusted.c",
					     &value_len),
			    "\0\1\2", 3);
	assert_int_equal(value_len, 3);
	assert_non_null(mrmr_xattrs_find(blob, len, "trusted.b", &value_len));
	assert_int_equal(value_len, 0);
	assert_null(mrmr_xattrs_find(blob, len, "trusted", &value_len));
	talloc_free(blob);
	close(fd);
}

static void test_check(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} broken[] = {
		{"a", 1},                                /* no end */
		{"a\0\1\0\0", 5},                        /* half a length */
		{"a\0\2\0\0\0x", 7},                     /* half a value */
		{"\0\0\0\0\0", 5},                       /* no name */
		{"b\0\0\0\0\0a\0\0\0\0\0", 12},          /* not sorted */
		{"a\0\0\0\0\0a\0\0\0\0\0", 12},          /* twice */
		{"a\0\xff\xff\xff\xffxxxxxxxxxxxx", 18}, /* beyond all */
		{"a\0\0\0\0\0z", 7},                     /* something after */
	};
	int fd = make(state, "f");
	size_t i;

	for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		/* At the end of a block, so that reading on is noticed. */
		uint8_t *blob = malloc(broken[i].len);

		memcpy(blob, broken[i].bytes, broken[i].len);
		errno = 0;
		if (mrmr_xattrs_check(blob, broken[i].len) != -1 ||
		    errno != EINVAL) {
			fail_msg("case %zu", i);
		}
		assert_int_equal(mrmr_xattrs_write(fd, blob, broken[i].len,
						   NULL),
				 -1);
		assert_int_equal(errno, EINVAL);
		free(blob);
	}
	close(fd);
}

/* What is written is exactly what was read: more goes, other values change. */
static void test_write(void **state)
{
	uint8_t *big = malloc(65536);
	uint8_t *blob = NULL;
	uint8_t *again = NULL;
	unsigned int left_out = 9;
	char acl[] = "\2\0\0\0\1\0\6\0\xff\xff\xff\xff\2\0\7\0\1\4\0\0"
		     "\4\0\4\0\xff\xff\xff\xff\x10\0\7\0\xff\xff\xff\xff"
		     "\x20\0\0\0\xff\xff\xff\xff";
	size_t again_len = 0;
	size_t len = 0;
	int from = make(state, "from");
	int to = make(state, "to");
	int i;

	memset(big, 0xa5, 65536);
	set(from, "trusted.big", big, 60000);
	set(from, "trusted.same", "same", 4);
	set(from, "trusted.other", "this", 4);
	set(from, "system.posix_acl_access", acl, sizeof(acl) - 1);
	for (i = 0; i < 200; i++) { /* a list beyond the first guess */
		char name[64];

		snprintf(name, sizeof(name), "trusted.number.%d", i);
		set(from, name, name, strlen(name));
	}
	set(to, "trusted.same", "same", 4);
	set(to, "trusted.other", "that, longer", 12);
	set(to, "trusted.gone", "x", 1);

	assert_int_equal(mrmr_xattrs_read(NULL, from, &blob, &len), 0);
	assert_int_equal(mrmr_xattrs_check(blob, len), 0);
	assert_int_equal(mrmr_xattrs_write(to, blob, len, &left_out), 0);
	assert_int_equal(left_out, 0);
	assert_int_equal(mrmr_xattrs_read(NULL, to, &again, &again_len), 0);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, blob, len);
	talloc_free(again);

	assert_int_equal(mrmr_xattrs_write(to, NULL, 0, NULL), 0);
	assert_int_equal(mrmr_xattrs_read(NULL, to, &again, &again_len), 0);
	assert_int_equal(again_len, 0);
	talloc_free(blob);
	free(big);
	close(from);
	close(to);
}

/* An unchanged file is not touched, or scans would find it changed. */
static void test_same_is_not_written(void **state)
{
	struct stat before, after;
	uint8_t *blob = NULL;
	size_t len = 0;
	int fd = make(state, "f");

	set(fd, "trusted.a", "xy", 2);
	assert_int_equal(fstat(fd, &before), 0);
	assert_int_equal(mrmr_xattrs_read(NULL, fd, &blob, &len), 0);
	usleep(20000);
	assert_int_equal(mrmr_xattrs_write(fd, blob, len, NULL), 0);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(after.st_ctim.tv_sec, before.st_ctim.tv_sec);
	assert_int_equal(after.st_ctim.tv_nsec, before.st_ctim.tv_nsec);
	talloc_free(blob);
	close(fd);
}

/* Symlinks and special files themselves, and names that are odd. */
static void test_at(void **state)
{
	static const char *const names[] = {"link", "fifo", "a\n\xff b"};
	int dir = open(*state, O_PATH | O_DIRECTORY);
	uint8_t *blob = NULL;
	uint8_t *again = NULL;
	size_t again_len = 0;
	size_t len = 0;
	size_t i;
	int target;

	target = make(state, "target");
	set(target, "trusted.t", "1", 1);
	assert_int_equal(symlinkat("target", dir, "link"), 0);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	close(make(state, names[2]));
	assert_int_equal(mrmr_xattrs_read(NULL, target, &blob, &len), 0);

	for (i = 0; i < 3; i++) {
		assert_int_equal(mrmr_xattrs_read_at(NULL, dir, names[i],
						     &again, &again_len),
				 0);
		assert_int_equal(again_len, 0);
		assert_int_equal(mrmr_xattrs_write_at(dir, names[i], blob, len,
						      NULL),
				 0);
		assert_int_equal(mrmr_xattrs_read_at(NULL, dir, names[i],
						     &again, &again_len),
				 0);
		assert_int_equal(again_len, len);
		assert_memory_equal(again, blob, len);
		talloc_free(again);
	}
	assert_int_equal(mrmr_xattrs_read_at(NULL, dir, "none", &again,
					     &again_len),
			 -1);
	assert_int_equal(errno, ENOENT);
	talloc_free(blob);
	close(target);
	close(dir);
}

/* What cannot be kept is counted, and the rest is written. */
static void test_left_out(void **state)
{
	static const uint8_t blob[] = "nonsense.a\0\1\0\0\0x"
				      "trusted.b\0\1\0\0\0y";
	unsigned int left_out = 0;
	char value[8] = "";
	int fd = make(state, "f");

	assert_int_equal(mrmr_xattrs_write(fd, blob, sizeof(blob) - 1,
					   &left_out),
			 0);
	assert_int_equal(left_out, 1);
	assert_int_equal(fgetxattr(fd, "trusted.b", value, sizeof(value)), 1);
	assert_int_equal(value[0], 'y');
	close(fd);
}

static int setup(void **state)
{
	return scratch_setup(state) == 0 &&
			       mount("none", *state, "tmpfs", 0, NULL) == 0
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	umount2(*state, MNT_DETACH);
	return scratch_teardown(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_none),
		TEST(test_form),
		TEST(test_check),
		TEST(test_write),
		TEST(test_same_is_not_written),
		TEST(test_at),
		TEST(test_left_out),
	};

	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1) {
		print_message("[  SKIPPED ] xattrs: they need a mount "
			      "namespace of their own and root for that: %s\n",
			      strerror(errno));
		return 0;
	}
	return cmocka_run_group_tests_name("xattrs", tests, NULL, NULL);
}
