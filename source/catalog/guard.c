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
#include <mrmr/fault.h>
#include <mrmr/thread_root.h>

#include "guard_private.h"

static void close_keeping_errno(int fd)
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
			close_keeping_errno(lock_fd);
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
	if (guard_write_bound(guard->state_fd, GUARD_BOUND_LOST) == -1 ||
	    guard_make_new(guard, GUARD_SLOTS_MIN, GUARD_NOT_READY,
			   GUARD_BOUND_LOST, &table) == -1) {
		return -1;
	}
	return guard_put_in_place(guard, &table);
}

int mrmr_guard_distrust(struct mrmr_guard *guard, struct mrmr_error *err)
{
	int lock_fd = guard_take_lock(guard->state_fd);
	int ret = -1;

	if (lock_fd != -1) {
		pthread_rwlock_wrlock(&guard->lock);
		ret = distrust(guard);
		pthread_rwlock_unlock(&guard->lock);
		close_keeping_errno(lock_fd);
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
static uint32_t number_of(const struct guard_table *table,
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
static struct guard_slot *find_slot(const struct guard_table *table,
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
			uint32_t number = number_of(table, member);
			uint64_t value = 0;

			if (number != UINT32_MAX) {
				find_slot(table, number, inode, &value);
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

/* --- changing -------------------------------------------------------------- */

static int add_member(struct guard_table *table, const struct mrmr_uuid *member,
		      uint32_t *number)
{
	struct guard_header *header = table->header;
	uint32_t num = atomic_load(&header->num_members);

	*number = number_of(table, member);
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
	struct guard_slot *slot = find_slot(table, member, inode, &value);

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
	close_keeping_errno(lock_fd);
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
	close_keeping_errno(lock_fd);
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
		number = number_of(&guard->table, member);
		if (number != UINT32_MAX) {
			find_slot(&guard->table, number, inode, &value);
		}
		if ((uint32_t)value != 0) {
			enter(&guard->table, number, inode, 0);
		}
	}
	pthread_rwlock_unlock(&guard->lock);
}
