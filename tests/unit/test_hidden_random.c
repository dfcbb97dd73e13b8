/*
 * Unit tests: bits have turned in a catalogue, so that it has lost some records, and
 * whatever is done goes on with it. What the members know of it is true, and what was
 * protected is so still when it is made again from that.
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

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/rebuild.h>
#include <mrmr/scrub.h>

#include "drawn.h"
#include "hidden.h"
#include "killed.h"
#include "recovering.h"
#include "seeds.h"
#include "two_each.h"

#define SMALL 24
#define CHAINS 1024 /* of a small catalogue, most of them empty */
#define CONFIG ", \"block_size\": \"64K\""

/* --- what is there ---------------------------------------------------------------------- */

static const char *small_path(unsigned int i)
{
	static char path[32];

	snprintf(path, sizeof(path), "d/s%u", i);
	return path;
}

static size_t small_len(unsigned int i)
{
	return 3000 + 50 * i;
}

/* Beside f0 to f7. */
static struct world *new_world(void)
{
	struct world *w = two_each_new("1", "");
	unsigned int i;

	two_each_make(w);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (i = 0; i < SMALL; i++) {
		client_write_on(w, i % 4, small_path(i), 100 + i, small_len(i));
	}
	assert_int_equal(do_symlink(w, "f5", "d/link"), 0);
	client_tell(w, "d/link", MRMR_EVENT_CHANGED);
	assert_int_equal(do_link(w, "f5", "d/hard"), 0);
	client_write_on(w, 1, "t", 50, 80000);
	client_write_on(w, 2, "large", 51, 300000);
	protect(w);
	assert_int_equal(do_unlink(w, "t"), 0);
	client_overwrite(w, "f6", 6, 100, 0);
	protect(w);
	return w;
}

/* f4 to f7, and these, nobody changes. */
static void verify_rest(struct world *w)
{
	unsigned int i;

	two_each_verify(w, 4, 1);
	for (i = 0; i < SMALL; i++) {
		verify(w, small_path(i), 100 + i, small_len(i), 1);
	}
	verify(w, "large", 51, 300000, 1);
}

/* --- what is done, as far as it comes ---------------------------------------------------- */

static void run_protector(struct world *w, bool scan)
{
	const struct mrmr_protect_options options = {.scan = scan};
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};
	struct mrmr_engine *engine =
		mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE, &err);

	if (engine != NULL) {
		mrmr_protect(engine, &options, &result, &err);
		talloc_free(engine);
	}
	say("protector: %s\n", err.text);
}

static void do_overwrite(struct world *w)
{
	if (kind_of(w, "f1") != 0) {
		client_overwrite(w, "f1", 60, 3000, 70000);
	}
	if (kind_of(w, "f2") != 0) {
		client_overwrite(w, "f2", 61, 2 * BLOCK, 0);
	}
	run_protector(w, false);
}

static void do_shorten(struct world *w)
{
	client_write(w, "f3", 3, 100);
	run_protector(w, false);
}

static void do_make(struct world *w)
{
	if (kind_of(w, "g0") == 0) {
		client_write_on(w, 0, "g0", 62, 2 * BLOCK);
		client_write_on(w, 1, "d/g1", 63, 1000);
	}
	run_protector(w, false);
}

static void do_delete(struct world *w)
{
	do_unlink(w, "f0");
	do_unlink(w, "f2");
	run_protector(w, false);
}

static void do_renames(struct world *w)
{
	do_rename(w, "f0", "d/f");
	do_rename(w, "f1", "f2");
	run_protector(w, false);
}

static void do_scan(struct world *w)
{
	run_protector(w, true);
}

static void change_rows(struct world *w)
{
	world_configure(w, "2", CONFIG);
	run_protector(w, false);
	world_configure(w, "1", CONFIG);
	run_protector(w, false);
}

static void do_scrub(struct world *w)
{
	const struct mrmr_scrub_options options = {.repair = true,
						   .deep = true};
	struct mrmr_scrub_result result;
	struct mrmr_error err = {0};

	mrmr_scrub(w->pool, &options, &result, &err);
	say("scrub: %s\n", err.text);
}

static void empty_trash(struct world *w)
{
	world_configure(w, "1", CONFIG ", \"trash_days\": 0");
	run_protector(w, false);
}

/* As if it was away. */
static void do_rebuild(struct world *w)
{
	const struct mrmr_rebuild_options options = {
		.lost = 3,
		.onto = MRMR_REBUILD_SPREAD,
	};
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};
	struct mrmr_engine *engine = NULL;

	w->pool->members[3].state = MRMR_MEMBER_AWAY;
	engine = mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE, &err);
	if (engine != NULL) {
		mrmr_rebuild(engine, &options, &result, &err);
		talloc_free(engine);
	}
	say("rebuild: %s\n", err.text);
}

static const struct {
	const char *name;
	void (*fn)(struct world *w);
} deeds[] = {
	{"overwrite", do_overwrite}, {"shorten", do_shorten},
	{"make", do_make},           {"delete", do_delete},
	{"rename", do_renames},      {"scan", do_scan},
	{"rows", change_rows},       {"scrub", do_scrub},
	{"trash", empty_trash},      {"rebuild", do_rebuild},
};

static void do_some(struct world *w, void *private_data)
{
	const size_t num_deeds = sizeof(deeds) / sizeof(deeds[0]);
	unsigned int n = 1 + draw(3);

	(void)private_data;
	while (n-- > 0) {
		size_t i = draw(num_deeds);

		say("-- %s\n", deeds[i].name);
		deeds[i].fn(w);
	}
}

/* --- and what has come of it --------------------------------------------------------------- */

static void live(void)
{
	struct world *w = new_world();
	uint32_t chain = draw(CHAINS);

	world_close(w);
	if (!hide_chain(w, &chain)) {
		chain = 0;
		assert_true(hide_chain(w, &chain));
	}
	say("chain %u is lost\n", chain - 1);
	world_open(w);
	killed_at(w, "", do_some, NULL);
	world_close(w);
	lose_catalogue(w, false);
	world_open(w);
	recover_well(w);
	verify_decodable(w);
	verify_rest(w);
	world_free(w);
}

static void some_records_are_lost(void **state)
{
	(void)state;
	for_each_seed(live);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(some_records_are_lost),
	};

	return WORLD_MAIN("hidden_random", tests);
}
