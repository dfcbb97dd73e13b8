/*
 * Unit tests: pools that are filled until their free space says 0, on drives of
 * unequal sizes. What fitted by that is protected in the end, by as many rows as
 * are wanted.
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
#include <sys/stat.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>

#include "protecting.h"

#define K ((uint64_t)1024)
#define M (K * K)
#define NUM_DRIVES 5
#define SMALLEST (64 * K)

/* How well the last files go together is not known beforehand, and depends on
   which thread comes first: so little may be left, as docs/limits.md says. */
#define LEFT_BYTES_MAX (256 * K)
#define LEFT_SHORT_MAX 2

static unsigned int state_of_draw;

/* MRMR_TEST_SEED: other files than each time. */
static unsigned int more_seed(void)
{
	const char *seed = getenv("MRMR_TEST_SEED");

	return seed != NULL ? (unsigned int)atoi(seed) : 0;
}

static unsigned int draw(unsigned int below)
{
	state_of_draw = state_of_draw * 1103515245 + 12345;
	return (unsigned int)((uint64_t)(state_of_draw >> 8) * below >> 24);
}

/* --- what is there ------------------------------------------------------------- */

static uint64_t room_of(struct world *w)
{
	uint64_t total;
	uint64_t room;

	mrmr_pool_look_at_space(w->pool);
	mrmr_pool_space(w->pool, &total, &room);
	return room;
}

/* A file lies on one member. */
static uint64_t largest_room(struct world *w)
{
	uint64_t largest = 0;
	size_t i;

	for (i = 0; i < w->pool->num_members; i++) {
		uint64_t room = mrmr_member_data_room(&w->pool->members[i]);

		largest = room > largest ? room : largest;
	}
	return largest;
}

struct sums {
	uint64_t num_short;                      /* stripes */
	uint64_t width_bytes[NUM_DRIVES + 1][2]; /* data and parity, by slots */
	uint64_t num[NUM_DRIVES + 1];
};

static void judge(const struct mrmr_stripe *stripe, unsigned int rows,
		  struct sums *sums)
{
	uint32_t members = 0;
	uint32_t i;

	sums->num_short += stripe->num_rows != rows;
	sums->num[stripe->num_slots]++;
	for (i = 0; i < stripe->num_slots; i++) {
		assert_int_equal(members >> stripe->slots[i].member & 1, 0);
		members |= 1U << stripe->slots[i].member;
		sums->width_bytes[stripe->num_slots][0] +=
			stripe->slots[i].len_bytes;
	}
	for (i = 0; i < stripe->num_rows; i++) {
		assert_int_equal(members >> stripe->rows[i].member & 1, 0);
		members |= 1U << stripe->rows[i].member;
		sums->width_bytes[stripe->num_slots][1] +=
			stripe->rows[i].len_bytes;
	}
}

static struct sums sum_stripes(struct world *w, unsigned int rows)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_stripe *stripe = NULL;
	struct sums sums = {0};
	uint64_t id = 0;

	while (mrmr_catalog_next_stripe(engine->catalog, engine, id, &stripe) ==
	       0) {
		judge(stripe, rows, &sums);
		id = stripe->id;
		talloc_free(stripe);
	}
	talloc_free(engine);
	return sums;
}

static void tell(struct world *w, const struct sums *sums, uint64_t stored)
{
	struct mrmr_catalog_sums all;
	size_t i;

	if (getenv("WORLD_VERBOSE") == NULL) {
		return;
	}
	print_message("stored %.2f MiB; %llu stripes are short\n",
		      (double)stored / M, (unsigned long long)sums->num_short);
	for (i = 1; i <= NUM_DRIVES; i++) {
		print_message("  slots %zu: %llu stripes, data %.2f parity "
			      "%.2f\n",
			      i, (unsigned long long)sums->num[i],
			      (double)sums->width_bytes[i][0] / M,
			      (double)sums->width_bytes[i][1] / M);
	}
	all = sums_of(w);
	print_message("  files %.2f protected %.2f pending %llu\n",
		      (double)all.file_bytes / M,
		      (double)all.protected_bytes / M,
		      (unsigned long long)pending_of(w));
	mrmr_pool_look_at_space(w->pool);
	for (i = 0; i < w->pool->num_members; i++) {
		struct mrmr_member *m = &w->pool->members[i];
		struct stat st = {0};

		stat(world_member(w, i, ".mrmr/mrmr.db"), &st);
		print_message("  member %zu: %.1f MiB, data %.2f parity %.2f "
			      "free %.2f kept %.2f records %.2f\n",
			      i, (double)m->total_bytes / M,
			      (double)m->used_data_bytes / M,
			      (double)m->used_parity_bytes / M,
			      (double)m->free_bytes / M,
			      (double)m->kept_bytes / M,
			      (double)st.st_blocks * 512 / M);
	}
}

/* --- protecting ------------------------------------------------------------------ */

/* Faults, NULL at the end, that kill a protector before the one that comes to its
   end: all that was protected is so at each of those instants (invariant 2). */
#ifdef MRMR_WITH_FAULTS
static const char *const *kills;
static unsigned int num_killed[4];

/* Those that fail a protector, from when it begins to squeeze. */
static const char *fails;
static unsigned int num_failing; /* protectors that did */

static bool begin_to_fail(void *private_data)
{
	(void)private_data;
	if (fails != NULL && strcmp(getenv("MRMR_FAULT"), fails) != 0 &&
	    mrmr_fault_times("squeeze-left") > 0) {
		setenv("MRMR_FAULT", fails, 1);
		num_failing++;
	}
	return false;
}

/* It goes on after that. */
static void protect_failing(struct world *w, struct mrmr_protect_result *result)
{
	const struct mrmr_protect_options options = {
		.everything = true,
		.should_stop = begin_to_fail,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_error err = {0};

	setenv("MRMR_FAULT", "nothing=EIO", 1);
	if (mrmr_protect(engine, &options, result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
}
#endif

static struct mrmr_protect_result protect_after_kills(struct world *w)
{
#ifdef MRMR_WITH_FAULTS
	size_t i;

	for (i = 0; kills != NULL && kills[i] != NULL; i++) {
		if (protect_killed(w, kills[i])) {
			num_killed[i]++;
			verify_decodable(w);
		}
	}
	if (fails != NULL) {
		struct mrmr_protect_result result;

		protect_failing(w, &result);
		return result;
	}
#endif
	return protect(w);
}

/* --- filling --------------------------------------------------------------------- */

static size_t next_size(void)
{
	unsigned int kind = draw(10);

	if (kind < 2) {
		return 4 * M + draw(8 * M);
	}
	if (kind < 5) {
		return 512 * K + draw(3584 * K);
	}
	return 1000 + draw(300) * draw(1000);
}

struct filled {
	size_t len[20000];
	unsigned int num;
	uint64_t bytes;
};

/* More than there is room for: some of it finds no parity. */
static uint64_t too_much_bytes;

static void fill_too_much(struct world *w, struct filled *filled)
{
	uint64_t bytes = 0;
	char path[32];

	while (bytes < too_much_bytes) {
		size_t size = SMALLEST + draw(SMALLEST);

		snprintf(path, sizeof(path), "f%u", filled->num);
		client_write(w, path, filled->num + 1, size);
		filled->len[filled->num++] = size;
		bytes += size;
	}
	filled->bytes += bytes;
}

static void fill(struct world *w, struct filled *filled, uint64_t per_protect)
{
	uint64_t since = 0;
	char path[32];

	while (filled->num < sizeof(filled->len) / sizeof(filled->len[0])) {
		size_t size = next_size();

		size = size < room_of(w) / 8 ? size : room_of(w) / 8;
		size = size > SMALLEST ? size : SMALLEST;
		if (largest_room(w) < size && since > 0) {
			protect_after_kills(w);
			since = 0;
		}
		if (largest_room(w) < size) {
			break;
		}
		snprintf(path, sizeof(path), "f%u", filled->num);
		client_write(w, path, filled->num + 1, size);
		filled->len[filled->num++] = size;
		filled->bytes += size;
		since += size;
		if (since >= per_protect) {
			protect_after_kills(w);
			since = 0;
		}
	}
}

static void fill_to_the_brim(unsigned int rows, uint64_t unit_bytes,
			     const unsigned int *shape, const char *block,
			     uint64_t per_protect, unsigned int seed)
{
	char sizes[NUM_DRIVES][32];
	char parity[8];
	char config[64];
	struct world_shape world = {.num_members = NUM_DRIVES,
				    .parity = parity,
				    .config = config};
	struct filled *filled = calloc(1, sizeof(*filled));
	struct mrmr_protect_result result;
	struct world *w = NULL;
	struct sums sums;
	size_t i;

	snprintf(parity, sizeof(parity), "%u", rows);
	snprintf(config, sizeof(config), ", \"block_size\": \"%s\"", block);
	for (i = 0; i < NUM_DRIVES; i++) {
		snprintf(sizes[i], sizeof(sizes[i]), "%llu",
			 (unsigned long long)(shape[i] * unit_bytes));
		world.sizes[i] = sizes[i];
	}
	state_of_draw = seed + more_seed();
	w = world_new(&world);
	if (getenv("WORLD_VERBOSE") != NULL) {
		print_message("free at first %.2f MiB\n",
			      (double)room_of(w) / M);
	}
	/* The first protector makes the catalogue. */
	client_write(w, "first", 0, 1000);
	protect(w);
	filled->bytes = 1000;
	fill(w, filled, per_protect);
	fill_too_much(w, filled);
	result = protect_after_kills(w);
	sums = sum_stripes(w, rows);
	tell(w, &sums, filled->bytes);
	assert_int_equal(sums_of(w).protected_bytes + result.unprotected_bytes,
			 filled->bytes);
	if (too_much_bytes == 0) {
		assert_in_range(result.unprotected_bytes, 0, LEFT_BYTES_MAX);
		assert_in_range(sums.num_short, 0, LEFT_SHORT_MAX);
	}
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
	free(filled);
}

static const unsigned int mixed[NUM_DRIVES] = {8, 4, 4, 2, 1};
static const unsigned int equal[NUM_DRIVES] = {3, 3, 3, 3, 3};

static void one_row(void **state)
{
	(void)state;
	fill_to_the_brim(1, 24 * M, mixed, "256K", 64 * M, 1);
}

static void two_rows(void **state)
{
	(void)state;
	fill_to_the_brim(2, 24 * M, mixed, "256K", 64 * M, 2);
}

/* The protector comes to it only when the pool is full. */
static void two_rows_at_once(void **state)
{
	(void)state;
	fill_to_the_brim(2, 24 * M, mixed, "256K", 1000 * M, 3);
}

/* It does so after each file or two. */
static void one_row_bit_by_bit(void **state)
{
	(void)state;
	fill_to_the_brim(1, 12 * M, mixed, "128K", 2 * M, 4);
}

static void equal_drives(void **state)
{
	(void)state;
	fill_to_the_brim(2, 12 * M, equal, "128K", 32 * M, 5);
}

/* While stripes are dissolved and made anew. */
static void killed_while_squeezing(void **state)
{
#ifdef MRMR_WITH_FAULTS
	static const char *const points[] = {
		"squeeze-left#1=kill",
		"squeeze-applied#1=kill",
		"squeeze-synced#1=kill",
		"squeeze-committed#1=kill",
		NULL,
	};
	size_t i;

	(void)state;
	kills = points;
	too_much_bytes = 2 * M;
	fill_to_the_brim(2, 12 * M, mixed, "128K", 1000 * M, 3);
	too_much_bytes = 0;
	kills = NULL;
	for (i = 0; points[i] != NULL; i++) {
		assert_int_not_equal(num_killed[i], 0);
	}
#else
	(void)state;
	skip();
#endif
}

/* Drives that fail or are full just then: the attempt has not happened, and the
   protector goes on. */
static void errors_while_squeezing(void **state)
{
#ifdef MRMR_WITH_FAULTS
	static const char *const lists[] = {
		"squeeze-left#1=EIO,squeeze-left#3=ENOSPC",
		"squeeze-applied#1=EIO,squeeze-applied#2=ENOSPC",
		"squeeze-synced#1=EIO,squeeze-synced#2=ENOSPC",
		"stripes-write#1=ENOSPC,stripes-write#4=EIO",
		"blob-write#1=ENOSPC,blob-write#3=EIO,blob-rename#6=EIO",
		"stripes-job#1=EIO,stripes-read#9=EIO,stripes-sync#2=ENOSPC",
		"catalog-commit#1=ENOSPC,catalog-part#8=EIO",
	};
	size_t i;

	(void)state;
	too_much_bytes = 2 * M;
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		fails = lists[i];
		num_failing = 0;
		fill_to_the_brim(2, 12 * M, mixed, "128K", 1000 * M, 3);
		assert_int_not_equal(num_failing, 0);
	}
	unsetenv("MRMR_FAULT");
	fails = NULL;
	too_much_bytes = 0;
#else
	(void)state;
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_row),
		cmocka_unit_test(two_rows),
		cmocka_unit_test(two_rows_at_once),
		cmocka_unit_test(one_row_bit_by_bit),
		cmocka_unit_test(equal_drives),
		cmocka_unit_test(killed_while_squeezing),
		cmocka_unit_test(errors_while_squeezing),
	};

	return WORLD_MAIN("brim", tests);
}
