/*
 * MRMR: how to compute lost blocks (see mrmr/parity.h; the code itself is in
 * generator.c).
 *
 * Let L be the slots that are lost, K those that are there, and R as many rows
 * as L has slots, whose parity blocks are there. For each r in R
 *
 *	P_r = sum over K of c(r,s) D_s  +  sum over L of c(r,l) D_l
 *
 * The first sum can be computed, and moved to the other side. The matrix A of
 * the coefficients c(r,l) is square, and it is invertible because the code is
 * Cauchy's. With B its inverse,
 *
 *	D_l = sum over R of B(l,r) * (P_r + sum over K of c(r,s) D_s)
 *
 * To compute it as it stands would take two passes, so we multiply out:
 *
 *	D_l = sum over R of B(l,r) P_r
 *	    + sum over K of (sum over R of B(l,r) c(r,s)) D_s
 *
 * A row q that is wanted as well has P_q = sum over K and L of c(q,s) D_s, and
 * we put in the D_l that we have just found. So every wanted block, of data or
 * parity, comes out as a combination of the same inputs, the blocks of K and R,
 * and combine.c computes all of them in one pass. No coefficient of such a
 * combination is zero: any k blocks of a stripe with k slots determine all the
 * others, so these k may have any content, and an equation between the output
 * and fewer than k inputs would forbid some. Hence all inputs of a plan are
 * needed, and no plan needs fewer.
 *
 * Rows are taken lowest first, as row 0 makes a single loss a plain XOR.
 *
 * The example of generator.c: 4d, 52, 21 in slots 0, 1, 2 have the parity 3e
 * and bf in rows 0 and 1. Slots 0 and 2 are lost.
 *
 *	A = | 01 01 |    det A = eb + e6 = 0d, 1/0d = aa
 *	    | e6 eb |
 *
 *	B = aa * | eb 01 | = | 5c aa |
 *	         | e6 01 |   | 5d aa |
 *
 *	D_0 = 5c*3e + aa*bf + (5c*01 + aa*e2)*52
 *	D_2 = 5d*3e + aa*bf + (5d*01 + aa*e2)*52
 *
 * With aa*e2 = cf, these are 5c*3e + aa*bf + 93*52 = e9 + 69 + cd = 4d, and
 * 5d*3e + aa*bf + 92*52 = d7 + 69 + 9f = 21.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>

#include <isa-l.h>

#include "parity_private.h"

/* What is solved for: all that is lost, wanted or not. */
struct system {
	size_t num_lost;
	uint8_t lost[MRMR_PARITY_ROWS]; /* slots */
	uint8_t row[MRMR_PARITY_ROWS];  /* rows that solve it */
	/* B above: inverse[l * num_lost + r] */
	uint8_t inverse[MRMR_PARITY_ROWS * MRMR_PARITY_ROWS];
};

static size_t count_slots(const struct mrmr_parity_set *set)
{
	unsigned int place;
	size_t n = 0;

	for (place = 0; place < MRMR_PARITY_SLOTS; place++) {
		n += mrmr_parity_set_has(set, place);
	}
	return n;
}

static size_t count_rows(const struct mrmr_parity_set *set)
{
	unsigned int row;
	size_t n = 0;

	for (row = 0; row < MRMR_PARITY_ROWS; row++) {
		n += mrmr_parity_set_has(set, mrmr_parity_row(row));
	}
	return n;
}

static int check_sets(const struct mrmr_parity_set *have,
		      const struct mrmr_parity_set *lost,
		      const struct mrmr_parity_set *want,
		      struct mrmr_error *err)
{
	const uint64_t valid_last =
		((uint64_t)1 << (MRMR_PARITY_PLACES % 64)) - 1;
	uint64_t all_last = have->bits[3] | lost->bits[3] | want->bits[3];
	unsigned int place;

	if ((all_last & ~valid_last) != 0) {
		return mrmr_error_set(err, EINVAL,
				      "a place of a stripe is out of range");
	}
	if (count_rows(lost) != 0) {
		return mrmr_error_set(err, EINVAL,
				      "a parity row is among the lost slots");
	}
	if (count_slots(want) + count_rows(want) == 0) {
		return mrmr_error_set(err, EINVAL,
				      "nothing is wanted of a stripe");
	}
	for (place = 0; place < MRMR_PARITY_PLACES; place++) {
		bool is_had = mrmr_parity_set_has(have, place);
		bool is_lost = mrmr_parity_set_has(lost, place);
		bool is_wanted = mrmr_parity_set_has(want, place);
		bool is_slot = place < MRMR_PARITY_SLOTS;

		if (is_had && (is_lost || is_wanted)) {
			return mrmr_error_set(err, EINVAL,
					      "place %u of a stripe is there, "
					      "and yet %s",
					      place,
					      is_lost ? "lost" : "wanted");
		}
		if (is_wanted && is_slot && !is_lost) {
			return mrmr_error_set(err, EINVAL,
					      "slot %u is wanted, but is not "
					      "in the stripe",
					      place);
		}
	}
	return 0;
}

static int solve(struct system *sys, const struct mrmr_parity_set *have,
		 const struct mrmr_parity_set *lost, struct mrmr_error *err)
{
	uint8_t matrix[MRMR_PARITY_ROWS * MRMR_PARITY_ROWS];
	size_t num_lost = count_slots(lost);
	size_t num_rows = count_rows(have);
	unsigned int place, row;
	size_t i, j, at = 0;
	int ret;

	if (num_lost > num_rows) {
		return mrmr_error_set(err, EIO,
				      "%zu blocks of a stripe are lost, and "
				      "%zu parity blocks are left, which is "
				      "too few to compute them",
				      num_lost, num_rows);
	}
	sys->num_lost = num_lost;
	for (place = 0; place < MRMR_PARITY_SLOTS; place++) {
		if (mrmr_parity_set_has(lost, place)) {
			sys->lost[at++] = (uint8_t)place;
		}
	}
	at = 0;
	for (row = 0; row < MRMR_PARITY_ROWS && at < num_lost; row++) {
		if (mrmr_parity_set_has(have, mrmr_parity_row(row))) {
			sys->row[at++] = (uint8_t)row;
		}
	}
	for (i = 0; i < num_lost; i++) {
		for (j = 0; j < num_lost; j++) {
			matrix[i * num_lost + j] =
				mrmr_parity_coefficient(sys->row[i],
							sys->lost[j]);
		}
	}
	if (num_lost == 0) {
		return 0;
	}
	ret = gf_invert_matrix(matrix, sys->inverse, (int)num_lost);
	if (ret != 0) {
		/* can't be, by the theory in generator.c */
		return mrmr_error_set(err, EIO,
				      "the equations of a stripe have no "
				      "solution");
	}
	return 0;
}

/* The inputs, ascending: the slots that are there, then the rows of sys. */
static void list_inputs(struct mrmr_parity_plan *plan, const struct system *sys,
			const struct mrmr_parity_set *have)
{
	unsigned int place;
	size_t n = 0;
	size_t i;

	for (place = 0; place < MRMR_PARITY_SLOTS; place++) {
		if (mrmr_parity_set_has(have, place)) {
			plan->input[n++] = (uint8_t)place;
		}
	}
	for (i = 0; i < sys->num_lost; i++) {
		plan->input[n++] = (uint8_t)mrmr_parity_row(sys->row[i]);
	}
	plan->num_inputs = (uint8_t)n;
}

/*
 * A lost block is the combination of what is on the right of the system's
 * equations that weight[] says: a row of B. This writes it as a combination of
 * the inputs.
 */
static void express_lost(const struct mrmr_parity_plan *plan,
			 const struct system *sys, const uint8_t *weight,
			 uint8_t *coefficient)
{
	size_t num_slots = plan->num_inputs - sys->num_lost;
	size_t i, r;

	for (i = 0; i < num_slots; i++) {
		uint8_t total = 0;

		for (r = 0; r < sys->num_lost; r++) {
			uint8_t c = mrmr_parity_coefficient(sys->row[r],
							    plan->input[i]);

			total ^= gf_mul(weight[r], c);
		}
		coefficient[i] = total;
	}
	for (r = 0; r < sys->num_lost; r++) {
		coefficient[num_slots + r] = weight[r];
	}
}

/*
 * A row is a sum over the slots that are there, and over the lost ones, which
 * together are the combination weight[] = (c(row,l)) * B of the equations.
 */
static void express_row(const struct mrmr_parity_plan *plan,
			const struct system *sys, unsigned int row,
			uint8_t *coefficient)
{
	uint8_t weight[MRMR_PARITY_ROWS] = {0};
	size_t num_slots = plan->num_inputs - sys->num_lost;
	size_t i, l, r;

	for (r = 0; r < sys->num_lost; r++) {
		for (l = 0; l < sys->num_lost; l++) {
			uint8_t c = mrmr_parity_coefficient(row, sys->lost[l]);

			weight[r] ^=
				gf_mul(c, sys->inverse[l * sys->num_lost + r]);
		}
	}
	express_lost(plan, sys, weight, coefficient);
	for (i = 0; i < num_slots; i++) {
		coefficient[i] ^= mrmr_parity_coefficient(row, plan->input[i]);
	}
}

int mrmr_parity_plan_make(struct mrmr_parity_plan *plan,
			  const struct mrmr_parity_set *have,
			  const struct mrmr_parity_set *lost,
			  const struct mrmr_parity_set *want,
			  struct mrmr_error *err)
{
	struct system sys = {0};
	unsigned int row;
	size_t l, n = 0;
	int ret;

	ret = check_sets(have, lost, want, err);
	if (ret == -1) {
		return -1;
	}
	ret = solve(&sys, have, lost, err);
	if (ret == -1) {
		return -1;
	}
	*plan = (struct mrmr_parity_plan){0};
	list_inputs(plan, &sys, have);
	for (l = 0; l < sys.num_lost; l++) {
		if (mrmr_parity_set_has(want, sys.lost[l])) {
			plan->output[n] = sys.lost[l];
			express_lost(plan, &sys, sys.inverse + l * sys.num_lost,
				     plan->coefficient[n]);
			n++;
		}
	}
	for (row = 0; row < MRMR_PARITY_ROWS; row++) {
		if (mrmr_parity_set_has(want, mrmr_parity_row(row))) {
			plan->output[n] = (uint8_t)mrmr_parity_row(row);
			express_row(plan, &sys, row, plan->coefficient[n]);
			n++;
		}
	}
	plan->num_outputs = (uint8_t)n;
	return 0;
}

int mrmr_parity_plan_run(const struct mrmr_parity_plan *plan,
			 const struct mrmr_parity_input *inputs,
			 const struct mrmr_parity_output *outputs,
			 size_t len_bytes)
{
	size_t base = mrmr_parity_plan_in_place(plan);
	size_t i;

	for (i = 0; i < plan->num_inputs; i++) {
		if (inputs[i].place != plan->input[i] ||
		    inputs[i].len_bytes > len_bytes) {
			errno = EINVAL;
			return -1;
		}
	}
	for (i = 0; i < plan->num_outputs; i++) {
		if (outputs[i].place != plan->output[i]) {
			errno = EINVAL;
			return -1;
		}
	}
	if (base < plan->num_inputs && inputs[base].data == outputs[0].data) {
		mrmr_parity_add_others(plan, inputs, base, outputs[0].data,
				       len_bytes);
	} else {
		mrmr_parity_combine(plan, inputs, outputs, len_bytes);
	}
	return 0;
}

/* The last that counts as it is: a row, which is as long as the longest block,
   comes behind the slots. */
size_t mrmr_parity_plan_in_place(const struct mrmr_parity_plan *plan)
{
	size_t i;

	for (i = plan->num_inputs; plan->num_outputs == 1 && i > 0; i--) {
		if (plan->coefficient[0][i - 1] == 1) {
			return i - 1;
		}
	}
	return plan->num_inputs;
}
