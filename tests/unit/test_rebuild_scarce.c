/*
 * Unit tests: what runs short while the files of a lost member are brought back:
 * descriptors, room for parity, room for files.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/rebuild.h>

#include "full.h"
#include "lossy.h"

#define SIBLING 1u /* has data in the stripes of the lost member */

struct told {
	unsigned int num[5]; /* by kind */
	char names[4000];
};

static void trouble(enum mrmr_rebuild_trouble kind, const char *path,
		    uint64_t size_bytes, const char *why, void *private_data)
{
	struct told *told = private_data;
	size_t len = strlen(told->names);

	told->num[kind]++;
	snprintf(told->names + len, sizeof(told->names) - len, "%s: %s\n", path,
		 why);
}

static int try(struct lossy *l, size_t onto, struct told *told,
	       struct mrmr_rebuild_result *result, struct mrmr_error *err)
{
	const struct mrmr_rebuild_options options = {
		.lost = LOSSY_LOST,
		.onto = onto,
		.trouble = trouble,
		.private_data = told,
	};

	memset(told, 0, sizeof(*told));
	return mrmr_rebuild(l->p->engine, &options, result, err);
}

static struct mrmr_rebuild_result run(struct lossy *l, size_t onto,
				      struct told *told)
{
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	if (try(l, onto, told, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	return result;
}

/* What was in the way is gone. */
static void check_after(struct lossy *l, size_t onto)
{
	struct told told;

	if (!run(l, onto, &told).is_complete) {
		fail_msg("not complete: %s", told.names);
	}
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_check_clean(l);
}

/* --- descriptors ------------------------------------------------------------- */

static void run_with_descriptors(unsigned int num)
{
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};
	struct rlimit limit;
	struct rlimit low;
	struct told told;
	int first;

	lossy_lose(l);
	first = dup(0);
	assert_return_code(first, errno);
	close(first);
	assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
	low = limit;
	low.rlim_cur = (rlim_t)first + num;
	assert_return_code(setrlimit(RLIMIT_NOFILE, &low), errno);
	/* it may fail, or leave files */
	try(l, MRMR_REBUILD_SPREAD, &told, &result, &err);
	assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
	if (told.num[MRMR_REBUILD_LOST] + told.num[MRMR_REBUILD_UNPROTECTED] +
		    told.num[MRMR_REBUILD_TAKEN] >
	    0) {
		fail_msg("%u descriptors: %s", num, told.names);
	}
	protected_reopen(l->p);
	check_after(l, MRMR_REBUILD_SPREAD);
	lossy_free(l);
}

/* A process that is short of descriptors takes nothing for lost. */
static void test_short_of_descriptors(void **state)
{
	unsigned int num;

	for (num = 4; num <= 64; num += 4) {
		run_with_descriptors(num);
	}
}

/* --- room for parity --------------------------------------------------------- */

/* A file leaves its stripes, whose new parity has no place beside the old: the
   others come back all the same. */
static void test_no_room_for_parity(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_rebuild_result result;
	struct told told;

	lossy_lose(l);
	/* enough for a block of the packed files, not for one of the large */
	leave_room(l->p->w, 60 * 1024);
	assert_return_code(unlink(world_drive(l->p->w, SIBLING,
					      ".mrmr/others")),
			   errno);
	mrmr_pool_look_at_space(l->p->w->pool);
	result = run(l, SIBLING, &told);
	assert_int_equal(told.num[MRMR_REBUILD_FAILED], 1);
	assert_int_equal(result.failed_files, 1);
	assert_non_null(strstr(told.names, "films/large: "));
	assert_int_equal(result.files, l->num_things - 1);
	/* it is there, and known to be when there is room */
	leave_room(l->p->w, UINT64_MAX);
	check_after(l, SIBLING);
	lossy_free(l);
}

#ifdef MRMR_WITH_FAULTS

static void test_parity_fails(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_rebuild_result result;
	struct told told;

	lossy_lose(l);
	setenv("MRMR_FAULT", "stripes-write=ENOSPC", 1);
	result = run(l, SIBLING, &told);
	unsetenv("MRMR_FAULT");
	/* the large one, and those of the packed slot */
	assert_int_equal(result.failed_files, 5);
	assert_int_equal(result.files, l->num_things - 5);
	check_after(l, SIBLING);
	lossy_free(l);
}

#endif

/* --- room for files ---------------------------------------------------------- */

#define HALF 200000u /* bytes of each of two files in one slot */

/* No member has room for both files of a slot. */
static void room_for_one_each(const char *fault)
{
	const struct world_shape shape = {
		.num_members = 5,
		.parity = "1",
		.sizes = {NULL, "250k", "550k", "330k", "330k"},
	};
	const struct prow rows[1] = {{0, 2}};
	struct lossy l = {.p = protected_new(&shape)};
	struct mrmr_rebuild_result result;
	struct pslot slots[3] = {{0}};
	struct told told;

	slots[0].pieces[0].file =
		protected_file(l.p, LOSSY_LOST, "a", 1, HALF, 1 << 20);
	slots[0].pieces[1].file =
		protected_file(l.p, LOSSY_LOST, "b", 2, HALF, 1 << 20);
	slots[1].slot = 1;
	slots[1].pieces[0].file =
		protected_file(l.p, 1, "c", 3, 100000, 1 << 20);
	protected_stripe(l.p, slots, rows, 1);
	protected_unplug(l.p, 1 << LOSSY_LOST);
	protected_reopen(l.p);
	setenv("MRMR_FAULT", fault, 1);
	result = run(&l, MRMR_REBUILD_SPREAD, &told);
	unsetenv("MRMR_FAULT");
	if (result.failed_files > 0) {
		fail_msg("%s", told.names);
	}
	assert_int_equal(result.files, 2);
	assert_true(result.is_complete);
	assert_int_equal(do_where(l.p->w, "a") + do_where(l.p->w, "b"), 3 + 4);
	lossy_check_stripes(&l);
	protected_free(l.p);
}

static void test_room_for_one_each(void **state)
{
	room_for_one_each("");
}

#ifdef MRMR_WITH_FAULTS

/* They are written to the same one at the same time, and neither finds room. */
static void test_both_at_once(void **state)
{
	room_for_one_each("rebuild-write#1=ENOSPC,rebuild-write#2=ENOSPC");
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_short_of_descriptors),
	cmocka_unit_test(test_no_room_for_parity),
	cmocka_unit_test(test_room_for_one_each),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_both_at_once),
#endif
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_parity_fails),
#endif
};

int main(void)
{
	return WORLD_MAIN("rebuild_scarce", tests);
}
