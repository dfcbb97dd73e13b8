/*
 * MRMR: how much room there is, and what of it is for data.
 *
 * The plan (mrmr_pool_plan) asks mrmr/capacity.h, for failure units, how the
 * room is to be shared out between data and parity, and divides each unit's
 * answer among its members. Placement prefers members with room for data, so
 * the pool fills toward the goals; what clients are told is free is the sum.
 *
 * What is known of the members (space_usage.c) is in the shared page, so that
 * all processes plan alike, and a plan stays the same while a member is away: its
 * last known numbers count for the goals of the others, and its own room is not
 * offered.
 *
 * Nobody is refused for the sake of the plan. If the numbers are wrong, or the
 * pool is fuller than its parity allows, files still go wherever there is room.
 *
 * Members on one file system that are units of their own (in a try-out: drives
 * are meant to be drives) have equal parts of it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <mrmr/capacity.h>
#include <mrmr/local.h>
#include <mrmr/pool.h>
#include <mrmr/protection.h>
#include <mrmr/shared.h>

#include "space_private.h"

/* What is worth a try; of small drives, this part of all of them. */
#define MORE_BYTES (UINT64_C(64) << 20)
#define MORE_PART 64

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t mrmr_member_room(const struct mrmr_member *member)
{
	uint64_t reserve = member->config->min_free_bytes;

	if (member->state != MRMR_MEMBER_ONLINE || member->read_only ||
	    member->free_bytes <= reserve) {
		return 0;
	}
	return member->free_bytes - reserve;
}

uint64_t mrmr_member_data_room(const struct mrmr_member *member)
{
	uint64_t room = mrmr_member_room(member);

	return room - lower(room, member->kept_bytes);
}

uint64_t mrmr_member_parity_room(const struct mrmr_member *member,
				 uint64_t *spare_bytes)
{
	uint64_t room = mrmr_member_room(member);

	room -= lower(room, member->records_to_come_bytes);
	if (spare_bytes != NULL) {
		*spare_bytes = lower(room, member->spare_bytes);
	}
	return room;
}

uint64_t mrmr_pool_sum_room(const struct mrmr_pool *pool)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		bytes += mrmr_member_room(&pool->members[i]);
	}
	return bytes;
}

bool mrmr_pool_has_more_room(const struct mrmr_pool *pool, uint64_t then_bytes)
{
	uint64_t total_bytes = 0;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		total_bytes += pool->members[i].total_bytes;
	}
	return mrmr_pool_sum_room(pool) >=
	       then_bytes + lower(MORE_BYTES, total_bytes / MORE_PART);
}

unsigned int mrmr_pool_rows(const struct mrmr_pool *pool)
{
	return pool->rows;
}

/* --- units ----------------------------------------------------------------- */

/* What has been on nobody's account so far is not counted with `told_only`. */
static void make_units(struct mrmr_pool *pool, const struct known *known,
		       bool told_only, struct mrmr_capacity_unit *units)
{
	size_t i;

	for (i = 0; i < pool->units.num; i++) {
		units[i] = (struct mrmr_capacity_unit){.prefers_parity = true};
	}
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		struct mrmr_capacity_unit *unit = &units[pool->units.unit[i]];

		if (known[i].is_told || !told_only) {
			unit->data_bytes += known[i].data_bytes;
		}
		unit->parity_bytes += known[i].parity_bytes;
		unit->free_bytes += known[i].shared_out_bytes;
		if (member->config->role == MRMR_ROLE_DATA) {
			unit->no_parity_bytes += known[i].shared_out_bytes;
		}
		if (member->config->role != MRMR_ROLE_PARITY) {
			unit->prefers_parity = false;
		}
	}
}

/* Units that were never seen cannot take anything. */
static unsigned int most_rows(const struct mrmr_pool *pool,
			      const struct mrmr_capacity_unit *units)
{
	unsigned int seen = 0;
	size_t i;

	for (i = 0; i < pool->units.num; i++) {
		seen += units[i].data_bytes + units[i].parity_bytes +
				units[i].free_bytes >
			0;
	}
	if (seen == 0) {
		return 0;
	}
	return (unsigned int)lower(seen - 1, pool->units.max_rows);
}

/* --- rows ------------------------------------------------------------------ */

/*
 * Does the data that is there leave enough room with so many rows? Parity can
 * be made anew, and is so when the number of rows changes: it counts as free.
 */
static bool leaves_room(const struct mrmr_capacity_unit *units, size_t num,
			unsigned int rows, bool is_more)
{
	struct mrmr_capacity_unit bare[MRMR_MEMBERS_MAX];
	uint64_t data_bytes = 0;
	uint64_t room_bytes;
	size_t i;

	for (i = 0; i < num; i++) {
		bare[i] = units[i];
		bare[i].free_bytes += bare[i].parity_bytes;
		bare[i].parity_bytes = 0;
		data_bytes += bare[i].data_bytes;
	}
	if (!mrmr_capacity_fits(bare, num, rows)) {
		return false;
	}
	room_bytes = mrmr_capacity_plan(bare, num, rows);
	return room_bytes >= (data_bytes + room_bytes) / (is_more ? 8 : 16);
}

static void choose_rows(struct mrmr_pool *pool,
			const struct mrmr_capacity_unit *units,
			unsigned int least, unsigned int most)
{
	unsigned int before = most;
	unsigned int rows = most;

	if (least < most && pool->shared != NULL) {
		before = atomic_load(&pool->shared->rows);
	}
	while (rows > least &&
	       !leaves_room(units, pool->units.num, rows, rows > before)) {
		rows--;
	}
	if (least < most && pool->shared != NULL && rows != before) {
		atomic_store(&pool->shared->rows, rows);
	}
	pool->rows = rows;
}

/* --- members --------------------------------------------------------------- */

/* The members of a unit take its data in this order. */
enum turn {
	TURN_DATA_ONLY, /* where parity can't be */
	TURN_ANY,
	TURN_PARITY_FIRST,
	NUM_TURNS
};

static enum turn turn_of(const struct mrmr_member *member)
{
	switch (member->config->role) {
	case MRMR_ROLE_DATA:
		return TURN_DATA_ONLY;
	case MRMR_ROLE_PARITY:
		return TURN_PARITY_FIRST;
	case MRMR_ROLE_DATA_AND_PARITY:
		break;
	}
	return TURN_ANY;
}

/* Divide the units' rooms among their members, those of one turn evenly. */
static void divide_rooms(const struct mrmr_pool *pool,
			 const struct known *known,
			 const struct mrmr_capacity_unit *units,
			 uint64_t *rooms)
{
	uint64_t free_bytes[MRMR_MEMBERS_MAX][NUM_TURNS] = {{0}};
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		free_bytes[pool->units.unit[i]][turn_of(&pool->members[i])] +=
			known[i].free_bytes;
	}
	for (i = 0; i < pool->num_members; i++) {
		size_t unit = pool->units.unit[i];
		uint64_t left = units[unit].room_bytes;
		enum turn turn = turn_of(&pool->members[i]);
		uint64_t all = free_bytes[unit][turn];
		unsigned int before;

		for (before = 0; before < turn; before++) {
			left -= lower(left, free_bytes[unit][before]);
		}
		left = lower(left, all);
		rooms[i] = all == 0 ? 0
				    : (uint64_t)((unsigned __int128)left *
						 known[i].free_bytes / all);
	}
}

/* --- the plan -------------------------------------------------------------- */

static void plan_rooms(struct mrmr_pool *pool, const struct known *known,
		       struct mrmr_capacity_unit *units, unsigned int rows,
		       uint64_t *rooms)
{
	mrmr_capacity_plan(units, pool->units.num, rows);
	divide_rooms(pool, known, units, rooms);
}

/* What of the members' room is not for data. */
static void keep_rest(struct mrmr_pool *pool, const uint64_t *rooms)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		struct mrmr_member *member = &pool->members[i];
		uint64_t room = mrmr_member_room(member);

		member->kept_bytes = room - lower(room, rooms[i]);
	}
}

/* What clients are told. */
static void sum_up(struct mrmr_pool *pool, const struct known *known,
		   const uint64_t *rooms)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state != MRMR_MEMBER_ONLINE) {
			continue;
		}
		pool->not_data_bytes += known[i].parity_bytes;
		if (!member->read_only) {
			pool->room_bytes += rooms[i];
			pool->not_data_bytes += known[i].free_bytes - rooms[i];
		}
	}
}

void mrmr_pool_plan(struct mrmr_pool *pool)
{
	const struct mrmr_parity_wish *wish = &pool->config->parity;
	struct mrmr_capacity_unit units[MRMR_MEMBERS_MAX];
	struct known known[MRMR_MEMBERS_MAX];
	uint64_t rooms[MRMR_MEMBERS_MAX];
	unsigned int most;
	size_t i;

	pool->rows = 0;
	pool->least_rows = 0;
	pool->room_bytes = 0;
	pool->not_data_bytes = 0;
	for (i = 0; i < pool->num_members; i++) {
		pool->members[i].kept_bytes = 0;
	}
	space_look_at_members(pool, known);
	make_units(pool, known, false, units);
	most = (unsigned int)lower(wish->max, most_rows(pool, units));
	if (most == 0) {
		return;
	}
	pool->least_rows = (unsigned int)lower(wish->min, most);
	choose_rows(pool, units, pool->least_rows, most);
	if (!mrmr_capacity_fits(units, pool->units.num, pool->rows)) {
		/* Perhaps only because of what is none of our business. */
		make_units(pool, known, true, units);
	}
	plan_rooms(pool, known, units, pool->rows, rooms);
	keep_rest(pool, rooms);
	if (pool->least_rows != pool->rows) {
		plan_rooms(pool, known, units, pool->least_rows, rooms);
	}
	sum_up(pool, known, rooms);
}

void mrmr_pool_look_at_space(struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (pool->members[i].state == MRMR_MEMBER_ONLINE) {
			mrmr_local_look_at_space(&pool->members[i]);
		}
	}
	mrmr_pool_plan(pool);
}

/* --- what clients see ------------------------------------------------------ */

static void sum_file_systems(struct mrmr_pool *pool, uint64_t *total_bytes,
			     uint64_t *free_bytes)
{
	size_t i, j;

	*total_bytes = 0;
	*free_bytes = 0;
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		uint64_t room = mrmr_member_room(member);
		bool counted = false;

		if (member->state != MRMR_MEMBER_ONLINE) {
			continue;
		}
		for (j = 0; j < i; j++) {
			const struct mrmr_member *other = &pool->members[j];

			counted = counted ||
				  (other->state == MRMR_MEMBER_ONLINE &&
				   other->dev == member->dev);
		}
		if (counted) {
			continue;
		}
		/* Of members on one file system, the smallest reserve says
		   how much of it may be used. */
		for (j = i + 1; j < pool->num_members; j++) {
			const struct mrmr_member *other = &pool->members[j];

			if (other->state == MRMR_MEMBER_ONLINE &&
			    other->dev == member->dev &&
			    mrmr_member_room(other) > room) {
				room = mrmr_member_room(other);
			}
		}
		*total_bytes += member->total_bytes;
		*free_bytes += room;
	}
}

void mrmr_pool_space(struct mrmr_pool *pool, uint64_t *total_bytes,
		     uint64_t *free_bytes)
{
	size_t i;

	sum_file_systems(pool, total_bytes, free_bytes);
	if (pool->least_rows > 0) {
		*total_bytes -= lower(*total_bytes, pool->not_data_bytes);
		*free_bytes = lower(*free_bytes, pool->room_bytes);
	}
	for (i = 0; i < pool->num_members; i++) {
		if (pool->members[i].state == MRMR_MEMBER_ONLINE) {
			*free_bytes += mrmr_room_reclaimable(pool, i);
		}
	}
}
