/*
 * Unit tests: what the parity needs of other files is found under the names that they
 * have by now, also if the protector has not heard of them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protecting.h"

#define LEN 30000

/* d/f on member 0, which is about to go; d/g on member 1 is in its stripe. */
static struct world *two_of_a_stripe(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3, .parity = "1"});

	client_write_on(w, 0, "d/f", 1, LEN);
	client_write_on(w, 1, "d/g", 2, LEN);
	protect(w);
	return w;
}

static void check(struct world *w)
{
	world_unplug(w, 0);
	world_later(w);
	serve(w);
	verify_served(w, "d/f", 1, LEN);
	stop_serving(w);
	world_plug(w, 0);
	world_later(w);
	protect(w);
	verify(w, "d/f", 1, LEN, 1);
	verify_decodable(w);
	world_free(w);
}

static void test_renamed(void **state)
{
	struct world *w = two_of_a_stripe();

	assert_int_equal(do_rename(w, "d/g", "d/h"), 0);
	check(w);
}

static void test_deleted(void **state)
{
	struct world *w = two_of_a_stripe();

	assert_int_equal(do_unlink(w, "d/g"), 0);
	check(w);
}

/* It got a second name, and lost its first. */
static void test_linked(void **state)
{
	struct world *w = two_of_a_stripe();

	assert_int_equal(do_link(w, "d/g", "d/h"), 0);
	assert_int_equal(do_unlink(w, "d/g"), 0);
	assert_int_equal(do_rename(w, "d/h", "d/i"), 0);
	check(w);
}

static void test_linked_and_replaced(void **state)
{
	struct world *w = two_of_a_stripe();

	assert_int_equal(do_link(w, "d/g", "d/h"), 0);
	client_write(w, "d/new", 3, LEN);
	assert_int_equal(do_rename(w, "d/new", "d/g"), 0);
	check(w);
}

/* It was deleted while its member was away, and came to the trash when that was
   back. */
static void test_deleted_meanwhile(void **state)
{
	struct world *w = two_of_a_stripe();

	world_unplug(w, 1);
	world_later(w);
	serve(w);
	assert_int_equal(do_unlink(w, "d/g"), 0);
	stop_serving(w);
	world_plug(w, 1);
	world_later(w);
	assert_int_equal(world_trashed(w, 1, "g"), 1);
	check(w);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_renamed),
	cmocka_unit_test(test_deleted),
	cmocka_unit_test(test_linked),
	cmocka_unit_test(test_linked_and_replaced),
	cmocka_unit_test(test_deleted_meanwhile),
};

int main(void)
{
	return WORLD_MAIN("sibling_names", tests);
}
