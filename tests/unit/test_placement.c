/*
 * Unit tests: placement.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/placement.h>

#define MB (UINT64_C(1) << 20)

/* The order as digits: "201" is member 2, then 0, then 1; a bar comes before
   the first that is not eligible. */
static const char *order(const char *policy_name, uint64_t need_bytes,
			 const struct mrmr_candidate *candidates, size_t n)
{
	static char text[32];
	struct mrmr_candidate sorted[16];
	struct mrmr_placement_request request = {.need_bytes = need_bytes,
						 .random = 1};
	const struct mrmr_policy *policy = mrmr_policy_find(policy_name);
	size_t eligible;
	size_t i;
	char *at = text;

	assert_non_null(policy);
	memcpy(sorted, candidates, n * sizeof(sorted[0]));
	eligible = mrmr_placement_order(policy, &request, sorted, n);
	for (i = 0; i < n; i++) {
		if (i == eligible) {
			*at++ = '|';
		}
		*at++ = (char)('0' + sorted[i].member);
	}
	if (eligible == n) {
		*at++ = '|';
	}
	*at = '\0';
	return text;
}

static void policies_are_found_by_name(void **state)
{
	const struct mrmr_policy *const *policy = NULL;
	size_t count = 0;

	for (policy = mrmr_policy_list(); *policy != NULL; policy++) {
		assert_ptr_equal(mrmr_policy_find((*policy)->name), *policy);
		assert_true((*policy)->help[0] != '\0');
		count++;
	}
	assert_int_equal(count, 4);
	assert_non_null(mrmr_policy_find(MRMR_PLACEMENT_DEFAULT));
	assert_null(mrmr_policy_find("Most-Free"));
	assert_null(mrmr_policy_find(""));
}

static void most_free_takes_the_most_bytes_of_the_lowest_tier(void **state)
{
	const struct mrmr_candidate candidates[] = {
		{.member = 0,
		 .free_bytes = 9 * MB,
		 .total_bytes = 90 * MB,
		 .tier = 1},
		{.member = 1, .free_bytes = 2 * MB, .total_bytes = 4 * MB},
		{.member = 2, .free_bytes = 3 * MB, .total_bytes = 90 * MB},
		{.member = 3, .free_bytes = 2 * MB, .total_bytes = 9 * MB},
	};

	assert_string_equal(order("most-free", 0, candidates, 4), "2130|");
	/* a higher tier, once no lower one has room */
	assert_string_equal(order("most-free", 5 * MB, candidates, 4), "0|213");
	assert_string_equal(order("most-free", 3 * MB, candidates, 4), "20|13");
	assert_string_equal(order("most-free", 10 * MB, candidates, 4),
			    "|2130");
}

static void most_free_percent_takes_the_largest_part(void **state)
{
	const struct mrmr_candidate candidates[] = {
		{.member = 0,
		 .free_bytes = 9 * MB,
		 .total_bytes = 9 * MB,
		 .tier = 1},
		{.member = 1, .free_bytes = 2 * MB, .total_bytes = 4 * MB},
		{.member = 2, .free_bytes = 3 * MB, .total_bytes = 90 * MB},
		{.member = 3, .free_bytes = 4 * MB, .total_bytes = 8 * MB},
		{.member = 4,
		 .free_bytes = UINT64_MAX / 2 + 2,
		 .total_bytes = UINT64_MAX},
	};

	assert_string_equal(order("most-free-percent", 0, candidates, 5),
			    "41320|");
}

static void keep_together_stays_with_the_directory(void **state)
{
	const struct mrmr_candidate candidates[] = {
		{.member = 0, .free_bytes = 90 * MB, .total_bytes = 90 * MB},
		{.member = 1,
		 .free_bytes = 2 * MB,
		 .total_bytes = 9 * MB,
		 .has_dir = true,
		 .dir_mtime_ns = 5},
		{.member = 2,
		 .free_bytes = 1 * MB,
		 .total_bytes = 9 * MB,
		 .has_dir = true,
		 .dir_mtime_ns = 7,
		 .tier = 3},
		{.member = 3,
		 .free_bytes = 91 * MB,
		 .total_bytes = 99 * MB,
		 .tier = 1},
	};

	assert_string_equal(order("keep-together", 0, candidates, 4), "2103|");
	assert_string_equal(order("keep-together", 2 * MB, candidates, 4),
			    "103|2");
	/* nobody with the directory has room: as most-free */
	assert_string_equal(order("keep-together", 9 * MB, candidates, 4),
			    "03|21");
	/* a new directory: as most-free */
	assert_string_equal(order("keep-together", 0, candidates, 1), "0|");
}

static void parity_drives_take_files_last(void **state)
{
	const struct mrmr_candidate candidates[] = {
		{.member = 0,
		 .free_bytes = 90 * MB,
		 .total_bytes = 90 * MB,
		 .role = MRMR_ROLE_PARITY,
		 .has_dir = true},
		{.member = 1,
		 .free_bytes = 1 * MB,
		 .total_bytes = 9 * MB,
		 .tier = 5},
		{.member = 2,
		 .free_bytes = 2 * MB,
		 .total_bytes = 9 * MB,
		 .role = MRMR_ROLE_DATA,
		 .tier = 5},
	};
	const struct mrmr_policy *const *policy = NULL;

	for (policy = mrmr_policy_list(); *policy != NULL; policy++) {
		const char *got = order((*policy)->name, 0, candidates, 3);

		assert_int_equal(got[2], '0');
		/* it is the only one with so much room */
		got = order((*policy)->name, 3 * MB, candidates, 3);
		assert_memory_equal(got, "0|", 2);
	}
}

/* Never "disk full" while a member has room, and never past the room. */
static void only_members_with_room_are_eligible(void **state)
{
	const struct mrmr_candidate candidates[] = {
		{.member = 0, .free_bytes = 0, .total_bytes = 9 * MB},
		{.member = 1, .free_bytes = 1, .total_bytes = 9 * MB},
		{.member = 2, .free_bytes = 0, .total_bytes = 0},
	};
	const struct mrmr_policy *const *policy = NULL;

	for (policy = mrmr_policy_list(); *policy != NULL; policy++) {
		const char *name = (*policy)->name;

		assert_memory_equal(order(name, 0, candidates, 3), "1|", 2);
		assert_memory_equal(order(name, 1, candidates, 3), "1|", 2);
		assert_memory_equal(order(name, 2, candidates, 3), "|", 1);
		assert_string_equal(order(name, 0, candidates, 0), "|");
	}
}

/* Room for data is compared, what is kept for parity comes after it. */
static void room_for_data_comes_first(void **state)
{
	const struct mrmr_candidate candidates[] = {
		{.member = 0,
		 .free_bytes = 50 * MB,
		 .kept_bytes = 49 * MB,
		 .total_bytes = 90 * MB},
		{.member = 1,
		 .free_bytes = 40 * MB,
		 .kept_bytes = 40 * MB,
		 .total_bytes = 90 * MB},
		{.member = 2,
		 .free_bytes = 30 * MB,
		 .kept_bytes = 20 * MB,
		 .total_bytes = 90 * MB,
		 .tier = 1},
		{.member = 3,
		 .free_bytes = 60 * MB,
		 .kept_bytes = 60 * MB,
		 .total_bytes = 90 * MB,
		 .tier = 1},
		{.member = 4,
		 .free_bytes = 20 * MB,
		 .total_bytes = 90 * MB,
		 .role = MRMR_ROLE_PARITY},
		{.member = 5, .kept_bytes = 9 * MB, .total_bytes = 90 * MB},
	};

	/* also before the tier; without any, by all that is free */
	assert_string_equal(order("most-free", 0, candidates, 6), "02134|5");
	assert_string_equal(order("most-free", 1 * MB, candidates, 6),
			    "02134|5");
	/* of need, too, and never "disk full" as long as there is room */
	assert_string_equal(order("most-free", 2 * MB, candidates, 6),
			    "20134|5");
	assert_memory_equal(order("most-free", 45 * MB, candidates, 6), "03|",
			    3);
	assert_memory_equal(order("most-free", 55 * MB, candidates, 6), "3|",
			    2);
	assert_string_equal(order("most-free-percent", 2 * MB, candidates, 6),
			    "20134|5");
}

static void ties_fall_to_the_lower_index(void **state)
{
	struct mrmr_candidate candidates[10];
	size_t i;

	for (i = 0; i < 10; i++) {
		candidates[i] = (struct mrmr_candidate){.member = 9 - i,
							.free_bytes = MB,
							.total_bytes = 2 * MB};
	}
	assert_string_equal(order("most-free", 0, candidates, 10),
			    "0123456789|");
	assert_string_equal(order("most-free-percent", 0, candidates, 10),
			    "0123456789|");
	assert_string_equal(order("keep-together", 0, candidates, 10),
			    "0123456789|");
}

/* --- spread --------------------------------------------------------------- */

static void lots_are_even_and_repeatable(void **state)
{
	struct mrmr_placement_request request = {0};
	unsigned int tenths[10] = {0};
	unsigned int draws = 20000;
	unsigned int i;

	for (i = 0; i < draws; i++) {
		double lot;

		request.random = i;
		lot = mrmr_placement_lot(&request, i % 7);
		assert_true(lot >= 0.0 && lot < 1.0);
		assert_true(lot == mrmr_placement_lot(&request, i % 7));
		tenths[(unsigned int)(lot * 10)]++;
	}
	for (i = 0; i < 10; i++) {
		assert_in_range(tenths[i], draws / 10 - 200, draws / 10 + 200);
	}
}

static void spread_wins_in_proportion_to_free_space(void **state)
{
	const struct mrmr_candidate candidates[] = {
		{.member = 0, .free_bytes = 10 * MB, .total_bytes = 90 * MB},
		{.member = 1, .free_bytes = 30 * MB, .total_bytes = 90 * MB},
		{.member = 2, .free_bytes = 60 * MB, .total_bytes = 90 * MB},
		{.member = 3,
		 .free_bytes = 900 * MB,
		 .total_bytes = 900 * MB,
		 .tier = 1},
	};
	const struct mrmr_policy *policy = mrmr_policy_find("spread");
	struct mrmr_placement_request request = {0};
	unsigned int wins[4] = {0};
	unsigned int second_after_2[4] = {0};
	unsigned int i;

	for (i = 0; i < 20000; i++) {
		struct mrmr_candidate sorted[4];

		memcpy(sorted, candidates, sizeof(sorted));
		request.random = UINT64_C(0x123456789) * i;
		assert_int_equal(mrmr_placement_order(policy, &request, sorted,
						      4),
				 4);
		assert_int_equal(sorted[3].member, 3);
		wins[sorted[0].member]++;
		if (sorted[0].member == 2) {
			second_after_2[sorted[1].member]++;
		}
	}
	assert_in_range(wins[0], 1800, 2200);
	assert_in_range(wins[1], 5700, 6300);
	assert_in_range(wins[2], 11600, 12400);
	/* of the rest, one in four */
	assert_in_range(second_after_2[0], 2800, 3200);
}

/* --- rules ---------------------------------------------------------------- */

static void first_matching_rule_decides(void **state)
{
	size_t both[] = {1, 0};
	size_t last[] = {2};
	struct mrmr_rule_config rules[] = {
		{.pattern = (char[]){"*.iso"},
		 .members = last,
		 .num_members = 1},
		{.pattern = (char[]){"Photos/*"},
		 .placement = (char[]){"keep-together"},
		 .members = both,
		 .num_members = 2},
		{.pattern = (char[]){"Photos/x"},
		 .placement = (char[]){"most-free"}},
		{.pattern = (char[]){"[st]mp?/a*"},
		 .placement = (char[]){"most-free-percent"}},
	};
	struct mrmr_config config = {.placement = (char[]){"spread"},
				     .rules = rules,
				     .num_rules = 4};
	static const struct {
		const char *path;
		const char *policy;
		size_t num_members;
	} paths[] = {
		{"debian.iso", "spread", 1},
		{"deep/below/DEBIAN.ISO", "spread", 1},
		{"Photos/debian.iso", "spread", 1},
		{"photos/2024/a.jpg", "keep-together", 2},
		{"Photos/x", "keep-together", 2},
		{"Photos", "spread", 0},
		{"old/Photos/x", "spread", 0},
		{"tmp1/a/b/c", "most-free-percent", 0},
		{"tmp1/b", "spread", 0},
		{"", "spread", 0},
		{"a\nb", "spread", 0},
	};
	size_t i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		const size_t *members = both;
		size_t num = 99;
		const struct mrmr_policy *policy =
			mrmr_placement_rule(&config, paths[i].path, &members,
					    &num);

		assert_non_null(policy);
		assert_string_equal(policy->name, paths[i].policy);
		assert_int_equal(num, paths[i].num_members);
		if (num == 0) {
			assert_null(members);
		} else {
			assert_int_equal(members[0], num == 1 ? 2 : 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies_are_found_by_name),
		cmocka_unit_test(
			most_free_takes_the_most_bytes_of_the_lowest_tier),
		cmocka_unit_test(most_free_percent_takes_the_largest_part),
		cmocka_unit_test(keep_together_stays_with_the_directory),
		cmocka_unit_test(parity_drives_take_files_last),
		cmocka_unit_test(only_members_with_room_are_eligible),
		cmocka_unit_test(room_for_data_comes_first),
		cmocka_unit_test(ties_fall_to_the_lower_index),
		cmocka_unit_test(lots_are_even_and_repeatable),
		cmocka_unit_test(spread_wins_in_proportion_to_free_space),
		cmocka_unit_test(first_matching_rule_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
