/*
 * MRMR: what is known of the members: how much of each is data, parity, records,
 * and none of the pool's.
 *
 * Who has counted (the protector) tells it; what came since is known by how full
 * the file system has become. That is data of which the protector has not heard
 * yet: it needs parity as any other.
 *
 * Not all room is shared out. Some is spare (find_spare): for the records of what
 * is still to come, and for stripes that change, as their new parity is written
 * beside the old one. Else the last of what was said to fit would find no parity.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <mrmr/local.h>
#include <mrmr/pool.h>
#include <mrmr/shared.h>

#include "space_private.h"

/* A file system that says it has more, as some in the network do, is not
   believed: sums must not overflow. */
#define BELIEVED_BYTES (UINT64_C(1) << 52)

/* Stripes that may change at a time in a pool that is full, in blocks; but not
   more than this part of a member. */
#define SPARE_BLOCKS 8
#define SPARE_PART 48

/* What of the parity to come is wasted, as blocks of a stripe are not equally
   long. */
#define WASTE_PART 32

/* What a file or a parity block takes beyond its bytes: its records on a member,
   and half a block of the file system, which has whole ones. */
#define BYTES_A_FILE (600 + 2048)
#define STEPS_SURE 16

/* What records take in any case once there is something: tdb makes room for a
   hundred records of the size of which it lacks one. */
#define RECORDS_SURE (UINT64_C(1) << 20)
#define RECORDS_SURE_PART 64
#define RECORDS_SURE_MAX (UINT64_C(4) << 20)
#define BELIEVED_FILES (UINT64_C(1) << 40)

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static struct mrmr_shared_member *slot_of(const struct mrmr_pool *pool,
					  const struct mrmr_member *member)
{
	if (pool->shared == NULL || member->slot == -1) {
		return NULL;
	}
	return &pool->shared->members[member->slot];
}

static void tell(struct mrmr_shared_member *slot,
		 const struct mrmr_member *member)
{
	atomic_store(&slot->taken_bytes, member->taken_bytes);
	atomic_store(&slot->free_bytes, mrmr_member_room(member));
}

/* The number of members that have the file system in common. */
static size_t num_sharing(const struct known *known, size_t num, uint64_t dev)
{
	size_t sharing = 0;
	size_t i;

	for (i = 0; i < num; i++) {
		sharing += known[i].dev == dev;
	}
	return sharing;
}

/* What was told, and what came or went since. */
static void look_at_usage(struct mrmr_shared_member *slot, uint64_t taken_bytes,
			  size_t sharing, struct known *known)
{
	uint64_t then;

	if (slot == NULL || atomic_load(&slot->is_counted) == 0) {
		known->data_bytes = taken_bytes / sharing;
		return;
	}
	known->is_told = true;
	then = atomic_load(&slot->taken_then_bytes);
	known->data_bytes = atomic_load(&slot->data_bytes);
	known->parity_bytes = atomic_load(&slot->parity_bytes);
	if (taken_bytes >= then) {
		known->data_bytes += (taken_bytes - then) / sharing;
	} else {
		known->data_bytes -= lower((then - taken_bytes) / sharing,
					   known->data_bytes);
	}
}

/*
 * What records and the file system's blocks will take, if what is still to come
 * is like what is there: by the bytes of it that fit. A tdb grows by a quarter of
 * itself at a time; whether it has to is the less certain the less is to come.
 */
static uint64_t records_to_come(const struct mrmr_shared_member *slot,
				const struct known *known)
{
	uint64_t there = known->data_bytes + known->parity_bytes;
	uint64_t records;
	uint64_t step;
	uint64_t growth;
	uint64_t sure;

	if (slot == NULL || atomic_load(&slot->is_counted) == 0 || there == 0) {
		return 0;
	}
	records = lower(atomic_load(&slot->records_bytes), BELIEVED_BYTES);
	step = records / 4;
	growth = BYTES_A_FILE *
		 lower(atomic_load(&slot->num_files), BELIEVED_FILES);
	growth = (uint64_t)((unsigned __int128)growth * known->free_bytes /
			    there);
	/* Few small files say little of what is to come. */
	growth = lower(growth, known->free_bytes / 16);
	growth += lower(step, STEPS_SURE * growth);
	if (records == 0) {
		return growth;
	}
	/* Of a part that is new: its first steps are large ones. */
	sure = lower(RECORDS_SURE +
			     (there + known->free_bytes) / RECORDS_SURE_PART,
		     RECORDS_SURE_MAX);
	return growth > sure - lower(sure, records)
		       ? growth
		       : sure - lower(sure, records);
}

static void find_spare(const struct mrmr_pool *pool,
		       const struct mrmr_shared_member *slot,
		       struct known *known)
{
	uint64_t all =
		known->data_bytes + known->parity_bytes + known->free_bytes;
	uint64_t spare = lower(pool->config->block_size_bytes * SPARE_BLOCKS,
			       all / SPARE_PART);

	known->shared_out_bytes = known->free_bytes;
	if (pool->config->parity.max == 0) {
		return;
	}
	known->records_to_come_bytes =
		lower(records_to_come(slot, known), known->free_bytes);
	known->spare_bytes =
		lower(spare, known->free_bytes - known->records_to_come_bytes);
	known->shared_out_bytes -=
		known->records_to_come_bytes + known->spare_bytes;
	if (slot != NULL && atomic_load(&slot->num_files) > 0) {
		known->shared_out_bytes -=
			lower(known->shared_out_bytes,
			      known->free_bytes / WASTE_PART);
	}
}

void space_look_at_members(struct mrmr_pool *pool, struct known *known)
{
	uint64_t taken[MRMR_MEMBERS_MAX];
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		struct mrmr_shared_member *slot = slot_of(pool, member);
		bool is_online = member->state == MRMR_MEMBER_ONLINE;

		known[i] = (struct known){0};
		taken[i] = is_online ? member->taken_bytes : 0;
		if (is_online) {
			known[i].dev = (uint64_t)member->dev;
			known[i].free_bytes = mrmr_member_room(member);
		} else if (slot != NULL) {
			known[i].dev = atomic_load(&slot->dev);
		}
		if (slot != NULL && is_online && !member->read_only) {
			tell(slot, member);
		} else if (slot != NULL) {
			known[i].free_bytes = atomic_load(&slot->free_bytes);
			taken[i] = is_online ? taken[i]
					     : atomic_load(&slot->taken_bytes);
		}
	}
	for (i = 0; i < pool->num_members; i++) {
		size_t sharing = known[i].dev == 0
					 ? 1
					 : num_sharing(known, pool->num_members,
						       known[i].dev);

		look_at_usage(slot_of(pool, &pool->members[i]), taken[i],
			      sharing, &known[i]);
		known[i].data_bytes =
			lower(known[i].data_bytes, BELIEVED_BYTES);
		known[i].parity_bytes =
			lower(known[i].parity_bytes, BELIEVED_BYTES);
		known[i].free_bytes =
			lower(known[i].free_bytes / sharing, BELIEVED_BYTES);
		find_spare(pool, slot_of(pool, &pool->members[i]), &known[i]);
		pool->members[i].records_to_come_bytes =
			known[i].records_to_come_bytes;
		pool->members[i].spare_bytes = known[i].spare_bytes;
		pool->members[i].used_data_bytes = known[i].data_bytes;
		pool->members[i].used_parity_bytes = known[i].parity_bytes;
	}
}

/*
 * What is neither ours, as far as it was counted, nor free. Much of it may be
 * what clients have written since: the files that they have open, and those of
 * which the protector has not heard yet. So it does not become more, unless
 * nothing of that kind was there.
 */
static int64_t find_other(const struct mrmr_pool *pool,
			  const struct mrmr_member *member,
			  const struct mrmr_shared_member *slot,
			  const struct mrmr_usage *usage)
{
	uint64_t ours = lower(usage->data_bytes, BELIEVED_BYTES) +
			lower(usage->parity_bytes, BELIEVED_BYTES) +
			lower(usage->records_bytes, BELIEVED_BYTES);
	uint64_t taken = lower(member->taken_bytes, BELIEVED_BYTES);
	int64_t other = (int64_t)taken - (int64_t)ours;
	int64_t before = atomic_load(&slot->other_bytes);
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		/* what others have there, their counts are to tell */
		if (&pool->members[i] != member &&
		    pool->members[i].state == MRMR_MEMBER_ONLINE &&
		    pool->members[i].dev == member->dev) {
			return other;
		}
	}
	if (usage->is_all || atomic_load(&slot->is_counted) == 0) {
		return other;
	}
	return other < before ? other : before;
}

void mrmr_pool_set_usage(struct mrmr_pool *pool, struct mrmr_member *member,
			 const struct mrmr_usage *usage)
{
	struct mrmr_shared_member *slot = slot_of(pool, member);
	int64_t then;

	if (slot == NULL) {
		return;
	}
	if (member->state == MRMR_MEMBER_ONLINE) {
		mrmr_local_look_at_space(member);
		atomic_store(&slot->taken_bytes, member->taken_bytes);
		atomic_store(&slot->records_bytes, usage->records_bytes);
		atomic_store(&slot->other_bytes,
			     find_other(pool, member, slot, usage));
	}
	then = atomic_load(&slot->other_bytes) +
	       (int64_t)(lower(usage->data_bytes, BELIEVED_BYTES) +
			 lower(usage->parity_bytes, BELIEVED_BYTES) +
			 lower(atomic_load(&slot->records_bytes),
			       BELIEVED_BYTES));
	atomic_store(&slot->data_bytes, usage->data_bytes);
	atomic_store(&slot->parity_bytes, usage->parity_bytes);
	atomic_store(&slot->num_files, usage->num_files);
	atomic_store(&slot->taken_then_bytes, then > 0 ? (uint64_t)then : 0);
	atomic_store(&slot->is_counted, 1);
}

void mrmr_pool_note_parity(const struct mrmr_pool *pool,
			   const struct mrmr_member *member, int64_t more_bytes)
{
	struct mrmr_shared_member *slot = slot_of(pool, member);

	if (slot == NULL || atomic_load(&slot->is_counted) == 0) {
		return;
	}
	/* Unsigned sums wrap around: less is more of the other kind. */
	atomic_fetch_add(&slot->parity_bytes, (uint64_t)more_bytes);
	atomic_fetch_add(&slot->taken_then_bytes, (uint64_t)more_bytes);
}
