/*
 * Unit tests: a catalogue of which bits have turned may not know what it knew. What
 * others need is not taken for garbage then.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "hidden.h"
#include "killed.h"
#include "protecting.h"

/* Pre-images of d/f, on 0, and parity of all: how many files. */
static size_t count_kept(struct world *w)
{
	static const char *const below[] = {".mrmr/undo/*/*.*",
					    ".mrmr/parity/*/*.blob"};
	size_t num = 0;
	size_t i;
	size_t j;

	for (i = 0; i < w->shape.num_members; i++) {
		for (j = 0; j < 2; j++) {
			glob_t found = {0};

			if (glob(world_drive(w, i, below[j]), 0, NULL,
				 &found) == 0) {
				num += found.gl_pathc;
			}
			globfree(&found);
		}
	}
	return num;
}

/* It begins, as after a kill, and hears; as far as it comes. */
static void begin(struct world *w, void *private_data)
{
	const struct mrmr_protect_options options = {.names_only = true};
	struct mrmr_engine *engine = NULL;
	struct mrmr_protect_result result;

	(void)private_data;
	engine = mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE, NULL);
	if (engine != NULL) {
		mrmr_protect(engine, &options, &result, NULL);
	}
}

static struct world *with_preimages(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4, .parity = "1"});
	unsigned int i;
	char path[32];

	for (i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "d/f%u", i);
		client_write_on(w, i % 4, path, 1 + i, 30000);
	}
	protect(w);
	for (i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "d/f%u", i);
		client_overwrite(w, path, 100 + i, 2000, 500);
	}
	return w;
}

/* One chain after another has lost all its records. */
static void test_lost_records(void **state)
{
	uint32_t num_lost = 0;
	uint32_t chain = 0;
	bool any = true;

	(void)state;
	for (; any; num_lost++) {
		struct world *w = with_preimages();
		size_t kept = count_kept(w);

		assert_true(kept >= 8);
		world_close(w);
		close(open(world_path(w, "state/protecting"),
			   O_WRONLY | O_CREAT, 0600));
		any = hide_chain(w, &chain);
		world_open(w);
		killed_at(w, "", begin, NULL);
		if (count_kept(w) < kept) {
			fail_msg("chain %u: %zu files are left of %zu",
				 chain - 1, count_kept(w), kept);
		}
		world_free(w);
	}
	assert_true(num_lost > 10);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_lost_records),
};

int main(void)
{
	return WORLD_MAIN("tidy_damaged", tests);
}
