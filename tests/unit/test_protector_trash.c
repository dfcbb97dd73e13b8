/*
 * Unit tests: the protector: the trash.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/protection.h>
#include <mrmr/scrub.h>
#include <mrmr/shared.h>
#include <mrmr/trash.h>
#include <mrmr/undo.h>

#include "two_each.h"

static void trash_over_its_time_goes(void **state)
{
	struct world *w = two_each_new("1", ", \"trash_days\": 0");

	(void)state;
	two_each_make(w);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	client_write_on(w, 0, "d/g", 9, 2 * BLOCK);
	protect(w);
	assert_int_equal(do_unlink(w, "f0"), 0);
	assert_int_equal(do_unlink(w, "d/g"), 0);
	assert_int_equal(world_trashed(w, 0, "f0"), 1);
	sleep(1); /* older than now */
	protect(w);
	assert_int_equal(world_trashed(w, 0, "f0"), 0);
	assert_int_equal(world_trashed(w, 0, "g"), 0);
	assert_int_equal(world_trashed(w, 0, "d"), 0);
	assert_int_equal(sums_of(w).trash_bytes, 0);
	two_each_verify(w, 1, 1);
	verify_tidy(w);
	world_free(w);
}

static void young_trash_stays(void **state)
{
	struct world *w = two_each_new("1", "");

	(void)state;
	two_each_make(w);
	protect(w);
	assert_int_equal(do_unlink(w, "f0"), 0);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "f0"), 1);
	assert_int_equal(sums_of(w).trash_bytes, 2 * BLOCK);
	assert_true(mrmr_room_reclaimable(w->pool, 0) >= 2 * BLOCK);
	assert_int_equal(mrmr_room_reclaimable(w->pool, 1), 0);
	world_free(w);
}

static void trash_beyond_its_share_goes(void **state)
{
	/* 1% of 32 MiB: two files of 128 KiB fit, three do not */
	struct world *w = two_each_new("1", ", \"trash_max_percent\": 1");

	(void)state;
	client_write_on(w, 0, "old", 1, 2 * BLOCK);
	client_write_on(w, 0, "mid", 2, 2 * BLOCK);
	client_write_on(w, 0, "new", 3, 2 * BLOCK);
	client_write_on(w, 1, "other", 4, 2 * BLOCK);
	protect(w);
	assert_int_equal(do_unlink(w, "old"), 0);
	mrmr_trash_let_go(w->pool); /* another folder, of another second */
	sleep(1);
	assert_int_equal(do_unlink(w, "mid"), 0);
	assert_int_equal(do_unlink(w, "new"), 0);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "old"), 0);
	assert_int_equal(world_trashed(w, 0, "mid"), 1);
	assert_int_equal(world_trashed(w, 0, "new"), 1);
	verify(w, "other", 4, 2 * BLOCK, 1);
	verify_tidy(w);
	world_free(w);
}

static void trash_makes_room_for_clients(void **state)
{
	struct world *w = two_each_new("1", "");

	(void)state;
	two_each_make(w);
	protect(w);
	assert_int_equal(do_unlink(w, "f0"), 0);
	assert_int_equal(do_unlink(w, "f1"), 0);
	protect(w);
	mrmr_room_ask(w->pool, 0, UINT64_MAX / 2);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "f0"), 0);
	assert_int_equal(world_trashed(w, 1, "f1"), 1);
	assert_int_equal(mrmr_room_reclaimable(w->pool, 0), 0);
	two_each_verify(w, 2, 1);
	verify_tidy(w);
	world_free(w);
}

struct waiter {
	struct world *w;
	unsigned int batches;
	unsigned int while_it_waits;
};

/* After the first batch, a client finds the member full. */
static void ask_for_room(const struct mrmr_protect_progress *progress,
			 void *private_data)
{
	struct waiter *waiter = private_data;

	(void)progress;
	if (waiter->batches++ == 0) {
		mrmr_room_ask(waiter->w->pool, 0, UINT64_MAX / 2);
	} else if (world_trashed(waiter->w, 0, "f0") != 0) {
		waiter->while_it_waits++;
	}
}

static void clients_do_not_wait_for_a_backlog(void **state)
{
	struct world *w = two_each_new("1", "");
	struct waiter waiter = {.w = w};
	const struct mrmr_protect_options options = {
		.everything = true,
		.batch_bytes = BLOCK,
		.progress = ask_for_room,
		.private_data = &waiter,
	};
	struct mrmr_protect_result result;
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	char path[16];
	unsigned int i;

	(void)state;
	two_each_make(w);
	protect(w);
	assert_int_equal(do_unlink(w, "f0"), 0);
	protect(w);
	for (i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "more%u", i);
		client_write_on(w, i % 4, path, 20 + i, 2 * BLOCK);
	}
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
	assert_true(waiter.batches > 2);
	assert_int_equal(waiter.while_it_waits, 0);
	assert_int_equal(world_trashed(w, 0, "f0"), 0);
	two_each_verify(w, 1, 1);
	verify_tidy(w);
	world_free(w);
}

struct mending {
	struct world *w;
	unsigned int looks;   /* whether to stop: at each stripe, too */
	unsigned int emptied; /* how many of them had been, when f0 had gone */
};

static bool look_for_it(void *private_data)
{
	struct mending *mending = private_data;

	mending->looks++;
	if (mending->emptied == 0 && world_trashed(mending->w, 0, "f0") == 0) {
		mending->emptied = mending->looks;
	}
	return false;
}

/* The pool gets a row more, so all stripes are to be mended. */
static void nor_for_stripes_that_are_mended(void **state)
{
	struct world *w = two_each_new("1", "");
	struct mending mending = {.w = w};
	const struct mrmr_protect_options options = {
		.should_stop = look_for_it,
		.private_data = &mending,
		.settle_ns = 1,
	};
	struct mrmr_protect_result result;
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	char path[16];
	unsigned int i;

	(void)state;
	two_each_make(w);
	for (i = 0; i < 80; i++) {
		snprintf(path, sizeof(path), "more%u", i);
		client_write_on(w, i % 4, path, 20 + i, 2 * BLOCK);
	}
	protect(w);
	assert_int_equal(do_unlink(w, "f0"), 0);
	protect(w);
	world_close(w);
	w->shape.parity = "2";
	world_open(w);
	mrmr_room_ask(w->pool, 0, UINT64_MAX / 2);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
	assert_true(mending.looks > 60);
	assert_in_range(mending.emptied, 1, 20);
	two_each_verify(w, 1, 2);
	verify_tidy(w);
	world_free(w);
}

static void make_read_only(struct world *w, size_t member, bool read_only)
{
	mrmr_pool_let_go(w->pool);
	assert_return_code(mount(NULL, world_member(w, member, ""), NULL,
				 MS_REMOUNT | MS_BIND |
					 (read_only ? MS_RDONLY : 0),
				 NULL),
			   errno);
	world_later(w);
	assert_int_equal(w->pool->members[member].read_only, read_only);
}

/* Nothing can be had of a member that cannot be written: the protector comes to
   its end, and grants the wish when it can. */
static void room_on_a_read_only_member_is_not_waited_for(void **state)
{
	struct world *w = two_each_new("1", "");

	(void)state;
	two_each_make(w);
	protect(w);
	assert_int_equal(do_unlink(w, "f0"), 0);
	protect(w);
	make_read_only(w, 0, true);
	mrmr_room_ask(w->pool, 0, UINT64_MAX / 2);
	/* as one that has its turn (protector_start.c) */
	atomic_store(&w->pool->shared->protector, 1);
	alarm(60);
	protect(w);
	alarm(0);
	assert_int_equal(world_trashed(w, 0, "f0"), 1);
	make_read_only(w, 0, false);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "f0"), 0);
	two_each_verify(w, 1, 1);
	verify_tidy(w);
	world_free(w);
}

static void a_link_in_the_trash_is_no_file(void **state)
{
	struct world *w = two_each_new("1", ", \"trash_days\": 0");

	(void)state;
	two_each_make(w);
	assert_int_equal(do_link(w, "f0", "l0"), 0);
	protect(w);
	assert_int_equal(do_unlink(w, "f0"), 0);
	sleep(1);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "f0"), 0);
	verify_unknown(w, "f0");
	verify(w, "l0", 0, 2 * BLOCK, 1);
	assert_string_equal(world_where(w, "l0"), "0");
	two_each_verify(w, 1, 1);
	verify_tidy(w);
	world_free(w);
}

static struct mrmr_scrub_result scrub(struct world *w)
{
	const struct mrmr_scrub_options options = {.repair = true};
	struct mrmr_scrub_result result;
	struct mrmr_error err = {0};

	if (mrmr_scrub(w->pool, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	return result;
}

static void turn_a_bit(const char *path)
{
	uint8_t byte = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_return_code(fd, errno);
	assert_int_equal(pread(fd, &byte, 1, 17), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, 17), 1);
	close(fd);
}

/* What was kept of a file that was then deleted goes bad: the stripe is made
   whole again, with the file as it was when it was deleted. */
static void what_is_kept_in_the_trash_goes_bad(void **state)
{
	static const char *const faults[] = {"", "protect-events=kill",
					     "protect-declared=kill",
					     "protect-committed=kill"};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = two_each_new("1", "");
		glob_t kept = {0};

#ifndef MRMR_WITH_FAULTS
		if (i > 0) {
			world_free(w);
			break;
		}
#endif
		two_each_make(w);
		protect(w);
		client_overwrite(w, "f0", 77, 100, 10);
		assert_int_equal(do_unlink(w, "f0"), 0);
		protect(w);
		assert_int_equal(glob(world_drive(w, 0, ".mrmr/undo/*/[0-9]*"),
				      0, NULL, &kept),
				 0);
		assert_int_equal(kept.gl_pathc, 1);
		assert_int_equal(scrub(w).changed_blocks, 0);
		turn_a_bit(kept.gl_pathv[0]);
		globfree(&kept);

		assert_true(scrub(w).changed_blocks > 0);
		if (i > 0) {
			assert_true(protect_killed(w, faults[i]));
		}
		protect(w);
		assert_int_equal(pending_of(w), 0);
		assert_int_equal(scrub(w).changed_blocks, 0);
		assert_int_equal(world_trashed(w, 0, "f0"), 1);
		assert_int_equal(sums_of(w).trash_bytes, 2 * BLOCK);
		two_each_verify(w, 1, 1);
		verify_decodable(w);
		verify_tidy(w);
		world_free(w);
	}
}

/* It was changed by hand, of which the pool had not heard when a client wrote to it,
   and deleted it: what was kept is not what was protected. */
static void changed_by_hand_before_it_was_deleted(void **state)
{
	struct world *w = two_each_new("1", "");

	two_each_make(w);
	protect(w);
	assert_return_code(truncate(world_member(w, 0, "f0"), 100), errno);
	client_overwrite(w, "f0", 77, 1000, 200);
	assert_int_equal(do_unlink(w, "f0"), 0);
	protect_and_scan(w);
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(world_trashed(w, 0, "f0"), 1);
	assert_int_equal(sums_of(w).trash_bytes, 1200);
	two_each_verify(w, 1, 1);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

static void killed_while_the_trash_is_emptied(void **state)
{
	static const char *const faults[] = {
		"trash-left=kill",      "stripes-sync=kill",
		"catalog-commit=kill",  "protect-before-drop=kill",
		"trash-committed=kill", "trash-unlink#1=kill",
		"trash-unlink#2=kill",  "blob-remove=kill",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = two_each_new("1", ", \"trash_days\": 0");

		two_each_make(w);
		protect(w);
		assert_int_equal(do_unlink(w, "f0"), 0);
		assert_int_equal(do_unlink(w, "f1"), 0);
		assert_int_equal(do_unlink(w, "f2"), 0);
		sleep(1);
		if (!protect_killed(w, faults[i])) {
			fail_msg("%s is not reached", faults[i]);
		}
		verify_decodable(w);
		protect(w);
		two_each_verify(w, 3, 1);
		assert_int_equal(world_trashed(w, 0, "f0"), 0);
		assert_int_equal(world_trashed(w, 1, "f1"), 0);
		assert_int_equal(world_trashed(w, 2, "f2"), 0);
		verify_tidy(w);
		world_free(w);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trash_over_its_time_goes),
		cmocka_unit_test(young_trash_stays),
		cmocka_unit_test(trash_beyond_its_share_goes),
		cmocka_unit_test(trash_makes_room_for_clients),
		cmocka_unit_test(clients_do_not_wait_for_a_backlog),
		cmocka_unit_test(nor_for_stripes_that_are_mended),
		cmocka_unit_test(room_on_a_read_only_member_is_not_waited_for),
		cmocka_unit_test(a_link_in_the_trash_is_no_file),
		cmocka_unit_test(what_is_kept_in_the_trash_goes_bad),
		cmocka_unit_test(changed_by_hand_before_it_was_deleted),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(killed_while_the_trash_is_emptied),
#endif
	};

	return WORLD_MAIN("protector_trash", tests);
}
