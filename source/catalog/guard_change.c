/*
 * MRMR: which inodes hold protected bytes: changing the table.
 *
 * For the holder of mrmr_catalog_lock. The theory is in guard.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/fault.h>

#include "guard_private.h"

static int add_member(struct guard_table *table, const struct mrmr_uuid *member,
		      uint32_t *number)
{
	struct guard_header *header = table->header;
	uint32_t num = atomic_load(&header->num_members);

	*number = guard_number_of(table, member);
	if (*number != UINT32_MAX) {
		return 0;
	}
	if (num >= GUARD_MEMBERS_MAX) {
		errno = ENOSPC;
		return -1;
	}
	memcpy(header->members[num], member->byte, 16);
	atomic_store_explicit(&header->num_members, num + 1,
			      memory_order_release);
	*number = num;
	return 0;
}

/* There is room. */
static void enter(struct guard_table *table, uint32_t member, uint64_t inode,
		  uint32_t generation)
{
	uint64_t value;
	struct guard_slot *slot = guard_find_slot(table, member, inode, &value);

	if (value == 0) {
		atomic_store_explicit(&slot->inode, inode,
				      memory_order_relaxed);
		table->header->num_used++;
	}
	if ((uint32_t)value == 0 && generation != 0) {
		table->header->num_live++;
	}
	if ((uint32_t)value != 0 && generation == 0) {
		table->header->num_live--;
	}
	/* Whoever sees this sees the inode. */
	atomic_store_explicit(&slot->value,
			      ((uint64_t)member + 1) << 32 | generation,
			      memory_order_release);
}

static int copy_live(const struct guard_table *from, struct guard_table *to)
{
	uint64_t i;

	for (i = 0; i < from->header->num_slots; i++) {
		uint64_t value = atomic_load(&from->slots[i].value);
		struct mrmr_uuid id;
		uint32_t number;

		if ((uint32_t)value == 0) {
			continue;
		}
		memcpy(id.byte, from->header->members[(value >> 32) - 1], 16);
		if (add_member(to, &id, &number) == -1) {
			return -1;
		}
		enter(to, number, atomic_load(&from->slots[i].inode),
		      (uint32_t)value);
	}
	return 0;
}

/* As large as is right for what it has. */
static int make_anew(struct mrmr_guard *guard)
{
	struct guard_header *header = guard->table.header;
	uint64_t num_slots = (header->num_live + 1) * 100 / 68;
	struct guard_table fresh;
	int ret = -1;
	int lock_fd;

	if (num_slots < GUARD_SLOTS_MIN) {
		num_slots = GUARD_SLOTS_MIN;
	}
	lock_fd = guard_take_lock(guard->state_fd);
	if (lock_fd == -1) {
		return -1;
	}
	if (guard_make_new(guard, num_slots, atomic_load(&header->status),
			   atomic_load(&header->bound), &fresh) == 0) {
		fresh.header->max_added = header->max_added;
		if (copy_live(&guard->table, &fresh) == 0) {
			ret = guard_put_in_place(guard, &fresh);
		} else {
			guard_unmap(&fresh);
		}
	}
	guard_close(lock_fd);
	return ret;
}

static bool is_full(const struct guard_table *table)
{
	const struct guard_header *header = table->header;

	return header->num_used + 1 > header->num_slots / 100 * 85;
}

/* The table that has the name, as it may have been replaced by another process
   since this one mapped it. */
static int use_current(struct mrmr_guard *guard)
{
	struct guard_table table;

	if (atomic_load(&guard->table.header->status) != GUARD_REPLACED) {
		return 0;
	}
	if (guard_map(guard, &table)) {
		guard_unmap(&guard->table);
		guard->table = table;
	}
	if (atomic_load(&guard->table.header->status) == GUARD_REPLACED) {
		errno = EBUSY;
		return -1;
	}
	return 0;
}

/* Room for one more, and the member's number. */
static int prepare(struct mrmr_guard *guard, const struct mrmr_uuid *member,
		   uint32_t *number)
{
	if (add_member(&guard->table, member, number) == 0 &&
	    !is_full(&guard->table)) {
		return 0;
	}
	/* This also drops the numbers of members that have nothing any more. */
	if (make_anew(guard) == -1) {
		return -1;
	}
	return add_member(&guard->table, member, number);
}

static int rebuild_begin(struct mrmr_guard *guard)
{
	struct guard_table fresh;
	uint32_t bound;

	if (guard_find_bound(guard->state_fd, &bound) == -1) {
		return -1;
	}
	if (bound == 0) {
		bound = 1; /* 0 would say that nothing is guarded */
		if (guard_write_bound(guard->state_fd, bound) == -1) {
			return -1;
		}
	}
	if (guard_make_new(guard, GUARD_SLOTS_MIN, GUARD_NOT_READY, bound,
			   &fresh) == -1) {
		return -1;
	}
	return guard_put_in_place(guard, &fresh);
}

int mrmr_guard_rebuild_begin(struct mrmr_guard *guard)
{
	int lock_fd = guard_take_lock(guard->state_fd);
	int ret;

	if (lock_fd == -1) {
		return -1;
	}
	pthread_rwlock_wrlock(&guard->lock);
	ret = use_current(guard);
	if (ret == 0 || errno == EBUSY) {
		ret = rebuild_begin(guard);
	}
	pthread_rwlock_unlock(&guard->lock);
	guard_close(lock_fd);
	return ret;
}

/* The table is in use, and has this status: EBUSY. */
static int check_status(struct mrmr_guard *guard, enum guard_status status)
{
	if (use_current(guard) == -1) {
		return -1;
	}
	if (atomic_load(&guard->table.header->status) != status) {
		errno = EBUSY;
		return -1;
	}
	return 0;
}

static int rebuild_add(struct mrmr_guard *guard, const struct mrmr_uuid *member,
		       uint64_t inode, uint32_t generation)
{
	uint32_t number;

	if (check_status(guard, GUARD_NOT_READY) == -1 ||
	    prepare(guard, member, &number) == -1) {
		return -1;
	}
	enter(&guard->table, number, inode, generation);
	if (generation > guard->table.header->max_added) {
		guard->table.header->max_added = generation;
	}
	return 0;
}

int mrmr_guard_rebuild_add(struct mrmr_guard *guard,
			   const struct mrmr_uuid *member, uint64_t inode,
			   uint32_t generation)
{
	int ret;

	if (generation == 0) {
		errno = EINVAL;
		return -1;
	}
	pthread_rwlock_wrlock(&guard->lock);
	ret = rebuild_add(guard, member, inode, generation);
	pthread_rwlock_unlock(&guard->lock);
	return ret;
}

static int rebuild_end(struct mrmr_guard *guard)
{
	struct guard_header *header = NULL;

	if (check_status(guard, GUARD_NOT_READY) == -1) {
		return -1;
	}
	header = guard->table.header;
	if (header->max_added > atomic_load(&header->bound)) {
		/* The bound was lost, and was higher than we thought. */
		if (guard_write_bound(guard->state_fd, header->max_added) ==
		    -1) {
			return -1;
		}
		atomic_store(&header->bound, header->max_added);
	}
	if (mrmr_fault("guard-ready") != 0) {
		return -1;
	}
	/* Pre-images may have got any number up to the bound. */
	header->last = atomic_load(&header->bound);
	atomic_store(&header->status, GUARD_READY);
	return 0;
}

int mrmr_guard_rebuild_end(struct mrmr_guard *guard)
{
	int ret;

	pthread_rwlock_wrlock(&guard->lock);
	ret = rebuild_end(guard);
	pthread_rwlock_unlock(&guard->lock);
	return ret;
}

static int declare(struct mrmr_guard *guard, const struct mrmr_uuid *member,
		   uint64_t inode, uint32_t *generation)
{
	struct guard_header *header = NULL;
	uint32_t number;

	if (check_status(guard, GUARD_READY) == -1 ||
	    prepare(guard, member, &number) == -1) {
		return -1;
	}
	header = guard->table.header;
	if (header->last == atomic_load(&header->bound) &&
	    guard_reserve(guard) == -1) {
		return -1;
	}
	*generation = ++header->last;
	enter(&guard->table, number, inode, *generation);
	return 0;
}

int mrmr_guard_declare(struct mrmr_guard *guard, const struct mrmr_uuid *member,
		       uint64_t inode, uint32_t *generation)
{
	int ret;

	pthread_rwlock_wrlock(&guard->lock);
	ret = declare(guard, member, inode, generation);
	pthread_rwlock_unlock(&guard->lock);
	return ret;
}

void mrmr_guard_forget(struct mrmr_guard *guard, const struct mrmr_uuid *member,
		       uint64_t inode)
{
	uint64_t value = 0;
	uint32_t number;

	pthread_rwlock_wrlock(&guard->lock);
	if (use_current(guard) == 0) {
		number = guard_number_of(&guard->table, member);
		if (number != UINT32_MAX) {
			guard_find_slot(&guard->table, number, inode, &value);
		}
		if ((uint32_t)value != 0) {
			enter(&guard->table, number, inode, 0);
		}
	}
	pthread_rwlock_unlock(&guard->lock);
}
