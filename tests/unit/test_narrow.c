/*
 * Unit tests: more rows are wanted than there is room for. Stripes that are too
 * wide for them stay so, and get narrower, and their rows, by the same protector
 * that makes room: it empties the trash. What leaves them must be what it was.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "protected.h"
#include "protecting.h"

#define MEMBERS 4
#define FILES 44 /* three of four drives, with the parity of one row */
#define LEN (512 * 1024)
#define CONFIG ", \"block_size\": \"512K\""

static const char *path_of(unsigned int i)
{
	static char path[16];

	snprintf(path, sizeof(path), "f%u", i);
	return path;
}

/* Stripes that have other than so many rows; *last: one of them. */
static unsigned int num_short(struct world *w, uint32_t rows, uint64_t *last)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_stripe *stripe = NULL;
	unsigned int num = 0;
	uint64_t id = 0;

	while (mrmr_catalog_next_stripe(engine->catalog, engine, id, &stripe) ==
	       0) {
		id = stripe->id;
		if (stripe->num_rows != rows) {
			*last = id;
			num++;
		}
		talloc_free(stripe);
	}
	talloc_free(engine);
	return num;
}

static int stripe_of_first(const struct mrmr_extent *extent, uint32_t index,
			   void *private_data)
{
	*(uint64_t *)private_data = extent->stripe;
	return 1;
}

/* Delete all files but those in one stripe, of which it is told which they are. */
static unsigned int leave_only(struct world *w, uint64_t stripe, bool *is_left)
{
	unsigned int num = 0;
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
		struct mrmr_node *node = NULL;
		uint64_t id = 0;

		assert_int_equal(mrmr_catalog_find_path(engine->catalog, engine,
							path_of(i), &node),
				 0);
		mrmr_catalog_each_extent(engine->catalog, node, stripe_of_first,
					 &id);
		talloc_free(engine);
		is_left[i] = id == stripe;
		num += is_left[i];
		if (!is_left[i]) {
			assert_int_equal(do_unlink(w, path_of(i)), 0);
		}
	}
	return num;
}

/* Wide stripes, for one row. */
static struct world *new_full_world(void)
{
	const struct world_shape shape = {
		.num_members = MEMBERS,
		.sizes = {"10m", "10m", "10m", "10m"},
		.parity = "1",
		.config = CONFIG,
	};
	struct world *w = world_new(&shape);
	uint64_t stripe;
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		client_write_on(w, i % MEMBERS, path_of(i), i, LEN);
	}
	protect(w);
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(num_short(w, 1, &stripe), 0);
	return w;
}

static void room_of_the_trash(void **state)
{
	struct world *w = new_full_world();
	bool is_left[FILES];
	uint64_t stripe = 0;
	unsigned int i;

	(void)state;
	world_configure(w, "2", CONFIG);
	protect(w);
	assert_int_not_equal(num_short(w, 2, &stripe), 0);
	assert_int_equal(leave_only(w, stripe, is_left), MEMBERS - 1);
	world_configure(w, "2", CONFIG ", \"trash_max_percent\": 0");
	protect(w);
	assert_int_equal(num_short(w, 2, &stripe), 0);
	for (i = 0; i < FILES; i++) {
		if (is_left[i]) {
			verify(w, path_of(i), i, LEN, 2);
		}
	}
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* Invariant 4: a block that has rotted would be protected as it is by then. */
static void rotten_blocks_stay(void **state)
{
	const struct world_shape shape = {
		.num_members = MEMBERS,
		.parity = "1",
		.config = CONFIG,
	};
	struct world *w = world_new(&shape);
	uint64_t stripe = 0;
	unsigned int i;

	(void)state;
	for (i = 0; i < MEMBERS - 1; i++) {
		/* the shortest one leaves */
		client_write_on(w, i, path_of(i), i, LEN - 1000 * (3 - i));
	}
	protect(w);
	assert_int_equal(num_short(w, 1, &stripe), 0);
	protected_flip(world_member(w, 0, "f0"), 17, 1);
	world_configure(w, "2", CONFIG);
	protect(w);
	assert_int_equal(num_short(w, 2, &stripe), 1);
	assert_non_null(strstr(world_log(), "block 0 of f0 does not have the "
					    "bytes that it should"));
	verify(w, "f0", 0, LEN - 3000, 1);
	protected_flip(world_member(w, 0, "f0"), 17, 1);
	protect(w);
	assert_int_equal(num_short(w, 2, &stripe), 0);
	for (i = 0; i < MEMBERS - 1; i++) {
		verify(w, path_of(i), i, LEN - 1000 * (3 - i), 2);
	}
	verify_tidy(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_of_the_trash),
		cmocka_unit_test(rotten_blocks_stay),
	};

	return WORLD_MAIN("narrow", tests);
}
