/*
 * Unit tests: a protector that was started by a client looks through the trash only
 * if there is a reason to.
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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/protection.h>
#include <mrmr/shared.h>

#include "protecting.h"

#define K 1024
#define BLOCK (64 * K)
#define NS_PER_S INT64_C(1000000000)
#define DAY_NS (86400 * NS_PER_S)
#define PUT "20010101T000000Z.by-hand"

/*
 * On each of four members, a file in the trash, which a protector has seen there and
 * left. Deleted, of the first one: two.
 */
static struct world *new_world(void)
{
	const struct world_shape shape = {
		.num_members = 4,
		.parity = "1",
		.config = ", \"block_size\": \"64K\", \"trash_max_percent\": 1",
	};
	struct world *w = world_new(&shape);
	char path[16];
	unsigned int i;

	for (i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "f%u", i);
		client_write_on(w, i % 4, path, i, BLOCK);
	}
	protect(w);
	for (i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "f%u", i);
		assert_int_equal(do_unlink(w, path), 0);
	}
	protect_in_background(w);
	assert_int_equal(world_trashed(w, 0, "f0"), 1);
	assert_int_equal(world_trashed(w, 1, "f1"), 1);
	return w;
}

/* What nobody tells of, and what goes as soon as it is seen. */
static void put_by_hand(struct world *w, size_t member)
{
	int fd;

	assert_return_code(mkdir(world_drive(w, member, ".mrmr/trash/" PUT),
				 0700),
			   errno);
	fd = open(world_drive(w, member, ".mrmr/trash/" PUT "/old"),
		  O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_return_code(fd, errno);
	close(fd);
}

static bool is_seen(struct world *w, size_t member)
{
	return world_trashed(w, member, "old") == 0;
}

static void verify_rest(struct world *w)
{
	verify(w, "f5", 5, BLOCK, 1);
	verify(w, "f6", 6, BLOCK, 1);
	verify(w, "f7", 7, BLOCK, 1);
	verify_tidy(w);
}

static struct mrmr_shared_room *room_of(struct world *w, size_t member)
{
	return &w->pool->shared->room[w->pool->members[member].slot];
}

/* --- not ------------------------------------------------------------------------- */

static void it_is_not_walked_again(void **state)
{
	struct world *w = new_world();

	(void)state;
	put_by_hand(w, 0);
	protect_in_background(w);
	assert_false(is_seen(w, 0));
	/* nor for one more that was deleted: what can be had is known */
	client_write_on(w, 0, "new", 9, BLOCK);
	protect_in_background(w);
	assert_int_equal(do_unlink(w, "new"), 0);
	assert_int_equal(mrmr_room_reclaimable(w->pool, 0), 3 * BLOCK);
	protect_in_background(w);
	assert_false(is_seen(w, 0));
	assert_int_equal(mrmr_room_reclaimable(w->pool, 0), 3 * BLOCK);
	world_free(w);
}

/* --- why ------------------------------------------------------------------------- */

static void somebody_says_sync(struct world *w)
{
	protect(w);
}

static void a_client_waits_for_room(struct world *w)
{
	mrmr_room_ask(w->pool, 0, UINT64_MAX / 2);
}

static void the_oldest_is_over_its_time(struct world *w)
{
	atomic_fetch_sub(&room_of(w, 0)->trash_oldest_ns, 31 * DAY_NS);
}

static void there_is_too_much(struct world *w)
{
	char path[16];
	unsigned int i;

	/* of 32 MiB, 1 % is room for five */
	for (i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "more%u", i);
		client_write_on(w, 0, path, i, BLOCK);
	}
	protect(w);
	put_by_hand(w, 0); /* that has seen the first */
	protect_in_background(w);
	assert_false(is_seen(w, 0));
	for (i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "more%u", i);
		assert_int_equal(do_unlink(w, path), 0);
	}
}

static void a_day_has_gone(struct world *w)
{
	atomic_fetch_sub(&room_of(w, 0)->trash_seen_ns, DAY_NS);
}

static void the_clock_was_put_back(struct world *w)
{
	atomic_fetch_add(&room_of(w, 0)->trash_seen_ns, DAY_NS);
}

static void the_member_was_away(struct world *w)
{
	world_unplug(w, 0);
	world_later(w);
	world_plug(w, 0);
	world_later(w);
}

static void something_was_purged(struct world *w)
{
	/* the protector of before has told what there is: all of it, but not
	   what was put there since */
	assert_int_equal(purge_trash(w).num_removed, 6);
	put_by_hand(w, 0);
}

static void the_page_was_lost(struct world *w)
{
	char path[512];

	world_close(w);
	snprintf(path, sizeof(path), "%s/state/" MRMR_SHARED_NAME, w->dir);
	assert_return_code(unlink(path), errno);
	world_open(w);
}

static void a_reason(void (*reason)(struct world *w))
{
	struct world *w = new_world();

	put_by_hand(w, 0);
	protect_in_background(w);
	assert_false(is_seen(w, 0));
	reason(w);
	protect_in_background(w);
	assert_true(is_seen(w, 0));
	verify_rest(w);
	world_free(w);
}

static void it_is_walked_for_a_reason(void **state)
{
	void (*const reasons[])(struct world *) = {
		somebody_says_sync,
		a_client_waits_for_room,
		the_oldest_is_over_its_time,
		there_is_too_much,
		a_day_has_gone,
		the_clock_was_put_back,
		the_member_was_away,
		something_was_purged,
		the_page_was_lost,
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		a_reason(reasons[i]);
	}
}

static void nothing(struct world *w)
{
}

static void something_comes(struct world *w)
{
	mrmr_room_add_reclaimable(w->pool, 0, BLOCK);
}

static void something_is_taken_out(struct world *w)
{
	mrmr_room_forget_trash(w->pool, 0);
}

/* Does what a protector tells in the end hold, with that between? */
static bool holds(struct world *w, void (*meanwhile)(struct world *w))
{
	struct mrmr_trash_seen seen, none;

	assert_true(mrmr_room_trash_seen(w->pool, 0, &seen));
	mrmr_room_look_at_trash(w->pool, 0, seen.at_ns);
	assert_false(mrmr_room_trash_seen(w->pool, 0, &none));
	meanwhile(w);
	mrmr_room_see_trash(w->pool, 0, &seen, 2 * BLOCK);
	return mrmr_room_trash_seen(w->pool, 0, &seen);
}

/* Which of it was seen is not known. */
static void what_changes_meanwhile_is_looked_for(void **state)
{
	void (*const changes[])(struct world *) = {something_comes,
						   something_is_taken_out};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct world *w = new_world();

		assert_int_equal(mrmr_room_reclaimable(w->pool, 0), 2 * BLOCK);
		assert_true(holds(w, nothing));
		assert_false(holds(w, changes[i]));
		world_free(w);
	}
}

#ifdef MRMR_WITH_FAULTS

/* What could not be removed is tried again by the next one. */
static void one_that_fails_is_tried_again(void **state)
{
	static const char *const faults[] = {"trash-unlink#1=EIO",
					     "trash-unlink#1=kill"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = new_world();

		put_by_hand(w, 0);
		a_client_waits_for_room(w);
		protect_disturbed(w, faults[i], i == 1);
		protect_in_background(w);
		assert_true(is_seen(w, 0));
		verify_rest(w);
		world_free(w);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_not_walked_again),
		cmocka_unit_test(it_is_walked_for_a_reason),
		cmocka_unit_test(what_changes_meanwhile_is_looked_for),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(one_that_fails_is_tried_again),
#endif
	};

	return WORLD_MAIN("trash_seen", tests);
}
