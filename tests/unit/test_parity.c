/*
 * Unit tests: source/parity, stripes whose blocks are all there. What is
 * computed when blocks are lost is in test_parity_plan.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>

#include <sys/mman.h>
#include <unistd.h>

#include <openssl/sha.h>

#include "test_parity_reference.h"

#define MIB ((size_t)1024 * 1024)

/* --- the format on disk --------------------------------------------------- */

/*
 * NEVER CHANGE THE NUMBERS of the next three tests: all parity that was ever
 * written depends on them. If one of them fails, the code is wrong.
 */
static void coefficients_are_frozen(void **state)
{
	static const unsigned int slot[] = {0, 1,  2,  3,   4,   5,   6,
					    7, 15, 16, 127, 128, 238, 239};
	static const uint8_t frozen[8][14] = {
		{0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01,
		 0x01, 0x01, 0x01, 0x01},
		{0xe6, 0xe2, 0xeb, 0xb4, 0x8e, 0x02, 0xc8, 0xd2, 0x7f, 0x3e,
		 0x03, 0xd0, 0x2b, 0x4a},
		{0x76, 0xc8, 0xda, 0xd2, 0xba, 0x8e, 0x07, 0x02, 0xe2, 0xd0,
		 0xd3, 0x23, 0x5c, 0x1a},
		{0x22, 0xc3, 0x35, 0x39, 0x47, 0x69, 0x8d, 0x04, 0x80, 0x0c,
		 0xf4, 0x77, 0x99, 0xfc},
		{0x0d, 0x07, 0x6a, 0x02, 0xaa, 0xba, 0xef, 0x8e, 0xc8, 0x23,
		 0xb5, 0x82, 0x48, 0x3b},
		{0x88, 0x0e, 0xcb, 0xb9, 0x5d, 0x49, 0x64, 0x5a, 0x6e, 0x4e,
		 0xba, 0x31, 0xbb, 0x1d},
		{0xd1, 0x8d, 0x0b, 0x04, 0x98, 0x47, 0x71, 0x69, 0xc3, 0x77,
		 0xa7, 0xe7, 0x46, 0xff},
		{0x44, 0x02, 0x8b, 0x08, 0xad, 0x2d, 0x8e, 0x92, 0xd2, 0xec,
		 0xe3, 0x73, 0x21, 0xd6},
	};
	unsigned int row;
	size_t i;

	for (row = 0; row < 8; row++) {
		for (i = 0; i < 14; i++) {
			assert_int_equal(mrmr_parity_coefficient(row, slot[i]),
					 frozen[row][i]);
		}
	}
}

static void all_coefficients_are_frozen(void **state)
{
	/* SHA-256 of the 8 * 240 coefficients, row after row */
	static const uint8_t frozen[SHA256_DIGEST_LENGTH] =
		{0x21, 0xee, 0xc8, 0xb6, 0x86, 0xcf, 0x0b, 0xb4,
		 0x8e, 0xf0, 0x1b, 0x97, 0x28, 0x1d, 0xff, 0x83,
		 0xac, 0x39, 0xa8, 0x9b, 0x3b, 0x30, 0xcb, 0x96,
		 0x9a, 0x4c, 0x73, 0x97, 0xa2, 0x38, 0x70, 0x45};
	uint8_t all[8 * 240];
	uint8_t digest[SHA256_DIGEST_LENGTH];
	unsigned int row, slot;

	assert_int_equal(MRMR_PARITY_SLOTS, 240);
	assert_int_equal(MRMR_PARITY_ROWS, 8);
	for (row = 0; row < 8; row++) {
		for (slot = 0; slot < 240; slot++) {
			all[row * 240 + slot] =
				mrmr_parity_coefficient(row, slot);
		}
	}
	SHA256(all, sizeof(all), digest);
	assert_memory_equal(digest, frozen, sizeof(frozen));
}

static void parity_of_known_bytes_is_frozen(void **state)
{
	static const uint8_t a[] = {1, 2, 3, 4, 5, 6, 7, 8};
	static const uint8_t b[] = {'M', 'R', 'M', 'R'};
	static const uint8_t c[] = {0xff, 0x00, 0x80};
	static const uint8_t d[] = {0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a};
	static const uint8_t frozen[8][8] = {
		{0xe9, 0x0a, 0x94, 0x0c, 0x5f, 0x5c, 0x07, 0x08},
		{0x56, 0x2a, 0x4f, 0x44, 0x04, 0x33, 0x88, 0x63},
		{0x5c, 0xdf, 0xac, 0xf6, 0x24, 0xbe, 0x5f, 0x97},
		{0x36, 0xcd, 0x70, 0x01, 0x76, 0x10, 0xee, 0x0d},
		{0xbf, 0x71, 0x37, 0x5f, 0x7b, 0x6c, 0x23, 0x68},
		{0x04, 0x7f, 0xe6, 0x68, 0x9e, 0x1b, 0x9f, 0x34},
		{0xba, 0xde, 0x95, 0x02, 0x80, 0xee, 0x0d, 0xc6},
		{0x4f, 0x1a, 0x87, 0x9f, 0x44, 0x88, 0xc1, 0x1a},
	};
	const struct mrmr_parity_input blocks[] = {
		{.place = 0, .data = a, .len_bytes = sizeof(a)},
		{.place = 7, .data = b, .len_bytes = sizeof(b)},
		{.place = 100, .data = c, .len_bytes = sizeof(c)},
		{.place = 239, .data = d, .len_bytes = sizeof(d)},
	};
	struct mrmr_parity_output rows[8];
	uint8_t parity[8][8];
	unsigned int i;
	int ret;

	for (i = 0; i < 8; i++) {
		rows[i].place = mrmr_parity_row(i);
		rows[i].data = parity[i];
	}
	ret = mrmr_parity_encode(blocks, 4, rows, 8, 8);
	assert_int_equal(ret, 0);
	assert_memory_equal(parity, frozen, sizeof(frozen));
}

/* --- the code ------------------------------------------------------------- */

static void coefficients_are_those_of_the_formula(void **state)
{
	unsigned int row, slot;

	for (row = 0; row < ROWS; row++) {
		for (slot = 0; slot < SLOTS; slot++) {
			assert_int_equal(mrmr_parity_coefficient(row, slot),
					 ref.coefficient[row][slot]);
			assert_int_not_equal(ref.coefficient[row][slot], 0);
		}
	}
	for (slot = 0; slot < SLOTS; slot++) {
		assert_int_equal(mrmr_parity_coefficient(0, slot), 1);
	}
}

static void coefficient_of_what_does_not_exist_is_zero(void **state)
{
	assert_int_equal(mrmr_parity_coefficient(8, 0), 0);
	assert_int_equal(mrmr_parity_coefficient(0, 240), 0);
	assert_int_equal(mrmr_parity_coefficient(256, 256), 0);
	assert_int_equal(mrmr_parity_coefficient(UINT32_MAX, UINT32_MAX), 0);
}

/* The worked example at the top of source/parity/generator.c. */
static void example_of_the_documentation(void **state)
{
	const uint8_t data[] = {0x4d, 0x52, 0x21};
	const struct mrmr_parity_input blocks[] = {
		{.place = 0, .data = &data[0], .len_bytes = 1},
		{.place = 1, .data = &data[1], .len_bytes = 1},
		{.place = 2, .data = &data[2], .len_bytes = 1},
	};
	uint8_t parity[3];
	const struct mrmr_parity_output rows[] = {
		{.place = mrmr_parity_row(0), .data = &parity[0]},
		{.place = mrmr_parity_row(1), .data = &parity[1]},
		{.place = mrmr_parity_row(2), .data = &parity[2]},
	};
	int ret;

	ret = mrmr_parity_encode(blocks, 3, rows, 3, 1);
	assert_int_equal(ret, 0);
	assert_int_equal(parity[0], 0x3e);
	assert_int_equal(parity[1], 0xbf);
	assert_int_equal(parity[2], 0x91);

	ret = mrmr_parity_leave(&blocks[1], rows, 3, 1);
	assert_int_equal(ret, 0);
	assert_int_equal(parity[0], 0x6c);
	assert_int_equal(parity[1], 0xc2);
}

/*
 * "Every square sub-matrix is invertible": all of 2 x 2, and of the larger ones
 * a sample.
 */
static void every_2_by_2_submatrix_is_invertible(void **state)
{
	unsigned int r0, r1, s0, s1;

	for (r0 = 0; r0 < ROWS; r0++) {
		for (r1 = r0 + 1; r1 < ROWS; r1++) {
			const uint8_t *a = ref.coefficient[r0];
			const uint8_t *b = ref.coefficient[r1];

			for (s0 = 0; s0 < SLOTS; s0++) {
				for (s1 = s0 + 1; s1 < SLOTS; s1++) {
					if (ref.product[a[s0]][b[s1]] ==
					    ref.product[a[s1]][b[s0]]) {
						fail_msg("rows %u %u, slots "
							 "%u %u",
							 r0, r1, s0, s1);
					}
				}
			}
		}
	}
}

static void larger_submatrices_are_invertible(void **state)
{
	uint64_t seed = 3;
	size_t n, i, j, round;

	for (n = 3; n <= ROWS; n++) {
		for (round = 0; round < 20000; round++) {
			uint8_t matrix[ROWS][ROWS];
			unsigned int rows[ROWS];
			unsigned int slots[ROWS];

			draw_distinct(&seed, rows, n, ROWS);
			draw_distinct(&seed, slots, n, SLOTS);
			for (i = 0; i < n; i++) {
				for (j = 0; j < n; j++) {
					matrix[i][j] = mrmr_parity_coefficient(
						rows[i], slots[j]);
				}
			}
			assert_true(ref_solve(matrix, NULL, n, 0));
		}
	}
}

/* --- encode --------------------------------------------------------------- */

static void encode_all(struct stripe *s)
{
	int ret;

	ret = mrmr_parity_encode(s->block, s->num_blocks, s->output,
				 s->num_rows, s->len_bytes);
	assert_int_equal(ret, 0);
}

static void assert_encode(uint64_t *seed, size_t num_blocks, size_t num_rows,
			  size_t len_bytes, const size_t *lengths, size_t skew)
{
	struct stripe *s = NULL;
	unsigned int slots[SLOTS];

	draw_distinct(seed, slots, num_blocks, SLOTS);
	s = make_stripe(seed, slots, num_blocks, num_rows, len_bytes, lengths,
			skew);
	encode_all(s);
	assert_parity(s);
	free_stripe(s);
}

static void encode_every_small_length(void **state)
{
	static const size_t shapes[][2] = {{1, 1}, {1, 3}, {2, 1},
					   {3, 1}, {2, 2}, {5, 3},
					   {4, 6}, {3, 7}, {9, 8}};
	uint64_t seed = 11;
	size_t len, i;

	for (len = 0; len <= 300; len++) {
		for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
			assert_encode(&seed, shapes[i][0], shapes[i][1], len,
				      NULL, 0);
			assert_encode(&seed, shapes[i][0], shapes[i][1], len,
				      NULL, 1 + len % 63);
		}
	}
}

static void encode_lengths_around_pieces(void **state)
{
	static const size_t lengths[] = {1023,  1024,  1025,  4095,  4096,
					 4097,  16383, 16384, 16385, 16447,
					 16448, 32767, 32769, 49999, 65536};
	uint64_t seed = 12;
	size_t i, rows;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (rows = 1; rows <= ROWS; rows++) {
			assert_encode(&seed, 4, rows, lengths[i], NULL, 0);
			assert_encode(&seed, 3, rows, lengths[i], NULL, 7);
		}
	}
}

static void encode_4_mib_and_a_byte(void **state)
{
	uint64_t seed = 13;

	assert_encode(&seed, 8, 2, 4 * MIB + 1, NULL, 0);
	assert_encode(&seed, 3, 1, 4 * MIB + 1, NULL, 0);
	assert_encode(&seed, 3, 1, 4 * MIB + 1, NULL, 1);
}

static void encode_every_width(void **state)
{
	uint64_t seed = 14;
	size_t k;

	for (k = 1; k <= SLOTS; k++) {
		assert_encode(&seed, k, 1 + k % ROWS, 1 + k * 3, NULL, k % 5);
	}
	assert_encode(&seed, SLOTS, ROWS, 20001, NULL, 0);
	assert_encode(&seed, SLOTS, 1, 20001, NULL, 0);
}

static size_t longest_of(const size_t *lengths, size_t n)
{
	size_t longest = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (lengths[i] > longest) {
			longest = lengths[i];
		}
	}
	return longest;
}

/* Lengths of all sorts: zero, equal, tiny differences, large differences. */
static size_t draw_length(uint64_t *seed, size_t max)
{
	static const size_t special[] = {0, 1, 63, 64, 65, 1000, 1024, 16384};
	size_t n = sizeof(special) / sizeof(special[0]);
	size_t len_bytes;

	switch (draw_below(seed, 4)) {
	case 0:
		len_bytes = special[draw_below(seed, n)];
		return len_bytes < max ? len_bytes : max;
	case 1:
		return max - draw_below(seed, max < 100 ? max + 1 : 100);
	case 2:
		return max;
	default:
		return draw_below(seed, max + 1);
	}
}

static void encode_unequal_lengths(void **state)
{
	uint64_t seed = 15;
	size_t round, i;

	for (round = 0; round < 1500; round++) {
		size_t num_blocks = 1 + draw_below(&seed, 12);
		size_t num_rows = 1 + draw_below(&seed, ROWS);
		size_t max = round % 3 == 0 ? 200 : 40000;
		size_t lengths[SLOTS];
		size_t len_bytes;

		for (i = 0; i < num_blocks; i++) {
			lengths[i] = draw_length(&seed, max);
		}
		len_bytes = longest_of(lengths, num_blocks);
		if (round % 5 == 0) {
			/* longer than all of them */
			len_bytes += draw_below(&seed, 20000);
		}
		assert_encode(&seed, num_blocks, num_rows, len_bytes, lengths,
			      round % 2 * 3);
	}
}

static void encode_unequal_lengths_of_many(void **state)
{
	uint64_t seed = 16;
	size_t round, i;

	for (round = 0; round < 8; round++) {
		size_t lengths[SLOTS];

		for (i = 0; i < SLOTS; i++) {
			lengths[i] = draw_length(&seed, 30000);
		}
		assert_encode(&seed, SLOTS, ROWS, longest_of(lengths, SLOTS),
			      lengths, 0);
	}
}

static void encode_of_nothing_is_zero(void **state)
{
	uint64_t seed = 17;

	assert_encode(&seed, 0, 3, 1000, NULL, 0);
	assert_encode(&seed, 0, 1, 100000, NULL, 0);
}

static void row_0_is_xor_and_a_mirror_of_a_single_block(void **state)
{
	uint64_t seed = 18;
	unsigned int slots[] = {77};
	struct stripe *s = make_stripe(&seed, slots, 1, 2, 5000, NULL, 0);

	encode_all(s);
	assert_memory_equal(s->output[0].data, s->block[0].data, 5000);
	free_stripe(s);
}

/* "a row is added by encoding that row, and dropped by forgetting it" */
static void rows_do_not_depend_on_each_other(void **state)
{
	uint64_t seed = 19;
	unsigned int slots[6];
	struct stripe *s = NULL;
	size_t mask, row;

	draw_distinct(&seed, slots, 6, SLOTS);
	s = make_stripe(&seed, slots, 6, ROWS, 3001, NULL, 0);
	for (mask = 1; mask < (1 << ROWS); mask++) {
		struct mrmr_parity_output rows[ROWS];
		size_t n = 0;
		int ret;

		/* downwards: their order is free */
		for (row = ROWS; row-- > 0;) {
			memset(s->output[row].data, 0xee, s->len_bytes);
			if (mask >> row & 1) {
				rows[n++] = s->output[row];
			}
		}
		ret = mrmr_parity_encode(s->block, 6, rows, n, s->len_bytes);
		assert_int_equal(ret, 0);
		for (row = 0; row < ROWS; row++) {
			if (mask >> row & 1) {
				assert_memory_equal(s->output[row].data,
						    s->parity[row],
						    s->len_bytes);
			} else {
				assert_int_equal(s->output[row].data[0], 0xee);
			}
		}
	}
	free_stripe(s);
}

/* What of a block lies in [begin, end). */
static struct mrmr_parity_input input_piece(
	const struct mrmr_parity_input *input, size_t begin, size_t end)
{
	struct mrmr_parity_input piece = {.place = input->place};

	if (input->len_bytes > begin) {
		piece.data = input->data + begin;
		piece.len_bytes = input->len_bytes - begin;
		if (piece.len_bytes > end - begin) {
			piece.len_bytes = end - begin;
		}
	}
	return piece;
}

static void encode_by_pieces_is_encode(void **state)
{
	uint64_t seed = 20;
	size_t round, i;

	for (round = 0; round < 50; round++) {
		const size_t len_bytes = 50001;
		struct stripe *s = NULL;
		unsigned int slots[7];
		size_t lengths[7];
		size_t begin, end;

		draw_distinct(&seed, slots, 7, SLOTS);
		for (i = 0; i < 7; i++) {
			lengths[i] = draw_length(&seed, len_bytes);
		}
		s = make_stripe(&seed, slots, 7, 3, len_bytes, lengths, 0);
		for (begin = 0; begin < len_bytes; begin = end) {
			struct mrmr_parity_input blocks[7];
			struct mrmr_parity_output rows[3];
			int ret;

			end = begin + 1 + draw_below(&seed, 20000);
			if (end > len_bytes) {
				end = len_bytes;
			}
			for (i = 0; i < 7; i++) {
				blocks[i] =
					input_piece(&s->block[i], begin, end);
			}
			for (i = 0; i < 3; i++) {
				rows[i] = s->output[i];
				rows[i].data += begin;
			}
			ret = mrmr_parity_encode(blocks, 7, rows, 3,
						 end - begin);
			assert_int_equal(ret, 0);
		}
		assert_parity(s);
		free_stripe(s);
	}
}

/* len bytes that end where the memory ends, or begin where it begins. */
static uint8_t *map_at_edge(size_t len, bool at_end)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *memory = NULL;
	int ret;

	memory = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	ret = mprotect(memory, page, PROT_NONE);
	assert_int_equal(ret, 0);
	ret = mprotect(memory + 2 * page, page, PROT_NONE);
	assert_int_equal(ret, 0);
	return memory + page + (at_end ? page - len : 0);
}

static void unmap_at_edge(uint8_t *bytes)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uint8_t *memory = (uint8_t *)((uintptr_t)bytes / page * page - page);

	munmap(memory, 3 * page);
}

/* A block may be a mapped file, with nothing behind its last page. */
static void nothing_beside_the_buffers_is_touched(void **state)
{
	uint64_t seed = 21;
	uint8_t *bytes[5];
	struct mrmr_parity_input blocks[3];
	struct mrmr_parity_output rows[2];
	size_t round, i, len;
	int ret;

	for (round = 0; round < 2 * 200; round++) {
		len = 1 + round / 2;
		for (i = 0; i < 5; i++) {
			bytes[i] = map_at_edge(len, round % 2 == 0);
			draw_bytes(&seed, bytes[i], len);
		}
		for (i = 0; i < 3; i++) {
			blocks[i].place = (unsigned int)i;
			blocks[i].data = bytes[i];
			blocks[i].len_bytes = len;
		}
		/* the shorter one ends at the edge, too */
		blocks[2].len_bytes -= len / 3;
		if (round % 2 == 0) {
			blocks[2].data += len / 3;
		}
		for (i = 0; i < 2; i++) {
			rows[i].place = mrmr_parity_row((unsigned int)i);
			rows[i].data = bytes[3 + i];
		}
		ret = mrmr_parity_encode(blocks, 3, rows, 2, len);
		assert_int_equal(ret, 0);
		ret = mrmr_parity_encode(blocks, 3, rows, 1, len);
		assert_int_equal(ret, 0);
		ret = mrmr_parity_swap(&blocks[0], &blocks[2], rows, 2, len);
		assert_int_equal(ret, 0);
		for (i = 0; i < 5; i++) {
			unmap_at_edge(bytes[i]);
		}
	}
}

/* --- blocks come and go --------------------------------------------------- */

/*
 * A stripe lives: blocks join, leave and are swapped, and its parity is always
 * that of encoding what is in it.
 */
static void joined_left_and_swapped_equal_encoded(void **state)
{
	uint64_t seed = 30;
	size_t life;

	for (life = 0; life < 40; life++) {
		const size_t max = life % 2 == 0 ? 300 : 40000;
		size_t num_rows = 1 + life % ROWS;
		struct stripe *s = NULL;
		unsigned int slots[20];
		size_t lengths[20];
		size_t i, step;
		size_t used = 0;

		draw_distinct(&seed, slots, 20, SLOTS);
		for (i = 0; i < 20; i++) {
			lengths[i] = draw_length(&seed, max);
		}
		s = make_stripe(&seed, slots, 20, num_rows, max, lengths,
				life % 4);
		/* the first `used` of the blocks are in the stripe */
		s->num_blocks = 0;
		encode_all(s);
		for (step = 0; step < 30; step++) {
			size_t what = draw_below(&seed, 3);
			size_t at = draw_below(&seed, used + 1);
			struct mrmr_parity_input moved;
			int ret;

			if ((what == 0 || used == 0) && used < 20) {
				ret = mrmr_parity_join(&s->block[used],
						       s->output, num_rows,
						       max);
				used++;
			} else if (what == 1 || used == 20) {
				at = at == used ? used - 1 : at;
				ret = mrmr_parity_leave(&s->block[at],
							s->output, num_rows,
							max);
				used--;
				moved = s->block[at];
				s->block[at] = s->block[used];
				s->block[used] = moved;
			} else {
				at = at == used ? used - 1 : at;
				ret = mrmr_parity_swap(&s->block[at],
						       &s->block[used],
						       s->output, num_rows,
						       max);
				moved = s->block[at];
				s->block[at] = s->block[used];
				s->block[used] = moved;
			}
			assert_int_equal(ret, 0);
			s->num_blocks = used;
			ref_encode(s);
			assert_parity(s);
		}
		s->num_blocks = 20;
		free_stripe(s);
	}
}

static void join_every_small_length(void **state)
{
	uint64_t seed = 31;
	size_t len, rows;

	for (len = 0; len <= 300; len++) {
		for (rows = 1; rows <= ROWS; rows++) {
			struct stripe *s = NULL;
			unsigned int slots[2];
			size_t lengths[] = {300, len};
			int ret;

			draw_distinct(&seed, slots, 2, SLOTS);
			s = make_stripe(&seed, slots, 2, rows, 300, lengths,
					len % 2);
			ret = mrmr_parity_encode(s->block, 1, s->output, rows,
						 300);
			assert_int_equal(ret, 0);
			ret = mrmr_parity_join(&s->block[1], s->output, rows,
					       300);
			assert_int_equal(ret, 0);
			assert_parity(s);
			free_stripe(s);
		}
	}
}

static void join_and_swap_4_mib_and_a_byte(void **state)
{
	uint64_t seed = 32;
	unsigned int slots[] = {0, 120, 239};
	struct stripe *s = NULL;
	int ret;

	s = make_stripe(&seed, slots, 3, 2, 4 * MIB + 1, NULL, 0);
	ret = mrmr_parity_encode(s->block, 1, s->output, 2, s->len_bytes);
	assert_int_equal(ret, 0);
	ret = mrmr_parity_join(&s->block[1], s->output, 2, s->len_bytes);
	assert_int_equal(ret, 0);
	s->num_blocks = 2;
	ref_encode(s);
	assert_parity(s);

	ret = mrmr_parity_swap(&s->block[0], &s->block[2], s->output, 2,
			       s->len_bytes);
	assert_int_equal(ret, 0);
	s->block[0] = s->block[2];
	ref_encode(s);
	assert_parity(s);
	free_stripe(s);
}

/* "a block longer than the parity joins", "after the longest has left" */
static void longer_joins_and_leaves(void **state)
{
	uint64_t seed = 33;
	unsigned int slots[] = {3, 4, 5};
	size_t lengths[] = {1000, 1500, 20077};
	struct stripe *s = NULL;
	size_t row, i;
	int ret;

	s = make_stripe(&seed, slots, 3, 4, 20077, lengths, 0);
	for (row = 0; row < 4; row++) {
		memset(s->output[row].data, 0, 20077);
	}
	ret = mrmr_parity_encode(s->block, 2, s->output, 4, 1500);
	assert_int_equal(ret, 0);
	ret = mrmr_parity_join(&s->block[2], s->output, 4, 20077);
	assert_int_equal(ret, 0);
	assert_parity(s);

	ret = mrmr_parity_leave(&s->block[2], s->output, 4, 20077);
	assert_int_equal(ret, 0);
	for (row = 0; row < 4; row++) {
		for (i = 1500; i < 20077; i++) {
			assert_int_equal(s->output[row].data[i], 0);
		}
	}
	s->num_blocks = 2;
	ref_encode(s);
	assert_parity(s);
	free_stripe(s);
}

/* The same slot twice: its old bytes and its new ones. */
static void block_changes_in_its_slot(void **state)
{
	uint64_t seed = 34;
	unsigned int slots[] = {9, 8, 9};
	size_t lengths[] = {5000, 700, 4097};
	struct stripe *s = NULL;
	int ret;

	s = make_stripe(&seed, slots, 3, 3, 5000, lengths, 0);
	ret = mrmr_parity_encode(s->block, 2, s->output, 3, 5000);
	assert_int_equal(ret, 0);
	ret = mrmr_parity_swap(&s->block[0], &s->block[2], s->output, 3, 5000);
	assert_int_equal(ret, 0);
	s->block[0] = s->block[2];
	s->num_blocks = 2;
	ref_encode(s);
	assert_parity(s);
	free_stripe(s);
}

/* More than one pass of update takes. */
static void many_blocks_join_at_once(void **state)
{
	uint64_t seed = 35;
	unsigned int slots[SLOTS];
	struct stripe *s = NULL;
	int ret;

	draw_distinct(&seed, slots, 100, SLOTS);
	s = make_stripe(&seed, slots, 100, 5, 2000, NULL, 0);
	ret = mrmr_parity_encode(s->block, 3, s->output, 5, 2000);
	assert_int_equal(ret, 0);
	ret = mrmr_parity_update(s->block + 3, 97, s->output, 5, 2000);
	assert_int_equal(ret, 0);
	assert_parity(s);
	free_stripe(s);
}

/* Rows that are added later, and taken by a stripe that changes on. */
static void row_is_added_later(void **state)
{
	uint64_t seed = 36;
	unsigned int slots[] = {10, 20, 30, 40};
	size_t lengths[] = {100, 9999, 3000, 12345};
	struct stripe *s = NULL;
	int ret;

	s = make_stripe(&seed, slots, 4, 3, 12345, lengths, 0);
	ret = mrmr_parity_encode(s->block, 3, s->output, 2, 12345);
	assert_int_equal(ret, 0);
	ret = mrmr_parity_encode(s->block, 3, s->output + 2, 1, 12345);
	assert_int_equal(ret, 0);
	ret = mrmr_parity_join(&s->block[3], s->output, 3, 12345);
	assert_int_equal(ret, 0);
	assert_parity(s);
	free_stripe(s);
}

/* --- errors --------------------------------------------------------------- */

static void mistakes_are_refused(void **state)
{
	uint8_t data[10] = {0};
	uint8_t parity[10] = {0xee, 0xee};
	struct mrmr_parity_input good[] = {
		{.place = 1, .data = data, .len_bytes = 10},
		{.place = 2, .data = data, .len_bytes = 10},
	};
	struct mrmr_parity_output rows[] = {
		{.place = mrmr_parity_row(0), .data = parity},
		{.place = mrmr_parity_row(0), .data = parity},
	};
	struct mrmr_parity_input bad[2];
	unsigned int nowhere[] = {240, 247, 248, 256, 257, UINT32_MAX};
	size_t i;

	/* blocks that are no data blocks */
	for (i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		bad[0] = good[0];
		bad[1] = good[1];
		bad[1].place = nowhere[i];
		errno = 0;
		assert_int_equal(mrmr_parity_encode(bad, 2, rows, 1, 10), -1);
		assert_int_equal(errno, EINVAL);
		errno = 0;
		assert_int_equal(mrmr_parity_update(bad, 2, rows, 1, 10), -1);
		assert_int_equal(errno, EINVAL);
		assert_int_equal(mrmr_parity_join(&bad[1], rows, 1, 10), -1);
		assert_int_equal(mrmr_parity_leave(&bad[1], rows, 1, 10), -1);
		assert_int_equal(mrmr_parity_swap(&bad[0], &bad[1], rows, 1,
						  10),
				 -1);
	}
	/* one slot twice */
	bad[1] = good[0];
	assert_int_equal(mrmr_parity_encode(bad, 2, rows, 1, 10), -1);
	/* a block that is longer than its parity */
	assert_int_equal(mrmr_parity_encode(good, 2, rows, 1, 9), -1);
	assert_int_equal(mrmr_parity_update(good, 2, rows, 1, 9), -1);
	/* rows: the same twice, a slot, none */
	assert_int_equal(mrmr_parity_encode(good, 2, rows, 2, 10), -1);
	assert_int_equal(mrmr_parity_update(good, 2, rows, 2, 10), -1);
	rows[0].place = 3;
	assert_int_equal(mrmr_parity_encode(good, 2, rows, 1, 10), -1);
	rows[0].place = mrmr_parity_row(8);
	assert_int_equal(mrmr_parity_encode(good, 2, rows, 1, 10), -1);
	assert_int_equal(mrmr_parity_update(good, 2, rows, 1, 10), -1);
	rows[0].place = mrmr_parity_row(UINT32_MAX - 239);
	assert_int_equal(mrmr_parity_encode(good, 2, rows, 1, 10), -1);

	assert_int_equal(parity[0], 0xee);
	assert_int_equal(parity[1], 0xee);
}

static void nothing_to_do_is_done(void **state)
{
	struct mrmr_parity_input block = {.place = 5};
	struct mrmr_parity_output row = {.place = mrmr_parity_row(1)};

	assert_int_equal(mrmr_parity_encode(&block, 1, &row, 1, 0), 0);
	assert_int_equal(mrmr_parity_encode(&block, 1, NULL, 0, 0), 0);
	assert_int_equal(mrmr_parity_encode(NULL, 0, &row, 1, 0), 0);
	assert_int_equal(mrmr_parity_join(&block, &row, 1, 0), 0);
	assert_int_equal(mrmr_parity_update(NULL, 0, NULL, 0, 10), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coefficients_are_frozen),
		cmocka_unit_test(all_coefficients_are_frozen),
		cmocka_unit_test(parity_of_known_bytes_is_frozen),
		cmocka_unit_test(coefficients_are_those_of_the_formula),
		cmocka_unit_test(coefficient_of_what_does_not_exist_is_zero),
		cmocka_unit_test(example_of_the_documentation),
		cmocka_unit_test(every_2_by_2_submatrix_is_invertible),
		cmocka_unit_test(larger_submatrices_are_invertible),
		cmocka_unit_test(encode_every_small_length),
		cmocka_unit_test(encode_lengths_around_pieces),
		cmocka_unit_test(encode_4_mib_and_a_byte),
		cmocka_unit_test(encode_every_width),
		cmocka_unit_test(encode_unequal_lengths),
		cmocka_unit_test(encode_unequal_lengths_of_many),
		cmocka_unit_test(encode_of_nothing_is_zero),
		cmocka_unit_test(row_0_is_xor_and_a_mirror_of_a_single_block),
		cmocka_unit_test(rows_do_not_depend_on_each_other),
		cmocka_unit_test(encode_by_pieces_is_encode),
		cmocka_unit_test(nothing_beside_the_buffers_is_touched),
		cmocka_unit_test(joined_left_and_swapped_equal_encoded),
		cmocka_unit_test(join_every_small_length),
		cmocka_unit_test(join_and_swap_4_mib_and_a_byte),
		cmocka_unit_test(longer_joins_and_leaves),
		cmocka_unit_test(block_changes_in_its_slot),
		cmocka_unit_test(many_blocks_join_at_once),
		cmocka_unit_test(row_is_added_later),
		cmocka_unit_test(mistakes_are_refused),
		cmocka_unit_test(nothing_to_do_is_done),
	};

	return cmocka_run_group_tests(tests, ref_setup, NULL);
}
