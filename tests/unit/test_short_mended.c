/*
 * Unit tests: stripes that are short of rows, as there was no room, get them when
 * there is some, by the protector that any event starts; nobody has to say sync.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "full.h"

#define K 1024
#define M (K * K)
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

static struct world *new_world(const char *parity, const char *config)
{
	const struct world_shape shape = {
		.num_members = MEMBERS,
		.sizes = {"16m", "16m", "16m", "16m"},
		.parity = parity,
		.config = config,
	};
	struct world *w = world_new(&shape);
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		client_write_on(w, i % MEMBERS, path_of(i), i, LEN);
	}
	protect(w);
	assert_int_equal(pending_of(w), 0);
	return w;
}

static void verify_all(struct world *w, unsigned int rows)
{
	unsigned int i;

	assert_int_equal(pending_of(w), 0);
	assert_int_equal(fewest_rows(w), rows);
	for (i = 0; i < FILES; i++) {
		verify(w, path_of(i), i, LEN, rows);
	}
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* More rows are wanted than there is room for. */
static struct world *new_short_world(void)
{
	struct world *w = new_world("1", CONFIG);

	leave_room(w, 150 * K);
	world_configure(w, "2", CONFIG);
	protect(w);
	assert_int_equal(fewest_rows(w), 1);
	/* with every event, nothing changes */
	client_write_on(w, 0, "small", 1, 1000);
	protect_in_background(w);
	assert_int_equal(fewest_rows(w), 1);
	return w;
}

/* Something else goes from the drives. */
static void when_there_is_room(void **state)
{
	struct world *w = new_short_world();

	(void)state;
	leave_room(w, 6 * M);
	client_write_on(w, 1, "another", 1, 1000);
	protect_in_background(w);
	verify_all(w, 2);
}

/* Clients delete files: the trash is emptied by the same protector. */
static void when_files_are_deleted(void **state)
{
	struct world *w = NULL;
	unsigned int i;

	(void)state;
	w = new_world("1", CONFIG);
	for (i = 0; i < 2 * FILES; i++) {
		char path[16];

		snprintf(path, sizeof(path), "g%u", i);
		client_write_on(w, i % MEMBERS, path, i, LEN);
	}
	protect(w);
	leave_room(w, 150 * K);
	world_configure(w, "2", CONFIG);
	protect(w);
	assert_int_equal(fewest_rows(w), 1);
	world_configure(w, "2", CONFIG ", \"trash_max_percent\": 0");
	for (i = 0; i < 2 * FILES; i++) {
		char path[16];

		snprintf(path, sizeof(path), "g%u", i);
		assert_int_equal(do_unlink(w, path), 0);
	}
	protect_in_background(w);
	verify_all(w, 2);
}

/* A person wants less of the drives to be kept free. */
static void when_the_reserve_is_lowered(void **state)
{
	struct world *w = new_world("1", CONFIG);

	(void)state;
	world_configure(w, "2", CONFIG ", \"min_free\": \"14M\"");
	protect(w);
	assert_int_equal(fewest_rows(w), 1);
	world_configure(w, "2", CONFIG);
	client_write_on(w, 1, "another", 1, 1000);
	protect_in_background(w);
	verify_all(w, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(when_there_is_room),
		cmocka_unit_test(when_files_are_deleted),
		cmocka_unit_test(when_the_reserve_is_lowered),
	};

	return WORLD_MAIN("short_mended", tests);
}
