/*
 * Unit tests: a member is back, which one process has noticed, and another one
 * has not: none of its names is missing meanwhile.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/absent.h>

#include "served.h"

#define GRID 65536

static int size_of(struct world *w, const char *path)
{
	struct stat st;
	size_t member;

	return do_stat(w, path, &member, &st) == 0 ? (int)st.st_size : -1;
}

/* Another process opens the pool, finds the member there, and does this. */
static void another_notices(struct world *w, int (*change)(struct world *w))
{
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		world_open_in_child(w);
		_exit(w->pool->members[0].state == MRMR_MEMBER_ONLINE &&
				      change(w) == 0
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int nothing(struct world *w)
{
	(void)w;
	return 0;
}

static int rename_g(struct world *w)
{
	return do_rename(w, "d/g", "d/h");
}

/* The folder that we have open, of its ghosts, is gone. */
static void test_ghosts_are_gone(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;

	protected_file(p, 0, "d/f", 1, 1000, GRID);
	assert_int_equal(size_of(w, "d/f"), 1000);
	protected_unplug(p, 1);
	assert_int_equal(size_of(w, "d/f"), 1000);
	world_plug(w, 0);
	another_notices(w, nothing);
	assert_int_equal(size_of(w, "d/f"), 1000);
	assert_string_equal(do_list(w, "d"), "f");
	assert_string_equal(do_list(w, ""), "d/");
	served_free(p);
}

/* It has returned, nobody has noticed, and nobody has looked at its names. */
static void test_nobody_has_noticed(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;

	protected_file(p, 0, "d/f", 1, 1000, GRID);
	protected_file(p, 0, "e/f", 1, 1000, GRID);
	assert_string_equal(do_list(w, ""), "d/ e/");
	protected_unplug(p, 1);
	world_plug(w, 0);
	assert_int_equal(size_of(w, "d/f"), 1000);
	assert_int_equal(do_create(w, "d/f", "another"), EEXIST);
	assert_string_equal(do_list(w, "e"), "f");
	world_later(w);
	assert_int_equal(w->pool->members[0].state, MRMR_MEMBER_ONLINE);
	assert_int_equal(size_of(w, "d/f"), 1000);
	/* What was made of it meanwhile is not there when it leaves again. */
	assert_int_equal(do_rename(w, "d/f", "d/g"), 0);
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, "d"), "g");
	served_free(p);
}

/* What waited for it, we could not do; another process could, and has gone on
   from there. */
static void test_another_could(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_another_could: no faults built\n");
	served_free(p);
	return;
#endif
	protected_file(p, 0, "d/f", 1, 1000, GRID);
	protected_file(p, 0, "d/g", 1, 2000, GRID);
	assert_string_equal(do_list(w, "d"), "f g");
	protected_unplug(p, 1);
	assert_int_equal(do_unlink(w, "d/f"), 0);
	setenv("MRMR_FAULT", "replay-end=ENOSPC", 1);
	world_plug(w, 0);
	world_later(w);
	unsetenv("MRMR_FAULT");
	assert_int_equal(w->pool->members[0].state, MRMR_MEMBER_AWAY);
	assert_string_equal(do_list(w, "d"), "g");
	another_notices(w, rename_g);
	assert_string_equal(do_list(w, "d"), "h");
	assert_int_equal(size_of(w, "d/h"), 2000);
	assert_int_equal(size_of(w, "d/g"), -1);
	assert_int_equal(w->pool->members[0].state, MRMR_MEMBER_ONLINE);
	served_free(p);
}

/* Another process opens the pool in so many milliseconds, and is slow at a step. */
static pid_t start_slow(struct world *w, unsigned int ms, const char *fault)
{
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		usleep(ms * 1000);
		setenv("MRMR_FAULT", fault, 1);
		world_open_in_child(w);
		_exit(w->pool->members[0].state == MRMR_MEMBER_ONLINE ? 0 : 1);
	}
	return pid;
}

static void check_ended(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Two processes do what waited for it: not one what the other is through with, as
   names come again. */
static void test_two_at_once(void **state)
{
	static const char *const names[] = {"d/f", "d/g", "d/f", "d/g", "d/h"};
	struct protected *p = served_new(3);
	struct world *w = p->w;
	pid_t first, second;
	size_t i;

	protected_file(p, 0, "d/f", 1, 1000, GRID);
	assert_string_equal(do_list(w, "d"), "f");
	protected_unplug(p, 1);
	for (i = 0; i < 4; i++) {
		assert_int_equal(do_rename(w, names[i], names[i + 1]), 0);
	}
	world_plug(w, 0);
	first = start_slow(w, 0, "intents-next#4=delay");
	second = start_slow(w, 100, "intents-next#3=delay");
	check_ended(first);
	check_ended(second);
	world_later(w);
	assert_string_equal(do_list(w, "d"), "h");
	assert_int_equal(size_of(w, "d/h"), 1000);
	served_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ghosts_are_gone),
		cmocka_unit_test(test_nobody_has_noticed),
		cmocka_unit_test(test_another_could),
		cmocka_unit_test(test_two_at_once),
	};

	return WORLD_MAIN("returning", tests);
}
