/*
 * Unit tests: a protected file of a member that is away is written to by a client,
 * and so lies on another one from then on; and that one is lost before the protector
 * has come to the file. What is protected of it is the version of the first: a
 * rebuild of the second brings that back into the share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>

#include "anew.h"
#include "killed.h"

#define LEN ANEW_LEN

static struct world *written_of(size_t *second)
{
	return anew_of(&(struct world_shape){.num_members = 5, .parity = "2"},
		       second);
}

#ifdef MRMR_WITH_FAULTS

#define PARTLY_LEN 300000

/* The same, but of the newer version the protector has protected a part. */
static struct world *partly_written_of(size_t *second)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5,
				      .parity = "2",
				      .config = ",\"block_size\": \"64K\""});
	struct mrmr_engine *engine = NULL;
	struct mrmr_node *node = NULL;

	client_write_on(w, 0, "d/old", 1, PARTLY_LEN);
	client_write_on(w, 1, "d/here", 2, PARTLY_LEN);
	client_write_on(w, 2, "d/too", 3, LEN);
	protect(w);
	world_unplug(w, 0);
	world_later(w);
	serve(w);
	*second = client_make_anew(w, "d", "old");
	client_write(w, "d/old", 5, PARTLY_LEN + 5);
	stop_serving(w);
	protect_batch_bytes = 65536;
	assert_true(protect_killed(w, "protect-committed=kill"));
	protect_batch_bytes = 0;
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_return_code(mrmr_catalog_find_path(engine->catalog, engine,
						  "d/old", &node),
			   errno);
	assert_in_range(node->num_extents, 1, 4);
	talloc_free(engine);
	world_unplug(w, *second);
	world_later(w);
	return w;
}

#endif

/* The first one is away, and comes back later. */
static void test_first_comes_later(void **state)
{
	size_t second;
	struct world *w = written_of(&second);

	anew_rebuild_older(w, second);
	anew_check_older(w, second);
	anew_come_back(w, 0);
	assert_int_equal(world_trashed(w, 0, "old"), 1);
	anew_check_end(w, 2);
}

/* It is back before. */
static void test_first_comes_before(void **state)
{
	size_t second;
	struct world *w = written_of(&second);

	anew_come_back(w, 0);
	assert_int_equal(world_trashed(w, 0, "old"), 1);
	anew_rebuild_older(w, second);
	anew_check_older(w, second);
	anew_check_end(w, 2);
}

/* Both are lost. */
static void test_both_are_rebuilt(void **state)
{
	unsigned int second_first;

	for (second_first = 0; second_first < 2; second_first++) {
		struct anew_outcome outcome;
		size_t second;
		struct world *w = written_of(&second);

		if (second_first) {
			anew_rebuild_older(w, second);
			anew_check_older(w, second);
		}
		assert_int_equal(anew_rebuild(w, 0, false, &outcome), 0);
		assert_true(outcome.result.is_complete);
		if (!second_first) {
			anew_rebuild_older(w, second);
			anew_check_older(w, second);
		}
		anew_check_end(w, 1); /* three members are left */
	}
}

/* The second one comes back instead: nothing is lost. */
static void test_second_comes_back(void **state)
{
	size_t second;
	struct world *w = written_of(&second);

	anew_come_back(w, second);
	assert_int_equal(do_where(w, "d/old"), second);
	verify(w, "d/old", 5, LEN + 5, 1);
	anew_come_back(w, 0);
	protect(w);
	verify(w, "d/old", 5, LEN + 5, 2);
	world_free(w);
}

/* Before that of the rebuild is protected, its member is lost as well. */
static void test_and_once_more(void **state)
{
	size_t second;
	size_t third;
	struct world *w = written_of(&second);

	anew_rebuild_older(w, second);
	third = do_where(w, "d/old");
	assert_int_not_equal(third, SIZE_MAX);
	world_plug(w, 0);
	world_unplug(w, third);
	world_later(w);
	anew_rebuild_older(w, third);
	assert_int_not_equal(do_where(w, "d/old"), SIZE_MAX);
	anew_check_end(w, 1);
}

/* A client has removed it since: it does not come back. */
static void test_removed(void **state)
{
	struct anew_outcome outcome;
	size_t second;
	struct world *w = written_of(&second);

	serve(w);
	assert_int_equal(do_unlink(w, "d/old"), 0);
	stop_serving(w);
	protect(w);
	assert_int_equal(anew_rebuild(w, second, false, &outcome), 0);
	assert_int_equal(outcome.older, 0);
	assert_int_equal(do_where(w, "d/old"), SIZE_MAX);
	world_free(w);
}

/* No drive has room for it: it waits until one has. */
static void test_drives_are_full(void **state)
{
	struct anew_outcome outcome;
	size_t second;
	struct world *w = written_of(&second);
	size_t i;

	for (i = 1; i < 5; i++) {
		if (i != second) {
			world_fill(w, i);
		}
	}
	world_later(w);
	anew_rebuild(w, second, false, &outcome);
	assert_int_equal(outcome.older + outcome.lost + outcome.taken, 0);
	assert_int_equal(outcome.failed, 1);
	assert_false(outcome.result.is_complete);
	assert_int_equal(do_where(w, "d/old"), SIZE_MAX);
	verify_computable(w, 0);
	for (i = 1; i < 5; i++) {
		if (i != second) {
			world_unfill(w, i);
		}
	}
	world_later(w);
	anew_rebuild_older(w, second);
	anew_check_older(w, second);
	anew_come_back(w, 0);
	anew_check_end(w, 2);
}

/* The older version is in the trash of the first one, which is emptied at once. */
static void test_trash_is_emptied(void **state)
{
	size_t second;
	struct world *w =
		anew_of(&(struct world_shape){.num_members = 5,
					      .parity = "2",
					      .config = ",\"trash_days\": 0"},
			&second);

	anew_come_back(w, 0);
	world_later(w);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "old"), 1);
	anew_rebuild_older(w, second);
	anew_check_older(w, second);
	/* now nobody needs it any more */
	world_later(w);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "old"), 0);
	anew_check_end(w, 2);
}

#ifdef MRMR_WITH_FAULTS

static void rebuild_second(struct world *w, void *private_data)
{
	struct anew_outcome outcome;

	anew_rebuild(w, *(size_t *)private_data, false, &outcome);
}

/* Killed anywhere, it goes on. */
static void test_killed(void **state)
{
	static const char *const points[] = {
		"rebuild-stage=kill",  "rebuild-write=kill",
		"rebuild-place=kill",  "rebuild-placed=kill",
		"rebuild-commit=kill",
	};
	size_t i;

	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		size_t second;
		struct world *w = written_of(&second);

		assert_true(killed_at(w, points[i], rebuild_second, &second));
		world_close(w);
		world_open(w);
		/* it may have come to its name: the protector leaves it be */
		protect(w);
		anew_rebuild_older(w, second);
		anew_check_older(w, second);
		anew_come_back(w, 0);
		anew_check_end(w, 2);
	}
}

/* The protector has come to some of the newer version: that is of no use, and
   leaves its stripes. */
static void test_partly(void **state)
{
	size_t second;
	struct world *w = partly_written_of(&second);

	anew_rebuild_older(w, second);
	protect(w);
	verify(w, "d/old", 1, PARTLY_LEN, 1);
	anew_come_back(w, 0);
	protect(w);
	verify(w, "d/old", 1, PARTLY_LEN, 2);
	assert_int_equal(pending_of(w), 0);
	verify_decodable(w);
	world_free(w);
}

/* --- drives that fail, or are full, right there ------------------------------------ */

/*
 * What must be true (invariants 2 and 4): until the file that comes back is
 * protected itself, its older version stays where it is protected, and the
 * catalogue knows what the file was. So whatever fails, nothing is told to be
 * lost, the share has the file with these very bytes or not at all, and the next
 * rebuild brings it back.
 */
struct shape_of {
	struct world *(*make)(size_t *second);
	size_t len;
};

static const struct shape_of shapes[] = {
	{written_of, LEN},
	{partly_written_of, PARTLY_LEN},
};

#define NUM_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static const char *const points[] = {
	"rebuild-stage",  "rebuild-write",  "rebuild-attributes",
	"rebuild-sync",   "rebuild-place",  "rebuild-placed",
	"rebuild-commit", "rebuild-row",    "catalog-commit",
	"catalog-part",   "catalog-store",  "catalog-parts-written",
	"blob-write",     "blob-rename",    "blob-remove",
	"stripes-job",    "stripes-old",    "stripes-sync",
	"stripes-write",  "live-read",      "decode-blob",
	"dir-clone",      "directory-copy",
};

#define NUM_POINTS (sizeof(points) / sizeof(points[0]))

static void count_points(const struct shape_of *shape, unsigned long *times)
{
	struct anew_outcome outcome;
	size_t second;
	struct world *w = shape->make(&second);
	size_t i;

	setenv("MRMR_FAULT", "none", 1);
	assert_int_equal(anew_rebuild(w, second, false, &outcome), 0);
	assert_true(outcome.result.is_complete);
	for (i = 0; i < NUM_POINTS; i++) {
		times[i] = mrmr_fault_times(points[i]);
	}
	unsetenv("MRMR_FAULT");
	world_free(w);
}

/* Whole and right, or not there. */
static void check_never_wrong(struct world *w, size_t len)
{
	uint8_t *bytes = seeded(1, len);
	uint8_t *got = malloc(len + 1);
	int fd = do_open(w, "d/old", O_RDONLY);

	assert_non_null(got);
	if (fd == -1) {
		assert_int_equal(errno, ENOENT);
	} else {
		assert_int_equal(pread(fd, got, len + 1, 0), (ssize_t)len);
		assert_memory_equal(got, bytes, len);
		close(fd);
	}
	free(got);
	free(bytes);
}

/* What could not be done is done now. */
static void check_goes_on(struct world *w, const struct shape_of *shape,
			  size_t second, const struct anew_outcome *before)
{
	struct anew_outcome outcome;

	if (!before->result.is_complete) {
		assert_int_equal(anew_rebuild(w, second, true, &outcome), 0);
		assert_int_equal(outcome.lost + outcome.taken, 0);
		protect(w);
	}
	assert_int_equal(anew_rebuild(w, second, false, &outcome), 0);
	assert_int_equal(outcome.lost + outcome.taken + outcome.failed, 0);
	assert_int_equal(outcome.older + before->older, 1);
	assert_true(outcome.result.is_complete);
	protect(w);
	assert_int_not_equal(do_where(w, "d/old"), second);
	verify(w, "d/old", 1, shape->len, 1);
	anew_come_back(w, 0);
	assert_int_equal(world_trashed(w, 0, "old"), 1);
	protect(w);
	verify(w, "d/old", 1, shape->len, 2);
	assert_int_equal(pending_of(w), 0);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

static void run_failing(const struct shape_of *shape, const char *fault)
{
	struct anew_outcome outcome;
	size_t second;
	struct world *w = shape->make(&second);

	setenv("MRMR_FAULT", fault, 1);
	anew_rebuild(w, second, false, &outcome);
	unsetenv("MRMR_FAULT");
	verify_computable(w, 0);
	check_never_wrong(w, shape->len);
	check_goes_on(w, shape, second, &outcome);
}

/* The first time, the last time, and each time. */
static void fail_at(const struct shape_of *shape, const char *point,
		    unsigned long times, const char *error)
{
	char fault[64];

	if (times == 0) {
		return;
	}
	snprintf(fault, sizeof(fault), "%s=%s", point, error);
	run_failing(shape, fault);
	if (times > 1) {
		snprintf(fault, sizeof(fault), "%s#1=%s", point, error);
		run_failing(shape, fault);
		snprintf(fault, sizeof(fault), "%s#%lu=%s", point, times,
			 error);
		run_failing(shape, fault);
	}
}

static void test_failing(void **state)
{
	static const char *const errors[] = {"EIO", "ENOSPC"};
	unsigned long times[NUM_SHAPES][NUM_POINTS];
	size_t s, i, e;

	for (s = 0; s < NUM_SHAPES; s++) {
		count_points(&shapes[s], times[s]);
	}
	for (i = 0; i < NUM_POINTS; i++) {
		if (times[0][i] + times[1][i] == 0) {
			fail_msg("%s is not reached", points[i]);
		}
		for (s = 0; s < NUM_SHAPES; s++) {
			for (e = 0; e < 2; e++) {
				fail_at(&shapes[s], points[i], times[s][i],
					errors[e]);
			}
		}
	}
}

/* Nor is its older version let go of before the file is protected. */
static void test_cannot_be_protected(void **state)
{
	static const char *const faults[] = {"blob-write=ENOSPC",
					     "stripes-write=EIO",
					     "live-read=EIO",
					     "protect-applied=ENOSPC",
					     "protect-synced=EIO"};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct mrmr_protect_result result;
		size_t second;
		size_t third;
		struct world *w = written_of(&second);

		anew_rebuild_older(w, second);
		third = do_where(w, "d/old");
		setenv("MRMR_FAULT", faults[i], 1);
		try_protect(w, &result);
		unsetenv("MRMR_FAULT");
		verify_computable(w, 0);
		world_plug(w, 0);
		world_unplug(w, third);
		world_later(w);
		anew_rebuild_older(w, third);
		assert_int_not_equal(do_where(w, "d/old"), SIZE_MAX);
		anew_check_end(w, 1);
	}
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_first_comes_later),
	cmocka_unit_test(test_first_comes_before),
	cmocka_unit_test(test_both_are_rebuilt),
	cmocka_unit_test(test_second_comes_back),
	cmocka_unit_test(test_and_once_more),
	cmocka_unit_test(test_removed),
	cmocka_unit_test(test_drives_are_full),
	cmocka_unit_test(test_trash_is_emptied),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_killed),
	cmocka_unit_test(test_partly),
	cmocka_unit_test(test_failing),
	cmocka_unit_test(test_cannot_be_protected),
#endif
};

int main(void)
{
	return WORLD_MAIN("gone_rebuilt", tests);
}
