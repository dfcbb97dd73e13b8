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

#include "killed.h"
#include "protecting.h"

/* tdb_private.h: a header of 168 bytes, with the number of chains at 36; then, 4 bytes
   each, where the free list and the chains begin. */
#define AT_NUM_CHAINS 36
#define AT_CHAINS (168 + 4)

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

static uint32_t number_at(int fd, off_t at)
{
	uint32_t number = 0;

	assert_int_equal(pread(fd, &number, sizeof(number), at),
			 sizeof(number));
	return number;
}

static void put_number(int fd, off_t at, uint32_t number)
{
	assert_int_equal(pwrite(fd, &number, sizeof(number), at),
			 sizeof(number));
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
	size_t num_lost = 0;
	uint32_t num_chains = 1;
	uint32_t i;

	(void)state;
	for (i = 0; i < num_chains; i++) {
		struct world *w = with_preimages();
		size_t kept = count_kept(w);
		uint32_t chain;
		int fd;

		assert_true(kept >= 8);
		world_close(w);
		close(open(world_path(w, "state/protecting"),
			   O_WRONLY | O_CREAT, 0600));
		fd = open(world_path(w, "state/catalogue/0.tdb"), O_RDWR);
		assert_return_code(fd, errno);
		num_chains = number_at(fd, AT_NUM_CHAINS);
		do {
			chain = number_at(fd, AT_CHAINS + 4 * (off_t)i);
		} while (chain == 0 && ++i < num_chains);
		if (chain != 0) {
			put_number(fd, AT_CHAINS + 4 * (off_t)i, 0);
			num_lost++;
		}
		close(fd);
		world_open(w);
		killed_at(w, "", begin, NULL);
		if (count_kept(w) < kept) {
			fail_msg("chain %u: %zu files are left of %zu", i,
				 count_kept(w), kept);
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
