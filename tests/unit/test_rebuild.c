/*
 * Unit tests: bringing back what was on a lost member.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/decode.h>
#include <mrmr/fault.h>
#include <mrmr/protection.h>
#include <mrmr/rebuild.h>

#include "lossy.h"

#define ONTO 4u /* has nothing in any stripe */
#define SMALL_BATCH 70000

/* --- running it -------------------------------------------------------------------- */

struct told {
	unsigned int num[5]; /* by kind */
	char last[700];
	char why[400];
	unsigned int stop_after; /* calls of should_stop, 0: never */
	unsigned int asked;
	uint64_t wanted;
	char order[4000];
};

static void trouble(enum mrmr_rebuild_trouble kind, const char *path,
		    uint64_t size_bytes, const char *why, void *private_data)
{
	struct told *told = private_data;

	told->num[kind]++;
	snprintf(told->last, sizeof(told->last), "%s", path);
	snprintf(told->why, sizeof(told->why), "%s", why);
}

static bool should_stop(void *private_data)
{
	struct told *told = private_data;

	return told->stop_after != 0 && ++told->asked >= told->stop_after;
}

static struct mrmr_rebuild_options options(struct told *told, size_t onto)
{
	return (struct mrmr_rebuild_options){
		.lost = LOSSY_LOST,
		.onto = onto,
		.batch_bytes = SMALL_BATCH,
		.trouble = trouble,
		.should_stop = should_stop,
		.private_data = told,
	};
}

static struct mrmr_rebuild_result run(struct lossy *l, struct told *told,
				      size_t onto)
{
	const struct mrmr_rebuild_options o = options(told, onto);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	if (mrmr_rebuild(l->p->engine, &o, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	return result;
}

static void check_no_trouble(const struct told *told)
{
	unsigned int i;

	for (i = 0; i < 5; i++) {
		if (told->num[i] != 0) {
			fail_msg("%s: %s", told->last, told->why);
		}
	}
}

/* --- it works ------------------------------------------------------------------------ */

static void check_files_complete(struct lossy *l, size_t onto)
{
	struct told told = {0};
	struct mrmr_rebuild_result result;

	lossy_lose(l);
	result = run(l, &told, onto);
	check_no_trouble(&told);
	assert_int_equal(result.files, l->num_things);
	assert_int_equal(result.lost_files, 0);
	assert_true(result.is_complete);
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_check_clean(l);
	assert_int_equal(strlen(world_where(l->p->w, "lonely")), 3);
}

/* Invariant 1, 4: every file is there again, whole and right, once. */
static void test_onto(void **state)
{
	struct lossy *l = lossy_new(1, NULL);

	check_files_complete(l, ONTO);
	lossy_free(l);
}

static void test_spread(void **state)
{
	struct lossy *l = lossy_new(2, NULL);

	check_files_complete(l, MRMR_REBUILD_SPREAD);
	lossy_free(l);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_onto),
	cmocka_unit_test(test_spread),
};

int main(void)
{
	return WORLD_MAIN("rebuild", tests);
}
