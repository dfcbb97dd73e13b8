/*
 * Unit tests: a drive does not take what was written to it. The kernel tells of
 * that once, and goes on showing the bytes that are in memory only: nothing may be
 * called protected by these without a word.
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

#include <mrmr/fault.h>

#include "protecting.h"

#ifdef MRMR_WITH_FAULTS

static struct world *make(void)
{
	struct world *w = world_new(&(struct world_shape){
		.num_members = 4,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	});

	client_write_on(w, 0, "f", 1, 200000);
	client_write_on(w, 1, "g", 2, 3000);
	world_log();
	return w;
}

static struct mrmr_protect_result protect_with(struct world *w,
					       const char *fault,
					       unsigned long *checks)
{
	struct mrmr_protect_result result;

	setenv("MRMR_FAULT", fault, 1);
	result = protect(w);
	*checks = mrmr_fault_times("protect-fsync");
	unsetenv("MRMR_FAULT");
	return result;
}

static void test_asked_for_each_file(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;
	unsigned long checks;
	const char *log = NULL;

	result = protect_with(w, "stripes-sync#1=EIO,protect-fsync#1=EIO",
			      &checks);
	log = world_log();
	/* one of the two once more */
	assert_int_equal(checks, 3);
	assert_non_null(strstr(log, "did not reach the drive"));
	assert_non_null(strstr(log, "mrmr-admin scrub"));
	assert_int_equal(result.protected_files, 2);
	assert_int_equal(pending_of(w), 0);
	verify(w, "f", 1, 200000, 1);
	verify(w, "g", 2, 3000, 1);
	verify_tidy(w);
	world_free(w);
}

static void test_not_protected_by_it(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;
	unsigned long checks;

	result = protect_with(w, "stripes-sync#1=EIO,protect-fsync=EIO",
			      &checks);
	assert_int_equal(result.protected_files, 0);
	assert_int_equal(result.unreadable_files, 2);
	assert_int_equal(sums_of(w).protected_bytes, 0);
	protect(w);
	verify(w, "f", 1, 200000, 1);
	verify(w, "g", 2, 3000, 1);
	world_free(w);
}

static void test_costs_nothing_else(void **state)
{
	struct world *w = make();
	unsigned long checks;

	protect_with(w, "protect-fsync=EIO", &checks);
	assert_int_equal(checks, 0);
	verify(w, "f", 1, 200000, 1);
	world_free(w);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_asked_for_each_file),
	cmocka_unit_test(test_not_protected_by_it),
	cmocka_unit_test(test_costs_nothing_else),
};

int main(void)
{
	return WORLD_MAIN("unwritten", tests);
}

#else

int main(void)
{
	return 0;
}

#endif
