/*
 * MRMR: policy spread. Each file draws lots among the members of the lowest
 * tier, and a member wins in proportion to its free space: many clients write
 * to all drives at once, and no drive fills before the others.
 *
 * How: if every member draws a waiting time from an exponential distribution
 * whose rate is its weight w, the chance to be the first is w / (sum of all
 * weights), and the order of the times is the order of drawing without putting
 * back. With u even in [0, 1), -ln(1 - u) / w is such a time. Example: free
 * space of 3 TB and 1 TB; the first member wins three files of four.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <math.h>

#include <mrmr/placement.h>

/*
 * -ln(1 - u) for u in [0, 1). Not log(): that would be the only thing for
 * which the module needs libm. frexp (which libc has) leaves m in [0.5, 1),
 * and with s = (1 - m) / (1 + m), at most 1/3, the series
 * -ln(m) = 2 (s + s^3/3 + s^5/5 + ...) has 12 digits after 12 terms.
 */
static double waiting_time(double u)
{
	const double ln2 = 0.693147180559945309;
	int exponent = 0;
	double m = frexp(1.0 - u, &exponent);
	double s = (1.0 - m) / (1.0 + m);
	double power = s;
	double sum = 0.0;
	int k;

	for (k = 1; k < 24; k += 2) {
		sum += power / k;
		power *= s * s;
	}
	return 2.0 * sum - exponent * ln2;
}

static double draw(const struct mrmr_placement_request *request,
		   const struct mrmr_candidate *candidate)
{
	double lot = mrmr_placement_lot(request, candidate->member);
	/* one without room is not eligible anyway; only keep it comparable */
	double weight =
		candidate->free_bytes > 0 ? (double)candidate->free_bytes : 1.0;

	return waiting_time(lot) / weight;
}

static int compare(const struct mrmr_placement_request *request,
		   const struct mrmr_candidate *a,
		   const struct mrmr_candidate *b)
{
	double a_time = draw(request, a);
	double b_time = draw(request, b);

	if (a->tier != b->tier) {
		return a->tier < b->tier ? -1 : 1;
	}
	if (a_time != b_time) {
		return a_time < b_time ? -1 : 1;
	}
	return 0;
}

const struct mrmr_policy mrmr_policy_spread = {
	.name = "spread",
	.help = "a member of the lowest tier by lot, in proportion to its free "
		"space",
	.compare = compare,
};
