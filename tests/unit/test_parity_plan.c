/*
 * Unit tests: source/parity, stripes that have lost blocks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>

#include "test_parity_reference.h"

#define MIB ((size_t)1024 * 1024)

/* Runs with an input in the output. */
static unsigned int num_in_place;

/* --- losing blocks of a stripe -------------------------------------------- */

/*
 * What is lost of a stripe: bit i for block i, then a bit for each row. Rows
 * that are lost are wanted back as well.
 */
struct loss {
	struct mrmr_parity_set have;
	struct mrmr_parity_set lost;
	struct mrmr_parity_set want;
};

static struct loss lose(const struct stripe *s, const bool *is_lost)
{
	struct loss loss = {0};
	size_t i;

	for (i = 0; i < s->num_blocks; i++) {
		if (is_lost[i]) {
			mrmr_parity_set_add(&loss.lost, s->block[i].place);
			mrmr_parity_set_add(&loss.want, s->block[i].place);
		} else {
			mrmr_parity_set_add(&loss.have, s->block[i].place);
		}
	}
	for (i = 0; i < s->num_rows; i++) {
		unsigned int place = mrmr_parity_row((unsigned int)i);

		if (is_lost[s->num_blocks + i]) {
			mrmr_parity_set_add(&loss.want, place);
		} else {
			mrmr_parity_set_add(&loss.have, place);
		}
	}
	return loss;
}

static struct mrmr_parity_input find_block(const struct stripe *s,
					   unsigned int place)
{
	struct mrmr_parity_input found = {.place = place};
	size_t i;

	if (place >= SLOTS) {
		found.data = s->parity[place - SLOTS];
		found.len_bytes = s->len_bytes;
		return found;
	}
	for (i = 0; i < s->num_blocks; i++) {
		if (s->block[i].place == place) {
			return s->block[i];
		}
	}
	fail_msg("place %u is not in the stripe", place);
	return found;
}

/* Exactly the bytes [begin, end) of it, zeros behind its end. */
static void assert_recovered(const struct stripe *s, unsigned int place,
			     const uint8_t *bytes, size_t begin, size_t end)
{
	struct mrmr_parity_input right = find_block(s, place);
	size_t len_bytes = 0;
	size_t i;

	if (right.len_bytes > begin) {
		len_bytes = right.len_bytes - begin;
		if (len_bytes > end - begin) {
			len_bytes = end - begin;
		}
	}
	if (len_bytes > 0) {
		assert_memory_equal(bytes, right.data + begin, len_bytes);
	}
	for (i = len_bytes; i < end - begin; i++) {
		assert_int_equal(bytes[i], 0);
	}
}

/* The same again where one of the inputs lies in the output. */
static void assert_run_in_place(const struct stripe *s,
				const struct mrmr_parity_plan *plan,
				struct mrmr_parity_input *inputs,
				const struct mrmr_parity_output *outputs,
				size_t begin, size_t end)
{
	size_t at = mrmr_parity_plan_in_place(plan);
	uint8_t *out = NULL;
	int ret;

	if (at == plan->num_inputs) {
		return;
	}
	assert_int_equal(plan->num_outputs, 1);
	out = outputs[0].data;
	memset(out, GUARD_VALUE, end - begin);
	if (inputs[at].len_bytes > 0) {
		memcpy(out, inputs[at].data, inputs[at].len_bytes);
	}
	inputs[at].data = out;
	ret = mrmr_parity_plan_run(plan, inputs, outputs, end - begin);
	assert_int_equal(ret, 0);
	assert_recovered(s, plan->output[0], out, begin, end);
	assert_int_equal(out[end - begin], GUARD_VALUE);
	num_in_place++;
}

/* Run the plan for the range, and look at each byte that comes out. */
static void assert_run(const struct stripe *s,
		       const struct mrmr_parity_plan *plan, size_t begin,
		       size_t end, uint8_t **out)
{
	struct mrmr_parity_input inputs[SLOTS];
	struct mrmr_parity_output outputs[ROWS];
	size_t i;
	int ret;

	for (i = 0; i < plan->num_inputs; i++) {
		inputs[i] = find_block(s, plan->input[i]);
		if (inputs[i].len_bytes <= begin) {
			inputs[i].data = NULL;
			inputs[i].len_bytes = 0;
			continue;
		}
		inputs[i].data += begin;
		inputs[i].len_bytes -= begin;
		if (inputs[i].len_bytes > end - begin) {
			inputs[i].len_bytes = end - begin;
		}
	}
	for (i = 0; i < plan->num_outputs; i++) {
		outputs[i].place = plan->output[i];
		outputs[i].data = out[i];
		out[i][end - begin] = GUARD_VALUE;
	}
	ret = mrmr_parity_plan_run(plan, inputs, outputs, end - begin);
	assert_int_equal(ret, 0);
	for (i = 0; i < plan->num_outputs; i++) {
		assert_recovered(s, plan->output[i], out[i], begin, end);
		assert_int_equal(out[i][end - begin], GUARD_VALUE);
	}
	assert_run_in_place(s, plan, inputs, outputs, begin, end);
}

static uint8_t **alloc_outputs(size_t len_bytes, size_t skew)
{
	uint8_t **out = calloc(2 * ROWS, sizeof(*out));
	size_t i;

	assert_non_null(out);
	for (i = 0; i < ROWS; i++) {
		int ret = posix_memalign((void **)&out[ROWS + i], 64,
					 len_bytes + skew + 1);

		assert_int_equal(ret, 0);
		out[i] = out[ROWS + i] + skew;
	}
	return out;
}

static void free_outputs(uint8_t **out)
{
	size_t i;

	for (i = 0; i < ROWS; i++) {
		free(out[ROWS + i]);
	}
	free(out);
}

/* What the header says of every plan. */
static void assert_plan_is_sane(const struct mrmr_parity_plan *plan,
				const struct loss *loss)
{
	size_t i, j;

	for (i = 0; i < plan->num_inputs; i++) {
		assert_true(mrmr_parity_set_has(&loss->have, plan->input[i]));
		assert_true(i == 0 || plan->input[i - 1] < plan->input[i]);
	}
	for (j = 0; j < plan->num_outputs; j++) {
		assert_true(mrmr_parity_set_has(&loss->want, plan->output[j]));
		assert_true(j == 0 || plan->output[j - 1] < plan->output[j]);
		for (i = 0; i < plan->num_inputs; i++) {
			assert_int_not_equal(plan->coefficient[j][i], 0);
		}
	}
}

static void assert_recovers(const struct stripe *s, const bool *is_lost,
			    uint8_t **out)
{
	struct loss loss = lose(s, is_lost);
	struct mrmr_parity_plan plan;
	int ret;

	ret = mrmr_parity_plan_make(&plan, &loss.have, &loss.lost, &loss.want,
				    NULL);
	assert_int_equal(ret, 0);
	assert_plan_is_sane(&plan, &loss);
	assert_run(s, &plan, 0, s->len_bytes, out);
}

/* --- brute force ---------------------------------------------------------- */

/*
 * Up to 12 slots and up to 6 rows, every set of blocks that may be lost: as
 * many as there are rows, data and parity, or fewer.
 */
static void every_erasure_pattern(void **state)
{
	uint64_t seed = 40;
	uint8_t **out = alloc_outputs(128, 0);
	size_t k, m;
	size_t num_patterns = 0;

	for (m = 1; m <= 6; m++) {
		for (k = 1; k <= 12; k++) {
			unsigned int slots[12];
			struct stripe *s = NULL;
			size_t mask;

			draw_distinct(&seed, slots, k, SLOTS);
			s = make_stripe(&seed, slots, k, m, 67, NULL, 0);
			for (mask = 1; mask < (size_t)1 << (k + m); mask++) {
				bool is_lost[18];
				size_t i;

				if (__builtin_popcountl(mask) > (int)m) {
					continue;
				}
				for (i = 0; i < k + m; i++) {
					is_lost[i] = mask >> i & 1;
				}
				assert_recovers(s, is_lost, out);
				num_patterns++;
			}
			free_stripe(s);
		}
	}
	/* sum over k and m of all sets of 1 to m of k + m */
	assert_int_equal(num_patterns, 137641);
	free_outputs(out);
}

/* The first slots there are, as a pool uses them, not only random ones. */
static void every_erasure_pattern_of_the_first_slots(void **state)
{
	unsigned int slots[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
	uint64_t seed = 41;
	uint8_t **out = alloc_outputs(128, 0);
	struct stripe *s = make_stripe(&seed, slots, 12, 6, 33, NULL, 0);
	size_t mask;

	for (mask = 1; mask < (size_t)1 << 18; mask++) {
		bool is_lost[18];
		size_t i;

		if (__builtin_popcountl(mask) > 6) {
			continue;
		}
		for (i = 0; i < 18; i++) {
			is_lost[i] = mask >> i & 1;
		}
		assert_recovers(s, is_lost, out);
	}
	free_stripe(s);
	free_outputs(out);
}

/* More lost than can be computed: said, never guessed. */
static void every_loss_of_too_much_is_refused(void **state)
{
	uint64_t seed = 42;
	unsigned int slots[8];
	struct stripe *s = NULL;
	struct mrmr_parity_plan plan;
	size_t mask;

	draw_distinct(&seed, slots, 8, SLOTS);
	s = make_stripe(&seed, slots, 8, 4, 5, NULL, 0);
	for (mask = 1; mask < (size_t)1 << 12; mask++) {
		struct mrmr_error err = {0};
		struct loss loss;
		bool is_lost[12];
		int num_lost = __builtin_popcountl(mask & 0xff);
		int num_rows = 4 - __builtin_popcountl(mask >> 8);
		size_t i;
		int ret;

		for (i = 0; i < 12; i++) {
			is_lost[i] = mask >> i & 1;
		}
		loss = lose(s, is_lost);
		ret = mrmr_parity_plan_make(&plan, &loss.have, &loss.lost,
					    &loss.want, &err);
		if (num_lost <= num_rows) {
			assert_int_equal(ret, 0);
			continue;
		}
		assert_int_equal(ret, -1);
		assert_int_equal(err.code, EIO);
		assert_true(err.text[0] != '\0');
	}
	free_stripe(s);
}

/* --- larger shapes -------------------------------------------------------- */

static void draw_loss(uint64_t *seed, const struct stripe *s, bool *is_lost,
		      size_t num_lost)
{
	unsigned int which[SLOTS + ROWS];
	size_t i;

	memset(is_lost, 0, (SLOTS + ROWS) * sizeof(*is_lost));
	draw_distinct(seed, which, num_lost, s->num_blocks + s->num_rows);
	for (i = 0; i < num_lost; i++) {
		is_lost[which[i]] = true;
	}
}

static void random_losses_of_any_shape(void **state)
{
	uint64_t seed = 43;
	uint8_t **out = alloc_outputs(2000, 0);
	size_t round, again, i;

	for (round = 0; round < 400; round++) {
		size_t k = 1 + draw_below(&seed, SLOTS);
		size_t m = 1 + draw_below(&seed, ROWS);
		size_t len_bytes = 1 + draw_below(&seed, 700);
		unsigned int slots[SLOTS];
		size_t lengths[SLOTS];
		struct stripe *s = NULL;

		draw_distinct(&seed, slots, k, SLOTS);
		for (i = 0; i < k; i++) {
			lengths[i] = draw_below(&seed, 2) == 0
					     ? len_bytes
					     : draw_below(&seed, len_bytes + 1);
		}
		s = make_stripe(&seed, slots, k, m, len_bytes, lengths,
				round % 3);
		for (again = 0; again < 10; again++) {
			bool is_lost[SLOTS + ROWS];
			size_t most = m < k + m ? m : k + m;
			size_t n = 1 + draw_below(&seed, most);

			draw_loss(&seed, s, is_lost, n);
			assert_recovers(s, is_lost, out);
		}
		free_stripe(s);
	}
	free_outputs(out);
}

static void losses_of_the_widest_stripe(void **state)
{
	uint64_t seed = 44;
	uint8_t **out = alloc_outputs(20000, 3);
	unsigned int slots[SLOTS];
	struct stripe *s = NULL;
	bool is_lost[SLOTS + ROWS];
	size_t round, i;

	draw_distinct(&seed, slots, SLOTS, SLOTS);
	s = make_stripe(&seed, slots, SLOTS, ROWS, 17001, NULL, 0);
	for (round = 0; round < 20; round++) {
		draw_loss(&seed, s, is_lost, ROWS);
		assert_recovers(s, is_lost, out);
	}
	/* data only */
	memset(is_lost, 0, sizeof(is_lost));
	for (i = 0; i < ROWS; i++) {
		is_lost[i * 30] = true;
	}
	assert_recovers(s, is_lost, out);
	free_stripe(s);
	free_outputs(out);
}

/* The same plan by Gauss's elimination on the bytes. */
static void plan_agrees_with_elimination(void **state)
{
	uint64_t seed = 45;
	size_t round, i, j, at;

	for (round = 0; round < 300; round++) {
		const size_t len_bytes = 100;
		size_t k = ROWS + draw_below(&seed, 60);
		size_t e = 1 + draw_below(&seed, ROWS);
		unsigned int slots[SLOTS];
		unsigned int rows[ROWS];
		uint8_t matrix[ROWS][ROWS];
		uint8_t right[ROWS][128];
		uint8_t *rights[ROWS];
		bool is_lost[SLOTS + ROWS] = {false};
		struct mrmr_parity_plan plan;
		struct stripe *s = NULL;
		struct loss loss;
		uint8_t **out = alloc_outputs(len_bytes, 0);
		int ret;

		/* the first e blocks are lost; e random rows are left */
		draw_distinct(&seed, slots, k, SLOTS);
		draw_distinct(&seed, rows, e, ROWS);
		s = make_stripe(&seed, slots, k, ROWS, len_bytes, NULL, 0);
		for (i = 0; i < k + ROWS; i++) {
			is_lost[i] = i < e || i >= k;
		}
		for (i = 0; i < e; i++) {
			is_lost[k + rows[i]] = false;
			rights[i] = right[i];
			memcpy(right[i], s->parity[rows[i]], len_bytes);
			for (j = 0; j < e; j++) {
				matrix[i][j] =
					ref.coefficient[rows[i]][slots[j]];
			}
			for (j = e; j < k; j++) {
				uint8_t c = ref.coefficient[rows[i]][slots[j]];

				for (at = 0; at < len_bytes; at++) {
					uint8_t byte = s->block[j].data[at];

					right[i][at] ^= ref.product[c][byte];
				}
			}
		}
		assert_true(ref_solve(matrix, rights, e, len_bytes));
		for (i = 0; i < e; i++) {
			assert_memory_equal(right[i], s->block[i].data,
					    len_bytes);
		}

		loss = lose(s, is_lost);
		ret = mrmr_parity_plan_make(&plan, &loss.have, &loss.lost,
					    &loss.want, NULL);
		assert_int_equal(ret, 0);
		assert_int_equal(plan.num_outputs, ROWS);
		assert_run(s, &plan, 0, len_bytes, out);
		free_stripe(s);
		free_outputs(out);
	}
}

/* --- lengths and ranges --------------------------------------------------- */

static void decode_lengths(void **state)
{
	static const size_t lengths[] = {0,     1,     63,         64,    65,
					 127,   1023,  16383,      16384, 16385,
					 33333, 65535, 4 * MIB + 1};
	uint64_t seed = 46;
	size_t i;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		unsigned int slots[6];
		bool is_lost[SLOTS + ROWS] = {false};
		uint8_t **out = alloc_outputs(lengths[i], i % 2);
		struct stripe *s = NULL;

		draw_distinct(&seed, slots, 6, SLOTS);
		s = make_stripe(&seed, slots, 6, 2, lengths[i], NULL, 0);
		is_lost[1] = true;
		assert_recovers(s, is_lost, out);
		is_lost[4] = true;
		assert_recovers(s, is_lost, out);
		is_lost[4] = false;
		is_lost[6] = true;
		assert_recovers(s, is_lost, out);
		free_stripe(s);
		free_outputs(out);
	}
}

/* One plan, many ranges of blocks of unequal length: packed small files. */
static void ranges_with_one_plan(void **state)
{
	uint64_t seed = 47;
	const size_t len_bytes = 70000;
	uint8_t **out = alloc_outputs(len_bytes, 0);
	size_t round, again, i;

	for (round = 0; round < 60; round++) {
		unsigned int slots[9];
		size_t lengths[9];
		bool is_lost[SLOTS + ROWS];
		struct mrmr_parity_plan plan;
		struct stripe *s = NULL;
		struct loss loss;
		int ret;

		draw_distinct(&seed, slots, 9, SLOTS);
		for (i = 0; i < 9; i++) {
			lengths[i] = round % 2 == 0
					     ? len_bytes
					     : draw_below(&seed, len_bytes + 1);
		}
		s = make_stripe(&seed, slots, 9, 3, len_bytes, lengths, 0);
		draw_loss(&seed, s, is_lost, 1 + draw_below(&seed, 3));
		loss = lose(s, is_lost);
		ret = mrmr_parity_plan_make(&plan, &loss.have, &loss.lost,
					    &loss.want, NULL);
		assert_int_equal(ret, 0);
		for (again = 0; again < 20; again++) {
			size_t begin = draw_below(&seed, len_bytes);
			size_t most = again % 2 == 0 ? 300 : len_bytes;
			size_t end = begin + draw_below(&seed, most) + 1;

			if (end > len_bytes) {
				end = len_bytes;
			}
			assert_run(s, &plan, begin, end, out);
		}
		free_stripe(s);
	}
	free_outputs(out);
}

/*
 * "slots whose blocks end before the range begins ... are best left out": then
 * even three lost blocks are within reach of two rows.
 */
static void short_blocks_are_left_out_of_a_range(void **state)
{
	uint64_t seed = 48;
	unsigned int slots[] = {4, 9, 2, 200, 31};
	size_t lengths[] = {9000, 8000, 1000, 500, 9000};
	struct mrmr_parity_set have = {0};
	struct mrmr_parity_set lost = {0};
	struct mrmr_parity_plan plan;
	uint8_t **out = alloc_outputs(9000, 0);
	struct stripe *s = make_stripe(&seed, slots, 5, 2, 9000, lengths, 0);
	int ret;

	mrmr_parity_set_add(&have, mrmr_parity_row(0));
	mrmr_parity_set_add(&have, mrmr_parity_row(1));
	mrmr_parity_set_add(&have, 31);
	mrmr_parity_set_add(&lost, 4);
	mrmr_parity_set_add(&lost, 9);
	/* slot 2 is lost as well, slot 200 is there: both end before 1000 */
	ret = mrmr_parity_plan_make(&plan, &have, &lost, &lost, NULL);
	assert_int_equal(ret, 0);
	assert_int_equal(plan.num_inputs, 3);
	assert_run(s, &plan, 1000, 9000, out);

	mrmr_parity_set_add(&lost, 2);
	ret = mrmr_parity_plan_make(&plan, &have, &lost, &lost, NULL);
	assert_int_equal(ret, -1);
	assert_int_equal(errno, EIO);
	free_stripe(s);
	free_outputs(out);
}

/* --- choices -------------------------------------------------------------- */

/* Each of the lost alone comes out as it does among the others. */
static void only_what_is_wanted_is_computed(void **state)
{
	uint64_t seed = 49;
	unsigned int slots[10];
	uint8_t **out = alloc_outputs(500, 0);
	struct stripe *s = NULL;
	bool is_lost[SLOTS + ROWS] = {false};
	struct loss loss;
	size_t place;

	draw_distinct(&seed, slots, 10, SLOTS);
	s = make_stripe(&seed, slots, 10, 6, 500, NULL, 0);
	is_lost[0] = is_lost[3] = is_lost[7] = is_lost[10] = is_lost[12] = true;
	loss = lose(s, is_lost);
	for (place = 0; place < MRMR_PARITY_PLACES; place++) {
		struct mrmr_parity_set want = {0};
		struct mrmr_parity_plan plan;
		int ret;

		if (!mrmr_parity_set_has(&loss.want, place)) {
			continue;
		}
		mrmr_parity_set_add(&want, place);
		ret = mrmr_parity_plan_make(&plan, &loss.have, &loss.lost,
					    &want, NULL);
		assert_int_equal(ret, 0);
		assert_int_equal(plan.num_outputs, 1);
		assert_int_equal(plan.num_inputs, 10);
		assert_run(s, &plan, 0, 500, out);
	}
	free_stripe(s);
	free_outputs(out);
}

/* "the next combination is tried": any rows give the same bytes. */
static void every_choice_of_rows_gives_the_same(void **state)
{
	uint64_t seed = 50;
	unsigned int slots[5];
	uint8_t **out = alloc_outputs(100, 0);
	struct stripe *s = NULL;
	size_t mask, i;

	draw_distinct(&seed, slots, 5, SLOTS);
	s = make_stripe(&seed, slots, 5, ROWS, 100, NULL, 0);
	for (mask = 0; mask < (1 << ROWS); mask++) {
		struct mrmr_parity_set have = {0};
		struct mrmr_parity_set lost = {0};
		struct mrmr_parity_plan plan;
		int ret;

		if (__builtin_popcountl(mask) != 3) {
			continue;
		}
		for (i = 0; i < 5; i++) {
			mrmr_parity_set_add(i < 3 ? &lost : &have, slots[i]);
		}
		for (i = 0; i < ROWS; i++) {
			if (mask >> i & 1) {
				mrmr_parity_set_add(&have, mrmr_parity_row(i));
			}
		}
		ret = mrmr_parity_plan_make(&plan, &have, &lost, &lost, NULL);
		assert_int_equal(ret, 0);
		assert_run(s, &plan, 0, 100, out);
	}
	free_stripe(s);
	free_outputs(out);
}

static void lowest_rows_are_taken_and_no_more(void **state)
{
	struct mrmr_parity_set have = {0};
	struct mrmr_parity_set lost = {0};
	struct mrmr_parity_plan plan;
	unsigned int i;
	int ret;

	for (i = 0; i < ROWS; i++) {
		mrmr_parity_set_add(&have, mrmr_parity_row(i));
	}
	mrmr_parity_set_add(&have, 17);
	mrmr_parity_set_add(&have, 11);
	mrmr_parity_set_add(&lost, 5);
	ret = mrmr_parity_plan_make(&plan, &have, &lost, &lost, NULL);
	assert_int_equal(ret, 0);
	assert_int_equal(plan.num_outputs, 1);
	assert_int_equal(plan.output[0], 5);
	assert_int_equal(plan.num_inputs, 3);
	assert_int_equal(plan.input[0], 11);
	assert_int_equal(plan.input[1], 17);
	assert_int_equal(plan.input[2], mrmr_parity_row(0));
	/* a single loss by row 0: a plain XOR */
	for (i = 0; i < 3; i++) {
		assert_int_equal(plan.coefficient[0][i], 1);
	}
	assert_int_equal(mrmr_parity_plan_in_place(&plan), 2);
}

/* Where nothing counts as it is, or something else is computed as well, no input
   may lie in an output; else all of the above was done that way, too. */
static void inputs_lie_in_the_output(void **state)
{
	struct mrmr_parity_plan plan = {
		.num_inputs = 3,
		.num_outputs = 1,
		.coefficient = {{1, 2, 3}},
	};

	assert_int_equal(mrmr_parity_plan_in_place(&plan), 0);
	plan.coefficient[0][0] = 4;
	assert_int_equal(mrmr_parity_plan_in_place(&plan), 3);
	plan.coefficient[0][1] = 1;
	plan.num_outputs = 2;
	assert_int_equal(mrmr_parity_plan_in_place(&plan), 3);
	assert_true(num_in_place > 0);
}

/* A row that never was, while blocks are away. */
static void row_is_added_while_blocks_are_lost(void **state)
{
	uint64_t seed = 51;
	unsigned int slots[7];
	uint8_t **out = alloc_outputs(4000, 0);
	struct stripe *s = NULL;
	struct mrmr_parity_set have = {0};
	struct mrmr_parity_set lost = {0};
	struct mrmr_parity_set want = {0};
	struct mrmr_parity_plan plan;
	size_t i;
	int ret;

	draw_distinct(&seed, slots, 7, SLOTS);
	s = make_stripe(&seed, slots, 7, 4, 4000, NULL, 0);
	for (i = 0; i < 7; i++) {
		mrmr_parity_set_add(i < 2 ? &lost : &have, slots[i]);
	}
	mrmr_parity_set_add(&have, mrmr_parity_row(0));
	mrmr_parity_set_add(&have, mrmr_parity_row(2));
	mrmr_parity_set_add(&want, mrmr_parity_row(3));
	ret = mrmr_parity_plan_make(&plan, &have, &lost, &want, NULL);
	assert_int_equal(ret, 0);
	assert_int_equal(plan.num_outputs, 1);
	assert_run(s, &plan, 0, 4000, out);
	free_stripe(s);
	free_outputs(out);
}

/* Nothing is lost: the plan of a row is its encoding. */
static void plan_without_loss_encodes(void **state)
{
	uint64_t seed = 52;
	unsigned int slots[6];
	uint8_t **out = alloc_outputs(4000, 0);
	struct stripe *s = NULL;
	bool is_lost[SLOTS + ROWS] = {false};

	draw_distinct(&seed, slots, 6, SLOTS);
	s = make_stripe(&seed, slots, 6, ROWS, 4000, NULL, 0);
	memset(is_lost + 6, true, ROWS * sizeof(*is_lost));
	assert_recovers(s, is_lost, out);
	free_stripe(s);
	free_outputs(out);
}

/* The worked example at the top of source/parity/plan.c. */
static void example_of_the_documentation(void **state)
{
	static const uint8_t weights[2][3] = {{0x93, 0x5c, 0xaa},
					      {0x92, 0x5d, 0xaa}};
	struct mrmr_parity_set have = {0};
	struct mrmr_parity_set lost = {0};
	struct mrmr_parity_plan plan;
	size_t i, j;
	int ret;

	mrmr_parity_set_add(&have, 1);
	mrmr_parity_set_add(&have, mrmr_parity_row(0));
	mrmr_parity_set_add(&have, mrmr_parity_row(1));
	mrmr_parity_set_add(&lost, 0);
	mrmr_parity_set_add(&lost, 2);
	ret = mrmr_parity_plan_make(&plan, &have, &lost, &lost, NULL);
	assert_int_equal(ret, 0);
	for (i = 0; i < 2; i++) {
		for (j = 0; j < 3; j++) {
			assert_int_equal(plan.coefficient[i][j], weights[i][j]);
		}
	}
}

/* --- errors --------------------------------------------------------------- */

static void assert_refused(const struct mrmr_parity_set *have,
			   const struct mrmr_parity_set *lost,
			   const struct mrmr_parity_set *want)
{
	struct mrmr_error err = {0};
	struct mrmr_parity_plan plan;
	int ret;

	errno = 0;
	ret = mrmr_parity_plan_make(&plan, have, lost, want, &err);
	assert_int_equal(ret, -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(err.code, EINVAL);
	assert_true(err.text[0] != '\0');
}

static void contradictions_are_refused(void **state)
{
	struct mrmr_parity_set none = {0};
	struct mrmr_parity_set slot_1 = {0};
	struct mrmr_parity_set row_0 = {0};
	struct mrmr_parity_set have = {0};
	unsigned int nowhere[] = {248, 255, 256, 257, UINT32_MAX};
	size_t i;

	mrmr_parity_set_add(&slot_1, 1);
	mrmr_parity_set_add(&row_0, mrmr_parity_row(0));
	mrmr_parity_set_add(&have, 2);
	mrmr_parity_set_add(&have, mrmr_parity_row(0));

	/* nothing wanted; wanted, but not of the stripe; wanted, but there */
	assert_refused(&have, &slot_1, &none);
	assert_refused(&have, &none, &slot_1);
	assert_refused(&have, &slot_1, &row_0);
	/* there and lost; a row as lost slot */
	assert_refused(&slot_1, &slot_1, &slot_1);
	assert_refused(&slot_1, &row_0, &row_0);
	for (i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		struct mrmr_parity_set bad = slot_1;

		mrmr_parity_set_add(&bad, nowhere[i]);
		assert_false(mrmr_parity_set_has(&bad, nowhere[i]));
		assert_refused(&have, &slot_1, &bad);
		assert_refused(&have, &bad, &slot_1);
		assert_refused(&bad, &none, &row_0);
	}
	/* a row that does not exist is none that does */
	assert_int_equal(mrmr_parity_row(8), MRMR_PARITY_PLACES);
	assert_int_equal(mrmr_parity_row(UINT32_MAX), MRMR_PARITY_PLACES);
}

static void run_checks_what_it_is_given(void **state)
{
	struct mrmr_parity_set have = {0};
	struct mrmr_parity_set lost = {0};
	struct mrmr_parity_plan plan;
	const uint8_t data[10] = {1, 2, 3};
	uint8_t out[10] = {0xee};
	struct mrmr_parity_input inputs[] = {
		{.place = 7, .data = data, .len_bytes = 10},
		{.place = mrmr_parity_row(0), .data = data, .len_bytes = 10},
	};
	struct mrmr_parity_output output = {.place = 1, .data = out};
	int ret;

	mrmr_parity_set_add(&have, 7);
	mrmr_parity_set_add(&have, mrmr_parity_row(0));
	mrmr_parity_set_add(&lost, 1);
	ret = mrmr_parity_plan_make(&plan, &have, &lost, &lost, NULL);
	assert_int_equal(ret, 0);

	inputs[0].place = 8;
	ret = mrmr_parity_plan_run(&plan, inputs, &output, 10);
	assert_int_equal(ret, -1);
	assert_int_equal(errno, EINVAL);
	inputs[0].place = 7;

	output.place = 2;
	ret = mrmr_parity_plan_run(&plan, inputs, &output, 10);
	assert_int_equal(ret, -1);
	output.place = 1;

	ret = mrmr_parity_plan_run(&plan, inputs, &output, 9);
	assert_int_equal(ret, -1);
	assert_int_equal(out[0], 0xee);

	ret = mrmr_parity_plan_run(&plan, inputs, &output, 10);
	assert_int_equal(ret, 0);
	assert_int_equal(out[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_erasure_pattern),
		cmocka_unit_test(every_erasure_pattern_of_the_first_slots),
		cmocka_unit_test(every_loss_of_too_much_is_refused),
		cmocka_unit_test(random_losses_of_any_shape),
		cmocka_unit_test(losses_of_the_widest_stripe),
		cmocka_unit_test(plan_agrees_with_elimination),
		cmocka_unit_test(decode_lengths),
		cmocka_unit_test(ranges_with_one_plan),
		cmocka_unit_test(short_blocks_are_left_out_of_a_range),
		cmocka_unit_test(only_what_is_wanted_is_computed),
		cmocka_unit_test(every_choice_of_rows_gives_the_same),
		cmocka_unit_test(lowest_rows_are_taken_and_no_more),
		cmocka_unit_test(row_is_added_while_blocks_are_lost),
		cmocka_unit_test(plan_without_loss_encodes),
		cmocka_unit_test(example_of_the_documentation),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(run_checks_what_it_is_given),
		cmocka_unit_test(inputs_lie_in_the_output),
	};

	return cmocka_run_group_tests(tests, ref_setup, NULL);
}
