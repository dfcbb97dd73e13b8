/*
 * Unit tests: fault points that several processes share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/fault.h>
#include <mrmr/fault_bytes.h>

#ifdef MRMR_WITH_FAULTS

struct table {
	char list[MRMR_FAULT_LIST];
	struct mrmr_fault_count counts[2];
};

static int fd = -1;

static void arm(const char *list)
{
	size_t len = strlen(list) + 1;

	assert_int_equal(pwrite(fd, list, len, 0), len);
}

static struct mrmr_fault_count count(size_t i)
{
	struct mrmr_fault_count got = {.reached = 0};

	assert_int_equal(pread(fd, &got, sizeof(got),
			       (off_t)(MRMR_FAULT_LIST + i * sizeof(got))),
			 sizeof(got));
	return got;
}

static int make_table(void **state)
{
	char path[] = "/tmp/mrmr-faults-XXXXXX";
	struct table table = {.counts = {{.point = "one"}, {.point = "two"}}};

	(void)state;
	fd = mkstemp(path);
	if (fd == -1 ||
	    write(fd, &table, sizeof(table)) != (ssize_t)sizeof(table) ||
	    setenv("MRMR_FAULT_FILE", path, 1) == -1) {
		return -1;
	}
	/* it is mapped when the first point is reached */
	(void)mrmr_fault("of which nobody asks");
	return unlink(path);
}

static void processes_count_together(void **state)
{
	pid_t child = -1;
	int status = 0;

	(void)state;
	arm("one#3=EROFS,two#1=kill");
	assert_int_equal(mrmr_fault("one"), 0);
	child = fork();
	if (child == 0) {
		_exit(mrmr_fault("one") == 0 && mrmr_fault("one") == EROFS &&
				      errno == EROFS
			      ? mrmr_fault("two")
			      : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(mrmr_fault("one"), 0);
	assert_int_equal(count(0).reached, 4);
	assert_int_equal(count(0).fired, 1);
	assert_int_equal(count(1).reached, 1);
	assert_int_equal(count(1).fired, 1);
}

static void a_running_process_is_told(void **state)
{
	char item[64];

	(void)state;
	arm("");
	assert_int_equal(mrmr_fault("two"), 0);
	snprintf(item, sizeof(item), "two#%d=EIO", (int)count(1).reached + 2);
	arm(item);
	assert_int_equal(mrmr_fault("two"), 0);
	assert_int_equal(mrmr_fault("two"), EIO);
	assert_int_equal(mrmr_fault("two"), 0);
	arm("not counted=EIO");
	assert_int_equal(mrmr_fault("not counted"), 0);
}

static void one_of_several(void **state)
{
	char list[2];

	(void)state;
	arm("!one=EIO,two=ENOSPC");
	assert_int_equal(mrmr_fault("not counted"), 0);
	assert_int_equal(mrmr_fault("two"), ENOSPC);
	assert_int_equal(mrmr_fault("one"), 0);
	assert_int_equal(mrmr_fault("two"), 0);
	assert_int_equal(pread(fd, list, 1, 0), 1);
	assert_int_equal(list[0], '\0');
}

static void the_environment_counts_as_well(void **state)
{
	(void)state;
	arm("");
	setenv("MRMR_FAULT", "one#2=ENOSPC", 1);
	assert_int_equal(mrmr_fault("one"), 0);
	assert_int_equal(mrmr_fault("one"), ENOSPC);
	assert_int_equal(mrmr_fault_times("one"), 2);
	unsetenv("MRMR_FAULT");
	assert_int_equal(mrmr_fault("one"), 0);
}

static void bytes_go_wrong(void **state)
{
	uint8_t data[] = {1, 2, 3};

	(void)state;
	arm("");
	assert_int_equal(mrmr_fault_length("one", 7), 7);
	mrmr_fault_flip("two", data, sizeof(data));
	assert_int_equal(data[1], 2);
	arm("one=short,two=flip");
	assert_int_equal(mrmr_fault_length("one", 7), 4);
	assert_int_equal(mrmr_fault_length("one", 1), 1);
	mrmr_fault_flip("two", data, sizeof(data));
	assert_int_equal(data[0], 1);
	assert_int_equal(data[1], 0x12);
	assert_int_equal(data[2], 3);
	/* these are no errors of an operation */
	assert_int_equal(mrmr_fault("one"), 0);
	assert_int_equal(mrmr_fault("two"), 0);
	arm("one=EIO,two=EIO");
	assert_int_equal(mrmr_fault_length("one", 7), 7);
	mrmr_fault_flip("two", data, sizeof(data));
	assert_int_equal(data[1], 0x12);
	arm("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(processes_count_together),
		cmocka_unit_test(a_running_process_is_told),
		cmocka_unit_test(one_of_several),
		cmocka_unit_test(the_environment_counts_as_well),
		cmocka_unit_test(bytes_go_wrong),
	};

	return cmocka_run_group_tests(tests, make_table, NULL);
}

#else

static void points_are_nothing(void **state)
{
	(void)state;
	setenv("MRMR_FAULT", "one=EIO", 1);
	assert_int_equal(mrmr_fault("one"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_are_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
