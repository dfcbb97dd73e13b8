/*
 * Unit tests: a process dies while it changes names of members that are away.
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

#include <mrmr/fault.h>
#include <mrmr/serve.h>

#include "killed.h"
#include "served.h"

#define GRID 65536

static int change_remove(struct world *w)
{
	return do_unlink(w, "f");
}

static int change_rename(struct world *w)
{
	return do_rename(w, "f", "g");
}

/* Killed in the middle: it has happened, or it has not, and the member does the
   same when it is back. */
static void test_killed(void **state)
{
	static const struct {
		const char *point;
		int (*change)(struct world *w);
		const char *here;  /* is there a file of the target's name? */
		const char *after; /* what is listed */
	} cases[] = {
		{"absent-remove", change_remove, NULL, "f"},
		{"absent-removed", change_remove, NULL, ""},
		{"intent-keep", change_remove, NULL, ""},
		{"absent-rename", change_rename, NULL, "f"},
		{"absent-renamed", change_rename, NULL, "g"},
		{"absent-rename", change_rename, "g", "f g"},
		{"absent-replace", change_rename, "g", "g"},
		{"absent-renamed", change_rename, "g", "g"},
	};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_killed: no faults built\n");
	return;
#endif
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;
		struct stat st;
		size_t member;

		protected_file(p, 0, "f", 1, 1000, GRID);
		if (cases[i].here != NULL) {
			protected_file(p, 1, cases[i].here, 2, 2000, GRID);
		}
		protected_unplug(p, 1);
		do_list(w, "");
		served_die_at(p, cases[i].point, cases[i].change);
		assert_string_equal(do_list(w, ""), cases[i].after);
		if (strcmp(cases[i].after, "g") == 0) {
			assert_int_equal(do_stat(w, "g", &member, &st), 0);
			assert_int_equal(st.st_size, 1000);
		}
		served_come_back(p, i % 2 == 1);
		assert_string_equal(do_list(w, ""), cases[i].after);
		if (strcmp(cases[i].after, "g") == 0) {
			assert_int_equal(do_stat(w, "g", &member, &st), 0);
			assert_int_equal(st.st_size, 1000);
			assert_string_equal(world_where(w, "g"), "0");
		}
		if (cases[i].here != NULL &&
		    strcmp(cases[i].after, "f g") != 0) {
			assert_int_equal(world_trashed(w, 1, "g"), 1);
		}
		assert_int_equal(world_trashed(w, 0, "f"),
				 cases[i].after[0] == '\0');
		served_free(p);
	}
}

/* What the member has to do cannot be noted: the next operation tries it again, before
   the names change once more. */
static void test_not_noted(void **state)
{
	static const char *const faults[] = {"intent-keep#1=ENOSPC",
					     "intent-write#2=ENOSPC",
					     "intent-name#2=EIO"};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_not_noted: no faults built\n");
	return;
#endif
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;

		protected_file(p, 0, "f", 1, 1000, GRID);
		protected_file(p, 0, "h", 2, 2000, GRID);
		protected_unplug(p, 1);
		assert_string_equal(do_list(w, ""), "f h");
		setenv("MRMR_FAULT", faults[i], 1);
		assert_int_equal(do_rename(w, "f", "g"), 0);
		unsetenv("MRMR_FAULT");
		assert_int_equal(do_unlink(w, "g"), 0);
		setenv("MRMR_FAULT", faults[i], 1);
		assert_int_equal(do_unlink(w, "h"), 0);
		unsetenv("MRMR_FAULT");
		assert_string_equal(do_list(w, ""), "");
		served_come_back(p, i % 2 == 1);
		assert_string_equal(do_list(w, ""), "");
		served_free(p);
	}
}

/* What cannot be done on the member when it is back is not overtaken by what came after
   it: under another name it would not be found any more. */
static void test_one_after_another(void **state)
{
	struct protected *p = NULL;
	struct world *w = NULL;

	(void)state;
#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_one_after_another: no faults built\n");
	return;
#endif
	p = served_new(3);
	w = p->w;
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	protected_file(p, 0, "d/f", 1, 1000, GRID);
	protected_file(p, 0, "d/g", 2, 1000, GRID);
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, "d"), "f g");
	assert_int_equal(do_unlink(w, "d/f"), 0);
	assert_int_equal(do_rename(w, "d", "e"), 0);
	setenv("MRMR_FAULT", "replay-trash#1=EIO", 1);
	protected_unplug(p, 0);
	unsetenv("MRMR_FAULT");
	assert_string_equal(do_list(w, "e"), "g");
	served_come_back(p, true); /* this process would wait */
	assert_string_equal(do_list(w, "e"), "g");
	assert_int_equal(world_trashed(w, 0, "f"), 1);
	served_free(p);
}

/* Another process moves a file of a member that is away into a directory of which it had
   none: who has just looked there sees it at once, and what replaces it does so. */
static void test_moved_by_another(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct stat st;
	size_t member;
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	protected_file(p, 0, "f", 1, 1000, GRID);
	protected_file(p, 1, "g", 2, 2000, GRID);
	protected_unplug(p, 1);
	assert_int_equal(do_stat(w, "d/f", &member, &st), ENOENT);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		_exit(do_rename(w, "f", "d/f"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(do_rename(w, "g", "d/f"), 0);
	assert_int_equal(do_rename(w, "d/f", "h"), 0);
	assert_string_equal(do_list(w, "d"), "");
	served_come_back(p, false);
	assert_string_equal(do_list(w, "d"), "");
	assert_string_equal(do_list(w, ""), "d/ h");
	served_free(p);
}

/* Another process opens the pool, with a fault. Was it killed? */
static bool return_in_child(struct world *w, const char *fault)
{
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		setenv("MRMR_FAULT", fault, 1);
		world_open_in_child(w);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status);
}

/* A name comes a second time, and who does what waited for the member dies, or
   cannot write, before he has removed the records: what has the name by then is
   not taken for what had it. */
static void test_name_again(void **state)
{
	static const char *const faults[] = {"replay-end=EIO",
					     "replay-end#2=EIO",
					     "replay-end=kill",
					     "replay-end#2=kill"};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_name_again: no faults built\n");
	return;
#endif
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;
		struct stat st;
		size_t member;

		protected_file(p, 0, "f", 1, 1000, GRID);
		protected_file(p, 0, "g", 2, 2000, GRID);
		protected_unplug(p, 1);
		assert_string_equal(do_list(w, ""), "f g");
		assert_int_equal(do_unlink(w, "f"), 0);
		assert_int_equal(do_rename(w, "g", "f"), 0);
		world_plug(w, 0);
		assert_int_equal(return_in_child(w, faults[i]), i >= 2);
		served_reopen(p);
		assert_string_equal(do_list(w, ""), "f");
		assert_int_equal(do_stat(w, "f", &member, &st), 0);
		assert_int_equal(st.st_size, 2000);
		assert_int_equal(world_trashed(w, 0, "f"), 1);
		served_free(p);
	}
}

/* In another process: it opens the pool, and does first what a dead one has left. */
static void look_in_child(struct world *w, void *private_data)
{
	(void)private_data;
	world_open_in_child(w);
}

static void replace_in_child(struct world *w, void *private_data)
{
	(void)private_data;
	assert_int_equal(mrmr_serve_start(w->pool, NULL), 0);
	do_rename(w, "new", "f");
}

/* "new", which is on a member that is there, was to take the name of "f" of member
   0, which is away; with_copy: member 0 has an older "new" as well. Who knows
   where "f" was does not find it there any more. */
static struct protected *replacing_dies(const char *point, bool with_copy)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	char fault[64];
	struct stat st;
	size_t member;

	protected_file(p, 0, "f", 1, 1000, GRID);
	if (with_copy) {
		protected_file(p, 0, "new", 2, 2000, GRID);
	}
	protected_unplug(p, 1);
	world_write(world_drive(w, 1, "new"), "new");
	assert_string_equal(do_list(w, ""), "f new");
	assert_int_equal(do_stat(w, "f", &member, &st), 0);
	assert_int_equal(member, 0);
	snprintf(fault, sizeof(fault), "%s=kill", point);
	assert_true(killed_at(w, fault, replace_in_child, NULL));
	assert_false(killed_at(w, "", look_in_child, NULL));
	assert_int_equal(do_stat(w, "f", &member, &st), 0);
	assert_int_equal(member, 1);
	assert_string_equal(do_read(w, "f"), "new");
	assert_string_equal(do_list(w, ""), "f");
	return p;
}

static void test_replacing(void **state)
{
	static const char *const points[] = {"rename-replace", "rename-unlink",
					     "absent-remove", "absent-removed",
					     "intent-end"};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_replacing: no faults built\n");
	return;
#endif
	for (i = 0; i < 4 * sizeof(points) / sizeof(points[0]); i++) {
		bool with_copy = i % 2 == 1;
		struct protected *p = replacing_dies(points[i / 4], with_copy);
		struct world *w = p->w;

		served_come_back(p, i / 2 % 2 == 1);
		assert_string_equal(do_list(w, ""), "f");
		assert_string_equal(do_read(w, "f"), "new");
		assert_string_equal(world_where(w, "f"), "1");
		assert_int_equal(world_trashed(w, 0, "f"), 1);
		assert_int_equal(world_trashed(w, 0, "new"), with_copy);
		served_free(p);
	}
}

/* What clients do then is no reason for member 0 to show them the old file. */
static void test_replacing_and_going_on(void **state)
{
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_replacing_and_going_on: no faults "
		      "built\n");
	return;
#endif
	for (i = 0; i < 4; i++) {
		bool renames = i < 2;
		struct protected *p = replacing_dies("rename-unlink", true);
		struct world *w = p->w;

		if (renames) {
			assert_int_equal(do_rename(w, "f", "g"), 0);
		} else {
			assert_int_equal(do_unlink(w, "f"), 0);
		}
		assert_int_equal(do_create(w, "new", "another"), 0);
		served_come_back(p, i % 2 == 1);
		assert_string_equal(do_list(w, ""), renames ? "g new" : "new");
		assert_string_equal(do_read(w, "new"), "another");
		assert_int_equal(world_trashed(w, 0, "f"), 1);
		assert_int_equal(world_trashed(w, 0, "new"), 1);
		served_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_not_noted),
		cmocka_unit_test(test_one_after_another),
		cmocka_unit_test(test_moved_by_another),
		cmocka_unit_test(test_name_again),
		cmocka_unit_test(test_replacing),
		cmocka_unit_test(test_replacing_and_going_on),
	};

	return WORLD_MAIN("absent_killed", tests);
}
