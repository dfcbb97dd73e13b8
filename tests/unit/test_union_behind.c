/*
 * Unit tests: a process was killed while it renamed a directory, and one of the
 * members cannot follow when others finish that: it is held off, by all of them,
 * until it can.
 *
 * Needs a build --with-faults.
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
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/shared.h>

#include "world.h"

#define LAST 2 /* the member that is to follow last */

/* Another process that has the pool open, and looks when it is told to. */
struct other {
	pid_t pid;
	int tell;
	int hear;
};

static void wait_for_byte(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), 1);
}

static void send_byte(int fd)
{
	assert_int_equal(write(fd, "", 1), 1);
}

/* 0: neither the old name nor the member's file is shown there. */
static int look_around(struct world *w)
{
	if (w->pool->members[LAST].state == MRMR_MEMBER_ONLINE) {
		return 1;
	}
	if (strcmp(do_list(w, ""), "b/") != 0) {
		return 2;
	}
	return strcmp(do_list(w, "b"), "f0 f1") == 0 ? 0 : 3;
}

static struct other other_start(struct world *w)
{
	int to[2], from[2];
	struct other other;

	assert_return_code(pipe(to), errno);
	assert_return_code(pipe(from), errno);
	other.pid = fork();
	assert_return_code(other.pid, errno);
	if (other.pid == 0) {
		close(to[1]); /* so that it ends with the test, too */
		close(from[0]);
		world_open_in_child(w);
		if (strcmp(do_list(w, "a"), "f0 f1 f2") != 0) {
			_exit(4);
		}
		send_byte(from[1]);
		wait_for_byte(to[0]);
		setenv("MRMR_FAULT", "replay-rename=ENOSPC", 1);
		world_use(w);
		_exit(look_around(w));
	}
	close(to[0]);
	close(from[1]);
	other.tell = to[1];
	other.hear = from[0];
	wait_for_byte(other.hear);
	return other;
}

static void other_looks(struct other *other)
{
	int status;

	send_byte(other->tell);
	assert_int_equal(waitpid(other->pid, &status, 0), other->pid);
	assert_int_equal(status, 0);
	close(other->tell);
	close(other->hear);
}

static void killed_in_rename(struct world *w)
{
	pid_t pid = fork();
	int status;

	assert_return_code(pid, errno);
	if (pid == 0) {
		world_open_in_child(w);
		setenv("MRMR_FAULT", "rename-directory#3=kill", 1);
		_exit(do_rename(w, "a", "b"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static struct world *three(void)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3});

	world_write(world_member(w, 0, "a/f0"), "0");
	world_write(world_member(w, 1, "a/f1"), "1");
	world_write(world_member(w, LAST, "a/f2"), "2");
	assert_string_equal(do_list(w, "a"), "f0 f1 f2");
	return w;
}

static void held_off_by_all(void **state)
{
	struct world *w = three();
	struct mrmr_member *member = &w->pool->members[LAST];
	struct other other = other_start(w);

	killed_in_rename(w);
	setenv("MRMR_FAULT", "replay-rename=ENOSPC", 1);
	world_use(w);
	assert_int_equal(look_around(w), 0);
	assert_non_null(strstr(member->why, "renamed"));
	other_looks(&other);
	/* nor is anybody else's rename in its way */
	assert_int_equal(do_mkdir(w, "c", 0755), 0);
	assert_int_equal(do_rename(w, "c", "d"), 0);
	assert_int_equal(do_rename(w, "d", "c"), 0);

	member->held_off_until_ns = 0;
	world_later(w);
	assert_int_equal(member->state, MRMR_MEMBER_AWAY);
	unsetenv("MRMR_FAULT");
	member->held_off_until_ns = 0;
	world_later(w);
	assert_int_equal(member->state, MRMR_MEMBER_ONLINE);
	assert_string_equal(do_list(w, ""), "b/ c/");
	assert_string_equal(do_list(w, "b"), "f0 f1 f2");
	assert_int_equal(atomic_load(&w->pool->shared->num_intents), 0);
	world_free(w);
}

/* Who comes later holds it off as well. */
static void held_off_at_open(void **state)
{
	struct world *w = three();

	killed_in_rename(w);
	setenv("MRMR_FAULT", "replay-rename=ENOSPC", 1);
	world_use(w);
	world_close(w);
	world_open(w);
	assert_int_equal(look_around(w), 0);
	unsetenv("MRMR_FAULT");
	world_close(w);
	world_open(w);
	assert_string_equal(do_list(w, ""), "b/");
	assert_string_equal(do_list(w, "b"), "f0 f1 f2");
	world_free(w);
}

/* Who is in the middle of an operation meanwhile does not bring the old name in
   again. */
static void not_seen_in_between(void **state)
{
	struct world *w = three();
	struct mrmr_dir *dir = do_dir(w, "");
	size_t member;
	struct stat st;
	pid_t pid;
	int status;

	killed_in_rename(w);
	assert_int_equal(mrmr_name_find(dir, "a", &member, &st), -1);
	assert_int_equal(errno, ENOENT);
	/* another one finishes it as far as he can */
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		setenv("MRMR_FAULT", "replay-rename=ENOSPC", 1);
		world_open_in_child(w);
		_exit(look_around(w));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(mrmr_name_find(dir, "a", &member, &st), -1);
	assert_int_equal(errno, ENOENT);
	world_use(w);
	assert_string_equal(do_list(w, ""), "b/");
	assert_string_equal(do_list(w, "b"), "f0 f1 f2");
	world_free(w);
}

/* It is full, and has a little room for such things. */
static void follows_into_the_reserve(void **state)
{
	struct world *w = three();

	world_write(world_member(w, LAST, ".mrmr/reserve"), "room");
	killed_in_rename(w);
	setenv("MRMR_FAULT", "replay-rename#1=ENOSPC", 1);
	world_use(w);
	unsetenv("MRMR_FAULT");
	assert_string_equal(do_list(w, ""), "b/");
	assert_string_equal(do_list(w, "b"), "f0 f1 f2");
	assert_int_equal(access(world_member(w, LAST, ".mrmr/reserve"), F_OK),
			 -1);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(held_off_by_all),
		cmocka_unit_test(held_off_at_open),
		cmocka_unit_test(not_seen_in_between),
		cmocka_unit_test(follows_into_the_reserve),
	};

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] union: behind: this build has no fault "
		      "points; configure --with-faults\n");
	return tests[0].test_func == NULL;
#endif
	return WORLD_MAIN("union: behind", tests);
}
