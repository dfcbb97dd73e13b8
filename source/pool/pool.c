/*
 * MRMR: a pool in use: looking at its members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <mrmr/absent.h>
#include <mrmr/dir.h>
#include <mrmr/intent.h>
#include <mrmr/local.h>
#include <mrmr/log.h>
#include <mrmr/missed.h>
#include <mrmr/pool.h>
#include <mrmr/protection.h>
#include <mrmr/shared.h>
#include <mrmr/trash.h>

#include "dir_private.h"

#define LOOK_INTERVAL_NS (1000 * INT64_C(1000000))
#define IDLE_NS (3000 * INT64_C(1000000))
#define HOLD_OFF_NS (30000 * INT64_C(1000000))

int64_t mrmr_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

const char *mrmr_member_name(const struct mrmr_member *member)
{
	return mrmr_member_config_name(member->config);
}

const char *mrmr_member_state_name(enum mrmr_member_state state)
{
	switch (state) {
	case MRMR_MEMBER_UNKNOWN:
		return "unknown";
	case MRMR_MEMBER_ONLINE:
		return "online";
	case MRMR_MEMBER_AWAY:
		return "away";
	case MRMR_MEMBER_FOREIGN:
		return "foreign";
	case MRMR_MEMBER_EJECTED:
		return "ejected";
	case MRMR_MEMBER_UNSUPPORTED:
		return "unsupported";
	}
	return "unknown";
}

/*
 * An ejected member is let go of. Once its marker was seen to be gone, the
 * marker's return is what a person means by plugging it in again.
 */
static bool is_ejected(struct mrmr_pool *pool, struct mrmr_member *member)
{
	struct mrmr_shared_member *slot = &pool->shared->members[member->slot];
	uint32_t eject = atomic_load(&slot->eject);
	bool seen;

	if (eject == MRMR_EJECT_NONE) {
		return false;
	}
	seen = mrmr_local_marker_seen(member);
	if (eject == MRMR_EJECT_ASKED) {
		if (!seen) {
			atomic_compare_exchange_strong(&slot->eject, &eject,
						       MRMR_EJECT_GONE);
		}
		return true;
	}
	if (seen) {
		atomic_compare_exchange_strong(&slot->eject, &eject,
					       MRMR_EJECT_NONE);
		return false;
	}
	return true;
}

/*
 * The device number of a member that went away is given to the next drive that
 * comes: it must not be taken for the one that left. Members that share a file
 * system were there already when this one came.
 */
static void take_device(struct mrmr_pool *pool, struct mrmr_member *member)
{
	struct mrmr_shared_member *slots = pool->shared->members;
	uint64_t dev = (uint64_t)member->dev;
	size_t i;

	if (atomic_load(&slots[member->slot].dev) == dev) {
		return;
	}
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *other = &pool->members[i];
		uint64_t theirs = dev;

		if (other != member && other->state != MRMR_MEMBER_ONLINE &&
		    other->state != MRMR_MEMBER_UNKNOWN) {
			atomic_compare_exchange_strong(&slots[other->slot].dev,
						       &theirs, 0);
		}
	}
	atomic_store(&slots[member->slot].dev, dev);
}

static void look_at(struct mrmr_pool *pool, struct mrmr_member *member)
{
	if (member->config->kind != MRMR_MEMBER_LOCAL) {
		member->state = MRMR_MEMBER_UNSUPPORTED;
		snprintf(member->why, sizeof(member->why),
			 "remote members "
			 "are not reached by this version");
		return;
	}
	if (mrmr_intents_hold_off(pool, member)) {
		return;
	}
	if (is_ejected(pool, member)) {
		mrmr_local_eject(member);
		return;
	}
	if (!mrmr_local_look(member, &pool->config->pool_id)) {
		return;
	}
	if (is_ejected(pool, member)) {
		mrmr_local_eject(member); /* asked for while we looked */
		return;
	}
	take_device(pool, member);
}

static bool is_caught_up(const struct mrmr_pool *pool)
{
	size_t i;

	if (pool->seen_intents_gen != atomic_load(&pool->shared->intents_gen) ||
	    atomic_load(&pool->shared->num_intents) > 0 ||
	    pool->has_intents_left) {
		return false;
	}
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state == MRMR_MEMBER_ONLINE && !member->caught_up) {
			return false;
		}
	}
	return true;
}

/*
 * What was renamed or replaced while a member was away is done on it before
 * its names count again; so is what a process that died had begun. Nothing is
 * looked at if nobody has left a record since the last time, and no member was
 * away.
 */
static void catch_up(struct mrmr_pool *pool)
{
	uint32_t gen = atomic_load(&pool->shared->intents_gen);
	size_t i;

	if (is_caught_up(pool)) {
		return;
	}
	mrmr_intents_finish(pool);
	for (i = 0; i < pool->num_members; i++) {
		struct mrmr_member *member = &pool->members[i];

		if (member->state != MRMR_MEMBER_ONLINE) {
			continue;
		}
		member->caught_up = !member->is_waited_for;
		if (!member->caught_up) {
			mrmr_local_hold_off(member,
					    "what was renamed could not be "
					    "done on it; see the log");
			member->held_off_until_ns = mrmr_now_ns() + HOLD_OFF_NS;
			pool->looks++;
			mrmr_trash_let_go(pool);
		}
	}
	pool->seen_intents_gen = gen;
	pool->finish_again_ns = mrmr_now_ns() + HOLD_OFF_NS;
	/* What was looked up on the way may have been renamed since. */
	mrmr_dir_cache_clear(pool);
}

/*
 * What waited for a member can be done now, by whoever is the protector next:
 * one process has to say so, whoever sees it first. It goes on to remove the
 * member's ghosts, by which the others still know its names: all of them look
 * before their next operation.
 */
static void note_absence(struct mrmr_pool *pool,
			 const struct mrmr_member *member)
{
	_Atomic uint32_t *was_away = &pool->shared->was_away[member->slot];

	switch (member->state) {
	case MRMR_MEMBER_AWAY:
	case MRMR_MEMBER_FOREIGN:
	case MRMR_MEMBER_EJECTED:
		if (atomic_load(was_away) == 0) {
			atomic_store(was_away, 1);
		}
		break;
	case MRMR_MEMBER_ONLINE:
		if (atomic_load(was_away) != 0 &&
		    atomic_exchange(was_away, 0) != 0) {
			mrmr_room_forget_trash(pool, member->index);
			atomic_store(&pool->shared->has_work, 1);
			atomic_fetch_add(&pool->shared->members_gen, 1);
		}
		break;
	case MRMR_MEMBER_UNKNOWN:
	case MRMR_MEMBER_UNSUPPORTED:
		break;
	}
}

void mrmr_pool_look(struct mrmr_pool *pool)
{
	uint32_t members_gen;
	bool came_online = false;
	bool changed = false;
	bool all_online = true;
	size_t i;

	pool->identity.become_root();
	members_gen = atomic_load(&pool->shared->members_gen);
	for (i = 0; i < pool->num_members; i++) {
		struct mrmr_member *member = &pool->members[i];
		uint32_t epoch = member->epoch;

		look_at(pool, member);
		note_absence(pool, member);
		if (member->state == MRMR_MEMBER_ONLINE &&
		    (member->epoch != epoch ||
		     members_gen != pool->seen_members_gen)) {
			member->missed = mrmr_missed_any(pool, member);
		}
		if (member->epoch != epoch) {
			changed = true;
			came_online = came_online ||
				      member->state == MRMR_MEMBER_ONLINE;
		}
	}
	if (changed) {
		pool->looks++;
		/* Descriptors below a root that was closed keep its file
		   system busy. */
		mrmr_dir_cache_clear(pool);
		mrmr_trash_let_go(pool);
	}
	if (came_online || atomic_load(&pool->shared->num_intents) > 0 ||
	    (members_gen != pool->seen_members_gen &&
	     atomic_load(&pool->shared->intents_gen) !=
		     pool->seen_intents_gen) ||
	    (pool->has_intents_left &&
	     mrmr_now_ns() >= pool->finish_again_ns)) {
		catch_up(pool);
	}
	for (i = 0; i < pool->num_members; i++) {
		bool is_online = pool->members[i].state == MRMR_MEMBER_ONLINE;

		all_online = all_online && is_online;
		if (came_online && is_online) {
			mrmr_absent_drop(pool, i);
		}
	}
	mrmr_dir_cache_sweep(pool);
	pool->identity.unbecome_root();
	mrmr_pool_plan(pool);

	pool->seen_members_gen = members_gen;
	pool->all_online = all_online;
	pool->was_any_away = pool->was_any_away || !all_online;
	pool->holds_members = true;
	pool->checked_ns = mrmr_now_ns();
}

void mrmr_pool_use(struct mrmr_pool *pool)
{
	int64_t now = mrmr_now_ns();

	pool->used_ns = now;
	if (now - pool->checked_ns >= LOOK_INTERVAL_NS ||
	    !pool->holds_members ||
	    pool->seen_members_gen !=
		    atomic_load_explicit(&pool->shared->members_gen,
					 memory_order_relaxed)) {
		mrmr_pool_look(pool);
	}
	if (atomic_load_explicit(&pool->shared->num_intents,
				 memory_order_relaxed) > 0 &&
	    mrmr_intents_are_stale(pool)) {
		/* A process died in the middle of something: its share lives
		   on with us, so it is finished before anything else. */
		mrmr_pool_look(pool);
	}
}

void mrmr_pool_let_go(struct mrmr_pool *pool)
{
	size_t i;

	mrmr_dir_cache_clear(pool);
	mrmr_trash_let_go(pool);
	for (i = 0; i < pool->num_members; i++) {
		mrmr_local_let_go(&pool->members[i]);
	}
	pool->holds_members = false;
}

void mrmr_pool_idle(struct mrmr_pool *pool)
{
	int64_t now = mrmr_now_ns();

	if (!pool->holds_members) {
		return;
	}
	if (now - pool->used_ns >= IDLE_NS ||
	    pool->seen_members_gen != atomic_load(&pool->shared->members_gen)) {
		mrmr_pool_let_go(pool);
	}
}

void mrmr_pool_watch_absent(struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (mrmr_member_has_returned(pool, &pool->members[i])) {
			mrmr_pool_look(pool);
			return;
		}
	}
}

void mrmr_pool_watch_ejected(struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		struct mrmr_member *member = &pool->members[i];

		if (atomic_load(&pool->shared->members[member->slot].eject) ==
		    MRMR_EJECT_NONE) {
			continue;
		}
		pool->identity.become_root();
		if (!is_ejected(pool, member)) {
			atomic_fetch_add(&pool->shared->members_gen, 1);
		}
		pool->identity.unbecome_root();
	}
}

void mrmr_pool_suspect(struct mrmr_pool *pool, const struct mrmr_member *member,
		       int error)
{
	int saved_errno = errno;

	switch (error) {
	case EIO:
	case ENODEV:
	case ENXIO:
	case ESTALE:
	case EROFS:
	case ENOTCONN:
		break;
	default:
		return;
	}
	mrmr_log(MRMR_LOG_WARNING, "member %s: %s; looking at it again",
		 mrmr_member_name(member), strerror(error));
	pool->checked_ns = 0;
	errno = saved_errno;
}

/* No device has that. */
#define AWAY_MAJOR 0xfff

dev_t mrmr_pool_device_of(const struct mrmr_pool *pool,
			  const struct mrmr_uuid *id)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		uint64_t dev;

		if (!mrmr_uuid_equal(&member->config->id, id)) {
			continue;
		}
		dev = atomic_load(&pool->shared->members[member->slot].dev);
		return dev != 0 ? (dev_t)dev
				: makedev(AWAY_MAJOR, (unsigned int)i);
	}
	return makedev(AWAY_MAJOR, AWAY_MAJOR);
}

uint64_t mrmr_pool_device_id(const struct mrmr_pool *pool, dev_t dev)
{
	size_t i;

	if (major(dev) == AWAY_MAJOR && minor(dev) < pool->num_members) {
		return pool->members[minor(dev)].device_id;
	}

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (atomic_load_explicit(&pool->shared->members[member->slot]
						  .dev,
					 memory_order_relaxed) == dev) {
			return member->device_id;
		}
	}
	if (dev == pool->spine_dev) {
		return pool->device_id;
	}
	return dev;
}
