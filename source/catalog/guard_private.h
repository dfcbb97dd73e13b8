/*
 * MRMR: the guard's table, for its own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_GUARD_PRIVATE_H
#define MRMR_GUARD_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/guard.h>

#define GUARD_MEMBERS_MAX 1000 /* that have a file in one table */
#define GUARD_SLOTS_MIN 4096

enum guard_status {
	GUARD_NOT_READY = 0,
	GUARD_READY = 1,
	GUARD_REPLACED = 2,
};
#define GUARD_STATUS_BITS UINT64_C(3)

struct guard_header {
	uint64_t magic;
	uint64_t boot;
	uint64_t instance; /* GUARD_STATUS_BITS are 0 */
	uint64_t num_slots;
	_Atomic uint32_t status;
	uint32_t first_bound;   /* the bound while it is not ready */
	_Atomic uint32_t bound; /* does not change once it was replaced */
	uint32_t last;          /* generation that was given */
	uint32_t max_added;     /* by rebuild_add */
	_Atomic uint32_t num_members;
	uint64_t num_used; /* slots, with those that were forgotten */
	uint64_t num_live;
	uint8_t members[GUARD_MEMBERS_MAX][16];
};

struct guard_slot {
	_Atomic uint64_t inode;
	_Atomic uint64_t value;
};

struct guard_table {
	struct guard_header *header; /* NULL: not mapped */
	struct guard_slot *slots;
	size_t size;
};

struct mrmr_guard {
	int state_fd;
	uint64_t boot;
	/* Held for reading by whoever looks at the table, for writing by whoever
	   changes it, or maps another. Of this process only. */
	pthread_rwlock_t lock;
	struct guard_table table;
};

/* guard.c */

void guard_close(int fd); /* keeps errno */

/* The member's number in the table, UINT32_MAX if it has none. */
uint32_t guard_number_of(const struct guard_table *table,
			 const struct mrmr_uuid *member);
/* The slot of (member, inode), or the free one where it would be. */
struct guard_slot *guard_find_slot(const struct guard_table *table,
				   uint32_t member, uint64_t inode,
				   uint64_t *value);

/* guard_file.c; all need root */

/* Held by whoever makes or replaces the file. A descriptor to be closed. */
int guard_take_lock(int state_fd);

/* Map the file that has the name. False if it is none of this boot's. */
bool guard_map(const struct mrmr_guard *guard, struct guard_table *table);
void guard_unmap(struct guard_table *table);

/* A table under another name, mapped. */
int guard_make_new(const struct mrmr_guard *guard, uint64_t num_slots,
		   enum guard_status status, uint32_t bound,
		   struct guard_table *table);

/*
 * The new table takes the name, and the place of the one that was in use. With
 * the lock. What is mapped is taken over, or unmapped.
 */
int guard_put_in_place(struct mrmr_guard *guard, struct guard_table *fresh);

/* The bound. find makes sure that there is one on stable storage; 0: nothing
   was ever declared. reserve moves it on. */
int guard_write_bound(int state_fd, uint32_t bound);
int guard_read_bound(int state_fd, uint32_t *bound);
int guard_find_bound(int state_fd, uint32_t *bound);
int guard_reserve(struct mrmr_guard *guard);

/* The bound when it was lost: it takes years to get there. */
#define GUARD_BOUND_LOST (UINT32_C(1) << 31)

#endif
