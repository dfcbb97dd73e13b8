/*
 * What /proc says of descriptors.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/fd_path.h>

static void the_path_is_what_the_kernel_says(void **state)
{
	char folder[] = "/tmp/mrmr-test-fd-XXXXXX";
	char path[PATH_MAX];
	char link[64];
	char got[PATH_MAX];
	int fd;

	assert_non_null(mkdtemp(folder));
	snprintf(link, sizeof(link), "%s/link", folder);
	assert_int_equal(symlink(".", link), 0);
	fd = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_not_equal(fd, -1);
	assert_non_null(realpath(folder, path));
	assert_int_equal(mrmr_fd_path(fd, got, sizeof(got)), 0);
	assert_string_equal(got, path);
	close(fd);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(rmdir(folder), 0);
}

/* Half of a path would be another one. */
static void a_path_that_does_not_fit_is_none(void **state)
{
	char got[8];
	int fd = open("/proc", O_PATH | O_CLOEXEC);

	assert_int_not_equal(fd, -1);
	assert_int_equal(mrmr_fd_path(fd, got, sizeof("/proc")), 0);
	assert_string_equal(got, "/proc");
	assert_int_equal(mrmr_fd_path(fd, got, sizeof("/proc") - 1), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	close(fd);
	assert_int_equal(mrmr_fd_path(fd, got, sizeof(got)), -1);
	assert_int_equal(errno, ENOENT);
}

static void the_link_leads_to_what_is_open(void **state)
{
	char link[MRMR_FD_LINK_LEN];
	struct stat wanted, got;
	int fd = open("/proc", O_PATH | O_CLOEXEC);

	assert_int_not_equal(fd, -1);
	assert_int_equal(fstat(fd, &wanted), 0);
	assert_int_equal(stat(mrmr_fd_link(fd, link), &got), 0);
	assert_true(got.st_ino == wanted.st_ino && got.st_dev == wanted.st_dev);
	close(fd);
	assert_string_equal(mrmr_fd_link(INT32_MIN, link),
			    "/proc/self/fd/-2147483648");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_path_is_what_the_kernel_says),
		cmocka_unit_test(a_path_that_does_not_fit_is_none),
		cmocka_unit_test(the_link_leads_to_what_is_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
