/*
 * Unit tests: failure units.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <mrmr/units.h>

/*
 * Members as words: the role (a: any, d: data, p: parity), and the name of the
 * stack if there is one. Says the units as digits, then the most rows.
 */
static const char *units_of(const char *const *words)
{
	static char text[64];
	struct mrmr_member_config members[16] = {0};
	struct mrmr_config config = {.members = members};
	struct mrmr_units units;
	size_t i;

	for (i = 0; words[i] != NULL; i++) {
		members[i].role = words[i][0] == 'd' ? MRMR_ROLE_DATA
				  : words[i][0] == 'p'
					  ? MRMR_ROLE_PARITY
					  : MRMR_ROLE_DATA_AND_PARITY;
		if (words[i][1] != '\0') {
			members[i].stack = (char *)words[i] + 1;
		}
	}
	config.num_members = i;
	mrmr_units_find(&config, &units);
	for (i = 0; i < config.num_members; i++) {
		assert_in_range(units.unit[i], 0, units.num - 1);
		text[i] = (char)('0' + units.unit[i]);
	}
	text[i++] = ' ';
	text[i++] = (char)('0' + units.max_rows);
	text[i] = '\0';
	return text;
}

#define UNITS(...) units_of((const char *const[]){__VA_ARGS__, NULL})

static void a_member_or_a_stack_is_a_unit(void **state)
{
	assert_string_equal(UNITS("a"), "0 0");
	assert_string_equal(UNITS("a", "a", "a"), "012 2");
	assert_string_equal(UNITS("ax", "a", "ay", "ax", "ay", "a"),
			    "012023 3");
	assert_string_equal(UNITS("ax", "ax"), "00 0");
	assert_string_equal(UNITS("ax", "aX"), "01 1");
	assert_string_equal(UNITS("a", "a", "a", "a", "a", "a", "a", "a", "a",
				  "a"),
			    "0123456789 8");
}

static void roles_limit_the_rows(void **state)
{
	/* the classic array: a drive for parity alone */
	assert_string_equal(UNITS("d", "d", "p"), "012 1");
	assert_string_equal(UNITS("d", "d", "p", "p"), "0123 2");
	/* where a file is, its parity can't be */
	assert_string_equal(UNITS("d", "a", "d"), "012 0");
	assert_string_equal(UNITS("d", "a", "a"), "012 1");
	assert_string_equal(UNITS("d", "d"), "01 0");
	assert_string_equal(UNITS("p", "p"), "01 1");
	/* one member that may is enough */
	assert_string_equal(UNITS("dx", "px", "a", "a"), "0012 2");
}

static void there_may_be_as_many_as_members(void **state)
{
	static struct mrmr_member_config members[MRMR_MEMBERS_MAX];
	struct mrmr_config config = {.members = members,
				     .num_members = MRMR_MEMBERS_MAX};
	struct mrmr_units units;

	mrmr_units_find(&config, &units);
	assert_int_equal(units.num, MRMR_MEMBERS_MAX);
	assert_int_equal(units.unit[MRMR_MEMBERS_MAX - 1],
			 MRMR_MEMBERS_MAX - 1);
	assert_int_equal(units.max_rows, MRMR_PARITY_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_member_or_a_stack_is_a_unit),
		cmocka_unit_test(roles_limit_the_rows),
		cmocka_unit_test(there_may_be_as_many_as_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
