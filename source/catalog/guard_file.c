/*
 * MRMR: the guard's files: the table, and the bound of what was declared.
 *
 * The theory is in guard.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/catalog.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/log.h>

#include "guard_private.h"

#define MAGIC UINT64_C(0x314452415547524d)
#define NEW_NAME MRMR_GUARD_NAME ".new"
#define LOCK_NAME MRMR_GUARD_NAME ".lock"
#define BOUND_NAME MRMR_GUARD_NAME ".bound"

#define HEADER_BYTES 16384
_Static_assert(sizeof(struct guard_header) <= HEADER_BYTES, "header");

/* Generations that are reserved at a time. */
#define RESERVE 65536

/* --- files ----------------------------------------------------------------- */

int guard_take_lock(int state_fd)
{
	int fd = openat(state_fd, LOCK_NAME,
			O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int ret;

	if (fd == -1) {
		return -1;
	}
	do {
		ret = flock(fd, LOCK_EX);
	} while (ret == -1 && errno == EINTR);
	if (ret == -1) {
		guard_close(fd);
		return -1;
	}
	return fd;
}

void guard_unmap(struct guard_table *table)
{
	if (table->header != NULL) {
		munmap(table->header, table->size);
	}
	*table = (struct guard_table){.header = NULL};
}

static int map_fd(int fd, size_t size, struct guard_table *table)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED) {
		return -1;
	}
	*table = (struct guard_table){
		.header = p,
		.slots = (struct guard_slot *)((char *)p + HEADER_BYTES),
		.size = size,
	};
	return 0;
}

/* The file that has the name. False if it is none of this boot's. */
bool guard_map(const struct mrmr_guard *guard, struct guard_table *table)
{
	const struct guard_header *header = NULL;
	struct stat st;
	bool ok = false;
	int fd;

	*table = (struct guard_table){.header = NULL};
	fd = openat(guard->state_fd, MRMR_GUARD_NAME,
		    O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return false;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size >= HEADER_BYTES &&
	    map_fd(fd, (size_t)st.st_size, table) == 0) {
		header = table->header;
		ok = header->magic == MAGIC && header->boot == guard->boot &&
		     header->num_slots > 0 &&
		     header->num_slots == (table->size - HEADER_BYTES) /
						  sizeof(struct guard_slot);
		if (!ok) {
			guard_unmap(table);
		}
	}
	close(fd);
	return ok;
}

/* A table under NEW_NAME, mapped. */
int guard_make_new(const struct mrmr_guard *guard, uint64_t num_slots,
		   enum guard_status status, uint32_t bound,
		   struct guard_table *table)
{
	size_t size = HEADER_BYTES + num_slots * sizeof(struct guard_slot);
	struct guard_header *header = NULL;
	uint64_t instance;
	int error;
	int fd;

	if (getrandom(&instance, sizeof(instance), 0) != sizeof(instance) ||
	    (unlinkat(guard->state_fd, NEW_NAME, 0) == -1 && errno != ENOENT)) {
		return -1;
	}
	fd = openat(guard->state_fd, NEW_NAME,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		return -1;
	}
	/* A hole in a mapping on a full disk is a SIGBUS: take the blocks. */
	error = posix_fallocate(fd, 0, (off_t)size);
	if (error == 0 && map_fd(fd, size, table) == -1) {
		error = errno;
	}
	close(fd);
	if (error != 0) {
		errno = error;
		return -1;
	}
	header = table->header;
	header->magic = MAGIC;
	header->boot = guard->boot;
	header->instance = instance & ~GUARD_STATUS_BITS;
	header->num_slots = num_slots;
	header->first_bound = bound;
	header->last = bound;
	atomic_store(&header->bound, bound);
	atomic_store(&header->status, status);
	return 0;
}

/*
 * The new table takes the name, and the place of the one that was in use. With
 * LOCK_NAME locked. What is mapped is taken over, or unmapped.
 */
int guard_put_in_place(struct mrmr_guard *guard, struct guard_table *fresh)
{
	struct guard_header *old = guard->table.header;
	uint32_t status = GUARD_NOT_READY;
	int saved_errno;

	if (old != NULL) {
		status = atomic_load(&old->status);
		atomic_store(&old->status, GUARD_REPLACED);
	}
	if (mrmr_fault("guard-replace") == 0 &&
	    renameat(guard->state_fd, NEW_NAME, guard->state_fd,
		     MRMR_GUARD_NAME) == 0) {
		guard_unmap(&guard->table);
		guard->table = *fresh;
		return 0;
	}
	saved_errno = errno;
	guard_unmap(fresh);
	if (old != NULL) {
		/* Pre-images may have got the bound's number meanwhile. */
		old->last = atomic_load(&old->bound);
		atomic_store(&old->status, status);
	}
	errno = saved_errno;
	return -1;
}

/* --- the bound ------------------------------------------------------------- */

int guard_write_bound(int state_fd, uint32_t bound)
{
	const struct mrmr_file_attributes attributes = {
		.mode = 0600,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
	};
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu32 "\n", bound);
	if (mrmr_fault("guard-bound") != 0) {
		return -1;
	}
	return mrmr_file_write(state_fd, BOUND_NAME, text, strlen(text),
			       &attributes, true);
}

/* 0, or -1 with errno: ENOENT, or EILSEQ for what is no number. */
int guard_read_bound(int state_fd, uint32_t *bound)
{
	int fd =
		openat(state_fd, BOUND_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *text = NULL;
	char *end = NULL;
	uintmax_t number;
	size_t len = 0;
	bool ok;

	if (fd == -1) {
		return -1;
	}
	text = mrmr_file_read_fd(NULL, fd, 32, &len);
	guard_close(fd);
	if (text == NULL) {
		errno = errno == EFBIG ? EILSEQ : errno;
		return -1;
	}
	number = strtoumax(text, &end, 10);
	ok = end != text && strcmp(end, "\n") == 0 && number <= UINT32_MAX;
	talloc_free(text);
	if (!ok) {
		errno = EILSEQ;
		return -1;
	}
	*bound = (uint32_t)number;
	return 0;
}

/*
 * The bound, which is on stable storage then; 0 if nothing was ever declared.
 */
int guard_find_bound(int state_fd, uint32_t *bound)
{
	struct stat st;

	if (guard_read_bound(state_fd, bound) == 0) {
		return 0;
	}
	if (errno == ENOENT && fstatat(state_fd, MRMR_CATALOG_FOLDER, &st,
				       AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno != ENOENT) {
			return -1;
		}
		*bound = 0;
		return guard_write_bound(state_fd, 0);
	}
	if (errno != ENOENT && errno != EILSEQ) {
		return -1;
	}
	mrmr_log(MRMR_LOG_WARNING,
		 "%s in the state directory is missing or damaged; going on "
		 "with a number that is surely higher",
		 BOUND_NAME);
	*bound = GUARD_BOUND_LOST;
	return guard_write_bound(state_fd, GUARD_BOUND_LOST);
}

int guard_reserve(struct mrmr_guard *guard)
{
	struct guard_header *header = guard->table.header;
	uint32_t bound = atomic_load(&header->bound);
	uint32_t stable = 0;

	/* A process that was killed may have reserved more. */
	if (guard_read_bound(guard->state_fd, &stable) == -1 &&
	    errno != ENOENT && errno != EILSEQ) {
		return -1;
	}
	bound = stable > bound ? stable : bound;
	if (bound > UINT32_MAX - RESERVE) {
		errno = EOVERFLOW;
		return -1;
	}
	if (guard_write_bound(guard->state_fd, bound + RESERVE) == -1) {
		return -1;
	}
	header->last = bound;
	atomic_store(&header->bound, bound + RESERVE);
	return 0;
}
