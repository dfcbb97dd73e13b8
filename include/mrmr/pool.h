/*
 * MRMR: a pool in use: its members as they are now, and its state directory.
 *
 * One struct mrmr_pool serves one process. Nothing in it is shared between
 * processes but the files below: the page of counters (mrmr/shared.h), the
 * intents (mrmr/intent.h) and locks on directories of the spine.
 *
 * A pool keeps the roots of its members open while it is used, and looks at
 * each member's marker again about once a second of use: an operation costs
 * one look at a clock, not one look at a disk. When the pool has not been used
 * for some seconds, or mrmr-admin asks for it, everything is let go, so that
 * an idle member can be unmounted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_POOL_H
#define MRMR_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <mrmr/config.h>
#include <mrmr/error.h>
#include <mrmr/units.h>

struct mrmr_shared;
struct mrmr_queue; /* mrmr/queue.h */
struct mrmr_guard; /* mrmr/guard.h */
struct mrmr_trash_cache;
struct mrmr_dir_cache;  /* mrmr/dir.h */
struct mrmr_hints;      /* mrmr/dir.h */
struct mrmr_folded;     /* mrmr/listing.h */
struct mrmr_absent_ops; /* mrmr/absent.h */

/* How the process becomes root for a moment. Both may nest. */
struct mrmr_identity {
	void (*become_root)(void);
	void (*unbecome_root)(void);
};

enum mrmr_member_state {
	MRMR_MEMBER_UNKNOWN,     /* not looked at since everything was let go */
	MRMR_MEMBER_ONLINE,      /* its marker is there and names it */
	MRMR_MEMBER_AWAY,        /* no directory, or no marker in it */
	MRMR_MEMBER_FOREIGN,     /* its marker names another pool or member */
	MRMR_MEMBER_EJECTED,     /* let go on request; back when it returns */
	MRMR_MEMBER_UNSUPPORTED, /* a remote member; not reached yet */
};

struct mrmr_member {
	const struct mrmr_member_config *config;
	size_t index;       /* in the config, and in pool->members */
	int slot;           /* in the shared page */
	uint64_t device_id; /* see mrmr_pool_device_id */
	enum mrmr_member_state state;
	char why[256];   /* why it is not online, for a person */
	int root_fd;     /* O_RDONLY directory, -1 unless online */
	int private_fd;  /* its `.mrmr`, -1 unless online */
	uint32_t epoch;  /* counts up whenever root_fd changes */
	char *root_path; /* as the kernel spells it, at path_epoch */
	uint32_t path_epoch;
	bool read_only;        /* mounted so */
	bool no_owners;        /* its file system keeps no modes or owners */
	const char *unlasting; /* the name of its file system, if inode numbers
				  do not last there: its files cannot be
				  protected (mrmr/lasting.h); else NULL */
	bool ctime_tells;      /* of every change, mrmr/ctime_tells.h */
	bool missed;           /* changes of attributes, mrmr/missed.h */
	bool caught_up;        /* with what was done while it was away */
	bool is_waited_for;    /* by an intent, see mrmr_intents_finish */
	bool is_behind;        /* an intent could not be carried out on it */
	bool needs_sync;       /* before what was changed is forgotten */
	int64_t held_off_until_ns; /* not to be looked at before */
	int64_t avoided_until_ns;  /* see mrmr_move_blame_target */
	dev_t dev;                 /* of the root; valid once it was online */
	uint64_t mount_id; /* of the root, as the kernel counts mounts */
	ino_t root_ino;
	ino_t private_ino; /* of `.mrmr` */
	ino_t marker_ino;
	struct timespec marker_ctime;
	uint64_t total_bytes; /* of its file system, */
	uint64_t free_bytes;  /* for unprivileged users, at the last look */
	uint64_t taken_bytes; /* by whatever is on the file system */

	/* What is on it of the pool, and what of its room is not for data: see
	   mrmr_pool_plan(). */
	uint64_t used_data_bytes;
	uint64_t used_parity_bytes;
	uint64_t kept_bytes;
	/* Of kept_bytes: for the member's records; and for parity that is written
	   anew beside the old one, as a stripe changes. */
	uint64_t records_to_come_bytes;
	uint64_t spare_bytes;
};

struct mrmr_pool {
	uint64_t serial; /* no other pool of this process has it */
	struct mrmr_config *config;
	struct mrmr_identity identity;
	char *spine_path;   /* as the kernel spells it */
	uint64_t device_id; /* of the spine, see mrmr_pool_device_id */
	int state_fd;       /* state directory, O_RDONLY */
	int spine_fd;       /* the share's root, O_RDONLY */
	int tree_lock_fd;   /* see mrmr_tree_lock */
	unsigned int tree_locks;
	bool tree_exclusive;
	dev_t spine_dev;
	struct mrmr_shared *shared;
	/* Both NULL if nothing is or shall be protected: no parity is wanted,
	   and there is no catalogue. */
	struct mrmr_queue *queue;
	struct mrmr_guard *guard;
	struct mrmr_trash_cache *trash; /* NULL: nothing is kept open */
	/* Who knows the names of members that are away, or NULL; and its own. */
	const struct mrmr_absent_ops *absent;
	void *absent_data;
	struct mrmr_member *members; /* config->num_members of them */
	size_t num_members;
	struct mrmr_units units;
	unsigned int rows;       /* see mrmr_pool_rows() */
	unsigned int least_rows; /* of what is wanted; 0 with one unit */
	uint64_t room_bytes;     /* for data on all members online, with the
				     least parity that is wanted */
	uint64_t not_data_bytes; /* on them: parity, and what is kept for it */
	bool all_online;         /* at the last look */
	bool was_any_away;       /* at any look: there may be ghosts in hand */
	struct mrmr_dir_cache *dirs;
	struct mrmr_hints *hints;
	uint64_t last_hints_serial;
	/* A hash that is the same for names of which clients may mean one by the
	   other, as they ignore case; 0: there is none for this name. NULL (it
	   is for the caller to set): the case of names counts. */
	uint32_t (*fold)(const char *name);
	struct mrmr_folded *folded;
	uint64_t dirs_dropped; /* counts up when a struct mrmr_dir is freed:
				     while it stays, those got before are good */
	uint64_t dirs_closed;  /* counts up when a descriptor of a directory is
				   closed: while it stays, their numbers mean the
				   same */
	uint32_t seen_members_gen;
	uint32_t seen_intents_gen;
	bool has_intents_left;   /* that no member's return will finish */
	int64_t finish_again_ns; /* when to try them again */
	uint32_t looks;          /* counts up when a look found a change */
	int64_t checked_ns;      /* when the members were last looked at */
	int64_t used_ns;         /* when the pool was last used */
	bool holds_members;      /* roots are open */
	uint64_t random;         /* state of the lots that policies draw */
};

/*
 * Open a pool as root: the state directory, the spine (which must exist), the
 * shared page; sweep what a crash left in the staging folders and finish the
 * intents. Members that are away do not fail it. The pool is a talloc child of
 * mem_ctx; freeing it closes everything. config is taken over (reparented).
 * identity may be NULL: the process is root all the time.
 */
struct mrmr_pool *mrmr_pool_open(void *mem_ctx, struct mrmr_config *config,
				 const struct mrmr_identity *identity,
				 struct mrmr_error *err);

/*
 * To be called at the start of every operation: looks at the members again if
 * the last look is older than a second or somebody asked for it.
 */
void mrmr_pool_use(struct mrmr_pool *pool);

/* Look at all members now. */
void mrmr_pool_look(struct mrmr_pool *pool);

/* Look only at how much room the online members have (space.c). */
void mrmr_pool_look_at_space(struct mrmr_pool *pool);

/* To be called every second or two: lets go of members that are not used or
   whose eject was asked for. */
void mrmr_pool_idle(struct mrmr_pool *pool);

/* For a pool that nobody uses at the moment, every second or so: look at it if a
   member that is away has its marker again. */
void mrmr_pool_watch_absent(struct mrmr_pool *pool);

/* To be called every second or two as well: sees ejected members leave and
   return, also while the pool is not used. */
void mrmr_pool_watch_ejected(struct mrmr_pool *pool);

/* Close everything that keeps a member's file system busy. */
void mrmr_pool_let_go(struct mrmr_pool *pool);

/* An operation on this member failed with EIO, ENODEV, ENXIO or ESTALE: have
   the next operation look at the members again. */
void mrmr_pool_suspect(struct mrmr_pool *pool, const struct mrmr_member *member,
		       int error);

/* For people: mount point or URL. */
const char *mrmr_member_name(const struct mrmr_member *member);
const char *mrmr_member_state_name(enum mrmr_member_state state);

/* --- room (space.c) -------------------------------------------------------- */

/*
 * Bytes that may still be written to this member: what is free less the
 * reserve (min_free), 0 if the member is not online or read-only.
 */
uint64_t mrmr_member_room(const struct mrmr_member *member);

/*
 * What of it is for data, if the pool is to become full with all files
 * protected. The rest is for parity; files come there only when no member has
 * room for data any more. Without parity, all of it.
 */
uint64_t mrmr_member_data_room(const struct mrmr_member *member);

/*
 * Share out the room between data and parity anew. Done whenever the members,
 * or their space, are looked at.
 */
void mrmr_pool_plan(struct mrmr_pool *pool);

/*
 * How many parity rows stripes are to have now: what is wanted, as far as there
 * are units for it. Of a range ("max" is one, from none to MRMR_PARITY_MAX) the
 * largest number with which the data that is there leaves room for some more:
 * at least 1/16 of all the data that fits, or 1/8 for more rows than there are
 * now, so that it does not go to and fro.
 */
unsigned int mrmr_pool_rows(const struct mrmr_pool *pool);

/*
 * Bytes that may be written to this member as parity: its room less what its
 * part of the catalogue will need as it grows. A part that cannot grow is one
 * that the pool cannot be recovered from. *spare_bytes of it are better left for
 * stripes that change; may be NULL.
 */
uint64_t mrmr_member_parity_room(const struct mrmr_member *member,
				 uint64_t *spare_bytes);

/* Of all members. And is it so much more than it was then that what found none is
   worth a try? */
uint64_t mrmr_pool_sum_room(const struct mrmr_pool *pool);
bool mrmr_pool_has_more_room(const struct mrmr_pool *pool, uint64_t then_bytes);

/* What is on a member of the pool. */
struct mrmr_usage {
	uint64_t data_bytes;    /* of files, the trash among them */
	uint64_t parity_bytes;  /* of parity blocks */
	uint64_t records_bytes; /* that its part of the catalogue takes */
	uint64_t num_files;     /* files and parity blocks */
	bool is_all; /* nothing was written that is not counted yet */
};

/*
 * Tell all processes of the pool what is on a member: to be called by who has
 * counted. What its file system has beyond that is taken for data of which
 * nobody knows yet, but for what was there when last it was said to be all: that
 * is none of the pool's. Of a member of which nothing was ever told, whatever is
 * on its file system is taken for data.
 */
void mrmr_pool_set_usage(struct mrmr_pool *pool, struct mrmr_member *member,
			 const struct mrmr_usage *usage);

/* Parity blocks came to a member, or went, since that was told. Any thread. */
void mrmr_pool_note_parity(const struct mrmr_pool *pool,
			   const struct mrmr_member *member,
			   int64_t more_bytes);

/*
 * Space of the whole pool over the online members: each file system counted
 * once; free is the room for data, total what files take and may take. With a
 * range of parity, that of the least that is wanted. Trash that can be removed
 * counts as free.
 */
void mrmr_pool_space(struct mrmr_pool *pool, uint64_t *total_bytes,
		     uint64_t *free_bytes);

/* --------------------------------------------------------------------------- */

/*
 * A device number for file ids that survives restarts and remounts: derived
 * from the id of the member that lies on st_dev (of the pool, for the spine).
 * Members on one file system share the number of the first of them, so that
 * number and inode stay unique together.
 */
uint64_t mrmr_pool_device_id(const struct mrmr_pool *pool, dev_t dev);

/* A device number of which that is said of a member that is away as it was when
   it was there: the one that it had, or else one that no device has. */
dev_t mrmr_pool_device_of(const struct mrmr_pool *pool,
			  const struct mrmr_uuid *id);

int64_t mrmr_now_ns(void); /* CLOCK_MONOTONIC_COARSE */

#endif
