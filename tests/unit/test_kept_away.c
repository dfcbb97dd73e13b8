/*
 * Unit tests: what is on a member that is away stays in its stripe, also while more
 * are away than there is parity for: when some of them are back, it can be computed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <talloc.h>

#include "protecting.h"

#define LEN 30000

/* a on 0 and b on 1 in one stripe, its parity on 2 or 3: which. */
static struct world *with_a_stripe(size_t *parity)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4, .parity = "1"});
	struct mrmr_engine *engine = NULL;
	struct mrmr_stripe *stripe = NULL;

	client_write_on(w, 0, "a", 1, LEN);
	client_write_on(w, 1, "b", 2, LEN);
	protect(w);
	engine = open_engine(w, MRMR_ENGINE_READ);
	assert_int_equal(mrmr_catalog_next_stripe(engine->catalog, NULL, 0,
						  &stripe),
			 0);
	assert_int_equal(stripe->num_slots, 2);
	assert_int_equal(stripe->num_rows, 1);
	*parity = mrmr_engine_member(engine, stripe->rows[0].member);
	talloc_free(stripe);
	talloc_free(engine);
	assert_in_range(*parity, 2, 3);
	return w;
}

/* While 0 and the parity are away, b changes; then the parity is back. */
static void check(void (*change)(struct world *w))
{
	size_t parity;
	struct world *w = with_a_stripe(&parity);

	world_unplug(w, 0);
	world_unplug(w, parity);
	world_later(w);
	change(w);
	protect(w);
	world_plug(w, parity);
	world_later(w);
	verify(w, "a", 1, LEN, 1);
	protect(w);
	verify(w, "a", 1, LEN, 1);
	world_plug(w, 0);
	world_later(w);
	protect(w);
	assert_int_equal(pending_of(w), 0);
	protect_and_scan(w);
	verify(w, "a", 1, LEN, 1);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

static void write_it(struct world *w)
{
	client_write(w, "b", 3, LEN);
}

static void write_more(struct world *w)
{
	client_write(w, "b", 4, LEN + 1000);
}

static void cut_it(struct world *w)
{
	client_write(w, "b", 2, 1000);
}

static void remove_it(struct world *w)
{
	assert_int_equal(do_unlink(w, "b"), 0);
}

static void replace_it(struct world *w)
{
	client_write_on(w, 1, "c", 5, LEN);
	assert_int_equal(do_rename(w, "c", "b"), 0);
}

static void test_written(void **state)
{
	check(write_it);
}

static void test_longer(void **state)
{
	check(write_more);
}

static void test_cut(void **state)
{
	check(cut_it);
}

static void test_removed(void **state)
{
	check(remove_it);
}

static void test_replaced(void **state)
{
	check(replace_it);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_written),  cmocka_unit_test(test_longer),
	cmocka_unit_test(test_cut),      cmocka_unit_test(test_removed),
	cmocka_unit_test(test_replaced),
};

int main(void)
{
	return WORLD_MAIN("kept_away", tests);
}
