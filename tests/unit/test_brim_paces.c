/*
 * Unit tests: pools that are filled until their free space says 0, by clients
 * that write while the protector works, which is anywhere between at once and
 * far behind. All that fitted by the free space is protected in the end.
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
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "protecting.h"

#define K ((uint64_t)1024)
#define M (K * K)
#define NUM_DRIVES 5
#define UNIT (12 * M)
#define SMALLEST (16 * K)
#define WAITS_MAX 3

/* Some is kept back for stripes that change, and parity is as long as the longest
   block of a stripe. */
#define STORED_PERCENT_MIN 94

/* Nothing is left by any seed that was tried; but how well the last files go
   together depends on much, to the size of directories. */
#define LEFT_PART 200
#define LEFT_SHORT_MAX 4

static uint64_t state_of_draw;

static uint64_t draw(uint64_t below)
{
	state_of_draw = state_of_draw * UINT64_C(6364136223846793005) +
			UINT64_C(1442695040888963407);
	return (uint64_t)((unsigned __int128)(state_of_draw >> 16 << 16) *
				  below >>
			  64);
}

/* --- a protector beside clients ------------------------------------------------ */

struct beside {
	pid_t pid;
	int from; /* a byte for each batch */
	int to;
	struct mrmr_protect_result result;
};

static int child_to = -1;
static int child_from = -1;

static void tell_parent(const struct mrmr_protect_progress *progress,
			void *private_data)
{
	char byte = 'b';

	(void)progress;
	(void)private_data;
	if (write(child_to, &byte, 1) != 1 || read(child_from, &byte, 1) != 1) {
		_exit(2);
	}
}

static void be_protector(struct world *w, uint64_t batch_bytes)
{
	const struct mrmr_protect_options options = {
		.everything = true,
		.batch_bytes = batch_bytes,
		.threads = 1,
		.progress = tell_parent,
	};
	struct mrmr_protect_result result;
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	char byte = 'e';

	world_open_in_child(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		fprintf(stderr, "protect: %s\n", err.text);
		_exit(1);
	}
	talloc_free(engine);
	if (write(child_to, &byte, 1) != 1 ||
	    write(child_to, &result, sizeof(result)) != sizeof(result)) {
		_exit(2);
	}
	_exit(0);
}

static struct beside begin_protector(struct world *w, uint64_t batch_bytes)
{
	struct beside b = {0};
	int to[2];
	int from[2];

	assert_return_code(pipe(to), errno);
	assert_return_code(pipe(from), errno);
	b.pid = fork();
	assert_return_code(b.pid, errno);
	if (b.pid == 0) {
		child_to = from[1];
		child_from = to[0];
		be_protector(w, batch_bytes);
	}
	close(from[1]);
	close(to[0]);
	b.from = from[0];
	b.to = to[1];
	return b;
}

/* True: it waits in the middle of its work. False: it has ended. */
static bool await_batch(struct beside *b)
{
	char byte = 0;
	int status = 0;

	assert_int_equal(read(b->from, &byte, 1), 1);
	if (byte == 'b') {
		return true;
	}
	assert_int_equal(read(b->from, &b->result, sizeof(b->result)),
			 sizeof(b->result));
	close(b->from);
	close(b->to);
	assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
	assert_int_equal(status, 0);
	return false;
}

static void go_on(struct beside *b)
{
	assert_int_equal(write(b->to, "", 1), 1);
}

/* --- a client ---------------------------------------------------------------------- */

struct client {
	struct world *w;
	unsigned int num;
	uint64_t bytes;
	bool is_full;
};

static uint64_t room_of(struct world *w)
{
	uint64_t total;
	uint64_t room;

	mrmr_pool_look_at_space(w->pool);
	mrmr_pool_space(w->pool, &total, &room);
	return room;
}

/* Few large ones, and many small ones. */
static uint64_t next_size(void)
{
	uint64_t kind = draw(10);

	if (kind < 2) {
		return UNIT / 6 + draw(UNIT / 3);
	}
	if (kind < 5) {
		return UNIT / 48 + draw(UNIT / 7);
	}
	return 1000 + draw(UNIT / 160) * draw(1000) / 1000;
}

static void fill(struct client *c, uint64_t bytes)
{
	uint64_t until = c->bytes + bytes;
	char path[32];

	while (c->bytes < until && !c->is_full) {
		uint64_t room = room_of(c->w);
		uint64_t size = next_size();

		size = size < room / 8 ? size : room / 8;
		size = size > SMALLEST ? size : SMALLEST;
		if (room < size) {
			c->is_full = true;
			return;
		}
		snprintf(path, sizeof(path), "f%u", c->num);
		client_write(c->w, path, ++c->num, size);
		c->bytes += size;
	}
}

/* --- paces -------------------------------------------------------------------------- */

struct pace {
	uint64_t batch_bytes;
	uint64_t before_bytes; /* up to so much before a protector begins */
	uint64_t beside_bytes; /* while it does a batch */
};

static void work(struct client *c, const struct pace *pace,
		 struct mrmr_protect_result *result)
{
	struct beside b;

	fill(c, 1 + draw(pace->before_bytes + 1));
	b = begin_protector(c->w, pace->batch_bytes);
	while (await_batch(&b)) {
		fill(c, draw(pace->beside_bytes + 1));
		go_on(&b);
	}
	*result = b.result;
}

/* --- what is there in the end --------------------------------------------------- */

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The most data that fits, see tests/integration/mixed.test. */
static uint64_t optimum(const uint64_t *sizes, unsigned int rows)
{
	uint64_t best = 0;
	size_t i, j;

	for (i = 0; i < NUM_DRIVES; i++) {
		uint64_t sum = 0;

		for (j = 0; j < NUM_DRIVES; j++) {
			sum += lower(sizes[j], sizes[i]);
		}
		sum -= lower(sum, rows * sizes[i]);
		best = sum > best ? sum : best;
	}
	return best;
}

/* Of the drives less what the catalogue's parts take of them. */
static uint64_t most_data(struct world *w, unsigned int rows)
{
	uint64_t sizes[NUM_DRIVES];
	size_t i;

	for (i = 0; i < NUM_DRIVES; i++) {
		struct stat st;

		assert_return_code(stat(world_member(w, i, ".mrmr/mrmr.db"),
					&st),
				   errno);
		sizes[i] = w->pool->members[i].total_bytes -
			   (uint64_t)st.st_blocks * 512;
	}
	return optimum(sizes, rows);
}

static unsigned int count_short(struct world *w, unsigned int rows)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_stripe *stripe = NULL;
	unsigned int num = 0;
	uint64_t id = 0;

	while (mrmr_catalog_next_stripe(engine->catalog, engine, id, &stripe) ==
	       0) {
		id = stripe->id;
		num += stripe->num_rows != rows;
		talloc_free(stripe);
	}
	talloc_free(engine);
	return num;
}

/* --- one pool -------------------------------------------------------------------- */

static const unsigned int shapes[][NUM_DRIVES] = {
	{8, 4, 4, 2, 1},
	{3, 3, 3, 3, 3},
	{5, 4, 3, 2, 2},
	{6, 6, 1, 1, 1},
};

struct plan {
	const unsigned int *shape;
	unsigned int rows;
	const char *block;
	struct pace pace;
};

static uint64_t draw_pace(void)
{
	static const unsigned int eighths[] = {1, 2, 6, 16, 40, 2000};

	return UNIT * eighths[draw(6)] / 8;
}

static struct plan draw_plan(unsigned int seed)
{
	struct plan plan;

	state_of_draw = seed;
	draw(2);
	draw(2);
	plan.shape = shapes[draw(2) == 0 ? 0 : draw(4)];
	plan.rows = 1 + (unsigned int)draw(2);
	plan.block = draw(2) == 0 ? "64K" : "128K";
	plan.pace.batch_bytes = M << draw(6);
	plan.pace.before_bytes = draw_pace();
	plan.pace.beside_bytes = draw_pace();
	return plan;
}

static struct world *make_pool(const struct plan *plan)
{
	static char sizes[NUM_DRIVES][32];
	static char parity[8];
	static char config[64];
	struct world_shape world = {.num_members = NUM_DRIVES,
				    .parity = parity,
				    .config = config};
	size_t i;

	snprintf(parity, sizeof(parity), "%u", plan->rows);
	snprintf(config, sizeof(config), ", \"block_size\": \"%s\"",
		 plan->block);
	for (i = 0; i < NUM_DRIVES; i++) {
		snprintf(sizes[i], sizeof(sizes[i]), "%llu",
			 (unsigned long long)(plan->shape[i] * UNIT));
		world.sizes[i] = sizes[i];
	}
	return world_new(&world);
}

static const struct pace alone = {0};

static void fill_at_its_pace(unsigned int seed)
{
	struct plan plan = draw_plan(seed);
	struct client c = {.w = make_pool(&plan)};
	struct mrmr_protect_result result = {0};
	unsigned int num_short;
	unsigned int waits = 0;
	uint64_t most;

	client_write(c.w, "first", 0, 1000);
	c.bytes = 1000;
	c.is_full = true;
	work(&c, &alone, &result);
	c.is_full = false;
	while (waits < WAITS_MAX && !c.is_full) {
		work(&c, &plan.pace, &result);
		if (c.is_full) {
			/* perhaps there is some when it has come to its end */
			waits++;
			work(&c, &alone, &result);
			c.is_full = room_of(c.w) < SMALLEST;
		}
	}
	c.is_full = true;
	work(&c, &alone, &result);
	most = most_data(c.w, plan.rows);
	num_short = count_short(c.w, plan.rows);
	print_message("seed %u: %u%u%u%u%u, %u rows of %s, batches of %llu "
		      "MiB, up to %.1f MiB before and %.1f beside them: "
		      "%.2f %% of the most in %u files; %llu bytes of %llu "
		      "files are not protected, %u stripes are short\n",
		      seed, plan.shape[0], plan.shape[1], plan.shape[2],
		      plan.shape[3], plan.shape[4], plan.rows, plan.block,
		      (unsigned long long)(plan.pace.batch_bytes / M),
		      (double)plan.pace.before_bytes / M,
		      (double)plan.pace.beside_bytes / M,
		      100.0 * (double)c.bytes / (double)most, c.num,
		      (unsigned long long)result.unprotected_bytes,
		      (unsigned long long)result.unprotected_files, num_short);
	fflush(stdout);
	assert_int_equal(sums_of(c.w).protected_bytes +
				 result.unprotected_bytes,
			 c.bytes);
	assert_in_range(c.bytes, most / 100 * STORED_PERCENT_MIN, most);
	assert_in_range(result.unprotected_bytes, 0, most / LEFT_PART);
	assert_in_range(num_short, 0, LEFT_SHORT_MAX);
	world_free(c.w);
}

/* MRMR_TEST_SEED and MRMR_TEST_NUM: others than each time, and more. */
static unsigned int wish(const char *name, unsigned int usual)
{
	const char *value = getenv(name);

	return value != NULL ? (unsigned int)atoi(value) : usual;
}

static void all_that_fits_is_protected(void **state)
{
	unsigned int first = wish("MRMR_TEST_SEED", 1);
	unsigned int num = wish("MRMR_TEST_NUM", 8);
	unsigned int i;

	(void)state;
	for (i = 0; i < num; i++) {
		fill_at_its_pace(first + i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_fits_is_protected),
	};

	return WORLD_MAIN("brim_paces", tests);
}
