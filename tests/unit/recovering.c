/*
 * Unit tests: losing a catalogue, and making it anew (see recovering.h).
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
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/staging.h>

#include "protecting.h"
#include "recovering.h"

void lose_catalogue(struct world *w, bool guard_too)
{
	int fd = open(world_path(w, "state"), O_RDONLY | O_DIRECTORY);

	assert_return_code(fd, errno);
	assert_return_code(mrmr_remove_tree(fd, "catalogue"), errno);
	if (guard_too) {
		mrmr_remove_tree(fd, "guard");
		mrmr_remove_tree(fd, "guard.bound");
		mrmr_remove_tree(fd, "queue");
	}
	close(fd);
}

int try_recover(struct world *w, bool replace,
		struct mrmr_recover_result *result, struct mrmr_error *err)
{
	const struct mrmr_recover_options options = {.replace = replace};

	return mrmr_recover(w->pool, &options, result, err);
}

struct mrmr_recover_result recover_well(struct world *w)
{
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};

	if (try_recover(w, false, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	return result;
}

struct world *recover_busy_world(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "1"});
	unsigned int i;

	for (i = 0; i < 12; i++) {
		char path[32];

		snprintf(path, sizeof(path), "d/f%u", i);
		client_write_on(w, i % 4, path, i + 1, 3000 + 100 * i);
	}
	protect(w);
	return w;
}

void recover_check(struct world *w)
{
	struct mrmr_error err = {0};

	world_open(w);
	if (mrmr_recover_look(w->pool, &err) != 1) {
		recover_well(w);
	}
	protect(w);
	verify(w, "d/f5", 6, 3500, 1);
	verify_decodable(w);
	verify_tidy(w);
	assert_return_code(rmdir(world_path(w, "state/staging")), errno);
}
