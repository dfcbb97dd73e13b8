/*
 * Unit tests: files of members that are away, which clients remove or replace:
 * their names in the catalogue give way, and what is protected stays so.
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/move.h>
#include <mrmr/protection.h>
#include <mrmr/rebuild.h>
#include <mrmr/serve.h>
#include <mrmr/undelete.h>

#include "killed.h"
#include "protecting.h"

#define LEN 30000

/* Three members with a file each, so that a stripe has three slots; the first
   is away. */
static struct world *pool_of(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});

	client_write_on(w, 0, "d/old", 1, LEN);
	client_write_on(w, 1, "d/here", 2, LEN);
	client_write_on(w, 2, "d/too", 3, LEN);
	protect(w);
	verify(w, "d/old", 1, LEN, 2);
	world_unplug(w, 0);
	world_later(w);
	return w;
}

static void come_back(struct world *w)
{
	world_plug(w, 0);
	world_later(w);
	assert_int_equal(w->pool->members[0].state, MRMR_MEMBER_ONLINE);
}

static uint64_t trash_bytes(struct world *w)
{
	return sums_of(w).trash_bytes;
}

/* A node of this name is in the catalogue, and lies on this member. */
static void check_member(struct world *w, const char *path, size_t member)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_node *node = NULL;

	assert_return_code(mrmr_catalog_find_path(engine->catalog, engine, path,
						  &node),
			   errno);
	assert_int_equal(mrmr_engine_member(engine, node->member), member);
	talloc_free(engine);
}

/* --- what has the name is protected at once ------------------------------------ */

enum way {
	RENAMED_OVER,
	MADE_ANEW,
	REMOVED,
	NUM_WAYS,
};

static void take_away(struct world *w, enum way way)
{
	serve(w);
	switch (way) {
	case RENAMED_OVER:
		client_write_on(w, 1, "d/new", 4, LEN + 1);
		assert_int_equal(do_rename(w, "d/new", "d/old"), 0);
		break;
	case MADE_ANEW:
		assert_int_equal(do_unlink(w, "d/old"), 0);
		client_write_on(w, 1, "d/old", 4, LEN + 1);
		break;
	default:
		assert_int_equal(do_unlink(w, "d/old"), 0);
		break;
	}
	stop_serving(w);
}

static void check_taken(struct world *w, enum way way)
{
	if (way == REMOVED) {
		verify_unknown(w, "d/old");
	} else {
		check_member(w, "d/old", 1);
	}
}

static void test_gives_way(void **state)
{
	enum way way;

	for (way = 0; way < NUM_WAYS; way++) {
		struct world *w = pool_of();

		take_away(w, way);
		protect(w);
		check_taken(w, way);
		/* its blocks still serve the others, and wait for it */
		assert_int_equal(trash_bytes(w), LEN);
		assert_int_equal(pending_of(w), 1);

		come_back(w);
		/* before the protector hears of it */
		verify(w, "d/here", 2, LEN, 2);
		protect(w);
		assert_int_equal(pending_of(w), 0);
		assert_int_equal(world_trashed(w, 0, "old"), 1);
		assert_int_equal(trash_bytes(w), LEN);
		check_taken(w, way);
		if (way != REMOVED) {
			verify(w, "d/old", 4, LEN + 1, 2);
		}
		verify(w, "d/here", 2, LEN, 2);
		verify_decodable(w);
		verify_tidy(w);
		world_free(w);
	}
}

/* The records of what was done are for the member; the events of it were lost.
   A scan finds out, also if nothing else has the name. */
static void test_events_are_lost(void **state)
{
	enum way way;

	for (way = 0; way < NUM_WAYS; way++) {
		struct world *w = pool_of();

		take_away(w, way);
		lose_events(w);
		protect(w);
		check_taken(w, way);
		assert_int_equal(trash_bytes(w), LEN);
		come_back(w);
		protect(w);
		assert_int_equal(world_trashed(w, 0, "old"), 1);
		check_taken(w, way);
		verify_decodable(w);
		verify_tidy(w);
		world_free(w);
	}
}

/* A file that nobody removed keeps its name, whatever else there is. */
static void test_keeps_its_name(void **state)
{
	struct world *w = pool_of();

	serve(w);
	assert_string_equal(do_list(w, "d"), "here old too");
	/* an earlier file of that name was removed, in another directory */
	assert_int_equal(do_rename(w, "d", "e"), 0);
	assert_int_equal(do_unlink(w, "e/old"), 0);
	stop_serving(w);
	protect(w);
	verify_unknown(w, "e/old");
	/* behind our back */
	world_write(world_member(w, 1, "top"), "x");
	mrmr_tell(w->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
	protect(w);
	check_member(w, "top", 1);
	world_free(w);

	w = pool_of();
	world_write(world_member(w, 1, "d/old"), "another");
	mrmr_tell(w->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
	protect(w);
	check_member(w, "d/old", 0);
	assert_int_equal(trash_bytes(w), 0);
	unlink(world_drive(w, 1, "d/old"));
	come_back(w);
	protect(w);
	verify(w, "d/old", 1, LEN, 2);
	verify_tidy(w);
	world_free(w);
}

/* --- killed ----------------------------------------------------------------------- */

/* private_data: the fault, which is for what the client does alone. */
static void remove_old(struct world *w, void *private_data)
{
	serve(w);
	setenv("MRMR_FAULT", private_data, 1);
	do_unlink(w, "d/old");
}

static void test_client_is_killed(void **state)
{
	static const char *const points[] = {"absent-remove=kill",
					     "absent-removed=kill",
					     "intent-name=kill",
					     "intent-sync=kill"};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_client_is_killed: no faults built\n");
	return;
#endif
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct world *w = pool_of();
		bool is_shown;

		serve(w);
		assert_string_equal(do_list(w, "d"), "here old too");
		stop_serving(w);
		assert_true(killed_at(w, "none", remove_old,
				      (void *)(uintptr_t)points[i]));
		/* the next smbd finishes it, and says so */
		world_close(w);
		world_open(w);
		serve(w);
		is_shown = do_where(w, "d/old") != SIZE_MAX;
		stop_serving(w);
		protect(w);
		if (is_shown) {
			check_member(w, "d/old", 0);
		} else {
			verify_unknown(w, "d/old");
		}
		come_back(w);
		protect(w);
		assert_int_equal(world_trashed(w, 0, "old"), !is_shown);
		assert_int_equal(do_where(w, "d/old"), is_shown ? 0 : SIZE_MAX);
		verify_decodable(w);
		verify_tidy(w);
		world_free(w);
	}
}

static void test_protector_is_killed(void **state)
{
	static const char *const points[] = {"protect-events=kill",
					     "protect-applied=kill",
					     "protect-synced=kill",
					     "protect-before-drop=kill",
					     "protect-committed=kill"};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_protector_is_killed: no faults "
		      "built\n");
	return;
#endif
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct world *w = pool_of();

		take_away(w, MADE_ANEW);
		assert_true(protect_killed(w, points[i]));
		protect(w);
		check_taken(w, MADE_ANEW);
		come_back(w);
		protect_killed(w, points[i]);
		protect(w);
		assert_int_equal(pending_of(w), 0);
		assert_int_equal(world_trashed(w, 0, "old"), 1);
		verify(w, "d/old", 4, LEN + 1, 2);
		verify(w, "d/here", 2, LEN, 2);
		verify_decodable(w);
		verify_tidy(w);
		world_free(w);
	}
}

/* --- written to, and its new member leaves as well --------------------------------- */

/* It is listed, and read as it was protected. */
static void check_served(struct world *w, const char *list)
{
	assert_string_equal(do_list(w, "d"), list);
	verify_served(w, "d/old", 1, LEN);
}

/* As smbd that is killed there, when it has not told yet that it is done. */
static size_t made_anew_and_killed(struct world *w, const char *fault)
{
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		setenv("MRMR_FAULT", fault, 1);
		client_make_anew(w, "d", "old");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	world_later(w);
	return do_where(w, "d/old");
}

static void test_killed_and_two_leave(void **state)
{
	static const char *const faults[] = {"move-unlink=kill",
					     "absent-remove=kill",
					     "absent-removed=kill"};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_killed_and_two_leave: no faults\n");
	return;
#endif
	for (i = 0; i < 2 * sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = pool_of();
		size_t member;

		serve(w);
		member = made_anew_and_killed(w, faults[i / 2]);
		assert_int_not_equal(member, SIZE_MAX);
		if (i % 2 == 1) { /* the protector has heard of it, no more */
			stop_serving(w);
			assert_true(protect_killed(w, "protect-events=kill"));
			serve(w);
		}
		world_unplug(w, member);
		world_later(w);
		check_served(w, "here old too");
		stop_serving(w);
		world_free(w);
	}
}

static void test_two_leave(void **state)
{
	unsigned int seen;

	for (seen = 0; seen < 3; seen++) {
		struct world *w = NULL;
		size_t first;
		size_t second;

#ifndef MRMR_WITH_FAULTS
		if (seen == 1) {
			continue;
		}
#endif
		w = pool_of();
		serve(w);
		first = client_make_anew(w, "d", "old");
		client_write(w, "d/old", 5, LEN + 5);
		if (seen == 1) { /* the protector has heard of it, no more */
			stop_serving(w);
			assert_true(protect_killed(w, "protect-events=kill"));
			serve(w);
		}
		world_unplug(w, first);
		world_later(w);
		if (seen == 2) { /* the same when that has left */
			stop_serving(w);
			protect(w);
			serve(w);
		}
		check_served(w, "here old too");
		/* and once more, with what is read */
		second = client_make_anew(w, "d", "old");
		assert_int_not_equal(second, first);
		stop_serving(w);
		protect(w);
		world_plug(w, first);
		come_back(w);
		protect(w);
		assert_int_equal(do_where(w, "d/old"), second);
		verify(w, "d/old", 1, LEN, 2);
		assert_int_equal(pending_of(w), 0);
		verify_decodable(w);
		verify_tidy(w);
		world_free(w);
	}
}

/* --- the member returns another way, or not at all -------------------------------- */

/* It was not removed on the member after all: the record of it was lost. */
static void test_is_there_after_all(void **state)
{
	struct world *w = pool_of();
	char command[1024];

	take_away(w, REMOVED);
	protect(w);
	verify_unknown(w, "d/old");
	world_close(w);
	snprintf(command, sizeof(command), "rm -r %s %s",
		 world_path(w, "state/intents"), world_path(w, "state/ghosts"));
	assert_int_equal(system(command), 0);
	world_plug(w, 0);
	world_open(w);
	protect(w);
	verify(w, "d/old", 1, LEN, 2);
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(trash_bytes(w), 0);
	verify_tidy(w);
	world_free(w);
}

/* What clients have changed since comes back as it was protected, and that is
   told. */
static void rebuild_changed(struct world *w)
{
	const struct mrmr_rebuild_options options = {
		.lost = 0,
		.onto = MRMR_REBUILD_SPREAD,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	if (mrmr_rebuild(engine, &options, &result, &err) == -1) {
		fail_msg("rebuild: %s", err.text);
	}
	assert_true(result.is_complete);
	talloc_free(engine);
}

/* It comes into the trash of another member, and can be undeleted there. */
static void check_rebuilt(struct world *w, enum way way)
{
	struct mrmr_trashed *items = NULL;
	struct mrmr_error err = {0};
	size_t found = 0;
	size_t num = 0;
	size_t i;

	assert_int_equal(mrmr_trash_list(w->pool, w->pool, &items, &num, &err),
			 0);
	for (i = 0; i < num; i++) {
		found += strcmp(items[i].path, "d/old") == 0;
	}
	assert_int_equal(found, 1);
	talloc_free(items);
	protect(w);
	assert_int_equal(trash_bytes(w), LEN);
	assert_int_equal(pending_of(w), 0);
	check_taken(w, way);
	if (way == REMOVED) {
		assert_int_equal(do_where(w, "d/old"), SIZE_MAX);
	} else {
		verify(w, "d/old", 4, LEN + 1, 2);
	}
	verify(w, "d/here", 2, LEN, 2);
	verify_decodable(w);
}

static void test_rebuilt(void **state)
{
	enum way way;

	for (way = 0; way < NUM_WAYS; way++) {
		struct world *w = pool_of();

		take_away(w, way);
		protect(w);
		assert_true(rebuild_lost(w, 0, false));
		check_rebuilt(w, way);
		world_free(w);
	}
}

/* The protector hears of what happened before that when it is rebuilt. */
static void test_heard_of_late(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 5, .parity = "2"});
	size_t i;

	client_write_on(w, 0, "d/changed", 1, LEN);
	client_write_on(w, 0, "d/renamed", 2, LEN);
	client_write_on(w, 1, "d/here", 3, LEN);
	protect(w);
	client_write(w, "d/changed", 4, LEN + 5);
	assert_int_equal(do_rename(w, "d/renamed", "d/new"), 0);
	client_write(w, "d/new", 5, LEN + 5);
	world_unplug(w, 0);
	world_later(w);
	for (i = 0; i < 2; i++) {
		if (i == 0) {
			rebuild_changed(w);
		}
		protect(w);
		assert_int_equal(pending_of(w), 0);
		verify(w, "d/changed", 1, LEN, 2);
		verify(w, "d/new", 2, LEN, 2);
		verify_unknown(w, "d/renamed");
		verify_decodable(w);
	}
	assert_int_equal(trash_bytes(w), 0);
	world_free(w);
}

static void rebuild_first(struct world *w, void *private_data)
{
	(void)private_data;
	rebuild_lost(w, 0, false);
}

static void test_rebuild_is_killed(void **state)
{
	static const char *const points[] = {"rebuild-stage=kill",
					     "rebuild-place=kill",
					     "rebuild-placed=kill",
					     "rebuild-commit=kill"};
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_rebuild_is_killed: no faults built\n");
	return;
#endif
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct world *w = pool_of();

		take_away(w, REMOVED);
		protect(w);
		assert_true(killed_at(w, points[i], rebuild_first, NULL));
		world_close(w);
		world_open(w);
		assert_true(rebuild_lost(w, 0, false));
		check_rebuilt(w, REMOVED);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gives_way),
		cmocka_unit_test(test_events_are_lost),
		cmocka_unit_test(test_keeps_its_name),
		cmocka_unit_test(test_client_is_killed),
		cmocka_unit_test(test_protector_is_killed),
		cmocka_unit_test(test_killed_and_two_leave),
		cmocka_unit_test(test_two_leave),
		cmocka_unit_test(test_is_there_after_all),
		cmocka_unit_test(test_rebuilt),
		cmocka_unit_test(test_heard_of_late),
		cmocka_unit_test(test_rebuild_is_killed),
	};

	return WORLD_MAIN("gone", tests);
}
