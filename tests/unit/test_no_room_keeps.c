/*
 * Unit tests: a protected file is written to, and there is no room for the parity of
 * what it has by now: what it was stays protected, until there is. So do those that
 * share stripes with it.
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
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "full.h"

#define K 1024
#define MEMBERS 4
#define FILES 24
#define LEN (256 * K)
#define CONFIG ", \"block_size\": \"256K\""

static const char *path_of(unsigned int i)
{
	static char path[16];

	snprintf(path, sizeof(path), "f%u", i);
	return path;
}

/* Seeds are the numbers of files, and after a change others. */
static struct world *new_world(const char *parity)
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
		client_write_on(w, i % MEMBERS, path_of(i), i + 1, LEN);
	}
	protect(w);
	assert_int_equal(pending_of(w), 0);
	return w;
}

static void verify_others(struct world *w, unsigned int rows)
{
	unsigned int i;

	for (i = 3; i < FILES; i++) {
		verify(w, path_of(i), i + 1, LEN, rows);
	}
	verify_decodable(w);
}

/* In place; longer than it was; and shorter, so that it could be packed. */
static void change(struct world *w)
{
	client_write(w, path_of(0), 100, LEN);
	client_write(w, path_of(1), 101, LEN + 9 * K);
	client_write(w, path_of(2), 102, LEN / 2);
	leave_room(w, 100 * K);
}

/* What they were can be had while their drives are away. */
static void verify_was(struct world *w)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		world_unplug(w, i);
		world_later(w);
		verify_computable(w, i);
		world_plug(w, i);
		world_later(w);
	}
}

static void what_it_was_stays(void **state)
{
	static const char *const parities[] = {"1", "2"};
	unsigned int rows;

	(void)state;
	for (rows = 1; rows <= 2; rows++) {
		struct world *w = new_world(parities[rows - 1]);
		uint64_t protected_bytes = sums_of(w).protected_bytes;
		struct mrmr_protect_result result;

		change(w);
		result = protect(w);
		assert_int_equal(result.unprotected_files, 3);
		assert_int_equal(pending_of(w), 3);
		assert_int_equal(sums_of(w).protected_bytes, protected_bytes);
		verify_others(w, rows);
		verify_was(w);
		/* nor by trying again */
		protect(w);
		assert_int_equal(sums_of(w).protected_bytes, protected_bytes);
		verify_others(w, rows);
		verify_was(w);

		leave_room(w, 4096 * K);
		result = protect(w);
		assert_int_equal(result.unprotected_files, 0);
		assert_int_equal(pending_of(w), 0);
		verify(w, path_of(0), 100, LEN, rows);
		verify(w, path_of(1), 101, LEN + 9 * K, rows);
		verify(w, path_of(2), 102, LEN / 2, rows);
		verify_others(w, rows);
		verify_tidy(w);
		world_free(w);
	}
}

#ifdef MRMR_WITH_FAULTS

/* No drive takes a parity block, in the middle of it. */
static void full_in_the_middle(void **state)
{
	static const char *const faults[] = {
		"stripes-write=ENOSPC",
		"blob-write=ENOSPC",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = new_world("2");
		uint64_t protected_bytes = sums_of(w).protected_bytes;
		struct mrmr_protect_result result;

		client_write(w, path_of(0), 100, LEN);
		client_write(w, path_of(1), 101, LEN + 9 * K);
		client_write(w, path_of(2), 102, LEN / 2);
		setenv("MRMR_FAULT", faults[i], 1);
		assert_int_equal(try_protect(w, &result), 0);
		unsetenv("MRMR_FAULT");
		assert_int_equal(sums_of(w).protected_bytes, protected_bytes);
		verify_others(w, 2);
		verify_was(w);
		protect(w);
		assert_int_equal(pending_of(w), 0);
		verify(w, path_of(0), 100, LEN, 2);
		verify(w, path_of(1), 101, LEN + 9 * K, 2);
		verify(w, path_of(2), 102, LEN / 2, 2);
		verify_others(w, 2);
		verify_tidy(w);
		world_free(w);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_was_stays),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(full_in_the_middle),
#endif
	};

	return WORLD_MAIN("no_room_keeps", tests);
}
