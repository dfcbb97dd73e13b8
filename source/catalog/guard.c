/*
 * MRMR: which inodes hold protected bytes.
 *
 * A hash table in a mapped file, open addressing, linear probing:
 *
 *     header | slot | slot | ...
 *
 * A slot is two words: the inode, and (number of the member + 1, generation).
 * The second word is 0 in a slot that was never used; that ends a search. A
 * slot belongs to its (member, inode) for as long as the file lives: to forget
 * is to set the generation to 0. So the first word, once the second says that
 * the slot is used, never changes, and a reader needs no lock: it loads the
 * second word, and then the first.
 *
 * 85 slots of 100 may be used. Then, the table is made anew without those that
 * were forgotten, with 68 of 100 used: 19 to 24 bytes for each inode.
 *
 * Replacing. The new file is filled first; the old one is marked (REPLACED),
 * then the new one is renamed over it. Who finds the mark maps the file that
 * has the name. In between, and for ever if the process was killed there, the
 * name leads to a marked file: nobody knows what was declared since, so it
 * counts as not ready, and the next to open it makes one that says so.
 *
 * What an answer is while the table is not ready. `bound` is the number up to
 * which generations may have been given; it is on stable storage (guard.bound)
 * before any of them is. Pre-images that are taken while the table is not ready
 * get the bound's number: not lower than any that was given, so they count for
 * the version that was protected, whichever that was. They must not count for
 * versions that come later; so, once a table has been not ready (also for the
 * moment of a replacement), the next generation is higher than the bound was
 * then. Numbers are reserved 65,536 at a time, so a reboot costs as many.
 *
 * A new boot makes the content void: what had been written of it is not known.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/boot.h>
#include <mrmr/thread_root.h>

#include "guard_private.h"

void guard_close(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
}

/* --- opening --------------------------------------------------------------- */

static int guard_destructor(struct mrmr_guard *guard)
{
	guard_unmap(&guard->table);
	close(guard->state_fd);
	pthread_rwlock_destroy(&guard->lock);
	return 0;
}

static int open_table(struct mrmr_guard *guard)
{
	struct guard_table table;
	uint32_t bound;

	if (guard_map(guard, &table)) {
		guard->table = table;
		if (atomic_load(&table.header->status) != GUARD_REPLACED) {
			return 0;
		}
		/* Its writer died. What it knew is void. */
	}
	if (guard_find_bound(guard->state_fd, &bound) == -1 ||
	    guard_make_new(guard, GUARD_SLOTS_MIN,
			   bound != 0 ? GUARD_NOT_READY : GUARD_READY, bound,
			   &table) == -1) {
		return -1;
	}
	return guard_put_in_place(guard, &table);
}

struct mrmr_guard *mrmr_guard_open(void *mem_ctx, int state_fd,
				   struct mrmr_error *err)
{
	struct mrmr_guard *guard = talloc_zero(mem_ctx, struct mrmr_guard);
	int ret = -1;
	int lock_fd;

	if (guard == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	guard->boot = mrmr_boot_id();
	if (guard->boot == 0) {
		mrmr_error_set(err, ENOENT,
			       "the kernel's boot id cannot be read: /proc "
			       "must be mounted");
		talloc_free(guard);
		return NULL;
	}
	guard->state_fd =
		openat(state_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (guard->state_fd != -1) {
		pthread_rwlock_init(&guard->lock, NULL);
		talloc_set_destructor(guard, guard_destructor);
		lock_fd = guard_take_lock(guard->state_fd);
		if (lock_fd != -1) {
			ret = open_table(guard);
			guard_close(lock_fd);
		}
	}
	if (ret == -1) {
		mrmr_error_set(err, errno,
			       "%s in the state directory, which says what is "
			       "protected, cannot be used: %s",
			       MRMR_GUARD_NAME, strerror(errno));
		talloc_free(guard);
		return NULL;
	}
	return guard;
}

static int distrust(struct mrmr_guard *guard)
{
	struct guard_table table;
	uint32_t bound = 0;

	if (guard_read_bound(guard->state_fd, &bound) == -1 &&
	    errno != ENOENT) {
		return -1;
	}
	if (bound != 0) {
		return 0; /* it is known to have protected bytes */
	}
	/* The bound comes last: it says that the table is believed to know. */
	if (guard_make_new(guard, GUARD_SLOTS_MIN, GUARD_NOT_READY,
			   GUARD_BOUND_LOST, &table) == -1 ||
	    guard_put_in_place(guard, &table) == -1) {
		return -1;
	}
	return guard_write_bound(guard->state_fd, GUARD_BOUND_LOST);
}

int mrmr_guard_distrust(struct mrmr_guard *guard, struct mrmr_error *err)
{
	int lock_fd = guard_take_lock(guard->state_fd);
	int ret = -1;

	if (lock_fd != -1) {
		pthread_rwlock_wrlock(&guard->lock);
		ret = distrust(guard);
		pthread_rwlock_unlock(&guard->lock);
		guard_close(lock_fd);
	}
	if (ret == -1) {
		return mrmr_error_set(err, errno,
				      "%s in the state directory cannot be "
				      "made anew: %s",
				      MRMR_GUARD_NAME, strerror(errno));
	}
	return 0;
}

/* --- finding --------------------------------------------------------------- */

/* splitmix64 */
static uint64_t hash_of(uint32_t member, uint64_t inode)
{
	uint64_t h =
		inode + (uint64_t)(member + 1) * UINT64_C(0x9e3779b97f4a7c15);

	h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
	return h ^ (h >> 31);
}

static uint64_t first_slot(const struct guard_table *table, uint32_t member,
			   uint64_t inode)
{
	/* The upper half of 32 bits, times the slots, over 2^32. */
	return (hash_of(member, inode) >> 32) * table->header->num_slots >> 32;
}

/* UINT32_MAX if it has none. */
uint32_t guard_number_of(const struct guard_table *table,
			 const struct mrmr_uuid *member)
{
	uint32_t num = atomic_load_explicit(&table->header->num_members,
					    memory_order_acquire);
	uint32_t i;

	for (i = 0; i < num && i < GUARD_MEMBERS_MAX; i++) {
		if (memcmp(table->header->members[i], member->byte, 16) == 0) {
			return i;
		}
	}
	return UINT32_MAX;
}

/* The slot of (member, inode), or the free one where it would be. */
struct guard_slot *guard_find_slot(const struct guard_table *table,
				   uint32_t member, uint64_t inode,
				   uint64_t *value)
{
	uint64_t i = first_slot(table, member, inode);

	for (;;) {
		struct guard_slot *slot = &table->slots[i];

		*value = atomic_load_explicit(&slot->value,
					      memory_order_acquire);
		if (*value == 0 ||
		    (*value >> 32 == (uint64_t)member + 1 &&
		     atomic_load_explicit(&slot->inode, memory_order_relaxed) ==
			     inode)) {
			return slot;
		}
		if (++i == table->header->num_slots) {
			i = 0;
		}
	}
}

static struct mrmr_guard_view look_in(const struct guard_table *table,
				      const struct mrmr_uuid *member,
				      uint64_t inode)
{
	struct guard_header *header = table->header;
	uint32_t status = atomic_load(&header->status);
	struct mrmr_guard_view view;
	uint32_t before;

	do {
		before = status;
		if (status == GUARD_READY) {
			uint32_t number = guard_number_of(table, member);
			uint64_t value = 0;

			if (number != UINT32_MAX) {
				guard_find_slot(table, number, inode, &value);
			}
			view.generation = (uint32_t)value;
		} else if (status == GUARD_NOT_READY) {
			view.generation = header->first_bound;
		} else {
			view.generation = atomic_load(&header->bound);
		}
		view.epoch = header->instance | status;
		/* If it is another one now, so may be what was read. */
		status = atomic_load(&header->status);
	} while (status != before);
	return view;
}

/* After GUARD_REPLACED was found. */
static void map_anew(struct mrmr_guard *guard)
{
	struct mrmr_thread_root root;
	struct guard_table table;

	pthread_rwlock_wrlock(&guard->lock);
	if (atomic_load(&guard->table.header->status) == GUARD_REPLACED &&
	    mrmr_thread_root_enter(&root) == 0) {
		if (guard_map(guard, &table)) {
			guard_unmap(&guard->table);
			guard->table = table;
		}
		mrmr_thread_root_leave(&root);
	}
	pthread_rwlock_unlock(&guard->lock);
}

struct mrmr_guard_view mrmr_guard_look(struct mrmr_guard *guard,
				       const struct mrmr_uuid *member,
				       uint64_t inode)
{
	struct mrmr_guard_view view;
	unsigned int tries;

	for (tries = 0;; tries++) {
		pthread_rwlock_rdlock(&guard->lock);
		view = look_in(&guard->table, member, inode);
		pthread_rwlock_unlock(&guard->lock);
		if ((view.epoch & GUARD_STATUS_BITS) != GUARD_REPLACED ||
		    tries == 2) {
			return view;
		}
		map_anew(guard);
	}
}

uint32_t mrmr_guard_find(struct mrmr_guard *guard,
			 const struct mrmr_uuid *member, uint64_t inode)
{
	return mrmr_guard_look(guard, member, inode).generation;
}

bool mrmr_guard_is_ready(struct mrmr_guard *guard)
{
	const struct mrmr_uuid nobody = {{0}};

	return (mrmr_guard_look(guard, &nobody, 0).epoch & GUARD_STATUS_BITS) ==
	       GUARD_READY;
}
