/*
 * Unit tests: records of what is to be done on a member that is away.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

static void record_path(char path[64], size_t i)
{
	snprintf(path, 64, "state/intents/%020zu.json", i + 20);
}

/* A record that nobody can read stays for a person to look at, and keeps nobody
   from anything. */
static void a_record_that_cannot_be_read(void **state)
{
	static const char *const names[] = {"a%4", "a%", "a%xy", "a%00",
					    "a% 4"};
	struct world *w = world_new(&(struct world_shape){.num_members = 2});
	const char *log = NULL;
	size_t i;

	world_close(w);
	world_write(world_path(w, "state/intents/00000000000000000007.json"),
		    "{\"kind\": \"rename-directory\", \"from\":");
	world_write(world_path(w, "state/intents/00000000000000000008.json"),
		    "{\"kind\": \"of a later version\", \"from\": \"a\", "
		    "\"to\": \"b\"}");
	/* names that end in the middle of a byte, or have one that none has */
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];
		char text[200];

		record_path(path, i);
		snprintf(text, sizeof(text),
			 "{\"kind\": \"rename-directory\", \"from\": \"%s\", "
			 "\"to\": \"b\", \"members\": []}",
			 names[i]);
		world_write(world_path(w, path), text);
	}
	world_log();
	world_open(w);
	log = world_log();
	assert_non_null(strstr(log, "00000000000000000007.json"));
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];

		record_path(path, i);
		assert_non_null(strstr(log, strrchr(path, '/') + 1));
	}
	assert_true(w->pool->all_online);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];

		record_path(path, i);
		assert_true(world_there(world_path(w, path)));
	}
	world_write(world_member(w, 0, "a/f"), "f");
	assert_int_equal(do_rename(w, "a", "b"), 0);
	assert_string_equal(do_read(w, "b/f"), "f");
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_that_cannot_be_read),
	};

	return WORLD_MAIN("intents", tests);
}
