/*
 * Unit tests: the catalogue is made anew while a file system is full to its last
 * byte: a member's, or that of the state directory.
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

#include <mrmr/recover.h>

#include "protecting.h"
#include "recovering.h"

#ifdef MRMR_WITH_FAULTS

/* A drive that is full to its last byte, whose part was not closed well: to repair
   it takes no room. */
static void test_drive_is_full(void **state)
{
	static const char *const faults[] = {
		"catalog-part#1=kill",    "catalog-part#3=kill",
		"catalog-prepare#2=kill", "catalog-file#1=kill",
		"catalog-file#3=kill",    "catalog-store#2=kill",
	};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = recover_busy_world();
		struct mrmr_recover_result result;
		size_t full = i % 3;

		client_write(w, "d/f1", 99, 7777);
		client_write_on(w, 2, "d/new", 98, 5000);
		assert_true(protect_killed(w, faults[i]));
		world_close(w);
		lose_catalogue(w, true);
		world_fill(w, full);
		world_open(w);
		result = recover_well(w);
		assert_int_equal(result.num_damaged, 0);
		verify(w, "d/f5", 6, 3500, 1);
		verify_decodable(w);
		world_unfill(w, full);
		world_close(w);
		recover_check(w);
		verify(w, "d/f1", 99, 7777, 1);
		verify(w, "d/new", 98, 5000, 1);
		world_free(w);
	}
}

#endif

/* The state directory on a file system of its own. */
static void mount_state(struct world *w)
{
	char command[2048];
	const char *dir = world_path(w, "state");

	snprintf(command, sizeof(command),
		 "cp -a %s %s.old && mount -t tmpfs -o size=16m state %s && "
		 "cp -a %s.old/. %s",
		 dir, dir, dir, dir, dir);
	assert_int_equal(system(command), 0);
}

static void fill_state(struct world *w)
{
	static const uint8_t bytes[4096] = {1};
	int fd = open(world_path(w, "state/filler"), O_WRONLY | O_CREAT, 0600);

	assert_return_code(fd, errno);
	while (write(fd, bytes, sizeof(bytes)) == sizeof(bytes)) {
	}
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

/* It is named, and nothing has changed; with room, recover goes on. */
static void test_state_is_full(void **state)
{
	unsigned int replace;

	for (replace = 0; replace < 2; replace++) {
		struct world *w = recover_busy_world();
		struct mrmr_recover_result result;
		struct mrmr_error err = {0};

		world_close(w);
		if (!replace) {
			lose_catalogue(w, false);
		}
		mount_state(w);
		world_open(w);
		fill_state(w);
		assert_int_equal(try_recover(w, replace, &result, &err), -1);
		assert_int_equal(err.code, ENOSPC);
		assert_non_null(strstr(err.text, w->pool->config->state_dir));
		assert_int_equal(mrmr_recover_look(w->pool, &err), replace);
		assert_return_code(unlink(world_path(w, "state/filler")),
				   errno);
		if (try_recover(w, replace, &result, &err) == -1) {
			fail_msg("%s", err.text);
		}
		assert_int_equal(result.num_damaged, 0);
		world_close(w);
		recover_check(w);
		world_free(w);
	}
}

static const struct CMUnitTest tests[] = {
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_drive_is_full),
#endif
	cmocka_unit_test(test_state_is_full),
};

int main(void)
{
	return WORLD_MAIN("recover_full", tests);
}
