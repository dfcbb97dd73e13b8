/*
 * Unit tests: bringing files into stripes beside those who want the processor
 * more: the class of the threads that do it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "striped.h"

#define GRID ((uint32_t)256 << 10)

static const struct world_shape shape = {.num_members = 6, .parity = "2"};

struct seen {
	bool is_urgent_now;  /* what is answered the first time, */
	bool is_urgent_soon; /* and from then on */
	unsigned int num_asked;
	unsigned int num_looks;
	unsigned int max_idle;  /* threads of the idle class in this process */
	unsigned int last_idle; /* at the last look */
	bool self_is_idle;
};

static unsigned int count_idle(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry = NULL;
	unsigned int num = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		int tid = atoi(entry->d_name);

		num += tid > 0 && sched_getscheduler(tid) == SCHED_IDLE;
	}
	closedir(dir);
	return num;
}

/* Both are called by the thread that wants the stripes. */
static bool look(void *private_data)
{
	struct seen *seen = private_data;

	seen->num_looks++;
	seen->last_idle = count_idle();
	if (seen->last_idle > seen->max_idle) {
		seen->max_idle = seen->last_idle;
	}
	seen->self_is_idle =
		seen->self_is_idle || sched_getscheduler(0) == SCHED_IDLE;
	return false;
}

static bool is_urgent(void *private_data)
{
	struct seen *seen = private_data;

	return seen->num_asked++ == 0 ? seen->is_urgent_now
				      : seen->is_urgent_soon;
}

static void run(struct seen *seen, unsigned int threads, bool steps_back)
{
	struct striped *s = striped_new_with(&shape, GRID);
	size_t i;

	for (i = 0; i < 6; i++) {
		striped_file(s, i, (unsigned int)i + 1, 6 * GRID + 1000 * i);
	}
	s->options = (struct mrmr_stripes_options){
		.threads = threads,
		.should_stop = look,
		.steps_back = steps_back,
		.is_urgent = is_urgent,
		.private_data = seen,
	};
	assert_return_code(striped_protect(s, NULL, 0), errno);
	assert_int_equal(s->num_errors, 0);
	striped_check(s, true);
	striped_free(s);
	assert_true(seen->num_looks > 5);
	assert_false(seen->self_is_idle);
}

/* Whoever asks for it himself has it at once. */
static void test_at_once(void **state)
{
	struct seen seen = {0};

	run(&seen, 2, false);
	assert_int_equal(seen.max_idle, 0);
}

/* The threads step back, and the one that has the locks does not; with one
   processor too. */
static void test_steps_back(void **state)
{
	unsigned int threads;

	for (threads = 1; threads <= 3; threads++) {
		struct seen seen = {0};

		run(&seen, threads, true);
		assert_int_equal(seen.max_idle, threads);
	}
}

static void test_is_urgent_from_the_beginning(void **state)
{
	struct seen seen = {.is_urgent_now = true, .is_urgent_soon = true};

	run(&seen, 2, true);
	assert_int_equal(seen.max_idle, 0);
}

/* Somebody comes to wait for it. */
static void test_becomes_urgent(void **state)
{
	struct seen seen = {.is_urgent_soon = true};

	run(&seen, 2, true);
	assert_int_equal(seen.max_idle, 2);
	assert_int_equal(seen.last_idle, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_steps_back),
		cmocka_unit_test(test_is_urgent_from_the_beginning),
		cmocka_unit_test(test_becomes_urgent),
	};

	return WORLD_MAIN("stripes: threads", tests);
}
