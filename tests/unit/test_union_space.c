/*
 * Unit tests: what of the members' room is for data, what for parity, and where
 * files go accordingly.
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
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/protection.h>
#include <mrmr/shared.h>

#include "world.h"

#define MB (UINT64_C(1) << 20)
/* What directories and markers take of a tmpfs, and what is kept back of it for
   stripes that change, at most. */
#define NEAR (3 * MB)

#define assert_near(value, wanted)                          \
	assert_in_range((value) + NEAR, (uint64_t)(wanted), \
			(uint64_t)(wanted) + 2 * NEAR)

static uint64_t free_of(struct world *w)
{
	uint64_t total;
	uint64_t free_bytes;

	mrmr_pool_look_at_space(w->pool);
	mrmr_pool_space(w->pool, &total, &free_bytes);
	return free_bytes;
}

static uint64_t total_of(struct world *w)
{
	uint64_t total;
	uint64_t free_bytes;

	mrmr_pool_look_at_space(w->pool);
	mrmr_pool_space(w->pool, &total, &free_bytes);
	return total;
}

static uint64_t data_room(struct world *w, size_t member)
{
	return mrmr_member_data_room(&w->pool->members[member]);
}

/* Files behind the pool's back: so many bytes of them, in all. */
static void set_ballast(struct world *w, size_t member, uint64_t bytes)
{
	int fd = open(world_drive(w, member, "ballast"),
		      O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_return_code(fd, errno);
	if (bytes > 0) {
		assert_int_equal(posix_fallocate(fd, 0, (off_t)bytes), 0);
	}
	close(fd);
	world_later(w);
}

static void tell(struct world *w, size_t member, uint64_t data_bytes,
		 uint64_t parity_bytes)
{
	const struct mrmr_usage usage = {
		.data_bytes = data_bytes,
		.parity_bytes = parity_bytes,
	};

	mrmr_pool_set_usage(w->pool, &w->pool->members[member], &usage);
	mrmr_pool_look_at_space(w->pool);
}

/* --- what is free ----------------------------------------------------------- */

static void without_parity_all_room_is_for_data(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3});
	size_t i;

	assert_int_equal(mrmr_pool_rows(w->pool), 0);
	assert_int_equal(total_of(w), 96 * MB);
	assert_near(free_of(w), 96 * MB);
	for (i = 0; i < 3; i++) {
		assert_int_equal(data_room(w, i),
				 mrmr_member_room(&w->pool->members[i]));
	}
	world_free(w);

	/* A unit alone has no parity, whatever is wanted. */
	w = world_new(
		&(struct world_shape){.num_members = 1, .parity = "\"max\""});
	assert_int_equal(mrmr_pool_rows(w->pool), 0);
	assert_near(free_of(w), 32 * MB);
	world_free(w);
}

static void parity_takes_its_part(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "1",
				      .sizes = {"30m", "30m", "30m"}});
	size_t i;

	assert_int_equal(mrmr_pool_rows(w->pool), 1);
	assert_near(free_of(w), 60 * MB);
	assert_near(total_of(w), 60 * MB);
	for (i = 0; i < 3; i++) {
		assert_near(data_room(w, i), 20 * MB);
		assert_near(mrmr_member_room(&w->pool->members[i]), 30 * MB);
	}
	/* Data does not change what there is in all, */
	set_ballast(w, 0, 10 * MB);
	assert_near(total_of(w), 60 * MB);
	assert_near(free_of(w), 50 * MB);
	/* and nor does its parity. */
	tell(w, 0, 10 * MB, 0);
	set_ballast(w, 1, 10 * MB);
	tell(w, 1, 0, 10 * MB);
	assert_near(total_of(w), 60 * MB);
	assert_near(free_of(w), 50 * MB);
	world_free(w);
}

static void tell_all(struct world *w, uint64_t data_bytes, bool is_all)
{
	const struct mrmr_usage usage = {
		.data_bytes = data_bytes,
		.is_all = is_all,
	};
	size_t i;

	for (i = 0; i < w->pool->num_members; i++) {
		mrmr_pool_set_usage(w->pool, &w->pool->members[i], &usage);
	}
}

/* Of files that are written while the protector counts it does not know. They
   need parity nonetheless. */
static void what_was_written_meanwhile_is_data(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "1",
				      .sizes = {"30m", "30m", "30m"}});
	size_t i;

	tell_all(w, 0, false);
	assert_near(free_of(w), 60 * MB);
	for (i = 0; i < 3; i++) {
		set_ballast(w, i, 10 * MB);
	}
	assert_near(free_of(w), 30 * MB);
	tell_all(w, 0, false);
	assert_near(free_of(w), 30 * MB);
	tell_all(w, 4 * MB, false);
	assert_near(free_of(w), 30 * MB);
	tell_all(w, 10 * MB, false);
	assert_near(free_of(w), 30 * MB);
	/* what is not the pool's only takes room */
	tell_all(w, 0, true);
	assert_near(free_of(w), 40 * MB);
	tell_all(w, 0, false);
	assert_near(free_of(w), 40 * MB);
	for (i = 0; i < 3; i++) {
		set_ballast(w, i, 16 * MB);
	}
	assert_near(free_of(w), 40 * MB - 18 * MB);
	tell_all(w, 6 * MB, true);
	assert_near(free_of(w), 40 * MB - 18 * MB);
	world_free(w);
}

/* Nor is parity taken for data until it is counted. */
static void parity_is_known_at_once(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "1",
				      .sizes = {"30m", "30m", "30m"}});
	const struct mrmr_member *member = &w->pool->members[1];

	tell_all(w, 0, false);
	set_ballast(w, 1, 10 * MB);
	assert_near(free_of(w), 50 * MB);
	mrmr_pool_note_parity(w->pool, member, 10 * MB);
	assert_near(free_of(w), 60 * MB);
	mrmr_pool_note_parity(w->pool, member, -4 * (int64_t)MB);
	set_ballast(w, 1, 6 * MB);
	assert_near(free_of(w), 60 * MB);
	tell(w, 1, 0, 6 * MB);
	assert_near(free_of(w), 60 * MB);
	world_free(w);
}

/* What is kept back for records and for stripes that change. */
static void some_is_kept_back(void **state)
{
	struct world *w = world_new(&(struct world_shape){
		.num_members = 3,
		.parity = "1",
		.sizes = {"128m", "128m", "128m"},
		.config = ", \"block_size\": \"64K\"",
	});
	const struct mrmr_member *member = &w->pool->members[0];
	struct mrmr_usage usage = {.data_bytes = 10 * MB};
	uint64_t spare = 0;
	uint64_t before;
	size_t i;

	/* nothing was told: eight blocks on each */
	before = free_of(w);
	assert_in_range(before, 254 * MB, 256 * MB - 2 * 512 * 1024);
	assert_int_equal(mrmr_member_parity_room(member, &spare),
			 mrmr_member_room(member));
	assert_int_equal(spare, 512 * 1024);

	/* a thousand files in 10 MB: as many in each that is to come */
	usage.num_files = 1000;
	usage.records_bytes = 4 * MB;
	for (i = 0; i < 3; i++) {
		mrmr_pool_set_usage(w->pool, &w->pool->members[i], &usage);
	}
	assert_true(free_of(w) < before - 2 * 8 * MB);
	assert_true(mrmr_member_parity_room(member, &spare) <
		    mrmr_member_room(member) - 8 * MB);
	assert_true(mrmr_member_data_room(member) > 64 * MB);
	world_free(w);
}

static void unequal_drives(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = 5,
						.parity = "1",
						.sizes = {"80m", "40m", "40m",
							  "20m", "10m"}});

	assert_near(free_of(w), 110 * MB);
	world_free(w);
	w = world_new(&(struct world_shape){.num_members = 5,
					    .parity = "2",
					    .sizes = {"80m", "40m", "40m",
						      "20m", "10m"}});
	assert_near(free_of(w), 70 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 2);
	world_free(w);
}

static void a_stack_is_one_unit(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4,
				      .parity = "1",
				      .sizes = {"10m", "30m", "20m", "20m"},
				      .members = {", \"stack\": \"a\"",
						  ", \"stack\": \"a\"",
						  ", \"stack\": \"b\"",
						  ", \"stack\": \"b\""}});

	assert_near(free_of(w), 40 * MB);
	assert_near(data_room(w, 0), 5 * MB);
	assert_near(data_room(w, 1), 15 * MB);
	assert_near(data_room(w, 2), 10 * MB);
	world_free(w);
}

static void roles_count(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "1",
				      .members = {", \"role\": \"data\"", "",
						  ", \"role\": \"parity\""}});

	assert_near(free_of(w), 64 * MB);
	assert_near(data_room(w, 0), 32 * MB);
	assert_near(data_room(w, 1), 32 * MB);
	assert_int_equal(data_room(w, 2), 0);
	world_free(w);
}

/* As in a try-out: a part each of the one file system. */
static void members_on_one_file_system(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3,
							  .per_drive = 3,
							  .parity = "1",
							  .sizes = {"30m"}});

	assert_near(free_of(w), 20 * MB);
	assert_near(total_of(w), 20 * MB);
	assert_near(data_room(w, 2), 20 * MB / 3);
	set_ballast(w, 0, 6 * MB);
	assert_near(free_of(w), 14 * MB);
	world_free(w);
}

static void reserves_are_nobodys(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "1",
				      .sizes = {"30m", "30m", "30m"},
				      .config = ", \"min_free\": \"15m\""});

	assert_near(free_of(w), 30 * MB);
	assert_near(total_of(w), 75 * MB);
	world_free(w);
}

/* --- who knows what is on the members --------------------------------------- */

static void what_was_counted_is_seen_by_all(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = 2,
						.parity = "1",
						.sizes = {"30m", "30m"}});

	/* Something else is on this file system. */
	set_ballast(w, 0, 12 * MB);
	assert_near(w->pool->members[0].used_data_bytes, 12 * MB);
	assert_near(free_of(w), 18 * MB);
	tell(w, 0, 2 * MB, 3 * MB);
	tell(w, 1, 3 * MB, 2 * MB);
	world_close(w);
	world_open(w);
	assert_int_equal(w->pool->members[0].used_data_bytes, 2 * MB);
	assert_int_equal(w->pool->members[0].used_parity_bytes, 3 * MB);
	/* What is written from now on is data, until somebody counts again. */
	set_ballast(w, 0, 16 * MB);
	assert_near(w->pool->members[0].used_data_bytes, 6 * MB);
	assert_int_equal(w->pool->members[0].used_parity_bytes, 3 * MB);
	set_ballast(w, 0, 11 * MB);
	assert_near(w->pool->members[0].used_data_bytes, 1 * MB);
	set_ballast(w, 0, 0);
	assert_int_equal(w->pool->members[0].used_data_bytes, 0);
	world_free(w);
}

static void trash_that_can_be_had_is_free(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "1",
				      .sizes = {"30m", "30m", "30m"}});

	mrmr_room_add_reclaimable(w->pool, 1, 5 * MB);
	assert_near(free_of(w), 65 * MB);
	/* not that of a member that is away */
	world_unplug(w, 1);
	world_later(w);
	assert_true(free_of(w) < 65 * MB - 5 * MB);
	world_plug(w, 1);
	world_later(w);
	assert_near(free_of(w), 65 * MB);
	world_free(w);
}

/* What is not the pool's must not close it. */
static void full_of_other_things(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = 2,
						.parity = "1",
						.sizes = {"60m", "16m"}});

	set_ballast(w, 0, 40 * MB);
	assert_near(free_of(w), 16 * MB);
	/* counted, it is the pool's */
	tell(w, 0, 40 * MB, 0);
	assert_int_equal(free_of(w), 0);
	/* and files go where there is room all the same */
	assert_int_equal(do_create(w, "a", "text"), 0);
	assert_int_equal(do_where(w, "a"), 0);
	world_free(w);
}

/* The others' goals are as before, and its own room is not offered. */
static void a_member_that_is_away_keeps_its_place(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "2",
				      .sizes = {"30m", "30m", "30m"}});

	assert_near(free_of(w), 30 * MB);
	world_unplug(w, 1);
	world_later(w);
	assert_near(free_of(w), 20 * MB);
	assert_near(data_room(w, 0), 10 * MB);
	assert_int_equal(data_room(w, 1), 0);
	assert_int_equal(mrmr_pool_rows(w->pool), 2);
	world_close(w);
	world_open(w);
	assert_near(free_of(w), 20 * MB);
	assert_near(data_room(w, 0), 10 * MB);
	world_plug(w, 1);
	world_later(w);
	assert_near(free_of(w), 30 * MB);
	world_free(w);
}

static void a_read_only_member_offers_nothing(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "1",
				      .sizes = {"30m", "30m", "30m"}});

	assert_return_code(mount(NULL, world_member(w, 0, ""), NULL,
				 MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
			   errno);
	world_later(w);
	assert_true(w->pool->members[0].read_only);
	assert_near(free_of(w), 40 * MB);
	assert_int_equal(data_room(w, 0), 0);
	world_free(w);
}

/* --- rows ------------------------------------------------------------------- */

static void as_many_rows_as_the_data_allows(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "\"max\"",
				      .sizes = {"32m", "32m", "32m"}});

	assert_int_equal(mrmr_pool_rows(w->pool), 2);
	/* what is free is all that is: parity gives way to data */
	assert_near(free_of(w), 96 * MB);
	assert_near(data_room(w, 0), 32 * MB / 3);
	/* 32 MB fit with two rows, 64 with one */
	set_ballast(w, 0, 20 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 2);
	set_ballast(w, 1, 9 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 2);
	set_ballast(w, 1, 11 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 1);
	/* not to and fro */
	set_ballast(w, 1, 9 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 1);
	world_close(w);
	world_open(w);
	assert_int_equal(mrmr_pool_rows(w->pool), 1);
	set_ballast(w, 1, 7 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 2);
	set_ballast(w, 0, 31 * MB);
	set_ballast(w, 1, 27 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 1);
	set_ballast(w, 1, 31 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 0);
	world_free(w);
}

static void no_fewer_rows_than_wanted(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4,
				      .parity = "{\"min\": 1, \"max\": 2}"});
	size_t i;

	assert_int_equal(mrmr_pool_rows(w->pool), 2);
	assert_near(free_of(w), 96 * MB);
	assert_near(data_room(w, 0), 16 * MB);
	set_ballast(w, 0, 31 * MB);
	set_ballast(w, 1, 31 * MB);
	assert_int_equal(mrmr_pool_rows(w->pool), 1);
	assert_near(free_of(w), 34 * MB);
	/* more than there can be parity for */
	set_ballast(w, 2, 31 * MB);
	set_ballast(w, 3, 31 * MB);
	for (i = 0; i < 4; i++) {
		tell(w, i, 31 * MB, 0);
	}
	assert_int_equal(mrmr_pool_rows(w->pool), 1);
	assert_int_equal(free_of(w), 0);
	world_free(w);
}

/* --- placement -------------------------------------------------------------- */

/* Where the room for data is most, not where most is free. */
static void files_go_toward_the_goals(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .parity = "1",
				      .sizes = {"60m", "20m", "20m"}});

	/* 40 MB fit; at most 20 of them on any. */
	assert_near(free_of(w), 40 * MB);
	assert_true(mrmr_member_room(&w->pool->members[0]) > 50 * MB);
	set_ballast(w, 0, 16 * MB);
	assert_true(mrmr_member_room(&w->pool->members[0]) > 40 * MB);
	assert_int_equal(do_create(w, "a", "text"), 0);
	assert_int_not_equal(do_where(w, "a"), 0);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_false(world_there(world_member(w, 0, "d")));
	world_free(w);
}

/* Never "disk full" while any member has room. */
static void what_is_kept_for_parity_is_taken_last(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = 2,
						.parity = "1",
						.sizes = {"16m", "16m"}});
	unsigned int i;

	/* a mirror: all that fits is there */
	set_ballast(w, 0, 14 * MB);
	assert_near(free_of(w), 2 * MB);
	assert_int_equal(do_create(w, "a", "text"), 0);
	set_ballast(w, 1, 2 * MB);
	tell(w, 0, 14 * MB, 0);
	tell(w, 1, 2 * MB, 0);
	assert_near(free_of(w), 0);
	for (i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "b%u", i);
		assert_int_equal(do_create(w, name, "text"), 0);
		assert_int_equal(do_where(w, name), 1);
	}
	set_ballast(w, 1, 13 * MB);
	assert_int_equal(free_of(w), 0);
	assert_int_equal(do_create(w, "c", "text"), 0);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_parity_all_room_is_for_data),
		cmocka_unit_test(parity_takes_its_part),
		cmocka_unit_test(what_was_written_meanwhile_is_data),
		cmocka_unit_test(parity_is_known_at_once),
		cmocka_unit_test(some_is_kept_back),
		cmocka_unit_test(unequal_drives),
		cmocka_unit_test(a_stack_is_one_unit),
		cmocka_unit_test(roles_count),
		cmocka_unit_test(members_on_one_file_system),
		cmocka_unit_test(reserves_are_nobodys),
		cmocka_unit_test(what_was_counted_is_seen_by_all),
		cmocka_unit_test(trash_that_can_be_had_is_free),
		cmocka_unit_test(full_of_other_things),
		cmocka_unit_test(a_member_that_is_away_keeps_its_place),
		cmocka_unit_test(a_read_only_member_offers_nothing),
		cmocka_unit_test(as_many_rows_as_the_data_allows),
		cmocka_unit_test(no_fewer_rows_than_wanted),
		cmocka_unit_test(files_go_toward_the_goals),
		cmocka_unit_test(what_is_kept_for_parity_is_taken_last),
	};

	return WORLD_MAIN("test_union_space", tests);
}
