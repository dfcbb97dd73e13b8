/*
 * MRMR: one page that all processes of a pool see.
 *
 * <state dir>/shared is mapped by every smbd of the share and by mrmr-admin.
 * It holds counters ("something of this kind has changed; forget what you
 * remember"), and per member what was asked for and where it was last seen.
 * Losing it costs nothing but a look at the members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SHARED_H
#define MRMR_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <mrmr/config.h>
#include <mrmr/error.h>

#define MRMR_SHARED_NAME "shared"
#define MRMR_SHARED_MAGIC UINT64_C(0x324445524148534d)
#define MRMR_MOVES_MAX 1024
#define MRMR_SWAPS 64

enum mrmr_eject_state {
	MRMR_EJECT_NONE = 0,
	MRMR_EJECT_ASKED = 1, /* let go; the marker is still seen */
	MRMR_EJECT_GONE = 2,  /* the marker was seen to be gone: when it
				 returns, the member is taken back */
};

struct mrmr_shared_member {
	uint8_t id[16];
	_Atomic uint64_t dev;   /* st_dev where it was last online, 0: never */
	_Atomic uint32_t eject; /* enum mrmr_eject_state */
	uint32_t unused;
};

/* Room on a member: mrmr/protection.h. */
struct mrmr_shared_room {
	_Atomic uint64_t wanted_bytes;
	_Atomic uint64_t reclaimable_bytes;
};

/* A file that changed members while it was open keeps its file id. */
struct mrmr_shared_move {
	_Atomic uint32_t used;
	uint32_t unused;
	uint64_t now_device, now_ino; /* as the file system tells */
	uint64_t was_device, was_ino; /* as clients know it */
};

struct mrmr_shared {
	uint64_t magic;
	uint64_t boot;                /* hash of the kernel's boot id */
	_Atomic uint32_t members_gen; /* look at the members again */
	_Atomic uint32_t dirs_gen;    /* a directory appeared on a member */
	_Atomic uint32_t clones_gen;  /* one was removed; its directory lives */
	_Atomic uint32_t tree_gen;    /* odd: see mrmr_tree_lock */
	_Atomic uint32_t num_intents; /* begun, and ended by nobody yet */
	_Atomic uint32_t intents_gen; /* records were written */
	_Atomic uint32_t num_moves;   /* entries of moves[] in use */
	_Atomic uint32_t swaps[MRMR_SWAPS]; /* see mrmr_dir_swaps */
	struct mrmr_shared_member members[MRMR_MEMBERS_MAX];
	struct mrmr_shared_move moves[MRMR_MOVES_MAX];
	struct mrmr_shared_room room[MRMR_MEMBERS_MAX];
};

/*
 * Map the page, making or renewing it when it is missing, of another version,
 * or from before the last boot (ejects are kept). NULL with *err filled. Unmap
 * with mrmr_shared_close().
 */
struct mrmr_shared *mrmr_shared_open(int state_fd, struct mrmr_error *err);
void mrmr_shared_close(struct mrmr_shared *shared);

/*
 * The slot of a member: the one that has its id, or a free one that gets it.
 * Slots of members that config no longer names are free. -1 with ENOSPC only
 * if config has more members than there are slots.
 */
int mrmr_shared_slot(struct mrmr_shared *shared, int state_fd,
		     const struct mrmr_config *config,
		     const struct mrmr_uuid *id);

/* Ask every process to let go of a member, or to take it back. */
void mrmr_shared_set_eject(struct mrmr_shared *shared, int slot,
			   enum mrmr_eject_state eject);

#endif
