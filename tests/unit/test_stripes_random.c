/*
 * Unit tests: stripes through hundreds of random changes.
 *
 * After each batch every record, every parity block and every extent is compared
 * with what the test knows; and whatever units are lost, as many as there are
 * rows, each protected byte must be computable.
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
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "striped.h"

#define GRID ((uint32_t)64 << 10)

static uint64_t random_state;
static size_t memory_bytes; /* 0: as much as by default */

static size_t below(size_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) +
		       UINT64_C(1442695040888963407);
	return (size_t)(random_state >> 33) % n;
}

static size_t random_len(void)
{
	switch (below(6)) {
	case 0:
		return 1 + below(300);
	case 1:
	case 2:
		return 1 + below(12000);
	case 3:
		return GRID;
	case 4:
		return 1 + below(GRID);
	default:
		return GRID + below(3 * GRID);
	}
}

static unsigned int random_seed(void)
{
	/* zeros, and some that come again */
	return below(8) == 0 ? 0 : 1 + (unsigned int)below(1000);
}

static void change_behind(struct striped *s, struct sfile *file)
{
	int fd = open(world_drive(s->p->w, file->member, file->path), O_RDWR);
	size_t at = below(file->len);

	assert_return_code(fd, errno);
	file->bytes[at] ^= 0x40;
	assert_int_equal(pwrite(fd, &file->bytes[at], 1, (off_t)at), 1);
	close(fd);
}

static void change(struct striped *s)
{
	struct sfile *file = NULL;
	size_t members = s->p->w->pool->num_members;
	size_t at;

	if (s->num < 12 || (s->num < 60 && below(3) == 0)) {
		striped_file(s, below(members), random_seed(), random_len());
		return;
	}
	file = s->files[below(s->num)];
	switch (below(5)) {
	case 0:
		file->is_gone = true;
		break;
	case 1:
		striped_truncate(s, file, below(file->len + 1));
		break;
	case 2:
		if (file->len < 5 * GRID) {
			striped_append(s, file, random_len(), random_seed());
		}
		break;
	default:
		if (file->len > 0) {
			at = below(file->len);
			striped_overwrite(s, file, at,
					  1 + below(file->len - at),
					  random_seed());
		}
		break;
	}
}

/* Some of the files, or all. */
static void protect_some(struct striped *s)
{
	struct sfile *files[STRIPED_MAX];
	size_t num = 0;
	size_t i;

	if (below(3) == 0) {
		assert_return_code(striped_protect(s, NULL, 0), errno);
		assert_int_equal(s->num_errors, 0);
		return;
	}
	for (i = 0; i < s->num; i++) {
		if (below(2) == 0) {
			files[num++] = s->files[i];
		}
	}
	if (num > 0) {
		assert_return_code(striped_protect(s, files, num), errno);
		assert_int_equal(s->num_errors, 0);
	}
}

static void run(const struct world_shape *shape, unsigned int rows,
		unsigned int seed, size_t rounds)
{
	struct striped *s = striped_new_with(shape, GRID);
	size_t round;

	s->options.memory_bytes = memory_bytes;
	random_state = seed;
	for (round = 0; round < rounds; round++) {
		size_t n = 1 + below(15);

		while (n-- > 0) {
			change(s);
		}
		protect_some(s);
		if (below(4) == 0 && s->num > 0) {
			/* what was protected is gone from there: one block of
			   a stripe can always be brought back */
			struct sfile *file = s->files[below(s->num)];

			if (file->len > 0 && !file->is_gone) {
				change_behind(s, file);
				assert_return_code(striped_protect(s, &file, 1),
						   errno);
			}
		}
		striped_check(s, true);
		striped_check_losses(s, rows);
	}
	/* Nothing was left out: what is not zero is in a stripe. */
	assert_return_code(striped_protect(s, NULL, 0), errno);
	for (round = 0; round < s->num; round++) {
		assert_int_equal(striped_count(s, s->files[round]),
				 (s->files[round]->len + GRID - 1) / GRID);
	}
	/* and nothing is to be mended */
	assert_int_equal(striped_mend_all(s), 0);
	striped_free(s);
}

static void test_two_and_one(void **state)
{
	static const struct world_shape shape = {.num_members = 2,
						 .parity = "1"};

	run(&shape, 1, 1, 20);
}

static void test_four_and_one(void **state)
{
	static const struct world_shape shape = {.num_members = 4,
						 .parity = "1"};

	run(&shape, 1, 2, 30);
}

static void test_five_and_two(void **state)
{
	static const struct world_shape shape = {.num_members = 5,
						 .parity = "2"};

	run(&shape, 2, 3, 30);
	run(&shape, 2, 4, 10);
}

static void test_six_and_three(void **state)
{
	static const struct world_shape shape = {.num_members = 6,
						 .parity = "3"};

	run(&shape, 3, 5, 15);
}

/* The same with memory for one thread only. */
static void test_little_memory(void **state)
{
	static const struct world_shape shape = {.num_members = 4,
						 .parity = "2"};

	memory_bytes = 1;
	run(&shape, 2, 8, 8);
	memory_bytes = 0;
}

static void test_stacked(void **state)
{
	static const struct world_shape shape = {
		.num_members = 6,
		.parity = "2",
		.members = {", \"stack\": \"x\"", ", \"stack\": \"x\""},
	};

	run(&shape, 2, 6, 20);
}

/* The same, with a member away each time, and mended when it is back. */
static void test_away(void **state)
{
	static const struct world_shape shape = {.num_members = 5,
						 .parity = "2"};
	struct striped *s = striped_new_with(&shape, GRID);
	size_t round;

	random_state = 7;
	for (round = 0; round < 25; round++) {
		struct sfile *files[STRIPED_MAX];
		size_t away = below(5);
		size_t n = 1 + below(12);
		size_t num = 0;
		size_t i;

		while (n-- > 0) {
			change(s);
		}
		for (i = 0; i < s->num; i++) {
			if (s->files[i]->member != away && below(2) == 0) {
				files[num++] = s->files[i];
			}
		}
		protected_hide(s->p, 1u << away);
		if (num > 0) {
			assert_return_code(striped_protect(s, files, num),
					   errno);
			assert_int_equal(s->num_errors, 0);
		}
		protected_hide(s->p, 0);
		striped_check(s, false);
		/* with one more loss than that it could happen in between */
		striped_check_losses(s, 1);
		striped_mend_all(s);
		striped_check(s, false);
		striped_check_losses(s, 2);
	}
	striped_free(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_and_one),
		cmocka_unit_test(test_four_and_one),
		cmocka_unit_test(test_five_and_two),
		cmocka_unit_test(test_six_and_three),
		cmocka_unit_test(test_stacked),
		cmocka_unit_test(test_little_memory),
		cmocka_unit_test(test_away),
	};

	return WORLD_MAIN("stripes random", tests);
}
