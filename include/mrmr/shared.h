/*
 * MRMR: one page that all processes of a pool see.
 *
 * <state dir>/shared is mapped by every smbd of the share and by mrmr-admin.
 * It holds counters ("something of this kind has changed; forget what you
 * remember"), and per member what was asked for, where it was last seen, and
 * how full it is. Losing it costs nothing but a look at the members.
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
#define MRMR_SHARED_MAGIC UINT64_C(0x384445524148534d)
#define MRMR_MOVES_MAX 1024
#define MRMR_SWAPS 64
#define MRMR_SHARED_WANTED 128

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
	_Atomic uint32_t is_counted; /* the next six were told */
	/* What is on it (mrmr_pool_set_usage). Read one by one: who finds some
	   of before and some of after plans a little off, for a second. */
	_Atomic uint64_t data_bytes;
	_Atomic uint64_t parity_bytes;
	_Atomic uint64_t records_bytes;
	_Atomic uint64_t num_files;
	_Atomic uint64_t taken_then_bytes; /* taken_bytes with no more than that
					      and with what is not ours, */
	_Atomic int64_t other_bytes;       /* which is this much */
	/* As last seen, online and writable: a plan does not change while a
	   member is away. free_bytes is less the reserve. */
	_Atomic uint64_t taken_bytes;
	_Atomic uint64_t free_bytes;
};

/* Room on a member: mrmr/protection.h. */
struct mrmr_shared_room {
	_Atomic uint64_t wanted_bytes;
	_Atomic uint64_t reclaimable_bytes;
	/* When a protector last looked through the trash (0: look; less: one has
	   begun to, at that time without the sign), and when the oldest that it
	   left had come there; ns since 1970. */
	_Atomic int64_t trash_seen_ns;
	_Atomic int64_t trash_oldest_ns;
};

/* What a member that is there did not give as it should: mrmr/trouble.h. */
struct mrmr_shared_trouble {
	_Atomic uint64_t refused_reads;
	_Atomic uint64_t wrong_blocks;
};

/* Of the protector: mrmr/protector.h. Times are of mrmr_now_ns(). */
#define MRMR_SHARED_WAITS 512
struct mrmr_shared_protector {
	_Atomic int64_t started_ns;     /* it was to start; 0: it has */
	_Atomic int64_t hurry_until_ns; /* somebody waits for it */
	/* Processes that wait: to be the protector, and for the catalogue. One
	   in the background gives way to them. */
	_Atomic uint32_t wants_turn;
	_Atomic uint32_t wants_lock;
	/* Passes over all that is due, with nothing left in the queue. */
	_Atomic uint64_t passes_begun;
	_Atomic uint64_t passes_ended;
	/* How often it has begun to take what was in the queue. */
	_Atomic uint32_t takes;
	/* Of those who wait for a file: which one, and takes when it was closed
	   (protector_start.c); 0: nobody does. */
	_Atomic uint64_t waits[MRMR_SHARED_WAITS];
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
	_Atomic int64_t moved_ns;     /* when a file last moved while it was
					 open, by mrmr_now_ns(); 0: never */
	_Atomic uint32_t swaps[MRMR_SWAPS]; /* see mrmr_dir_swaps */
	/* Counts up when a directory is unlocked: its names may have changed.
	   Some directories share a count. */
	_Atomic uint32_t changes[MRMR_SWAPS];
	_Atomic uint32_t rows;      /* see mrmr_pool_rows */
	_Atomic uint32_t protector; /* 1: one runs, and will look into the
				       queue again (protector_start.c) */
	struct mrmr_shared_member members[MRMR_MEMBERS_MAX];
	struct mrmr_shared_move moves[MRMR_MOVES_MAX];
	struct mrmr_shared_room room[MRMR_MEMBERS_MAX];
	struct mrmr_shared_protector protect;
	struct mrmr_shared_trouble trouble[MRMR_MEMBERS_MAX];
	/* Nodes of the catalogue whose files clients open or read while their
	   member is away: these are rebuilt first. A node has one place it may
	   be at, so some are forgotten; 0: none. */
	_Atomic uint64_t wanted[MRMR_SHARED_WANTED];
	/* By slot of the member: it was seen to be away. Who first sees it
	   again takes that back, and knows that there may be work. */
	_Atomic uint32_t was_away[MRMR_MEMBERS_MAX];
	/* For a protector, that no event tells of: see
	   mrmr_protector_has_work(). */
	_Atomic uint32_t has_work;
};

/*
 * Map the page, making or renewing it when it is missing, of another version,
 * or from before the last boot (ejects are kept). NULL with *err filled. Unmap
 * with mrmr_shared_close().
 */
struct mrmr_shared *mrmr_shared_open(int state_fd, struct mrmr_error *err);
void mrmr_shared_close(struct mrmr_shared *shared);

/* The slot that has a member's id, or -1. */
int mrmr_shared_find(const struct mrmr_shared *shared,
		     const struct mrmr_uuid *id);

/*
 * The slot of a member: the one that has its id, or a free one that gets it.
 * Slots of members that config no longer names are free. -1 with ENOSPC only
 * if config has more members than there are slots.
 */
int mrmr_shared_slot(struct mrmr_shared *shared, int state_fd,
		     const struct mrmr_config *config,
		     const struct mrmr_uuid *id);

/* Somebody waits for the bytes of a node, which are not there. */
void mrmr_shared_want(struct mrmr_shared *shared, uint64_t node);
/* One that was wanted, which is forgotten by that; 0: there is none. */
uint64_t mrmr_shared_next_wanted(struct mrmr_shared *shared);

/* Ask every process to let go of a member, or to take it back. */
void mrmr_shared_set_eject(struct mrmr_shared *shared, int slot,
			   enum mrmr_eject_state eject);

#endif
