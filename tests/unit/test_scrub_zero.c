/*
 * Unit tests: scrubbing blocks of which all bytes are zero: they are in no stripe.
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
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/scrub.h>

#include "killed.h"
#include "protecting.h"

#define GRID 65536
#define LEN \
	(4 * GRID + 1000) /* the first block has bytes, the others have none */
#define OTHERS 40

static struct world *with_zeros(void)
{
	static const struct world_shape shape = {
		.parity = "1",
		.config = ",\"block_size\": \"64K\"",
	};
	struct world *w = world_new(&shape);
	char path[32];
	unsigned int i;
	int fd;

	for (i = 0; i < OTHERS; i++) {
		snprintf(path, sizeof(path), "other%u", i);
		client_write_on(w, i % 3, path, 10 + i, 1000);
	}
	client_write_on(w, 1, "zeros", 1, 5000);
	fd = open(world_drive(w, 1, "zeros"), O_RDWR);
	assert_return_code(fd, errno);
	assert_return_code(ftruncate(fd, LEN), errno);
	close(fd);
	client_tell(w, "zeros", MRMR_EVENT_CHANGED);
	protect(w);
	return w;
}

/* A byte turns, and nothing tells of it. */
static void turn(struct world *w, off_t offset)
{
	int fd = open(world_drive(w, 1, "zeros"), O_RDWR);
	struct timespec times[2];
	struct stat st;

	assert_return_code(fd, errno);
	assert_return_code(fstat(fd, &st), errno);
	assert_int_equal(pwrite(fd, "x", 1, offset), 1);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	assert_return_code(futimens(fd, times), errno);
	close(fd);
}

static bool is_right(struct world *w)
{
	uint8_t *start = seeded(1, 5000);
	uint8_t bytes[LEN + 1];
	int fd = open(world_drive(w, 1, "zeros"), O_RDONLY);
	bool right = true;
	size_t i;

	assert_return_code(fd, errno);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), LEN);
	close(fd);
	for (i = 0; i < LEN; i++) {
		right = right && bytes[i] == (i < 5000 ? start[i] : 0);
	}
	free(start);
	return right;
}

struct seen {
	struct mrmr_scrub_finding last;
	unsigned int num;
	unsigned int calls;
	unsigned int stop_after; /* calls of should_stop; 0: never */
};

static void take(const struct mrmr_scrub_finding *finding,
		 struct mrmr_engine *engine, void *private_data)
{
	struct seen *seen = private_data;

	(void)engine;
	seen->last = *finding;
	seen->num++;
}

static bool stop(void *private_data)
{
	struct seen *seen = private_data;

	return seen->stop_after != 0 && ++seen->calls > seen->stop_after;
}

static struct mrmr_scrub_result scrub(struct world *w,
				      struct mrmr_scrub_options options,
				      struct seen *seen)
{
	struct mrmr_scrub_result result;
	struct mrmr_error err = {0};

	options.found = take;
	options.should_stop = stop;
	options.private_data = seen;
	if (mrmr_scrub(w->pool, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	return result;
}

#ifdef MRMR_WITH_FAULTS
static void scrub_all(struct world *w, void *private_data)
{
	const struct mrmr_scrub_options options = {.deep = true};
	struct mrmr_scrub_result result;
	struct mrmr_error err = {0};

	mrmr_scrub(w->pool, &options, &result, &err);
}
#endif

static void test_found_and_repaired(void **state)
{
	static const off_t offsets[] = {GRID, 3 * GRID - 1, LEN - 1};
	struct world *w = with_zeros();
	unsigned int deep;
	size_t i;

	for (i = 0; i < 6; i++) {
		struct mrmr_scrub_options options = {.deep = i % 2 == 1};
		struct mrmr_scrub_result result;
		struct seen seen = {.num = 0};
		off_t offset = offsets[i / 2];

		turn(w, offset);
		result = scrub(w, options, &seen);
		assert_true(result.is_complete);
		assert_int_equal(result.wrong_blocks, 1);
		assert_int_equal(result.repaired_blocks, 0);
		assert_int_equal(seen.num, 1);
		assert_int_equal(seen.last.kind, MRMR_SCRUB_WRONG);
		assert_int_equal(seen.last.outcome, MRMR_SCRUB_LEFT);
		assert_int_equal(seen.last.offset, offset / GRID * GRID);
		assert_false(is_right(w));
		options.repair = true;
		result = scrub(w, options, &seen);
		assert_int_equal(result.wrong_blocks, 1);
		assert_int_equal(result.repaired_blocks, 1);
		assert_true(is_right(w));
		for (deep = 0; deep < 2; deep++) {
			options = (struct mrmr_scrub_options){.deep = deep};
			result = scrub(w, options, &seen);
			assert_int_equal(result.wrong_blocks, 0);
			assert_int_equal(result.changed_blocks, 0);
		}
	}
	verify_decodable(w);
	world_free(w);
}

/* All of them are told; the file is made anew once. */
static void test_several(void **state)
{
	struct world *w = with_zeros();
	struct mrmr_scrub_options options = {.repair = false};
	struct mrmr_scrub_result result;
	struct seen seen = {.num = 0};

	turn(w, GRID);
	turn(w, 2 * GRID + 7);
	turn(w, 4 * GRID);
	result = scrub(w, options, &seen);
	assert_int_equal(result.wrong_blocks, 3);
	assert_int_equal(seen.num, 3);
	options.repair = true;
	result = scrub(w, options, &seen);
	assert_int_equal(result.repaired_blocks, 1);
	assert_int_equal(result.wrong_blocks, 1);
	assert_true(is_right(w));
	world_free(w);
}

/* A part at a time, each of which goes on where the last one ended. */
static void test_in_parts(void **state)
{
	struct world *w = with_zeros();
	const struct mrmr_scrub_options options = {.percent = 7};
	struct seen seen = {.num = 0};
	unsigned int found[3] = {0};
	unsigned int i;

	turn(w, GRID);
	for (i = 0; i < 3 * 15; i++) {
		scrub(w, options, &seen);
		found[i / 15] += seen.num;
		seen.num = 0;
	}
	for (i = 0; i < 3; i++) {
		assert_in_range(found[i], 1, 2);
	}
	world_free(w);
}

/* Wherever it is stopped, it comes there in the end. */
static void test_stopped(void **state)
{
	struct world *w = with_zeros();
	struct seen seen = {.num = 0};
	unsigned int i;

	turn(w, 2 * GRID);
	for (i = 1; seen.num == 0 && i < 1000; i++) {
		seen.calls = 0;
		seen.stop_after = i;
		scrub(w, (struct mrmr_scrub_options){.deep = false}, &seen);
	}
	assert_int_equal(seen.num, 1);
	world_free(w);
}

/* What a client has written there is not wrong. */
static void test_written(void **state)
{
	struct world *w = with_zeros();
	const struct mrmr_scrub_options options = {.repair = true};
	struct mrmr_scrub_result result;
	struct seen seen = {.num = 0};

	client_overwrite(w, "zeros", 7, 100, 2 * GRID + 10);
	result = scrub(w, options, &seen);
	assert_int_equal(result.wrong_blocks, 0);
	protect(w);
	result = scrub(w, options, &seen);
	assert_int_equal(result.wrong_blocks + result.changed_blocks, 0);
	verify_decodable(w);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

/* Where it has come to cannot be noted, or it is killed there: it says so, and the next
   one finds what is wrong again. */
static void test_not_noted(void **state)
{
	static const char *const faults[] = {"catalog-commit#%u=EIO",
					     "catalog-prepare#%u=ENOSPC",
					     "catalog-store#%u=EIO",
					     "catalog-commit#%u=kill"};
	struct world *w = with_zeros();
	unsigned int num_failed[4] = {0};
	unsigned int i;

	turn(w, 2 * GRID);
	for (i = 0; i < 16; i++) {
		const struct mrmr_scrub_options options = {.deep = true};
		struct mrmr_scrub_result result;
		struct mrmr_error err = {0};
		struct seen seen = {.num = 0};
		char fault[64];

		snprintf(fault, sizeof(fault), faults[i % 4], 1 + i / 4);
		if (strstr(fault, "kill") != NULL) {
			num_failed[i % 4] +=
				killed_at(w, fault, scrub_all, NULL);
		} else {
			setenv("MRMR_FAULT", fault, 1);
			if (mrmr_scrub(w->pool, &options, &result, &err) ==
			    -1) {
				num_failed[i % 4]++;
				assert_true(err.text[0] != '\0');
			}
			unsetenv("MRMR_FAULT");
		}
		result = scrub(w, options, &seen);
		assert_true(result.is_complete);
		assert_int_equal(result.wrong_blocks, 1);
		assert_int_equal(seen.num, 1);
	}
	for (i = 0; i < 4; i++) {
		assert_true(num_failed[i] > 0);
	}
	verify_decodable(w);
	world_free(w);
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_found_and_repaired),
	cmocka_unit_test(test_several),
	cmocka_unit_test(test_in_parts),
	cmocka_unit_test(test_stopped),
	cmocka_unit_test(test_written),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_not_noted),
#endif
};

int main(void)
{
	return WORLD_MAIN("scrub_zero", tests);
}
