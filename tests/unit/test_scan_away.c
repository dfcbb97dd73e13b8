/*
 * Unit tests: a scan while a member is away, after directories were renamed: what
 * the member has in them is shown, read, and rebuilt. And after a file was renamed
 * over one that the member has: both are needed by the others.
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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>

#include "protecting.h"

#define LEN 30000

/* Files of the first member, which leaves, beside and below those of others. */
static struct world *pool_of(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	assert_int_equal(do_mkdir(w, "a/d", 0750), 0);
	client_write_on(w, 0, "a/d/lost", 1, LEN);
	client_write_on(w, 0, "a/d/sub/deep", 2, LEN + 1);
	client_write_on(w, 1, "a/d/here", 3, LEN);
	client_write_on(w, 2, "a/too", 4, LEN);
	protect(w);
	return w;
}

static void leave(struct world *w)
{
	world_unplug(w, 0);
	world_later(w);
}

/* --- the event of the rename was lost ------------------------------------------- */

static struct world *renamed_of(void)
{
	struct world *w = pool_of();

	assert_int_equal(do_rename(w, "a/d", "a/e"), 0);
	lose_events(w);
	leave(w);
	return w;
}

/* Nobody knows of the new name but the member itself: its files are under the old
   one, in directories that no member has. */
static void test_shown(void **state)
{
	struct world *w = renamed_of();
	struct stat st;
	size_t member;

	protect(w);
	assert_string_equal(world_where(w, "a/d"), "s");
	serve(w);
	assert_string_equal(do_list(w, "a"), "d/ e/ too");
	assert_string_equal(do_list(w, "a/e"), "here sub/");
	assert_string_equal(do_list(w, "a/d"), "lost sub/");
	assert_string_equal(do_list(w, "a/d/sub"), "deep");
	verify_served(w, "a/d/lost", 1, LEN);
	verify_served(w, "a/d/sub/deep", 2, LEN + 1);
	assert_int_equal(do_stat(w, "a/d", &member, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0750);
	stop_serving(w);
	/* once more: it is there */
	lose_events(w);
	protect(w);
	assert_string_equal(world_where(w, "a/d"), "s");

	world_plug(w, 0);
	world_later(w);
	protect(w);
	assert_string_equal(do_list(w, "a"), "e/ too");
	assert_string_equal(do_list(w, "a/e"), "here lost sub/");
	verify(w, "a/e/lost", 1, LEN, 2);
	verify(w, "a/e/sub/deep", 2, LEN + 1, 2);
	verify(w, "a/e/here", 3, LEN, 2);
	verify_unknown(w, "a/d");
	assert_int_equal(pending_of(w), 0);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* It does not come back: whether the scan has been there or not. */
static void test_rebuilt(void **state)
{
	unsigned int scanned;

	for (scanned = 0; scanned < 2; scanned++) {
		struct world *w = renamed_of();

		if (scanned) {
			protect(w);
		}
		assert_true(rebuild_lost(w, 0, false));
		protect(w);
		assert_string_equal(do_list(w, "a"), "d/ e/ too");
		assert_string_equal(do_list(w, "a/d"), "lost sub/");
		assert_int_not_equal(do_where(w, "a/d/lost"), 0);
		verify(w, "a/d/lost", 1, LEN, 2);
		verify(w, "a/d/sub/deep", 2, LEN + 1, 2);
		verify(w, "a/e/here", 3, LEN, 2);
		assert_int_equal(pending_of(w), 0);
		verify_decodable(w);
		world_free(w);
	}
}

/* --- what clients did while it was away -------------------------------------------- */

/* What is noted for the member tells of it. */
static void test_moved(void **state)
{
	struct world *w = pool_of();

	leave(w);
	serve(w);
	assert_int_equal(do_rename(w, "a/d", "a/e"), 0);
	assert_int_equal(do_rename(w, "a/e/sub", "a/s"), 0);
	assert_int_equal(do_mkdir(w, "a/d", 0755), 0);
	assert_int_equal(do_rename(w, "a/d", "a/f"), 0);
	stop_serving(w);
	lose_events(w);
	protect(w);
	serve(w);
	assert_string_equal(do_list(w, "a"), "e/ f/ s/ too");
	assert_string_equal(do_list(w, "a/e"), "here lost");
	assert_string_equal(do_list(w, "a/s"), "deep");
	verify_served(w, "a/e/lost", 1, LEN);
	verify_served(w, "a/s/deep", 2, LEN + 1);
	stop_serving(w);
	world_plug(w, 0);
	world_later(w);
	protect(w);
	assert_string_equal(do_list(w, "a"), "e/ f/ s/ too");
	verify(w, "a/e/lost", 1, LEN, 2);
	verify(w, "a/s/deep", 2, LEN + 1, 2);
	assert_int_equal(pending_of(w), 0);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* What a client removed does not come back with its directory. */
static void test_removed(void **state)
{
	struct world *w = pool_of();

	leave(w);
	serve(w);
	assert_int_equal(do_unlink(w, "a/d/sub/deep"), 0);
	assert_int_equal(do_rmdir(w, "a/d/sub"), 0);
	stop_serving(w);
	lose_events(w);
	protect(w);
	serve(w);
	assert_string_equal(do_list(w, "a/d"), "here lost");
	stop_serving(w);
	world_plug(w, 0);
	world_later(w);
	protect(w);
	assert_string_equal(do_list(w, "a/d"), "here lost");
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* --- in the middle of a scan ----------------------------------------------------- */

struct client {
	struct world *w;
	unsigned int calls;
	unsigned int when;
};

/* Between two directories. */
static bool act(void *private_data)
{
	struct client *client = private_data;

	if (++client->calls == client->when) {
		assert_int_equal(do_rename(client->w, "a/d", "a/e"), 0);
	}
	return false;
}

static void test_renamed_meanwhile(void **state)
{
	unsigned int when = 1;
	bool was_called = true;

	for (when = 1; was_called; when++) {
		struct world *w = pool_of();
		struct client client = {.w = w, .when = when};
		const struct mrmr_protect_options options = {
			.everything = true,
			.scan = true,
			.should_stop = act,
			.private_data = &client,
		};
		struct mrmr_protect_result result;
		struct mrmr_error err = {0};
		struct mrmr_engine *engine = NULL;

		leave(w);
		engine = open_engine(w, MRMR_ENGINE_WRITE);
		if (mrmr_protect(engine, &options, &result, &err) == -1) {
			fail_msg("%u: %s", when, err.text);
		}
		talloc_free(engine);
		was_called = client.calls >= when;
		if (was_called) {
			serve(w);
			assert_string_equal(do_list(w, "a"), "e/ too");
			assert_string_equal(do_list(w, "a/e"),
					    "here lost sub/");
			assert_string_equal(do_list(w, "a/e/sub"), "deep");
			verify_served(w, "a/e/lost", 1, LEN);
			stop_serving(w);
		}
		world_free(w);
	}
	assert_true(when > 6);
}

/* --- a file has the name of one that is away ---------------------------------------- */

/* A stripe of three files. One was renamed over another, and nobody has told. */
static struct world *replaced_of(size_t moves, size_t taken)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	client_write_on(w, moves, "a/moves", 1, LEN);
	client_write_on(w, taken, "b/taken", 2, LEN + 1);
	client_write_on(w, 2, "c/other", 3, LEN + 2);
	protect(w);
	assert_int_equal(do_rename(w, "a/moves", "b/taken"), 0);
	lose_events(w);
	world_unplug(w, taken);
	world_unplug(w, 2);
	world_later(w);
	return w;
}

/* With two members away, the third file of the stripe is needed: it is there,
   though not under the name that the catalogue has, and cannot have the other. */
static void check_replaced(struct world *w)
{
	serve(w);
	verify_served(w, "c/other", 3, LEN + 2);
	stop_serving(w);
	verify_unknown(w, "a/moves");
}

static void test_replaced(void **state)
{
	size_t order;

	for (order = 0; order < 2; order++) {
		size_t taken = 1 - order;
		struct world *w = replaced_of(order, taken);

		protect(w);
		check_replaced(w);
		assert_int_equal(pending_of(w), 1);
		/* once more: all of it is found again */
		lose_events(w);
		protect(w);
		check_replaced(w);
		world_plug(w, taken);
		world_later(w);
		protect(w);
		check_replaced(w);
		assert_int_equal(do_where(w, "b/taken"), order);
		assert_int_equal(world_trashed(w, taken, "taken"), 1);
		world_plug(w, 2);
		world_later(w);
		protect(w);
		verify(w, "c/other", 3, LEN + 2, 2);
		verify(w, "b/taken", 1, LEN, 2);
		assert_int_equal(pending_of(w), 0);
		verify_decodable(w);
		verify_tidy(w);
		world_free(w);
	}
}

/* Killed at any commit of the scan, or behind it. */
static void test_replaced_and_killed(void **state)
{
	static const char *const points[] = {"protect-scan=kill",
					     "protect-before-drop=kill",
					     "protect-applied=kill",
					     "protect-committed=kill"};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_replaced_and_killed: no faults "
		      "built\n");
	return;
#endif
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct world *w = replaced_of(0, 1);

		protect_killed(w, points[i]);
		protect(w);
		check_replaced(w);
		world_free(w);
	}
}

/* A member does not come back, and the other one is away. */
static void test_replaced_and_rebuilt(void **state)
{
	struct world *w = replaced_of(0, 1);

	protect(w);
	assert_true(rebuild_lost(w, 2, false));
	assert_int_not_equal(do_where(w, "c/other"), SIZE_MAX);
	world_plug(w, 1);
	world_later(w);
	protect(w);
	verify(w, "c/other", 3, LEN + 2, 2);
	verify(w, "b/taken", 1, LEN, 2);
	assert_int_equal(pending_of(w), 0);
	world_free(w);
}

/* The one that was replaced is back after a power cut, on another member, which
   comes first: nobody sees the new one. */
static struct world *hidden_of(size_t lost)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});
	char command[2048];

	client_write_on(w, 0, "b/taken", 2, LEN + 1);
	client_write_on(w, 1, "a/moves", 1, LEN);
	client_write_on(w, 2, "c/other", 3, LEN + 2);
	protect(w);
	assert_int_equal(do_rename(w, "a/moves", "b/taken"), 0);
	snprintf(command, sizeof(command), "mv %s/*/b/taken %s",
		 world_member(w, 0, ".mrmr/trash"),
		 world_member(w, 0, "b/taken"));
	assert_int_equal(system(command), 0);
	lose_events(w);
	world_unplug(w, 2);
	world_unplug(w, lost);
	world_later(w);
	return w;
}

/* The protector has seen it, and none of the others' bytes depends on more than
   there is. Frees the world. */
static void check_hidden(struct world *w, size_t lost)
{
	verify_computable(w, 2);
	serve(w);
	verify_served(w, "c/other", 3, LEN + 2);
	stop_serving(w);
	world_plug(w, 2);
	world_plug(w, lost);
	world_later(w);
	protect(w);
	verify_decodable(w);
	assert_int_equal(pending_of(w), 1);

	/* somebody removes the old one from its drive */
	assert_int_equal(do_where(w, "b/taken"), 0);
	assert_return_code(unlink(world_member(w, 0, "b/taken")), errno);
	lose_events(w);
	world_later(w);
	protect(w);
	assert_int_equal(do_where(w, "b/taken"), 1);
	verify(w, "b/taken", 1, LEN, 2);
	verify(w, "c/other", 3, LEN + 2, 2);
	assert_int_equal(pending_of(w), 0);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

static void test_hidden(void **state)
{
	size_t lost;

	for (lost = 3; lost < 5; lost++) {
		struct world *w = hidden_of(lost);

		protect(w);
		check_hidden(w, lost);
	}
}

#ifdef MRMR_WITH_FAULTS

static const char *const points[] = {
	"protect-events",  "protect-scan",  "scan-hidden",
	"names-set-aside", "listing-read",  "catalog-commit",
	"catalog-part",    "catalog-store", "catalog-parts-written",
	"look-inode",
};

#define NUM_POINTS (sizeof(points) / sizeof(points[0]))

static void disturb(const char *fault, bool is_kill, size_t lost)
{
	struct world *w = hidden_of(lost);

	print_message("%s, without %zu\n", fault, lost);
	protect_disturbed(w, fault, is_kill);
	protect(w);
	check_hidden(w, lost);
}

static void disturb_at(const char *point, unsigned long nth)
{
	size_t lost;

	for (lost = 3; lost < 5; lost++) {
		char fault[64];

		snprintf(fault, sizeof(fault), "%s#%lu=kill", point, nth);
		disturb(fault, true, lost);
		snprintf(fault, sizeof(fault), "%s#%lu=EIO", point, nth);
		disturb(fault, false, lost);
	}
}

/* It is known before anybody takes it for lost, wherever the protector is killed,
   and whatever cannot be looked at (invariant 2). */
static void test_hidden_and_disturbed(void **state)
{
	unsigned long times[NUM_POINTS];
	struct world *w = hidden_of(3);
	size_t i;

	setenv("MRMR_FAULT", "none", 1);
	protect(w);
	for (i = 0; i < NUM_POINTS; i++) {
		times[i] = mrmr_fault_times(points[i]);
	}
	unsetenv("MRMR_FAULT");
	world_free(w);
	for (i = 0; i < NUM_POINTS; i++) {
		if (times[i] == 0) {
			fail_msg("%s is not reached", points[i]);
		}
		disturb_at(points[i], 1);
		if (times[i] > 1) {
			disturb_at(points[i], times[i]);
		}
	}
}

/* What cannot be looked at is told, and nothing is taken for lost before it can be. */
static void test_hidden_and_unseen(void **state)
{
	struct world *w = hidden_of(3);
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	const struct mrmr_protect_options options = {.everything = true};
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	setenv("MRMR_FAULT", "scan-hidden=EIO", 1);
	assert_int_equal(mrmr_protect(engine, &options, &result, &err), -1);
	unsetenv("MRMR_FAULT");
	assert_int_equal(err.code, EIO);
	assert_non_null(strstr(err.text, "'b/taken'"));
	assert_non_null(
		strstr(err.text, mrmr_member_name(&w->pool->members[1])));
	talloc_free(engine);
	world_later(w);
	protect(w);
	check_hidden(w, 3);

	/* only its name is not to be read: it is asked for */
	w = hidden_of(3);
	setenv("MRMR_FAULT", "listing-read=EIO", 1);
	protect(w);
	unsetenv("MRMR_FAULT");
	check_hidden(w, 3);
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_shown),
	cmocka_unit_test(test_rebuilt),
	cmocka_unit_test(test_moved),
	cmocka_unit_test(test_removed),
	cmocka_unit_test(test_renamed_meanwhile),
	cmocka_unit_test(test_replaced),
	cmocka_unit_test(test_replaced_and_killed),
	cmocka_unit_test(test_replaced_and_rebuilt),
	cmocka_unit_test(test_hidden),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_hidden_and_disturbed),
	cmocka_unit_test(test_hidden_and_unseen),
#endif
};

int main(void)
{
	return WORLD_MAIN("scan_away", tests);
}
