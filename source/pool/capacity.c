/*
 * MRMR: how much data fits, with parity (see mrmr/capacity.h for the idea).
 *
 * Unit i has d_i of data, q_i of parity and f_i free: c_i in all. Blocks are of
 * one size here, and so small that a byte may stand for one; there are N rows.
 *
 * **What is asked.** How much data can be added so that everything, old and
 * new, is in a stripe with N parity blocks, each on another unit, and nothing
 * that exists moves: neither files nor parity blocks.
 *
 * **Only sums matter.** There are Q = sum of q_i parity blocks, so T0 = Q/N
 * stripes exist. Let T >= T0 be the number of stripes in the end. A unit has at
 * most one block in a stripe, so unit i can get
 *     z_i = min(c_i, T) - d_i - q_i
 * more blocks, of which r_i are parity: all of it in new stripes, so that
 *     sum of r_i = N*(T - T0),   0 <= r_i <= min(T - T0, z_i)            (1)
 * and T >= d_i + q_i for all i. The data that can be added is then
 *     sum of (z_i - r_i) = X(T) - sum of d_i.
 * This is also enough, whatever the stripes that exist look like. Parity: give
 * the new stripes numbers, and deal each unit's r_i blocks to them one after
 * the other, the next unit going on where the last one stopped, around and
 * around: each of them gets N, from different units, as no r_i is more than
 * one round. Data: a unit that is in k of the T stripes can have a block in
 * each of the T - k others, without a change of their number of parity blocks,
 * and it is in d_i + q_i + r_i of them at most. (Data that is not protected yet
 * is in none, which only leaves more of them.)
 *
 * **Which T.** (1) can be met if
 *     G(T) = sum of min(T - T0, z_i, what may be parity there) - N*(T - T0)
 * is not negative. G and X are concave and straight between integers; so the
 * T that will do are a range, and X is best at the one nearest to where it is
 * largest: a plateau that ends at the N-th largest c_i. Its end is preferred,
 * as (1) is easiest to meet there. Where all may hold parity, G never falls
 * while more than N - 1 units are higher than T, so only the floor
 * max(T0, d_i + q_i) can cost anything: old parity that lies badly does no harm
 * until it is more than the N-th largest unit has room for stripes. It only
 * decides whose goal is less. If no T will do, what is there can't be protected
 * in whole, and there is no room for more.
 *
 * **Goals.** The share of parity p_i by levels, as the header says; of it, q_i
 * is there. What is missing in the sum, as a unit cannot take its share or has
 * more than that, is taken from the rooms of all others, the same part of each;
 * what is too much, from the parity still to come, likewise.
 *
 * **What is exact.** Goals and rooms add up to the byte, and the rooms are what
 * an exhaustive search of all ways to make stripes finds
 * (tests/unit/test_capacity.c). Conservative: stripes may be formed anew, and
 * parity may move when its stripe changes; then more may fit. Optimistic: files
 * do not divide at will, and if stripes have other numbers of rows than N (the
 * wish has changed), Q/N is not their number.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdlib.h>

#include <mrmr/capacity.h>
#include <mrmr/config.h>

/* Sums of bytes on all units, and times rows. */
typedef __int128 wide;

struct plan {
	const struct mrmr_capacity_unit *units;
	size_t num;
	unsigned int rows;
	uint64_t parity_bytes;  /* in all: Q */
	uint64_t stripes_bytes; /* that exist: T0 */
};

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t higher(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t taken(const struct mrmr_capacity_unit *unit)
{
	return unit->data_bytes + unit->parity_bytes;
}

static uint64_t size_of(const struct mrmr_capacity_unit *unit)
{
	return taken(unit) + unit->free_bytes;
}

/* z_i; t is not below what the unit has. */
static uint64_t blocks_to_come(const struct mrmr_capacity_unit *unit,
			       uint64_t t)
{
	return lower(size_of(unit), t) - taken(unit);
}

/* The most that r_i can be. */
static uint64_t most_parity(const struct plan *plan,
			    const struct mrmr_capacity_unit *unit, uint64_t t)
{
	uint64_t may = unit->free_bytes -
		       lower(unit->no_parity_bytes, unit->free_bytes);

	return lower(lower(blocks_to_come(unit, t), may),
		     t - plan->stripes_bytes);
}

/* --- how many stripes ------------------------------------------------------ */

/* What new stripes need; t is not below what exists. */
static wide parity_to_come(const struct plan *plan, uint64_t t)
{
	return (wide)plan->rows * t - plan->parity_bytes;
}

/* G(T) */
static wide slack(const struct plan *plan, uint64_t t)
{
	wide sum = -parity_to_come(plan, t);
	size_t i;

	for (i = 0; i < plan->num; i++) {
		sum += most_parity(plan, &plan->units[i], t);
	}
	return sum;
}

static bool rises(const struct plan *plan, uint64_t t)
{
	return slack(plan, t + 1) > slack(plan, t);
}

/* The first t in [from, to] from which on G does not rise. */
static uint64_t find_peak(const struct plan *plan, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t middle = from + (to - from) / 2;

		if (rises(plan, middle)) {
			from = middle + 1;
		} else {
			to = middle;
		}
	}
	return from;
}

/* Of two values of T, of which `good` will do and `bad` won't, with one change
   between them: the one nearest to `bad` that will do. */
static uint64_t find_edge(const struct plan *plan, uint64_t good, uint64_t bad)
{
	while (higher(good, bad) - lower(good, bad) > 1) {
		uint64_t middle = lower(good, bad) +
				  (higher(good, bad) - lower(good, bad)) / 2;

		if (slack(plan, middle) >= 0) {
			good = middle;
		} else {
			bad = middle;
		}
	}
	return good;
}

static int compare_falling(const void *a_void, const void *b_void)
{
	uint64_t a = *(const uint64_t *)a_void;
	uint64_t b = *(const uint64_t *)b_void;

	return a > b ? -1 : a < b;
}

/* The best T. False if there is none. */
static bool choose_stripes(const struct plan *plan, uint64_t *t)
{
	uint64_t sizes[MRMR_MEMBERS_MAX];
	uint64_t floor = (plan->parity_bytes + plan->rows - 1) / plan->rows;
	uint64_t most_to_come = 0;
	uint64_t best, peak;
	size_t i;

	for (i = 0; i < plan->num; i++) {
		const struct mrmr_capacity_unit *unit = &plan->units[i];

		sizes[i] = size_of(unit);
		floor = higher(floor, taken(unit));
		most_to_come = higher(most_to_come, unit->free_bytes);
	}
	qsort(sizes, plan->num, sizeof(sizes[0]), compare_falling);
	best = higher(sizes[plan->rows - 1], floor);
	if (slack(plan, best) >= 0) {
		*t = best;
		return true;
	}
	/* From here on G falls: nothing in it grows any more. */
	peak = find_peak(plan, floor,
			 higher(higher(floor, sizes[0]),
				plan->stripes_bytes + most_to_come));
	if (slack(plan, peak) < 0) {
		return false;
	}
	*t = find_edge(plan, peak, best);
	return true;
}

/* --- whose parity ---------------------------------------------------------- */

/* What is between two heights, and who is there. */
struct level {
	uint64_t len_bytes;
	unsigned int num_preferring; /* parity to anything, */
	unsigned int num_willing;    /* that hold it as well as anything */
};

/* A unit that parity may not be put on, and has none. */
static bool is_unwilling(const struct mrmr_capacity_unit *unit)
{
	return unit->no_parity_bytes >= unit->free_bytes &&
	       unit->parity_bytes == 0;
}

static struct level level_between(const struct plan *plan, uint64_t from,
				  uint64_t to)
{
	struct level level = {.len_bytes = to - from};
	size_t i;

	for (i = 0; i < plan->num; i++) {
		const struct mrmr_capacity_unit *unit = &plan->units[i];

		if (size_of(unit) <= from || is_unwilling(unit)) {
			continue;
		}
		level.num_preferring += unit->prefers_parity;
		level.num_willing += !unit->prefers_parity;
	}
	return level;
}

/* One unit's part of a level's parity blocks: `rows` of them to `num`. */
static uint64_t part(const struct level *level, unsigned int rows,
		     unsigned int num)
{
	if (rows >= num) {
		return level->len_bytes;
	}
	return (uint64_t)((unsigned __int128)level->len_bytes * rows / num);
}

static uint64_t part_of(const struct plan *plan, const struct level *level,
			const struct mrmr_capacity_unit *unit)
{
	if (is_unwilling(unit)) {
		return 0;
	}
	if (unit->prefers_parity) {
		return part(level, plan->rows, level->num_preferring);
	}
	if (level->num_preferring >= plan->rows) {
		return 0;
	}
	return part(level, plan->rows - level->num_preferring,
		    level->num_willing);
}

/* p_i, for all units, up to the height t. */
static void share_by_levels(const struct plan *plan, uint64_t t,
			    uint64_t *shares)
{
	uint64_t heights[MRMR_MEMBERS_MAX];
	uint64_t from = 0;
	size_t i, j;

	for (i = 0; i < plan->num; i++) {
		heights[i] = lower(size_of(&plan->units[i]), t);
		shares[i] = 0;
	}
	qsort(heights, plan->num, sizeof(heights[0]), compare_falling);
	for (j = plan->num; j > 0; j--) {
		uint64_t to = heights[j - 1];
		struct level level;

		if (to == from) {
			continue;
		}
		level = level_between(plan, from, to);
		for (i = 0; i < plan->num; i++) {
			if (size_of(&plan->units[i]) > from) {
				shares[i] +=
					part_of(plan, &level, &plan->units[i]);
			}
		}
		from = to;
	}
}

/*
 * Divide an amount among units, to each the same part of what it can take.
 * Together they can take it.
 */
static void divide(wide amount, const uint64_t *most, size_t num,
		   uint64_t *parts)
{
	wide all = 0;
	size_t i;

	for (i = 0; i < num; i++) {
		all += most[i];
	}
	for (i = 0; i < num; i++) {
		/* Of what is left to those that are left: so it comes out to
		   the byte, however this is rounded. */
		wide mine = all > 0 ? (wide)((double)amount / (double)all *
					     (double)most[i])
				    : 0;
		wide others = all - most[i];

		if (mine < amount - others) {
			mine = amount - others;
		}
		if (mine > most[i]) {
			mine = most[i];
		}
		if (mine > amount) {
			mine = amount;
		}
		parts[i] = (uint64_t)mine;
		amount -= mine;
		all = others;
	}
}

/* r_i, for all units: what is missing of the shares, made to add up. */
static void choose_parity(const struct plan *plan, uint64_t t,
			  uint64_t *to_come)
{
	uint64_t shares[MRMR_MEMBERS_MAX];
	uint64_t may_change[MRMR_MEMBERS_MAX];
	uint64_t change[MRMR_MEMBERS_MAX];
	wide missing = parity_to_come(plan, t);
	size_t i;

	share_by_levels(plan, t, shares);
	for (i = 0; i < plan->num; i++) {
		const struct mrmr_capacity_unit *unit = &plan->units[i];
		uint64_t there = lower(shares[i], unit->parity_bytes);

		to_come[i] =
			lower(shares[i] - there, most_parity(plan, unit, t));
		missing -= to_come[i];
	}
	for (i = 0; i < plan->num; i++) {
		may_change[i] = to_come[i];
		if (missing > 0) {
			may_change[i] = most_parity(plan, &plan->units[i], t) -
					to_come[i];
		}
	}
	divide(missing > 0 ? missing : -missing, may_change, plan->num, change);
	for (i = 0; i < plan->num; i++) {
		if (missing > 0) {
			to_come[i] += change[i];
		} else {
			to_come[i] -= change[i];
		}
	}
}

/* --- the interface --------------------------------------------------------- */

static struct plan plan_of(const struct mrmr_capacity_unit *units, size_t num,
			   unsigned int rows)
{
	struct plan plan = {.units = units, .num = num, .rows = rows};
	size_t i;

	for (i = 0; i < num; i++) {
		plan.parity_bytes += units[i].parity_bytes;
	}
	if (rows > 0) {
		plan.stripes_bytes = plan.parity_bytes / rows;
	}
	return plan;
}

uint64_t mrmr_capacity_plan(struct mrmr_capacity_unit *units, size_t num,
			    unsigned int rows)
{
	uint64_t to_come[MRMR_MEMBERS_MAX];
	struct plan plan;
	uint64_t sum = 0;
	uint64_t t = 0;
	bool possible;
	size_t i;

	if (num == 0) {
		return 0;
	}
	plan = plan_of(units, num, rows < num ? rows : (unsigned int)num - 1);
	possible = plan.rows == 0 || choose_stripes(&plan, &t);
	if (possible && plan.rows > 0) {
		choose_parity(&plan, t, to_come);
	}
	for (i = 0; i < num; i++) {
		struct mrmr_capacity_unit *unit = &units[i];

		if (!possible) {
			unit->room_bytes = 0;
		} else if (plan.rows == 0) {
			unit->room_bytes = unit->free_bytes;
		} else {
			unit->room_bytes = blocks_to_come(unit, t) - to_come[i];
		}
		unit->goal_bytes = unit->data_bytes + unit->room_bytes;
		sum += unit->room_bytes;
	}
	return sum;
}

bool mrmr_capacity_fits(const struct mrmr_capacity_unit *units, size_t num,
			unsigned int rows)
{
	struct plan plan = plan_of(units, num, rows);
	uint64_t t;
	size_t i;

	if (rows == 0) {
		return true;
	}
	if (rows < num) {
		return choose_stripes(&plan, &t);
	}
	for (i = 0; i < num; i++) {
		if (units[i].data_bytes > 0) {
			return false;
		}
	}
	return true;
}
