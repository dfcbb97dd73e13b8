/*
 * Unit tests: how much data fits on drives of unequal sizes.
 *
 * Two independent answers are compared: the arithmetic of capacity.c, and an
 * exhaustive search of all ways to make stripes of whole blocks on small units.
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

#include <mrmr/capacity.h>
#include <mrmr/config.h>

#define UNITS 5
#define STRIPES 8
#define IMPOSSIBLE (-1)

/* --- exhaustive search ----------------------------------------------------- */

/*
 * A pool in blocks: stripes that exist, as the set of units that have a block
 * in each (a bit a unit); and what each unit has beside these blocks.
 */
struct pool {
	unsigned int num;
	unsigned int rows;
	unsigned int num_stripes;
	unsigned int stripes[STRIPES];
	unsigned int protected[UNITS]; /* data blocks in them */
	unsigned int parity[UNITS];
	unsigned int bare[UNITS]; /* data in no stripe */
	unsigned int free[UNITS];
	bool no_parity[UNITS];
};

/* What is still to be done: blocks that may be made, and of these, data that
   is there and needs a stripe. */
struct state {
	unsigned int stripe; /* the next one to be joined, or num_stripes */
	unsigned int blocks[UNITS];
	unsigned int bare[UNITS];
};

#define SEEN_SIZE (1u << 18)

static struct {
	uint64_t key; /* 0: free */
	int result;
} * seen;
static unsigned int num_seen;

static uint64_t key_of(const struct state *state)
{
	uint64_t key = state->stripe + 1;
	unsigned int i;

	for (i = 0; i < UNITS; i++) {
		key = key << 8 | state->blocks[i] << 4 | state->bare[i];
	}
	return key;
}

static unsigned int place_of(uint64_t key)
{
	unsigned int place =
		(unsigned int)(key * UINT64_C(0x9e3779b97f4a7c15) >> 46);

	while (seen[place].key != 0 && seen[place].key != key) {
		place = (place + 1) % SEEN_SIZE;
	}
	return place;
}

static int search(const struct pool *pool, const struct state *state);

/* One unit gets a data block: 1 if that is new data. */
static int take_data(struct state *state, unsigned int unit)
{
	state->blocks[unit]--;
	if (state->bare[unit] > 0) {
		state->bare[unit]--;
		return 0;
	}
	return 1;
}

/* All choices for the units from `unit` on, in one stripe. */
static int choose(const struct pool *pool, const struct state *now,
		  unsigned int unit, unsigned int num_parity,
		  unsigned int num_data)
{
	bool is_new = now->stripe == pool->num_stripes;
	struct state next = *now;
	int best, other, gain;

	if (unit == pool->num) {
		if (!is_new) {
			next.stripe++;
		} else if (num_parity != pool->rows || num_data == 0) {
			return IMPOSSIBLE;
		}
		return search(pool, &next);
	}
	best = choose(pool, now, unit + 1, num_parity, num_data);
	if (now->blocks[unit] == 0 ||
	    (!is_new && (pool->stripes[now->stripe] & 1u << unit) != 0)) {
		return best;
	}
	gain = take_data(&next, unit);
	other = choose(pool, &next, unit + 1, num_parity, num_data + 1);
	if (other != IMPOSSIBLE && other + gain > best) {
		best = other + gain;
	}
	if (is_new && !pool->no_parity[unit] && num_parity < pool->rows &&
	    now->blocks[unit] > now->bare[unit]) {
		next = *now;
		next.blocks[unit]--;
		other = choose(pool, &next, unit + 1, num_parity + 1, num_data);
		best = other > best ? other : best;
	}
	return best;
}

/* The most new data, or IMPOSSIBLE. */
static int search(const struct pool *pool, const struct state *state)
{
	uint64_t key = key_of(state);
	unsigned int place = place_of(key);
	int best = 0;
	int result;
	unsigned int i;

	if (seen[place].key == key) {
		return seen[place].result;
	}
	for (i = 0; i < pool->num; i++) {
		if (state->bare[i] > 0) {
			best = IMPOSSIBLE;
		}
	}
	if (state->stripe < pool->num_stripes) {
		best = IMPOSSIBLE;
	}
	result = choose(pool, state, 0, 0, 0);
	best = result > best ? result : best;

	place = place_of(key);
	assert_true(++num_seen < SEEN_SIZE / 2);
	seen[place].key = key;
	seen[place].result = best;
	return best;
}

static int most_data(const struct pool *pool)
{
	struct state state = {0};
	unsigned int i;

	memset(seen, 0, sizeof(seen[0]) * SEEN_SIZE);
	num_seen = 0;
	for (i = 0; i < pool->num; i++) {
		state.blocks[i] = pool->bare[i] + pool->free[i];
		state.bare[i] = pool->bare[i];
	}
	return search(pool, &state);
}

/* --- the comparison -------------------------------------------------------- */

static void describe(const struct pool *pool)
{
	unsigned int i;

	fprintf(stderr, "rows %u:", pool->rows);
	for (i = 0; i < pool->num; i++) {
		fprintf(stderr,
			" [%u protected, %u parity, %u bare, %u free%s]",
			pool->protected[i], pool -> parity[i], pool -> bare[i],
			pool -> free[i],
			pool -> no_parity[i] ? ", no parity" : "");
	}
	for (i = 0; i < pool->num_stripes; i++) {
		fprintf(stderr, " %x", pool->stripes[i]);
	}
	fprintf(stderr, "\n");
}

static void make_units(const struct pool *pool,
		       struct mrmr_capacity_unit *units)
{
	unsigned int i;

	for (i = 0; i < pool->num; i++) {
		units[i] = (struct mrmr_capacity_unit){
			.data_bytes = pool->protected[i] + pool->bare[i],
			.parity_bytes = pool->parity[i],
			.free_bytes = pool->free[i],
			.no_parity_bytes =
				pool->no_parity[i] ? pool->free[i] : 0,
		};
	}
}

/* What the plan says is what the search finds, and when the rooms are filled
   as it says, all of it can be protected. */
static bool agrees(const struct pool *pool)
{
	struct mrmr_capacity_unit units[UNITS];
	struct pool filled = *pool;
	uint64_t sum = 0;
	uint64_t room;
	int most = most_data(pool);
	unsigned int i;

	make_units(pool, units);
	room = mrmr_capacity_plan(units, pool->num, pool->rows);
	if (room != (uint64_t)(most > 0 ? most : 0) ||
	    mrmr_capacity_fits(units, pool->num, pool->rows) !=
		    (most != IMPOSSIBLE)) {
		fprintf(stderr, "planned %u, found %d; ", (unsigned int)room,
			most);
		return false;
	}
	for (i = 0; i < pool->num; i++) {
		if (units[i].room_bytes > pool->free[i] ||
		    units[i].goal_bytes !=
			    units[i].data_bytes + units[i].room_bytes) {
			fprintf(stderr, "unit %u: ", i);
			return false;
		}
		sum += units[i].room_bytes;
		filled.bare[i] += (unsigned int)units[i].room_bytes;
		filled.free[i] -= (unsigned int)units[i].room_bytes;
	}
	if (sum != room) {
		fprintf(stderr, "rooms add up to %u; ", (unsigned int)sum);
		return false;
	}
	if (most != IMPOSSIBLE && most_data(&filled) != 0) {
		fprintf(stderr, "the goals do not fit; ");
		return false;
	}
	return true;
}

static void check(const struct pool *pool)
{
	if (!agrees(pool)) {
		describe(pool);
		fail();
	}
}

/* --- empty units, all of them ---------------------------------------------- */

static void every_set_of_empty_units(void **state)
{
	unsigned int sizes, i;
	struct pool pool;

	for (sizes = 0; sizes < 7 * 7 * 7 * 7 * 7; sizes++) {
		unsigned int digits = sizes;
		bool is_sorted = true;

		pool = (struct pool){.num = UNITS};
		for (i = 0; i < UNITS; i++) {
			pool.free[i] = digits % 7;
			digits /= 7;
			is_sorted =
				is_sorted &&
				(i == 0 || pool.free[i] <= pool.free[i - 1]);
		}
		/* Units of size 0 at the end: fewer units, too. */
		while (pool.num > 2 && pool.free[pool.num - 1] == 0) {
			pool.num--;
		}
		for (pool.rows = 1; is_sorted && pool.rows <= 3; pool.rows++) {
			if (pool.rows < pool.num) {
				check(&pool);
			}
		}
	}
}

/* --- units with something on them ------------------------------------------ */

static unsigned int draw(unsigned int below)
{
	static uint64_t random = 88172645463325252;

	random ^= random << 13;
	random ^= random >> 7;
	random ^= random << 17;
	return (unsigned int)(random >> 33) % below;
}

/* A stripe with `rows` parity blocks, as long as there are units. */
static void add_stripe(struct pool *pool)
{
	unsigned int width = pool->rows + 1 + draw(pool->num - pool->rows);
	unsigned int left = pool->num;
	unsigned int have = 0;
	unsigned int i;
	unsigned int start = draw(pool->num);
	unsigned int mask = 0;

	for (i = 0; i < pool->num; i++, left--) {
		unsigned int unit = (start + i) % pool->num;

		if (draw(left) >= width - have) {
			continue;
		}
		mask |= 1u << unit;
		/* Parity first: those that may not hold it come later. */
		if (have < pool->rows) {
			pool->parity[unit]++;
		} else {
			pool->protected[unit]++;
		}
		have++;
	}
	assert_int_equal(have, width);
	pool->stripes[pool->num_stripes++] = mask;
}

static void make_pool(struct pool *pool, unsigned int num, unsigned int most)
{
	unsigned int stripes = draw(5);
	unsigned int i;

	*pool = (struct pool){.num = num};
	pool->rows = 1 + draw(num - 1 < 3 ? num - 1 : 3);
	for (i = 0; i < stripes; i++) {
		add_stripe(pool);
	}
	for (i = 0; i < num; i++) {
		pool->bare[i] = draw(3) == 0 ? draw(most) : 0;
		pool->free[i] = draw(most + 1);
		pool->no_parity[i] = draw(8) == 0;
	}
}

static void units_with_something_on_them(void **state)
{
	struct pool pool;
	unsigned int impossible = 0;
	unsigned int none = 0;
	unsigned int i;

	for (i = 0; i < 1200; i++) {
		struct mrmr_capacity_unit units[UNITS];

		make_pool(&pool, 2 + i % 3, 4);
		check(&pool);
		make_units(&pool, units);
		if (!mrmr_capacity_fits(units, pool.num, pool.rows)) {
			impossible++;
		} else if (mrmr_capacity_plan(units, pool.num, pool.rows) ==
			   0) {
			none++;
		}
	}
	for (i = 0; i < 60; i++) {
		make_pool(&pool, 5, 2);
		check(&pool);
	}
	/* all kinds were there */
	assert_in_range(impossible, 50, 700);
	assert_in_range(none, 20, 700);
}

/* --- known cases ----------------------------------------------------------- */

static uint64_t plan_sizes(const uint64_t *sizes, size_t num, unsigned int rows,
			   struct mrmr_capacity_unit *units)
{
	size_t i;

	for (i = 0; i < num; i++) {
		units[i] = (struct mrmr_capacity_unit){.free_bytes = sizes[i]};
	}
	return mrmr_capacity_plan(units, num, rows);
}

#define TB (UINT64_C(1) << 40)

static void a_drawer_full_of_drives(void **state)
{
	const uint64_t sizes[] = {8 * TB, 4 * TB, 4 * TB, 2 * TB, TB};
	struct mrmr_capacity_unit units[5];

	assert_int_equal(plan_sizes(sizes, 5, 1, units), 11 * TB);
	assert_int_equal(plan_sizes(sizes, 5, 2, units), 7 * TB);
	assert_int_equal(plan_sizes(sizes, 5, 3, units), 3 * TB);
	assert_int_equal(plan_sizes(sizes, 5, 4, units), 1 * TB);
	assert_int_equal(plan_sizes(sizes, 5, 0, units), 19 * TB);
	/* the larger the drive, the more data */
	plan_sizes(sizes, 5, 1, units);
	assert_true(units[0].room_bytes <= 4 * TB);
	assert_true(units[1].room_bytes == units[2].room_bytes);
	assert_true(units[2].room_bytes > units[3].room_bytes);
	assert_true(units[3].room_bytes > units[4].room_bytes);
}

static void equal_drives_share_evenly(void **state)
{
	struct mrmr_capacity_unit units[MRMR_MEMBERS_MAX];
	uint64_t sizes[MRMR_MEMBERS_MAX];
	unsigned int rows;
	size_t num, i;

	for (i = 0; i < MRMR_MEMBERS_MAX; i++) {
		sizes[i] = 3 * TB + 1;
	}
	for (num = 2; num <= MRMR_MEMBERS_MAX; num += 7) {
		for (rows = 1; rows < num && rows <= 8; rows++) {
			assert_int_equal(plan_sizes(sizes, num, rows, units),
					 sizes[0] * (num - rows));
			for (i = 0; i < num; i++) {
				assert_in_range(units[i].room_bytes,
						sizes[0] * (num - rows) / num -
							num,
						sizes[0] * (num - rows) / num +
							num);
			}
		}
	}
}

static void few_units(void **state)
{
	const uint64_t sizes[] = {5, 3};
	struct mrmr_capacity_unit units[2];

	assert_int_equal(plan_sizes(sizes, 0, 1, units), 0);
	/* One alone cannot be protected: all of it is for data. */
	assert_int_equal(plan_sizes(sizes, 1, 1, units), 5);
	assert_int_equal(units[0].room_bytes, 5);
	assert_false(
		mrmr_capacity_fits(&(struct mrmr_capacity_unit){.data_bytes =
									1},
				   1, 1));
	assert_true(
		mrmr_capacity_fits(&(struct mrmr_capacity_unit){.free_bytes =
									1},
				   1, 1));
	/* A mirror, also with more rows than two can have. */
	assert_int_equal(plan_sizes(sizes, 2, 1, units), 3);
	assert_int_equal(plan_sizes(sizes, 2, 8, units), 3);
	assert_int_equal(plan_sizes(sizes, 2, 0, units), 8);
	assert_int_equal(units[1].room_bytes, 3);
}

/* A unit with too much data for its share: the others take it over. */
static void data_beyond_the_share_bends_the_goals(void **state)
{
	struct mrmr_capacity_unit units[3] = {
		{.data_bytes = 9 * TB, .free_bytes = TB},
		{.free_bytes = 10 * TB},
		{.free_bytes = 10 * TB},
	};

	assert_int_equal(mrmr_capacity_plan(units, 3, 1), 11 * TB);
	assert_int_equal(units[0].goal_bytes, 9 * TB);
	assert_in_range(units[1].room_bytes, 5 * TB, 6 * TB);
	assert_in_range(units[2].room_bytes, units[1].room_bytes - 9,
			units[1].room_bytes + 9);

	/* All is full of data, there is no place for parity. */
	units[0] = (struct mrmr_capacity_unit){.data_bytes = 10 * TB};
	units[1] = (struct mrmr_capacity_unit){.data_bytes = 9 * TB,
					       .free_bytes = TB};
	units[2] = (struct mrmr_capacity_unit){.data_bytes = 8 * TB,
					       .free_bytes = 2 * TB};
	assert_false(mrmr_capacity_fits(units, 3, 1));
	assert_int_equal(mrmr_capacity_plan(units, 3, 1), 0);
	assert_int_equal(units[2].room_bytes, 0);
	assert_int_equal(units[2].goal_bytes, 8 * TB);
}

/* Parity beyond the share: no more comes to it, and the sum is the same. */
static void parity_beyond_the_share_costs_nothing(void **state)
{
	struct mrmr_capacity_unit units[3] = {
		{.parity_bytes = 5 * TB, .free_bytes = 5 * TB},
		{.data_bytes = 5 * TB, .free_bytes = 5 * TB},
		{.data_bytes = 5 * TB, .free_bytes = 5 * TB},
	};

	assert_int_equal(mrmr_capacity_plan(units, 3, 1), 10 * TB);
	assert_in_range(units[0].room_bytes, 5 * TB - 3, 5 * TB);
	assert_in_range(units[1].room_bytes, 2 * TB, 3 * TB);
}

/* --- roles ----------------------------------------------------------------- */

static void roles_of_units(void **state)
{
	struct mrmr_capacity_unit units[3] = {
		{.free_bytes = 4 * TB},
		{.free_bytes = 3 * TB},
		{.free_bytes = 4 * TB, .prefers_parity = true},
	};

	/* the classic array */
	assert_int_equal(mrmr_capacity_plan(units, 3, 1), 7 * TB);
	assert_int_equal(units[0].room_bytes, 4 * TB);
	assert_int_equal(units[1].room_bytes, 3 * TB);
	assert_int_equal(units[2].room_bytes, 0);

	/* a drive for parity that is too small: the others help out */
	units[2].free_bytes = 2 * TB;
	assert_int_equal(mrmr_capacity_plan(units, 3, 1), 5 * TB);
	assert_int_equal(units[2].room_bytes, 0);

	/* no parity on two of three: the third has all of it */
	units[0].no_parity_bytes = 4 * TB;
	units[1].no_parity_bytes = 3 * TB;
	units[2].prefers_parity = false;
	assert_int_equal(mrmr_capacity_plan(units, 3, 1), 4 * TB);
	assert_int_equal(units[2].room_bytes, 0);

	/* and on none of them */
	units[2].no_parity_bytes = 2 * TB;
	assert_int_equal(mrmr_capacity_plan(units, 3, 1), 0);
	assert_true(mrmr_capacity_fits(units, 3, 1));
	units[0].data_bytes = 1;
	assert_false(mrmr_capacity_fits(units, 3, 1));
}

/* --- how it goes on -------------------------------------------------------- */

static size_t most_room(const struct mrmr_capacity_unit *units, size_t num)
{
	size_t best = 0;
	size_t i;

	for (i = 1; i < num; i++) {
		if (units[i].room_bytes > units[best].room_bytes) {
			best = i;
		}
	}
	return best;
}

/* Placement by most room, and parity that is late: all that was promised fits
   in the end, and no goal is left behind on the way. */
static void following_the_rooms_reaches_the_goal(void **state)
{
	static const uint64_t sizes[][5] = {{8, 4, 4, 2, 1},
					    {6, 6, 6, 6, 6},
					    {9, 9, 1, 1, 1},
					    {7, 5, 3, 2, 2}};
	struct mrmr_capacity_unit units[5];
	unsigned int rows;
	size_t i, j;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (rows = 1; rows <= 3; rows++) {
			uint64_t all;
			uint64_t left;

			for (j = 0; j < 5; j++) {
				units[j] = (struct mrmr_capacity_unit){
					.free_bytes = sizes[i][j] * 1000};
			}
			all = mrmr_capacity_plan(units, 5, rows);
			for (left = all; left > 0; left--) {
				size_t unit = most_room(units, 5);

				assert_true(units[unit].room_bytes > 0);
				units[unit].data_bytes++;
				units[unit].free_bytes--;
				assert_int_equal(mrmr_capacity_plan(units, 5,
								    rows),
						 left - 1);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_set_of_empty_units),
		cmocka_unit_test(units_with_something_on_them),
		cmocka_unit_test(a_drawer_full_of_drives),
		cmocka_unit_test(equal_drives_share_evenly),
		cmocka_unit_test(few_units),
		cmocka_unit_test(data_beyond_the_share_bends_the_goals),
		cmocka_unit_test(parity_beyond_the_share_costs_nothing),
		cmocka_unit_test(roles_of_units),
		cmocka_unit_test(following_the_rooms_reaches_the_goal),
	};
	int failed;

	seen = calloc(SEEN_SIZE, sizeof(seen[0]));
	if (seen == NULL) {
		return 1;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(seen);
	return failed;
}
