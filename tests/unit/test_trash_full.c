/*
 * Unit tests: the trash of a pool that is full is emptied. New parity is written
 * before the old one goes, and there is no room for it; but what stays is as well
 * protected as before, at every instant (invariant 2).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/protection.h>
#include <mrmr/undelete.h>

#include "full.h"

#define K 1024
#define MEMBERS 4
#define FILES 32
#define LEN (256 * K)
#define CONFIG ", \"block_size\": \"256K\""
#define EMPTIED CONFIG ", \"trash_max_percent\": 0"

static const char *path_of(unsigned int i)
{
	static char path[16];

	snprintf(path, sizeof(path), "f%u", i);
	return path;
}

/* Of all members, so that there are stripes with several of them. */
static bool is_deleted(unsigned int i)
{
	return i % 3 == 0;
}

static void verify_rest(struct world *w, unsigned int rows)
{
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		if (!is_deleted(i)) {
			verify(w, path_of(i), i, LEN, rows);
		}
	}
}

static unsigned int num_in_trash(struct world *w)
{
	unsigned int num = 0;
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		num += world_trashed(w, i % MEMBERS, path_of(i));
	}
	return num;
}

/* All is in stripes with so many rows, and every third file is in the trash. */
static struct world *new_full_world(const char *parity, uint64_t left_bytes)
{
	const struct world_shape shape = {
		.num_members = MEMBERS,
		.sizes = {"16m", "16m", "16m", "16m"},
		.parity = parity,
		.config = CONFIG,
	};
	struct world *w = world_new(&shape);
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		client_write_on(w, i % MEMBERS, path_of(i), i, LEN);
	}
	protect(w);
	for (i = 0; i < FILES; i++) {
		if (is_deleted(i)) {
			assert_int_equal(do_unlink(w, path_of(i)), 0);
		}
	}
	protect(w);
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(fewest_rows(w), parity[0] - '0');
	assert_int_not_equal(num_in_trash(w), 0);
	world_configure(w, NULL, EMPTIED);
	leave_room(w, left_bytes);
	return w;
}

static void wish(struct world *w)
{
	size_t i;

	for (i = 0; i < MEMBERS; i++) {
		mrmr_room_ask(w->pool, i, 64 * K * K);
	}
}

static void verify_emptied(struct world *w, unsigned int rows)
{
	assert_int_equal(num_in_trash(w), 0);
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(fewest_rows(w), rows);
	verify_rest(w, rows);
	verify_decodable(w);
	verify_tidy(w);
}

/* There is room for a stripe or two at a time. */
static void it_is_emptied(void **state)
{
	static const char *const parities[] = {"1", "2"};
	unsigned int rows;

	(void)state;
	for (rows = 1; rows <= 2; rows++) {
		struct world *w = new_full_world(parities[rows - 1], 600 * K);

		protect(w);
		verify_emptied(w, rows);
		world_free(w);
	}
}

/* There is none: it stays, and all of it is as it was. */
static void nothing_is_lost_for_it(void **state)
{
	struct world *w = new_full_world("2", 200 * K);
	unsigned int num = num_in_trash(w);

	(void)state;
	protect(w);
	protect(w);
	assert_int_equal(fewest_rows(w), 2);
	verify_rest(w, 2);
	verify_decodable(w);
	assert_int_equal(num_in_trash(w), num);
	/* as long as that is so */
	leave_room(w, 600 * K);
	protect(w);
	verify_emptied(w, 2);
	world_free(w);
}

/* It does not keep for ever what clients wait for. */
static void who_waits_gets_it(void **state)
{
	static const char *const parities[] = {"1", "2"};
	unsigned int rows;

	(void)state;
	for (rows = 1; rows <= 2; rows++) {
		struct world *w = new_full_world(parities[rows - 1], 200 * K);

		wish(w);
		world_log();
		protect(w);
		assert_non_null(strstr(world_log(), "clients wait for room"));
		protect(w);
		verify_emptied(w, rows);
		world_free(w);
	}
}

static void purge(struct world *w)
{
	unsigned int num = num_in_trash(w);
	struct mrmr_purge_result result = purge_trash(w);

	assert_int_equal(result.num_removed, num);
	assert_true(result.is_complete);
	assert_int_equal(num_in_trash(w), 0);
}

/* A person wants it to go in any case; if it can, without loss to what stays. */
static void a_person_removes_it(void **state)
{
	struct world *w = new_full_world("2", 600 * K);

	(void)state;
	purge(w);
	verify_emptied(w, 2);
	world_free(w);

	w = new_full_world("2", 200 * K);
	purge(w);
	verify_decodable(w);
	protect(w);
	protect(w);
	verify_emptied(w, 2);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

/* After each of its transactions, and within it. */
static void killed_at_each_step(void **state)
{
	static const char *const points[] = {
		"trash-left=kill,trash-stripe-left=kill",
		"trash-committed=kill,trash-stripe-committed=kill",
		"stripes-write#2=kill",
		"blob-remove#1=kill",
		"trash-unlink#1=kill",
		"catalog-commit#2=kill",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct world *w = new_full_world("2", 600 * K);
		unsigned int num = 0;

		while (num < 12 && protect_killed(w, points[i])) {
			assert_int_equal(fewest_rows(w), 2);
			verify_decodable(w);
			verify_rest(w, 2);
			num++;
		}
		if (num == 0) {
			fail_msg("%s is not reached", points[i]);
		}
		protect(w);
		verify_emptied(w, 2);
		world_free(w);
	}
}

/* By force, a stripe has half of its rows at every instant. */
static void killed_while_somebody_waits(void **state)
{
	static const char *const points[] = {
		"trash-stripe-left=kill",
		"trash-stripe-committed=kill",
		"blob-remove#1=kill",
		"stripes-write#1=kill",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct world *w = new_full_world("2", 200 * K);
		unsigned int num = 0;

		do {
			assert_true(fewest_rows(w) >= 1);
			verify_decodable(w);
			verify_rest(w, 1);
			wish(w);
		} while (num++ < 12 && protect_killed(w, points[i]));
		assert_true(num > 1);
		wish(w);
		protect(w);
		protect(w);
		verify_emptied(w, 2);
		world_free(w);
	}
}

/* With one row, what stays of the stripe is pending in between. */
static void killed_while_it_has_no_row(void **state)
{
	static const char *const points[] = {
		"trash-stripe-left=kill",
		"trash-stripe-committed=kill",
		"trash-placed=kill",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct world *w = new_full_world("1", 200 * K);
		struct mrmr_catalog_sums sums;

		wish(w);
		assert_true(protect_killed(w, points[i]));
		sums = sums_of(w);
		/* one stripe, at most */
		assert_true(sums.protected_bytes +
				    (uint64_t)(MEMBERS - 1) * LEN >=
			    sums.file_bytes);
		assert_int_equal(
			sums.protected_bytes<sums.file_bytes, pending_of(w)> 0);
		verify_decodable(w);
		wish(w);
		protect(w);
		protect(w);
		verify_emptied(w, 1);
		world_free(w);
	}
}

/* Drives that fail, or are full, just then: nothing is lost, and it goes on. */
static void errors_on_the_way(void **state)
{
	static const char *const lists[] = {
		"stripes-write#1=ENOSPC,stripes-write#4=EIO",
		"blob-write#1=ENOSPC,blob-write#3=EIO,blob-rename#6=EIO",
		"trash-left#1=EIO,trash-stripe-left#1=ENOSPC",
		"stripes-sync#1=EIO,stripes-read#3=EIO",
		"catalog-commit#1=ENOSPC",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct world *w = new_full_world("2", 600 * K);
		struct mrmr_protect_result result;

		setenv("MRMR_FAULT", lists[i], 1);
		assert_int_equal(try_protect(w, &result), 0);
		unsetenv("MRMR_FAULT");
		assert_int_equal(fewest_rows(w), 2);
		verify_rest(w, 2);
		verify_decodable(w);
		protect(w);
		verify_emptied(w, 2);
		world_free(w);
	}
}

static uint64_t reclaimable(struct world *w)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < MEMBERS; i++) {
		bytes += mrmr_room_reclaimable(w->pool, i);
	}
	return bytes;
}

/* What its drive does not let go of has freed nothing. */
static void cannot_be_removed(void **state)
{
	struct world *w = new_full_world("2", 600 * K);
	unsigned int num = num_in_trash(w);

	(void)state;
	protect_disturbed(w, "trash-unlink=EIO", false);
	assert_int_equal(num_in_trash(w), num);
	assert_int_equal(reclaimable(w), (uint64_t)num * LEN);
	verify_rest(w, 2);
	protect(w);
	verify_emptied(w, 2);
	assert_int_equal(reclaimable(w), 0);
	world_free(w);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_emptied),
		cmocka_unit_test(nothing_is_lost_for_it),
		cmocka_unit_test(who_waits_gets_it),
		cmocka_unit_test(a_person_removes_it),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(killed_at_each_step),
		cmocka_unit_test(killed_while_somebody_waits),
		cmocka_unit_test(killed_while_it_has_no_row),
		cmocka_unit_test(errors_on_the_way),
		cmocka_unit_test(cannot_be_removed),
#endif
	};

	return WORLD_MAIN("trash_full", tests);
}
