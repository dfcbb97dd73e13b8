/*
 * Unit tests: the code of source/parity once more, slowly, and by nothing of
 * what it is made of: multiplication bit by bit, inverses by trying, equations
 * by Gauss's elimination, a byte at a time. Included by test_parity*.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef TEST_PARITY_REFERENCE_H
#define TEST_PARITY_REFERENCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <mrmr/parity.h>

#define SLOTS MRMR_PARITY_SLOTS
#define ROWS MRMR_PARITY_ROWS

/* --- the field ------------------------------------------------------------ */

static inline uint8_t ref_multiply_bits(uint8_t a, uint8_t b)
{
	unsigned int shifted = a;
	unsigned int product = 0;

	while (b != 0) {
		if (b & 1) {
			product ^= shifted;
		}
		shifted <<= 1;
		if (shifted & 0x100) {
			shifted ^= 0x11d;
		}
		b >>= 1;
	}
	return (uint8_t)product;
}

static struct {
	bool ready;
	uint8_t product[256][256];
	uint8_t inverse[256];
	uint8_t coefficient[ROWS][SLOTS];
} ref;

static inline void ref_init(void)
{
	unsigned int a, b;

	if (ref.ready) {
		return;
	}
	for (a = 0; a < 256; a++) {
		for (b = 0; b < 256; b++) {
			ref.product[a][b] =
				ref_multiply_bits((uint8_t)a, (uint8_t)b);
			if (ref.product[a][b] == 1) {
				ref.inverse[a] = (uint8_t)b;
			}
		}
	}
	for (a = 0; a < ROWS; a++) {
		for (b = 0; b < SLOTS; b++) {
			uint8_t x_0 = 0xf0;
			uint8_t x_r = (uint8_t)(0xf0 + a);
			uint8_t y_s = (uint8_t)b;

			ref.coefficient[a][b] =
				ref.product[x_0 ^ y_s][ref.inverse[x_r ^ y_s]];
		}
	}
	ref.ready = true;
}

static inline int ref_setup(void **state)
{
	ref_init();
	return 0;
}

/* --- random numbers, the same in every run -------------------------------- */

static inline uint64_t draw(uint64_t *seed)
{
	/* splitmix64 */
	uint64_t z = (*seed += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline size_t draw_below(uint64_t *seed, size_t n)
{
	return (size_t)(draw(seed) % n);
}

static inline void draw_bytes(uint64_t *seed, uint8_t *bytes, size_t len)
{
	size_t i = 0;

	while (i < len) {
		uint64_t value = draw(seed);
		size_t n = len - i < 8 ? len - i : 8;

		memcpy(bytes + i, &value, n);
		i += n;
	}
}

/* n different numbers below max, in no order. */
static inline void draw_distinct(uint64_t *seed, unsigned int *numbers,
				 size_t n, size_t max)
{
	unsigned int all[256];
	size_t i;

	for (i = 0; i < max; i++) {
		all[i] = (unsigned int)i;
	}
	for (i = 0; i < n; i++) {
		size_t at = i + draw_below(seed, max - i);
		unsigned int chosen = all[at];

		all[at] = all[i];
		all[i] = chosen;
		numbers[i] = chosen;
	}
}

/* --- equations ------------------------------------------------------------ */

/*
 * Solve matrix * x = right side, n equations of n unknowns; the right sides
 * are bytes of len each, and become the solution. False if it has none.
 */
static inline bool ref_solve(uint8_t matrix[ROWS][ROWS], uint8_t **right,
			     size_t n, size_t len)
{
	size_t column, i, k;

	for (column = 0; column < n; column++) {
		size_t pivot = column;
		uint8_t scale;

		while (pivot < n && matrix[pivot][column] == 0) {
			pivot++;
		}
		if (pivot == n) {
			return false;
		}
		for (k = 0; k < n; k++) {
			uint8_t swapped = matrix[pivot][k];

			matrix[pivot][k] = matrix[column][k];
			matrix[column][k] = swapped;
		}
		for (k = 0; k < len; k++) {
			uint8_t swapped = right[pivot][k];

			right[pivot][k] = right[column][k];
			right[column][k] = swapped;
		}
		scale = ref.inverse[matrix[column][column]];
		for (k = 0; k < n; k++) {
			matrix[column][k] =
				ref.product[scale][matrix[column][k]];
		}
		for (k = 0; k < len; k++) {
			right[column][k] = ref.product[scale][right[column][k]];
		}
		for (i = 0; i < n; i++) {
			uint8_t factor = matrix[i][column];

			if (i == column || factor == 0) {
				continue;
			}
			for (k = 0; k < n; k++) {
				matrix[i][k] ^=
					ref.product[factor][matrix[column][k]];
			}
			for (k = 0; k < len; k++) {
				right[i][k] ^=
					ref.product[factor][right[column][k]];
			}
		}
	}
	return true;
}

/* --- a stripe, with what must be in it ------------------------------------ */

#define GUARD_BYTES 64
#define GUARD_VALUE 0xa5

struct stripe {
	size_t num_blocks;
	size_t num_rows;
	size_t len_bytes;                       /* of the parity */
	struct mrmr_parity_input block[SLOTS];  /* any order of slots */
	uint8_t *parity[ROWS];                  /* what is right */
	struct mrmr_parity_output output[ROWS]; /* to be written to */
	uint8_t *allocation[SLOTS + 2 * ROWS];
	size_t num_allocations;
};

/* len bytes, misaligned by skew, between guards that free_stripe looks at. */
static inline uint8_t *stripe_alloc(struct stripe *s, size_t len, size_t skew)
{
	uint8_t *memory = NULL;
	int ret;

	assert_true(s->num_allocations < SLOTS + 2 * ROWS);
	ret = posix_memalign((void **)&memory, 64,
			     len + skew + 2 * (size_t)GUARD_BYTES);
	assert_int_equal(ret, 0);
	memset(memory, GUARD_VALUE, len + skew + 2 * (size_t)GUARD_BYTES);
	s->allocation[s->num_allocations++] = memory;
	return memory + GUARD_BYTES + skew;
}

static inline void assert_guards(const uint8_t *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < GUARD_BYTES; i++) {
		assert_int_equal(bytes[len + i], GUARD_VALUE);
		assert_int_equal(bytes[-1 - (ptrdiff_t)i], GUARD_VALUE);
	}
}

/* The parity that belongs to the blocks, into s->parity. */
static inline void ref_encode(struct stripe *s)
{
	size_t i, k, row;

	for (row = 0; row < s->num_rows; row++) {
		uint8_t *parity = s->parity[row];

		memset(parity, 0, s->len_bytes);
		for (i = 0; i < s->num_blocks; i++) {
			const struct mrmr_parity_input *block = &s->block[i];
			uint8_t c = ref.coefficient[row][block->place];
			const uint8_t *product = ref.product[c];

			for (k = 0; k < block->len_bytes; k++) {
				parity[k] ^= product[block->data[k]];
			}
		}
	}
}

/*
 * A stripe of num_blocks random blocks in the given slots, the lengths given
 * or, if lengths is NULL, all len_bytes.
 */
static inline struct stripe *make_stripe(uint64_t *seed,
					 const unsigned int *slots,
					 size_t num_blocks, size_t num_rows,
					 size_t len_bytes,
					 const size_t *lengths, size_t skew)
{
	struct stripe *s = calloc(1, sizeof(*s));
	size_t i;

	assert_non_null(s);
	ref_init();
	s->num_blocks = num_blocks;
	s->num_rows = num_rows;
	s->len_bytes = len_bytes;
	for (i = 0; i < num_blocks; i++) {
		size_t len = lengths == NULL ? len_bytes : lengths[i];
		uint8_t *data = stripe_alloc(s, len, skew * (i % 3));

		draw_bytes(seed, data, len);
		s->block[i].place = slots[i];
		s->block[i].data = data;
		s->block[i].len_bytes = len;
	}
	for (i = 0; i < num_rows; i++) {
		s->parity[i] = stripe_alloc(s, len_bytes, 0);
		s->output[i].place = mrmr_parity_row((unsigned int)i);
		s->output[i].data = stripe_alloc(s, len_bytes, skew);
	}
	ref_encode(s);
	return s;
}

static inline void free_stripe(struct stripe *s)
{
	size_t i;

	for (i = 0; i < s->num_rows; i++) {
		assert_guards(s->output[i].data, s->len_bytes);
	}
	for (i = 0; i < s->num_allocations; i++) {
		free(s->allocation[i]);
	}
	free(s);
}

static inline void assert_parity(const struct stripe *s)
{
	size_t i;

	for (i = 0; i < s->num_rows; i++) {
		assert_memory_equal(s->output[i].data, s->parity[i],
				    s->len_bytes);
		assert_guards(s->output[i].data, s->len_bytes);
	}
}

#endif
