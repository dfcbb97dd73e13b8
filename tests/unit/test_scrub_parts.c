/*
 * Unit tests: bits have turned in what a member carries of the catalogue, and nobody has
 * met it: a scrub does.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>

#include <cmocka.h>

#include <mrmr/scrub.h>

#include "hidden.h"
#include "killed.h"
#include "protecting.h"
#include "recovering.h"

static struct mrmr_scrub_result scrub(struct world *w)
{
	const struct mrmr_scrub_options options = {.deep = false};
	struct mrmr_scrub_result result;
	struct mrmr_error err = {0};

	if (mrmr_scrub(w->pool, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	assert_true(result.is_complete);
	return result;
}

/* After that, it is enough with the others away. */
static void the_catalogue_is_lost(struct world *w)
{
	world_close(w);
	lose_catalogue(w, true);
	world_open(w);
	assert_int_equal(recover_well(w).num_damaged, 0);
	verify(w, "d/f5", 6, 3500, 1);
	verify_decodable(w);
}

static void test_records_are_lost(void **state)
{
	unsigned int num = 0;
	uint32_t chain = 0;
	bool any = true;

	(void)state;
	for (; any; num++) {
		struct world *w = recover_busy_world();

		assert_int_equal(scrub(w).damaged_parts, 0);
		world_close(w);
		any = hide_chain_of_part(w, 1, &chain);
		world_open(w);
		/* or who opens it has met it already */
		if (any && scrub(w).damaged_parts == 0) {
			assert_true(world_there(
				world_drive(w, 1, ".mrmr/mrmr.db.damaged")));
		}
		assert_int_equal(scrub(w).damaged_parts, 0);
		the_catalogue_is_lost(w);
		world_free(w);
	}
	assert_true(num > 5);
}

/* Of the catalogue itself, that is an error. */
static void test_the_catalogue(void **state)
{
	unsigned int num = 0;
	uint32_t chain = 0;
	bool any = true;

	(void)state;
	for (; any; num++) {
		const struct mrmr_scrub_options options = {.deep = false};
		struct world *w = recover_busy_world();
		struct mrmr_scrub_result result;
		struct mrmr_error err = {0};

		world_close(w);
		any = hide_chain(w, &chain);
		world_open(w);
		assert_int_equal(mrmr_scrub(w->pool, &options, &result, &err),
				 any ? -1 : 0);
		assert_int_equal(err.code, any ? EILSEQ : 0);
		the_catalogue_is_lost(w);
		world_free(w);
	}
	assert_true(num > 5);
}

#ifdef MRMR_WITH_FAULTS

static void scrub_all(struct world *w, void *private_data)
{
	(void)private_data;
	scrub(w);
}

/* Killed while it is made anew: the next one does. */
static void test_killed(void **state)
{
	bool was_killed = true;
	unsigned int i;

	(void)state;
	for (i = 1; was_killed; i++) {
		struct world *w = recover_busy_world();
		uint32_t chain = 0;
		char fault[32];

		world_close(w);
		hide_chain_of_part(w, 1, &chain);
		world_open(w);
		snprintf(fault, sizeof(fault), "catalog-store#%u=kill", i);
		was_killed = killed_at(w, fault, scrub_all, NULL);
		scrub(w);
		assert_int_equal(scrub(w).damaged_parts, 0);
		the_catalogue_is_lost(w);
		world_free(w);
	}
	assert_true(i > 3);
}

#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_are_lost),
		cmocka_unit_test(test_the_catalogue),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(test_killed),
#endif
	};

	return WORLD_MAIN("scrub_parts", tests);
}
