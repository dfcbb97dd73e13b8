/*
 * Unit tests of source/catalog: a file whose chains lead back to where they begin.
 *
 * tdb has records in chains, each with the place of the next. Where a drive turned
 * bits, or somebody made the file so, a chain may be a ring of records of which
 * each is sound, and who goes through all of them never comes to an end. What must
 * hold: it is said to be damaged.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "../../source/catalog/store.h"
#include "catalog_world.h"
#include "scratch.h"

/* Of a tdb file, whose numbers are of 32 bits, as this machine has them: */
#define AT_NUM_CHAINS 36
#define AT_CHAINS 172    /* where each chain begins, behind what is free */
#define IN_RECORD_NEXT 0 /* 0: it is the last */

#define NUM_CHAINS 5
#define CPU_SECONDS 60 /* instead of for ever */

static uint32_t read_at(int fd, uint32_t at)
{
	uint32_t value = 0;

	assert_int_equal(pread(fd, &value, sizeof(value), (off_t)at),
			 sizeof(value));
	return value;
}

static void write_at(int fd, uint32_t at, uint32_t value)
{
	assert_int_equal(pwrite(fd, &value, sizeof(value), (off_t)at),
			 sizeof(value));
}

/* Where the last record of a chain has the place of the next. */
static uint32_t find_end(int fd, uint32_t first)
{
	uint32_t record = first;
	uint32_t next;

	while ((next = read_at(fd, record + IN_RECORD_NEXT)) != 0) {
		record = next;
	}
	return record + IN_RECORD_NEXT;
}

static void fill(struct catalog_world *w)
{
	unsigned int i;

	store_limits.hash_size = NUM_CHAINS;
	catalog_world_attach(w, 0);
	catalog_world_refresh(w, 0);
	catalog_world_begin(w);
	for (i = 0; i < 60; i++) {
		model_change(w->model, w->cat, &w->random);
	}
	catalog_world_commit(w);
	catalog_world_close(w);
}

static void check_damaged(int ret, const struct mrmr_error *err)
{
	assert_int_equal(ret, -1);
	assert_int_equal(err->code, EILSEQ);
	assert_non_null(strstr(err->text, "damaged"));
}

static void look_at_part(struct catalog_world *w)
{
	struct mrmr_error err = {0};
	struct mrmr_catalog *part =
		mrmr_catalog_open_part(NULL, w->member_fds[0],
				       &catalog_world_pool, MRMR_CATALOG_READ,
				       &err);

	/* it is not closed badly, so nobody looks yet */
	assert_non_null(part);
	check_damaged(mrmr_catalog_check(part, &err), &err);
	talloc_free(part);
}

static void test_rings_of_a_part(void **state)
{
	struct catalog_world *w = *state;
	unsigned int num = 0;
	uint32_t i;
	int fd;

	fill(w);
	fd = openat(w->member_fds[0], MRMR_CATALOG_PART, O_RDWR);
	assert_int_not_equal(fd, -1);
	for (i = 0; i < read_at(fd, AT_NUM_CHAINS); i++) {
		uint32_t first = read_at(fd, AT_CHAINS + 4 * i);
		uint32_t end;

		if (first == 0) {
			continue;
		}
		end = find_end(fd, first);
		write_at(fd, end, first);
		look_at_part(w);
		write_at(fd, end, 0);
		num++;
	}
	assert_true(num > 2);
	close(fd);
}

int main(void)
{
	const struct rlimit limit = {CPU_SECONDS, CPU_SECONDS};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rings_of_a_part,
						catalog_world_setup,
						catalog_world_teardown),
	};

	if (setrlimit(RLIMIT_CPU, &limit) == -1) {
		return 1;
	}
	cmocka_set_test_filter(getenv("MRMR_TEST_ONLY"));
	return cmocka_run_group_tests_name("catalog: rings", tests, NULL, NULL);
}
