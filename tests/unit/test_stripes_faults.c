/*
 * Unit tests: changing stripes, killed at any step, and with errors at any step.
 *
 * A batch of changes of all kinds is made once for each fault point and each time
 * that it is reached. Killed there, in a process of its own, the batch has
 * happened or it has not, and either way whatever can be lost can be computed
 * (invariants 2 and 3). Failing there, likewise; and what comes next is as if
 * nothing had been.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/fault.h>

#include "striped.h"

#define K ((size_t)1024)
#define GRID ((uint32_t)64 << 10)

/* Wide enough for changes of parity by what changes to read less than encoding
   all of it anew; some of the stripes are narrow. */
static const struct world_shape shape = {.num_members = 6, .parity = "2"};

/* Protected files, and changes of all kinds that are not protected yet. */
static struct striped *make(void)
{
	struct striped *s = striped_new_with(&shape, GRID);
	size_t i;

	for (i = 0; i < 6; i++) {
		striped_file(s, i, (unsigned int)(10 * i + 1), 2 * GRID + 3000);
		striped_file(s, i, (unsigned int)(10 * i + 2), 30 * K);
	}
	assert_return_code(striped_protect(s, NULL, 0), errno);
	striped_overwrite(s, s->files[0], 100, 50 * K, 100);
	striped_append(s, s->files[3], 50 * K, 101);
	striped_truncate(s, s->files[4], 3000);
	s->files[6]->is_gone = true;
	striped_file(s, 2, 102, GRID);
	striped_file(s, 1, 103, 10 * K);
	return s;
}

static void check(struct striped *s, bool no_garbage)
{
	striped_check(s, no_garbage);
	striped_check_losses(s, 2);
}

static void check_end(struct striped *s, bool no_garbage)
{
	size_t i;

	assert_return_code(striped_protect(s, NULL, 0), errno);
	assert_int_equal(s->num_errors, 0);
	for (i = 0; i < s->num; i++) {
		assert_int_equal(striped_count(s, s->files[i]),
				 (s->files[i]->len + GRID - 1) / GRID);
	}
	striped_mend_all(s);
	check(s, no_garbage);
}

/* --- without fault points: between the steps ------------------------------------ */

static void test_ends_between_steps(void **state)
{
	int step;

	for (step = 0; step <= 3; step++) {
		struct striped *s = make();
		int status = 0;
		pid_t pid;

		check(s, true);
		striped_before_fork(s);
		pid = fork();
		assert_return_code(pid, errno);
		if (pid == 0) {
			striped_in_child(s);
			striped_protect_upto(s, NULL, 0, step);
			_exit(17);
		}
		assert_return_code(waitpid(pid, &status, 0), errno);
		assert_int_equal(WEXITSTATUS(status), 17);
		assert_int_equal(striped_after_child(s), step >= 2);
		check(s, false);
		check_end(s, false);
		striped_free(s);
	}
}

#ifdef MRMR_WITH_FAULTS

static const char *const points[] = {
	"blob-open",
	"blob-write",
	"blob-rename",
	"blob-remove",
	"catalog-commit",
	"catalog-part",
	"catalog-parts-written",
	"catalog-store",
	"live-read",
	"stripes-job",
	"stripes-old",
	"stripes-read",
	"stripes-sync",
	"stripes-write",
};

#define NUM_POINTS (sizeof(points) / sizeof(points[0]))

/* How often the batch reaches a point. */
static unsigned long count(const char *point)
{
	struct striped *s = make();
	unsigned long times;

	setenv("MRMR_FAULT", "counting", 1);
	assert_return_code(striped_protect(s, NULL, 0), errno);
	times = mrmr_fault_times(point);
	unsetenv("MRMR_FAULT");
	striped_free(s);
	return times;
}

/* Whether the child came to it. */
static bool run_killed(const char *fault)
{
	struct striped *s = make();
	bool was_killed;
	int status = 0;
	pid_t pid;

	striped_before_fork(s);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		striped_in_child(s);
		setenv("MRMR_FAULT", fault, 1);
		striped_protect(s, NULL, 0);
		_exit(0);
	}
	assert_return_code(waitpid(pid, &status, 0), errno);
	was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	assert_true(was_killed ||
		    (WIFEXITED(status) && WEXITSTATUS(status) == 0));
	striped_after_child(s);
	check(s, false);
	check_end(s, false);
	striped_free(s);
	return was_killed;
}

static void run_failing(const char *fault, const char *point)
{
	struct striped *s = make();
	bool no_garbage = strcmp(point, "blob-remove") != 0;

	setenv("MRMR_FAULT", fault, 1);
	if (striped_protect(s, NULL, 0) == -1) {
		unsetenv("MRMR_FAULT");
		/* nothing has happened */
		check(s, no_garbage);
	}
	unsetenv("MRMR_FAULT");
	striped_check(s, no_garbage);
	/* a row that could not be written may be missing */
	striped_check_losses(s, 1);
	check_end(s, no_garbage);
	striped_free(s);
}

static void test_killed(void **state)
{
	size_t p;

	for (p = 0; p < NUM_POINTS; p++) {
		unsigned long times = count(points[p]);
		unsigned long n;

		if (times == 0) {
			fail_msg("%s was never reached", points[p]);
		}
		for (n = 1; n <= times; n += 1 + n / 4) {
			char fault[64];
			bool was_killed;

			snprintf(fault, sizeof(fault), "%s#%lu=kill", points[p],
				 n);
			was_killed = run_killed(fault);
			/* how many records a commit writes, it knows */
			assert_true(was_killed || n > 1);
		}
	}
}

static void test_failing(void **state)
{
	static const char *const errors[] = {"EIO", "ENOSPC"};
	size_t p;
	size_t e;

	for (p = 0; p < NUM_POINTS; p++) {
		unsigned long times = count(points[p]);
		unsigned long n;

		for (e = 0; e < 2; e++) {
			for (n = 0; n <= times; n += 1 + n / 4) {
				char fault[64];

				/* n = 0: each time */
				snprintf(fault, sizeof(fault), "%s#%lu=%s",
					 points[p], n, errors[e]);
				if (n == 0) {
					snprintf(fault, sizeof(fault), "%s=%s",
						 points[p], errors[e]);
				}
				run_failing(fault, points[p]);
			}
		}
	}
}

#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends_between_steps),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_failing),
#endif
	};

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] stripes: faults: this build has no fault "
		      "points; configure --with-faults\n");
#endif
	return WORLD_MAIN("stripes: faults", tests);
}
