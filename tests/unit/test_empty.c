/*
 * Unit tests: files that are protected as empty ones, and are written to later.
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/protection.h>
#include <mrmr/rebuild.h>
#include <mrmr/serve.h>

#include "protecting.h"

#define LEN 30000

struct told {
	unsigned int num[5];
};

static void tell(enum mrmr_rebuild_trouble kind, const char *path,
		 uint64_t size_bytes, const char *why, void *private_data)
{
	struct told *told = private_data;

	told->num[kind]++;
}

static bool accept_loss(const struct mrmr_rebuild_result *result,
			void *private_data)
{
	return true;
}

static struct told rebuild_told(struct world *w, size_t lost)
{
	struct told told = {0};
	const struct mrmr_rebuild_options options = {
		.lost = lost,
		.onto = MRMR_REBUILD_SPREAD,
		.trouble = tell,
		.accept_loss = accept_loss,
		.private_data = &told,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	if (mrmr_rebuild(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	assert_true(result.is_complete);
	talloc_free(engine);
	return told;
}

static struct world *pool_of(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	client_write_on(w, 0, "d/empty", 1, 0);
	client_write_on(w, 0, "d/other", 2, LEN);
	client_write_on(w, 1, "d/here", 3, LEN);
	protect(w);
	assert_int_equal(pending_of(w), 0);
	return w;
}

static void lose(struct world *w)
{
	world_unplug(w, 0);
	world_later(w);
}

/* When does the protector hear that it is not empty any more? */
enum hears {
	NEVER,
	BEFORE, /* it had no time to protect it */
	AFTER,  /* when the member is gone */
	BY_SCAN,
	NUM_HEARS,
};

static void test_comes_back_empty(void **state)
{
	enum hears hears;

	for (hears = 0; hears < NUM_HEARS; hears++) {
		struct world *w = NULL;
		struct told told;
		struct stat st;
		size_t member;

#ifndef MRMR_WITH_FAULTS
		if (hears == BEFORE || hears == BY_SCAN) {
			continue;
		}
#endif
		w = pool_of();
		client_write(w, "d/empty", 4, LEN);
		if (hears == BY_SCAN) {
			assert_return_code(
				truncate(world_path(w, "state/queue/log"), 0),
				errno);
			mrmr_tell(w->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0,
				  "", NULL);
			assert_true(protect_killed(w, "protect-declared=kill"));
		}
		if (hears == BEFORE) {
			assert_true(protect_killed(w, "protect-events=kill"));
		}
		lose(w);
		if (hears == AFTER) {
			protect(w);
		}
		told = rebuild_told(w, 0);
		assert_int_equal(told.num[MRMR_REBUILD_UNPROTECTED], 0);
		assert_int_equal(told.num[MRMR_REBUILD_LOST], 0);
		assert_int_equal(told.num[MRMR_REBUILD_OLDER], 1);
		assert_int_equal(do_stat(w, "d/empty", &member, &st), 0);
		assert_int_equal(st.st_size, 0);
		assert_int_not_equal(member, 0);
		protect(w);
		assert_int_equal(pending_of(w), 0);
		verify(w, "d/other", 2, LEN, 2);
		verify_decodable(w);
		world_free(w);
	}
}

/* Its times and attributes are those that it has now. */
static void test_is_empty_still(void **state)
{
	const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 7}};
	struct world *w = pool_of();
	struct told told;
	struct stat st;
	size_t member;
	int fd = do_open(w, "d/empty", O_RDWR);

	assert_return_code(fd, errno);
	assert_return_code(fchmod(fd, 0640), errno);
	assert_return_code(futimens(fd, times), errno);
	close(fd);
	client_tell(w, "d/empty", MRMR_EVENT_CHANGED);
	protect(w);
	assert_int_equal(pending_of(w), 0);
	lose(w);
	told = rebuild_told(w, 0);
	assert_int_equal(told.num[MRMR_REBUILD_UNPROTECTED], 0);
	assert_int_equal(told.num[MRMR_REBUILD_OLDER], 0);
	assert_int_equal(do_stat(w, "d/empty", &member, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(st.st_mtim.tv_sec, 7);
	world_free(w);
}

/* One that is open for writing is protected when it is closed. */
static void test_is_open(void **state)
{
	struct world *w = pool_of();
	struct mrmr_protect_result result;
	struct told told;
	int fd;

	world_write(world_member(w, 0, "d/new"), "");
	mrmr_dir_cache_clear(w->pool);
	fd = do_open(w, "d/new", O_WRONLY);
	assert_return_code(fd, errno);
	client_tell(w, "d/new", MRMR_EVENT_CHANGED);
	assert_int_equal(try_protect(w, &result), 0);
	assert_int_equal(result.open_files, 1);
	assert_int_equal(pending_of(w), 1);

	close(fd);
	protect(w);
	assert_int_equal(pending_of(w), 0);

	/* and one that was not, until its member was lost */
	world_write(world_member(w, 0, "d/newer"), "");
	mrmr_dir_cache_clear(w->pool);
	fd = do_open(w, "d/newer", O_WRONLY);
	assert_return_code(fd, errno);
	client_tell(w, "d/newer", MRMR_EVENT_CHANGED);
	assert_int_equal(try_protect(w, &result), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	lose(w);
	told = rebuild_told(w, 0);
	assert_int_equal(told.num[MRMR_REBUILD_UNPROTECTED], 1);
	assert_int_equal(do_where(w, "d/newer"), SIZE_MAX);
	assert_int_not_equal(do_where(w, "d/new"), SIZE_MAX);
	world_free(w);
}

/* It is written to while its member is away, so it is on another one, which
   leaves as well: it is there as it was. */
static void test_two_leave(void **state)
{
	struct world *w = pool_of();
	struct stat st;
	size_t member;

	lose(w);
	assert_int_equal(mrmr_serve_start(w->pool, NULL), 0);
	world_use(w);
	member = client_make_anew(w, "d", "empty");
	client_write(w, "d/empty", 5, LEN);
	world_unplug(w, member);
	world_later(w);
	assert_int_equal(do_stat(w, "d/empty", &member, &st), 0);
	assert_int_equal(st.st_size, 0);
	mrmr_serve_stop(w->pool);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_comes_back_empty),
		cmocka_unit_test(test_is_empty_still),
		cmocka_unit_test(test_is_open),
		cmocka_unit_test(test_two_leave),
	};

	return WORLD_MAIN("empty", tests);
}
