/*
 * Unit tests: the protector is killed, and finds its disks full or failing.
 *
 * Invariant 2, at each point: whatever the catalogue says is protected can be
 * computed without the member it lies on, before the next protector runs, and
 * after it; and after it, all is protected as it is now.
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
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>

#include "protecting.h"

#define K 1024
#define BLOCK (64 * K)
#define NUM_FILES 12

static struct world *new_world(void)
{
	const struct world_shape shape = {
		.num_members = 4,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	};

	return world_new(&shape);
}

static const char *name_of(unsigned int i)
{
	static char names[4][32];
	static unsigned int next;
	char *name = names[next++ % 4];

	snprintf(name, sizeof(names[0]), "%sf%u", i % 3 == 0 ? "d/" : "", i);
	return name;
}

/* Files of one to three blocks, and small ones. */
static size_t len_of(unsigned int i)
{
	return i % 4 == 3 ? 900 + i : (i % 3 + 1) * BLOCK - i;
}

static void make_files(struct world *w)
{
	unsigned int i;

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (i = 0; i < NUM_FILES; i++) {
		client_write_on(w, i % 4, name_of(i), i, len_of(i));
	}
}

/* One of each kind. */
static void change_files(struct world *w)
{
	client_write(w, "f1", 101, len_of(1));
	client_write(w, "f2", 102, BLOCK / 2);
	client_write(w, "d/f3", 103, 5 * BLOCK);
	assert_int_equal(do_unlink(w, "f4"), 0);
	assert_int_equal(do_rename(w, "f5", "f7"), 0);
	assert_int_equal(do_rename(w, "d", "e"), 0);
	assert_int_equal(do_link(w, "f8", "e/f8"), 0);
	client_write_on(w, 2, "new", 104, 3 * BLOCK);
	client_write_on(w, 3, "small", 105, 1000);
}

static void verify_changed(struct world *w)
{
	verify(w, "e/f0", 0, len_of(0), 1);
	verify(w, "f1", 101, len_of(1), 1);
	verify(w, "f2", 102, BLOCK / 2, 1);
	verify(w, "e/f3", 103, 5 * BLOCK, 1);
	verify_unknown(w, "f4");
	verify_unknown(w, "f5");
	verify(w, "e/f6", 6, len_of(6), 1);
	verify(w, "f7", 5, len_of(5), 1);
	verify(w, "f8", 8, len_of(8), 1);
	verify(w, "e/f8", 8, len_of(8), 1);
	verify(w, "e/f9", 9, len_of(9), 1);
	verify(w, "f10", 10, len_of(10), 1);
	verify(w, "f11", 11, len_of(11), 1);
	verify(w, "new", 104, 3 * BLOCK, 1);
	verify(w, "small", 105, 1000, 1);
	verify_unknown(w, "d");
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(sums_of(w).num_files, 12);
	assert_int_equal(sums_of(w).file_bytes, sums_of(w).protected_bytes);
	verify_tidy(w);
}

#ifdef MRMR_WITH_FAULTS

static const char *const points[] = {
	"queue-take",          "queue-taken",       "protect-events",
	"protect-declared",    "protect-applied",   "protect-synced",
	"protect-before-drop", "protect-committed", "undo-drop",
	"stripes-job",         "stripes-write",     "stripes-sync",
	"blob-write",          "blob-rename",       "blob-remove",
	"catalog-commit",      "catalog-part",      "catalog-parts-written",
	"catalog-store",       "guard-bound",
};
#define NUM_POINTS (sizeof(points) / sizeof(points[0]))

static unsigned int killed_at_all_points(void)
{
	unsigned int kills = 0;
	size_t i;

	for (i = 0; i < NUM_POINTS; i++) {
		unsigned int times;

		for (times = 1; times <= 40;
		     times = times < 4 ? times + 1 : 2 * times) {
			struct world *w = new_world();
			char fault[64];
			bool killed;

			make_files(w);
			protect(w);
			change_files(w);
			snprintf(fault, sizeof(fault), "%s#%u=kill", points[i],
				 times);
			killed = protect_killed(w, fault);
			verify_decodable(w);
			if (killed) {
				protect(w);
				kills++;
			}
			verify_changed(w);
			world_free(w);
			if (!killed) {
				break;
			}
		}
	}
	return kills;
}

static void killed_while_files_are_changed(void **state)
{
	(void)state;
	assert_true(killed_at_all_points() > 20);
}

/* In parts, one a commit: what is done is not done again. */
static void killed_between_the_parts_of_large_files(void **state)
{
	static const char *const faults[] = {
		"protect-committed#1=kill", "protect-committed#3=kill",
		"protect-applied#2=kill",   "protect-synced#4=kill",
		"catalog-commit#5=kill",
	};
	size_t i;

	(void)state;
	protect_batch_bytes = 6 * BLOCK;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct mrmr_protect_result result;
		struct world *w = new_world();

		client_write_on(w, 0, "big0", 1, 30 * BLOCK + 5);
		client_write_on(w, 1, "big1", 2, 20 * BLOCK);
		client_write_on(w, 2, "big2", 3, 25 * BLOCK);
		client_write_on(w, 3, "small", 4, 1000);
		if (!protect_killed(w, faults[i])) {
			fail_msg("%s is not reached", faults[i]);
		}
		verify_decodable(w);
		/* one is changed in the middle of it */
		client_write(w, "big2", 5, 25 * BLOCK);
		result = protect(w);
		assert_true(result.protected_bytes < 76 * BLOCK);
		verify(w, "big0", 1, 30 * BLOCK + 5, 1);
		verify(w, "big1", 2, 20 * BLOCK, 1);
		verify(w, "big2", 5, 25 * BLOCK, 1);
		verify(w, "small", 4, 1000, 1);
		assert_int_equal(pending_of(w), 0);
		verify_tidy(w);
		world_free(w);
	}
	protect_batch_bytes = 0;
}

static void killed_in_the_first_scan(void **state)
{
	static const char *const faults[] = {
		"protect-scan#2=kill",      "protect-declared#5=kill",
		"protect-applied#1=kill",   "protect-synced#1=kill",
		"protect-committed#1=kill", "stripes-job#2=kill",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = new_world();
		unsigned int n;

		make_files(w);
		if (!protect_killed(w, faults[i])) {
			fail_msg("%s is not reached", faults[i]);
		}
		verify_decodable(w);
		protect(w);
		for (n = 0; n < NUM_FILES; n++) {
			verify(w, name_of(n), n, len_of(n), 1);
		}
		assert_int_equal(pending_of(w), 0);
		verify_tidy(w);
		world_free(w);
	}
}

/* An operation fails, once: it is done again, and nothing is lost. */
static void a_failing_operation(void **state)
{
	static const char *const faults[] = {
		"protect-applied#1=EIO", "protect-synced#1=EIO",
		"stripes-job#2=EIO",     "blob-write#2=ENOSPC",
		"blob-write#3=EIO",      "undo-drop#1=EIO",
		"live-read#3=EIO",       "live-open#2=EIO",
		"queue-take#1=EIO",      "protect-declared#2=EIO",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct mrmr_protect_result result;
		struct world *w = new_world();

		make_files(w);
		protect(w);
		change_files(w);
		setenv("MRMR_FAULT", faults[i], 1);
		try_protect(w, &result);
		assert_true(mrmr_fault_times("live-read") > 0 || i == 8);
		unsetenv("MRMR_FAULT");
		verify_decodable(w);
		protect(w);
		verify_changed(w);
		world_free(w);
	}
}

/* In a process of its own: so many files are left that could not be read. */
static void check_unreadable(struct world *w, const char *fault,
			     uint64_t num_files)
{
	pid_t pid = fork();
	int status = 0;

	assert_return_code(pid, errno);
	if (pid == 0) {
		struct mrmr_protect_result result;

		world_open_in_child(w);
		setenv("MRMR_FAULT", fault, 1);
		_exit(try_protect(w, &result) == 0 &&
				      result.unreadable_files == num_files
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* What is protected of them stays, until there is something newer. */
static void files_that_cannot_be_read(void **state)
{
	struct world *w = new_world();

	(void)state;
	client_write_on(w, 0, "longer", 1, BLOCK + 5);
	client_write_on(w, 0, "shorter", 2, 3 * BLOCK);
	client_write_on(w, 1, "empty now", 3, BLOCK);
	client_write_on(w, 2, "as it was", 4, BLOCK);
	client_write_on(w, 2, "was empty", 4, 0);
	protect(w);
	client_write(w, "longer", 5, 3 * BLOCK + 7);
	client_write(w, "shorter", 6, BLOCK);
	client_write(w, "empty now", 7, 0);
	client_write(w, "was empty", 9, BLOCK);
	client_write(w, "new", 8, BLOCK);
	check_unreadable(w, "stripes-read=EIO", 4);
	verify(w, "longer", 1, BLOCK + 5, 1);
	verify(w, "shorter", 2, 3 * BLOCK, 1);
	verify(w, "as it was", 4, BLOCK, 1);
	verify(w, "was empty", 4, 0, 1);
	verify_decodable(w);

	/* one of them, once: all are done */
	check_unreadable(w, "stripes-read#1=EIO", 0);
	verify(w, "longer", 5, 3 * BLOCK + 7, 1);
	verify(w, "shorter", 6, BLOCK, 1);
	verify(w, "empty now", 7, 0, 1);
	verify(w, "as it was", 4, BLOCK, 1);
	verify(w, "was empty", 9, BLOCK, 1);
	verify(w, "new", 8, BLOCK, 1);
	assert_int_equal(pending_of(w), 0);
	verify_tidy(w);
	world_free(w);
}

/* What cannot be read spoils the batch that it is in once: the others are committed
   without it, and then it is tried again, on its own. */
static void others_are_done_first(void **state)
{
	struct mrmr_protect_result result;
	struct world *w = new_world();

	(void)state;
	client_write_on(w, 0, "a", 1, BLOCK);
	client_write_on(w, 1, "b", 2, BLOCK);
	client_write_on(w, 2, "c", 3, BLOCK);
	protect(w);
	client_write(w, "a", 4, BLOCK);
	client_write(w, "b", 5, BLOCK);
	client_write(w, "c", 6, BLOCK);
	setenv("MRMR_FAULT", "stripes-read#1=EIO", 1);
	assert_int_equal(try_protect(w, &result), 0);
	assert_int_equal(mrmr_fault_times("protect-applied"), 2);
	unsetenv("MRMR_FAULT");
	assert_int_equal(result.unreadable_files, 0);
	assert_int_equal(pending_of(w), 0);
	verify(w, "a", 4, BLOCK, 1);
	verify(w, "b", 5, BLOCK, 1);
	verify(w, "c", 6, BLOCK, 1);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

#endif

/* The member goes in the middle of a run. */
static struct world *losing;

static bool unplug_soon(void *private_data)
{
	int *calls = private_data;

	if (--*calls == 0) {
		world_unplug(losing, 1);
	}
	return false;
}

static void a_member_vanishes_in_the_middle(void **state)
{
	static const int moments[] = {1, 3, 6, 9, 12, 16, 20, 30};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		struct world *w = new_world();
		int calls = moments[i];
		const struct mrmr_protect_options options = {
			.everything = true,
			.should_stop = unplug_soon,
			.private_data = &calls,
		};
		struct mrmr_protect_result result;
		struct mrmr_engine *engine = NULL;
		struct mrmr_error err = {0};
		unsigned int n;

		make_files(w);
		losing = w;
		engine = open_engine(w, MRMR_ENGINE_WRITE);
		if (mrmr_protect(engine, &options, &result, &err) == -1) {
			print_message("moment %d: %s\n", moments[i], err.text);
		}
		talloc_free(engine);
		if (calls <= 0) {
			world_plug(w, 1);
		}
		mrmr_pool_look(w->pool);
		verify_decodable(w);
		protect(w);
		for (n = 0; n < NUM_FILES; n++) {
			verify(w, name_of(n), n, len_of(n), 1);
		}
		assert_int_equal(pending_of(w), 0);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(killed_while_files_are_changed),
		cmocka_unit_test(killed_between_the_parts_of_large_files),
		cmocka_unit_test(killed_in_the_first_scan),
		cmocka_unit_test(a_failing_operation),
		cmocka_unit_test(files_that_cannot_be_read),
		cmocka_unit_test(others_are_done_first),
#endif
		cmocka_unit_test(a_member_vanishes_in_the_middle),
	};

	(void)change_files;
	(void)verify_changed;
	return WORLD_MAIN("protector_crash", tests);
}
