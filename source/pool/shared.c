/*
 * MRMR: one page that all processes of a pool see.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/boot.h>
#include <mrmr/shared.h>

static int lock(int fd)
{
	int ret;

	do {
		ret = flock(fd, LOCK_EX);
	} while (ret == -1 && errno == EINTR);
	return ret;
}

static void renew(struct mrmr_shared *shared, uint64_t boot)
{
	size_t i;

	if (shared->magic != MRMR_SHARED_MAGIC) {
		memset(shared, 0, sizeof(*shared));
	}
	for (i = 0; i < MRMR_MEMBERS_MAX; i++) {
		atomic_store(&shared->members[i].dev, 0);
		atomic_store(&shared->room[i].wanted_bytes, 0);
		atomic_store(&shared->room[i].reclaimable_bytes, 0);
	}
	memset(shared->moves, 0, sizeof(shared->moves));
	atomic_store(&shared->num_moves, 0);
	atomic_store(&shared->protector, 0);
	memset(&shared->protect, 0, sizeof(shared->protect));
	memset(shared->trouble, 0, sizeof(shared->trouble));
	shared->boot = boot;
	shared->magic = MRMR_SHARED_MAGIC;
}

struct mrmr_shared *mrmr_shared_open(int state_fd, struct mrmr_error *err)
{
	struct mrmr_shared *shared = NULL;
	/* What a page says of st_dev holds for one boot only. If the boot is
	   not known (0), every opener renews the page once. */
	uint64_t boot = mrmr_boot_id();
	struct stat st;
	int fd;

	fd = openat(state_fd, MRMR_SHARED_NAME,
		    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		mrmr_error_set(err, errno,
			       "%s in the state directory cannot "
			       "be opened: %s",
			       MRMR_SHARED_NAME, strerror(errno));
		return NULL;
	}

	if (lock(fd) == -1 || fstat(fd, &st) == -1) {
		goto fail;
	}
	/* Never made shorter: an smbd of an older version may have it mapped,
	   and would get a SIGBUS. */
	if (st.st_size < (off_t)sizeof(*shared) &&
	    ftruncate(fd, sizeof(*shared)) == -1) {
		goto fail;
	}
	/* A hole in a mapping on a full disk is a SIGBUS: take the blocks. */
	if (posix_fallocate(fd, 0, sizeof(*shared)) == ENOSPC) {
		errno = ENOSPC;
		goto fail;
	}

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (shared == MAP_FAILED) {
		goto fail;
	}
	if (shared->magic != MRMR_SHARED_MAGIC || shared->boot != boot) {
		renew(shared, boot);
	}
	/* The mapping keeps the open file, and so the lock, alive. */
	flock(fd, LOCK_UN);
	close(fd);
	return shared;

fail:
	mrmr_error_set(err, errno,
		       "%s in the state directory cannot be used: "
		       "%s",
		       MRMR_SHARED_NAME, strerror(errno));
	close(fd);
	return NULL;
}

void mrmr_shared_close(struct mrmr_shared *shared)
{
	if (shared != NULL) {
		munmap(shared, sizeof(*shared));
	}
}

static bool in_config(const struct mrmr_config *config, const uint8_t id[16])
{
	size_t i;

	for (i = 0; i < config->num_members; i++) {
		if (memcmp(config->members[i].id.byte, id, 16) == 0) {
			return true;
		}
	}
	return false;
}

int mrmr_shared_find(const struct mrmr_shared *shared,
		     const struct mrmr_uuid *id)
{
	int i;

	for (i = 0; i < MRMR_MEMBERS_MAX; i++) {
		if (memcmp(shared->members[i].id, id->byte, 16) == 0) {
			return i;
		}
	}
	return -1;
}

/* What is known of the member that had the slot does not hold for another. */
static void give_slot(struct mrmr_shared *shared, int number,
		      const struct mrmr_uuid *id)
{
	struct mrmr_shared_member *slot = &shared->members[number];

	atomic_store(&shared->room[number].wanted_bytes, 0);
	atomic_store(&shared->room[number].reclaimable_bytes, 0);
	atomic_store(&shared->room[number].trash_seen_ns, 0);
	atomic_store(&shared->trouble[number].refused_reads, 0);
	atomic_store(&shared->trouble[number].wrong_blocks, 0);
	atomic_store(&slot->dev, 0);
	atomic_store(&shared->was_away[number], 0);
	atomic_store(&slot->eject, MRMR_EJECT_NONE);
	atomic_store(&slot->is_counted, 0);
	atomic_store(&slot->taken_bytes, 0);
	atomic_store(&slot->free_bytes, 0);
	memcpy(slot->id, id->byte, 16);
}

int mrmr_shared_slot(struct mrmr_shared *shared, int state_fd,
		     const struct mrmr_config *config,
		     const struct mrmr_uuid *id)
{
	int found = mrmr_shared_find(shared, id);
	int i;
	int fd;

	if (found != -1) {
		return found;
	}
	fd = openat(state_fd, MRMR_SHARED_NAME, O_RDWR | O_CLOEXEC);
	if (fd == -1) {
		return -1;
	}
	if (lock(fd) == -1) {
		close(fd);
		return -1;
	}
	found = mrmr_shared_find(shared, id); /* another was faster? */
	for (i = 0; found == -1 && i < MRMR_MEMBERS_MAX; i++) {
		if (!in_config(config, shared->members[i].id)) {
			found = i;
			give_slot(shared, i, id);
		}
	}
	close(fd);
	if (found == -1) {
		errno = ENOSPC;
	}
	return found;
}

void mrmr_shared_set_eject(struct mrmr_shared *shared, int slot,
			   enum mrmr_eject_state eject)
{
	atomic_store(&shared->members[slot].eject, eject);
	atomic_fetch_add(&shared->members_gen, 1);
}

void mrmr_shared_want(struct mrmr_shared *shared, uint64_t node)
{
	_Atomic uint64_t *place = &shared->wanted[node % MRMR_SHARED_WANTED];

	/* they are many reads, as a rule, of few files */
	if (atomic_load(place) != node) {
		atomic_store(place, node);
	}
}

uint64_t mrmr_shared_next_wanted(struct mrmr_shared *shared)
{
	size_t i;

	for (i = 0; i < MRMR_SHARED_WANTED; i++) {
		uint64_t node = atomic_load(&shared->wanted[i]);

		if (node != 0) {
			return atomic_exchange(&shared->wanted[i], 0);
		}
	}
	return 0;
}
