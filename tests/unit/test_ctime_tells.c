/*
 * Unit tests: where it is believed that the ctime tells of every change, it does.
 * On file systems of all kinds, that is tests/integration/listing.test.
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
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/ctime_tells.h>

#include "scratch.h"

static void test_not_everywhere(void **state)
{
	int fd = open("/proc/self", O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_return_code(fd, errno);
	assert_false(mrmr_ctime_tells(fd));
	close(fd);
	errno = 0;
	assert_false(mrmr_ctime_tells(-1));
	assert_int_equal(errno, 0);
}

/* Longer than a tick of the kernel's clock. */
static void wait_a_tick(void)
{
	const struct timespec tick = {.tv_nsec = 20000000};

	nanosleep(&tick, NULL);
}

static void check_change(int fd, struct timespec *ctime)
{
	struct stat st;

	assert_return_code(fstat(fd, &st), errno);
	assert_true(st.st_ctim.tv_sec != ctime->tv_sec ||
		    st.st_ctim.tv_nsec != ctime->tv_nsec);
	*ctime = st.st_ctim;
	wait_a_tick();
}

static void test_it_tells(void **state)
{
	struct timespec ctime = {0};
	char to[1024];
	int fd;

	scratch_write(state, "a", "text");
	fd = open(scratch_path(state, "a"), O_RDWR);
	assert_return_code(fd, errno);
	if (!mrmr_ctime_tells(fd)) {
		close(fd);
		skip();
	}
	check_change(fd, &ctime);
	assert_return_code(fsetxattr(fd, "user.a", "1", 1, 0), errno);
	check_change(fd, &ctime);
	assert_return_code(fsetxattr(fd, "user.a", "2", 1, 0), errno);
	check_change(fd, &ctime);
	assert_return_code(fremovexattr(fd, "user.a"), errno);
	check_change(fd, &ctime);
	assert_return_code(fchmod(fd, 0600), errno);
	check_change(fd, &ctime);
	snprintf(to, sizeof(to), "%s", scratch_path(state, "b"));
	assert_return_code(rename(scratch_path(state, "a"), to), errno);
	check_change(fd, &ctime);
	assert_return_code(unlink(to), errno);
	check_change(fd, &ctime);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_everywhere),
		cmocka_unit_test_setup_teardown(test_it_tells, scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
