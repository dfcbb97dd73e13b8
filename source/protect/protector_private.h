/*
 * MRMR: the protector: what its files share. The theory is in protector.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PROTECTOR_PRIVATE_H
#define PROTECTOR_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <mrmr/protector.h>
#include <mrmr/shared.h>
#include <mrmr/stripes.h>
#include <mrmr/trash.h>

struct mrmr_absent_removed;
struct pending;
struct relocation;
struct round;
struct window;

/* An inode of which nothing may have to be guarded any more, once what is being
   done is committed. */
struct loose_inode {
	uint16_t member;
	uint64_t inode;
	uint32_t below; /* pre-images that go, once that is known */
	bool is_done;   /* all of the file is protected: nobody waits for it */
};

/* A file that is too large for one batch, between two of them; one a member. */
struct large_file {
	uint64_t id; /* 0: none */
	uint32_t generation;
	uint32_t serial; /* of its pending entry when it was declared */
};

struct protector {
	struct mrmr_engine *engine;
	struct mrmr_pool *pool;
	struct mrmr_catalog *catalog;
	const struct mrmr_protect_options *options;
	struct mrmr_protect_result *result;
	struct pending *pending;
	struct window *window;
	struct round *round;
	struct loose_inode *loose; /* talloc */
	size_t num_loose;
	struct large_file *large; /* of pool->members[] */
	char *scan_path;          /* to be scanned; NULL: nothing. Durable */
	/* of pool->members[], or NULL: as far as it was asked for, in a turn */
	struct mrmr_absent_removed **removed;
	struct relocation *relocated; /* while events are applied; or NULL */
	bool is_doubtful;             /* so it waits for a person */
	bool has_checked; /* if the catalogue is sound, before what it does not */
	bool is_sound;    /* know is removed; and it was */
	struct mrmr_error scan_err; /* why the last one broke off; code 0: it
				       did not */
	int64_t rescan_ns;          /* not before; mrmr_now_ns() */
	uint64_t batch_bytes;       /* of the next batch; 0: not known yet */
	struct mrmr_protect_progress progress;
	struct mrmr_protect_result before; /* the transaction */
	unsigned int failures;             /* of batches, one after another */
	bool in_transaction;
	bool makes_room;      /* of the trash, for which clients wait */
	bool steps_back;      /* behind what clients do */
	int own_nice;         /* when it does not */
	bool trash_is_seen;   /* since something came into it */
	bool has_sought_bare; /* files that lost their parity */
	bool has_noted_room;  /* for those that found none */
	bool has_mended;      /* this process has begun to */
	bool cannot_narrow;   /* stripes that are too wide: there is no room */
	bool has_changed;     /* something, so that another pass is worth it */
	bool has_made_short;  /* stripes, as there was no room for all rows */
	bool mends_anew;      /* as there may be room for them now */
	unsigned int mend_most; /* at a time; 0: not known yet */
	unsigned int num_squeezes;
	bool told_subvolume;   /* that there is one inside a member */
	bool uses_spare;       /* as no other room is left */
	bool must_place;       /* to put off more is of no use */
	uint64_t *taken_bytes; /* talloc; of pool->members[i], a turn ago */
};

int64_t protector_now_ns(void); /* CLOCK_REALTIME, as times of files */
bool protector_should_stop(const struct protector *p);
int protector_no_memory(struct mrmr_error *err);
/* errno, of the catalogue. */
int protector_fail_catalog(const struct protector *p, struct mrmr_error *err);

/* Is none away? */
bool protector_has_all_members(const struct protector *p);
/* Does somebody wait for what is closed now? */
bool protector_must_hurry(const struct protector *p);
/* Does another process wait for the catalogue, or (*turn) to be the protector? */
bool protector_is_wanted(struct mrmr_pool *pool, bool *turn);
/* Does anybody wait for what is being done: for a file, for the room of the
   trash, for the locks? For mrmr_stripes_options; private_data is the
   protector. */
bool protector_is_urgent(void *private_data);
/* Is this the moment to give way to it? */
bool protector_gives_way(struct protector *p);
/* A file is done with, for those who wait (protector_start.c). */
void protector_settle(struct mrmr_pool *pool, const struct mrmr_uuid *member,
		      uint64_t inode);

/* --- batches (protector.c) --------------------------------------------------- */

int protector_begin(struct protector *p, struct mrmr_error *err);
/* After a failure that may have come from a member that went: looks at the pool
   again. -1: it is no use to go on. */
bool protector_is_fatal(int error);
int protector_try_again(struct protector *p, struct mrmr_error *err);
/* Also keeps what is pending. Cancels if it fails. */
int protector_commit(struct protector *p, struct mrmr_error *err);
void protector_cancel(struct protector *p);
/* The same, if nothing of what is pending was changed in the transaction. */
void protector_take_back(struct protector *p);
/* Nothing may depend on this inode any more, after the commit. */
int protector_loosen(struct protector *p, uint16_t member, uint64_t inode);
/* And nothing of its file is left to be done, or can be done now: nobody is to wait
   for it, after the commit. */
void protector_done(struct protector *p, uint16_t member, uint64_t inode);

/* --- garbage (protector_tidy.c) ------------------------------------------------ */

void tidy_begin(struct protector *p);
void tidy_end(struct protector *p, bool well);
/* May what the catalogue does not know be removed? Not if it is damaged, which is told
   once. Reads all of it the first time. Outside of batches. */
bool tidy_is_sound(struct protector *p);
/* Parity blocks that no stripe names. Outside of batches. */
void tidy_blobs(struct protector *p);
/* What protector_loosen() was told. */
void tidy_let_go(struct protector *p);

/* --- what is to be protected (protector_pending.c) --------------------------- */

enum pending_flags {
	PENDING_NO_ROOM = 1,    /* there was none for its parity */
	PENDING_UNREADABLE = 2, /* it could not be read */
	PENDING_LOST = 4,       /* protected bytes of it were given up */
};

/* What the list says of a file. */
struct pending_place {
	uint64_t node;
	uint64_t bytes;
	uint16_t member; /* number, when it was added */
	uint8_t flags;
};

/* As the catalogue has it. NULL with *err. A talloc child of mem_ctx. */
struct pending *pending_load(void *mem_ctx, struct mrmr_catalog *catalog,
			     struct mrmr_error *err);
/* After a transaction that was cancelled: as the catalogue has it. */
void pending_load_again(struct pending *pending);
/* That is told of what is added. */
void pending_set_window(struct pending *pending, struct window *window);
/* -1 with errno: something of it could not be read, and counts as not there. */
int pending_error(const struct pending *pending);
/* Within a transaction: what has changed. Fails after pending_error(). */
int pending_save(struct pending *pending);
/* Add a node, or note that something has happened to it again; within a
   transaction. One that is PENDING_LOST stays so. 0, -1 with errno. */
int pending_add(struct pending *pending, uint64_t node, uint16_t member,
		uint64_t bytes, uint8_t flags);
/* These do nothing if it is not in the list. */
void pending_remove(struct pending *pending, uint64_t node);
void pending_set_flags(struct pending *pending, uint64_t node, uint8_t flags);
void pending_set_member(struct pending *pending, uint64_t node,
			uint16_t member);
bool pending_has(struct pending *pending, uint64_t node);
bool pending_get(struct pending *pending, uint64_t node,
		 struct pending_place *place);
/* 0 if it is not in the list. */
uint8_t pending_flags(struct pending *pending, uint64_t node);
/* The first one from this id on; false: there is none, or pending_error(). */
bool pending_next(struct pending *pending, uint64_t from,
		  struct pending_place *place);
uint64_t pending_num(const struct pending *pending);
uint64_t pending_bytes(const struct pending *pending);

/* For those who only look. Each that the catalogue has: calls fn until it returns
   non-zero, which is then returned. -1 with errno. */
typedef int pending_saved_fn(const struct pending_place *place,
			     void *private_data);
int pending_each_saved(struct mrmr_catalog *catalog, pending_saved_fn *fn,
		       void *private_data);
/* One of them: 1; 0: it is not in the list; -1 with errno. */
int pending_saved(struct mrmr_catalog *catalog, uint64_t node,
		  struct pending_place *place);
/* What is in the list as an older version has left it (protector_older.c). */
int older_take(struct protector *p, struct mrmr_error *err);
/* What of a file is in no stripe (protector_ask.c). */
uint64_t pending_count_bare(struct mrmr_catalog *catalog, uint64_t id);

/* --- what is remembered of some of them (protector_window.c) ------------------ */

#define WINDOW_NONE UINT32_MAX

struct pending_entry {
	uint64_t node;    /* 0: free */
	int64_t retry_ns; /* not to be looked at before; and, as long as there */
	int64_t last_ns;  /* are others, before this: it spoilt their batch */
	uint32_t serial;  /* another one whenever it is added again */
	uint8_t tries;    /* that failed */
	bool is_open;     /* for writing, when it was looked at last */
	bool is_skipped;  /* in this round */
	bool is_large;    /* it is in p->large */
};

/* places: 0 is the default. A talloc child of mem_ctx; NULL for want of memory. */
struct window *window_new(void *mem_ctx, uint32_t places);
/* While there is room. Pointers to others are void after it. -1 ENOMEM. */
int window_enter(struct window *window, uint64_t node, uint32_t *index);
void window_leave(struct window *window, uint32_t index);
/* It was added to the list, or has been again. */
void window_touch(struct window *window, uint64_t node);
/* Anything, since window_forget_touched(). */
bool window_is_touched(const struct window *window);
void window_forget_touched(struct window *window);
struct pending_entry *window_get(struct window *window, uint32_t index);
uint32_t window_find(const struct window *window, uint64_t node);
/* Indices go up to this; not all of them are in use. */
uint32_t window_end(const struct window *window);
uint32_t window_room(const struct window *window);
uint32_t window_places(const struct window *window);
uint32_t window_num_most(const struct window *window); /* at the same time */

/* --- whose turn it is (protector_due.c) ---------------------------------------- */

/* Entries of the window that are due, by the member that they lie on; those that
   lie on none are the last list. */
struct due {
	uint32_t *entries; /* talloc */
	size_t num;
	size_t next;
	size_t num_known; /* the first ones, which are remembered anyhow */
	bool is_full;
	uint64_t taken_bytes; /* in this batch */
};

/* Limits of a batch, but for the last one; and how long what has spoilt one lets
   others go first. */
#define BATCH_BYTES_MIN (UINT64_C(256) << 20)
#define BATCH_BYTES_MAX (UINT64_C(1) << 30)
#define LAST_NS (60 * INT64_C(1000000000))

/* How far a round has come: each that is due is looked at once in it. */
struct round {
	uint64_t *next; /* talloc; of each list: from which id on; UINT64_MAX:
			       it is through */
	uint64_t looked_to; /* which of them are where the list says */
	bool has_more;      /* there is to be another one */
	bool is_stuck;      /* there was no room, or it is not time yet */
	uint32_t
		forgotten; /* for want of places, though they are to be looked at
			       again */
	uint32_t forgotten_open;
	int64_t not_before_ns; /* the next one, for that */
};

int due_begin(struct protector *p);
/* A list for each of pool->members[], and one for the rest; *num in all of them.
   with_last: also what is to let others go first; else *has_last tells whether
   there is such. NULL with errno. */
struct due *due_find(struct protector *p, bool with_last, size_t *num,
		     bool *has_last);
/* What was not taken of the lists is so next time. Frees them. */
void due_end(struct protector *p, struct due *lists);
/* Is there more than what was found last? */
bool due_has_more(const struct protector *p);
/* When the next one will be; 0: none. */
int64_t due_when(struct protector *p);
/* Those that were open when they were looked at last. */
uint64_t due_num_open(const struct protector *p);
/* The list of which least was taken; NULL: there is enough of all. */
struct due *due_next(struct protector *p, struct due *lists, uint64_t quota);
/* How much of each list a batch is to have; begins one. */
uint64_t due_quota(struct protector *p, struct due *lists);

/* --- what lies on the members (protector_look.c) ------------------------------ */

struct look {
	bool is_there;
	enum mrmr_node_kind kind;
	size_t member;   /* index; MRMR_IN_SPINE for directories */
	uint16_t number; /* of it, MRMR_MEMBER_NONE for directories */
	struct stat st;
	uint8_t *xattrs; /* talloc children of the mem_ctx given */
	size_t xattrs_len;
	char *target;
};

struct mrmr_dir;

/* By a pool path; 0, or -1 with errno if it cannot be known. */
int look_at(struct protector *p, void *mem_ctx, const char *path,
	    struct look *look);
int look_in(struct protector *p, void *mem_ctx, struct mrmr_dir *dir,
	    const char *name, struct look *look);
int64_t look_mtime_ns(const struct stat *st);
/* A file of a member by its path there, through no symlink. A descriptor. */
int look_open(int at_fd, const char *path, int flags);
/* Is it on a member whose files cannot be protected (mrmr/lasting.h), or in a
   subvolume (mrmr/protection.h)? Its inode number is taken to be 0 then: not
   known. */
bool look_is_unlasting(const struct protector *p, const struct look *look);
/* Has a member this inode under this path (below its root, or its trash)? 1; 0, also
   if the member is not there; -1 with errno: that cannot be known. */
int look_for_inode(struct protector *p, uint16_t number, bool in_trash,
		   const char *path, uint64_t inode);
/* The same, where what cannot be known is no harm: is it surely there? */
bool look_has_inode(struct protector *p, uint16_t number, bool in_trash,
		    const char *path, uint64_t inode);

/* Has it gone from the trash of its member, where it had this path? False also if
   that cannot be told. */
bool look_is_not_in_trash(struct protector *p, const struct mrmr_node *node,
			  const char *path);

/* --- the names in the catalogue (protector_names.c) --------------------------- */

/* The path of (dir_id, name); talloc. NULL with errno. */
char *names_path(struct protector *p, void *mem_ctx, uint64_t dir_id,
		 const char *name);
/* Ask for a scan of what is at and below path, "" for everything. */
int names_ask_scan(struct protector *p, const char *path);
/* Set what the attributes of a node are; extents and the version that is
   protected stay. */
int names_set(struct protector *p, const struct mrmr_node *node,
	      const struct look *look);
bool names_differ(const struct mrmr_node *node, const struct look *look);
/* A node that is new; sets *id. */
int names_create(struct protector *p, uint64_t dir_id, const char *name,
		 const struct look *look, uint64_t *id);
/* The directory that holds the last component of path, made with what is above
   it if it is missing. *name points into path. */
int names_parent(struct protector *p, const char *path, uint64_t *dir_id,
		 const char **name);

/* --- names that are there (protector_names_seen.c) ----------------------------- */

/* A file has this name as well, which the share shows of another member. If it is
   known, it is not taken for lost: names_set_aside(). */
int names_see_hidden(struct protector *p, uint64_t dir_id, const char *name,
		     const struct look *look);
/* This is what (dir_id, name) is now. Sets *id. If it differs from what is
   protected, or force, it is pending from now on. */
int names_see(struct protector *p, uint64_t dir_id, const char *name,
	      const struct look *look, bool force, uint64_t *id);
/* The same by path; ENOENT is no failure (is_there false): nothing is done. */
int names_see_path(struct protector *p, const char *path,
		   const struct look *look, bool force);
/* A file that an event tells of, and that nobody can look at under this name
   any more: later events tell where it went. */
int names_promise(struct protector *p, const char *path, uint16_t member,
		  uint64_t inode, uint64_t *id);

/* --- names that are gone (protector_detach.c) ---------------------------------- */

/* Why a name is said to be gone: what lies on a member that is away is only
   believed to be by some. */
enum names_cause {
	NAMES_SEEMS,   /* it looks so; away: if a client removed it */
	NAMES_TAKEN,   /* an event tells that another file has the name */
	NAMES_REMOVED, /* an event tells that this very file was removed */
};

/*
 * The name leads to nothing, or to something else. If it was a file's last one,
 * the file is gone; if it is in stripes, it becomes an entry of the trash under
 * a name that nothing has on disk, and pending. Of a directory, all that is
 * below. What stays for the sake of a member that is away keeps the name, and
 * the directory with it.
 */
int names_detach(struct protector *p, uint64_t dir_id, const char *name,
		 enum names_cause cause);
/* One of a file's names (of how many) has gone to the trash, and is trash_name
   there. A file that has a name elsewhere is not in the trash: its first name is
   one of those. */
int names_trash(struct protector *p, const struct mrmr_link *link, uint64_t id,
		size_t num_links, const char *trash_name);
/* The file is under this name, which the catalogue has for one of a member that is
   away, or that is shown in its place. Instead of its last name (link), which leads
   to it no more, it gets one of those in the trash, from which it can be found
   here. */
int names_set_aside(struct protector *p, const struct mrmr_node *node,
		    const struct mrmr_link *link, uint64_t dir_id,
		    const char *name);
/* Does the catalogue have this path for a file of another member, which is away, or
   has it there? 1, 0, or -1 with errno. */
int names_is_held(struct protector *p, void *mem_ctx, const char *path,
		  uint16_t number);
/* Is this name in the trash one of those? */
bool names_is_gone(const char *name);
/* Those that are not pending any more, as the list was lost: they are. */
int names_seek_gone(struct protector *p);

/* --- events (protector_events.c), scanning (protector_scan.c) ------------------ */

/* Take what is in the queue and bring the catalogue's names in step. *any tells
   if there was anything. */
int events_take(struct protector *p, bool *any, struct mrmr_error *err);

/* What was asked for by a protector that did not come to it. */
#define MRMR_SCAN_NOTE "scan"
int scan_load(struct protector *p);
/* Of everything, in a transaction of its own. */
int protector_ask_scan(struct protector *p, struct mrmr_error *err);
/* Do the scan that was asked for, if any. One that breaks off is no failure: see
   p->scan_err. */
int scan_run(struct protector *p, bool *any, struct mrmr_error *err);
/* Its part of the trash (protector_scan_trash.c). *num_seen grows by the files
   that were looked at. -1 with errno. */
int scan_trash(struct protector *p, size_t *num_seen);

/* --- is it to be believed? (protector_doubt.c) ---------------------------------- */

/* 1: it is not, *err says why. 0, or -1 with *err. */
int doubt_scan(struct protector *p, struct mrmr_error *err);
/* What was asked for stays, in the catalogue, until a person has answered. */
int doubt_refuse(struct protector *p, struct mrmr_error *err);

/* --- directories of members that are away (protector_absent.c) ---------------- */

/* The directory `name` in dir is not there, and what of it is left in the
   catalogue could not lose its names. 1: it was made, or came; 0: it is not to
   be there; or -1 with errno. */
int absent_show_directory(struct protector *p, struct mrmr_dir *dir,
			  uint64_t dir_id, const char *name, const char *path);

/* --- removed files that are back (protector_back.c) ----------------------------- */

/* What a scan sees under a name is in the trash, by the catalogue, and another file
   has that name: it goes there again. 1: it has gone; 0: it is not so; 2: it cannot
   be moved, and is to be overlooked until the next scan, for the other one has the
   name; or -1 with errno. */
int back_into_trash(struct protector *p, void *frame, struct mrmr_dir *dir,
		    uint64_t dir_id, const char *name, const char *path,
		    const struct look *look);

/* --- members that a scan has not seen (protector_unseen.c) -------------------- */

/* Who is there as a scan of everything begins; a talloc child of p. */
bool *unseen_begin(struct protector *p);
/* It has come to its end: remember who was not there. In its transaction. */
int unseen_note(struct protector *p, const bool *seen);
/* Is one of them back? Then ask for a scan. */
int unseen_look(struct protector *p, struct mrmr_error *err);

/* --- protecting ------------------------------------------------------------------ */

/* A file on its way into stripes (protector_target.c). */
struct target {
	uint32_t entry; /* of the window */
	uint32_t serial;
	const struct mrmr_node *old; /* as the catalogue has it */
	struct mrmr_node node;       /* as it shall be */
	struct mrmr_live *now;
	struct mrmr_live *was;
	struct mrmr_change *changes;
	size_t num_changes;
	uint32_t num_extents; /* that the file is to have */
	uint64_t bytes;       /* to be read */
	bool is_put_first; /* its node before its extents: it has none that are
			      of another version */
	bool is_complete;  /* with these changes, it is protected in whole */
	bool has_moved;    /* its inode is another one now */
	bool is_gone;      /* it is to leave its stripes, and the catalogue */
	bool is_cut;       /* extents of it leave, and nothing else changes */
};

enum readiness {
	TARGET_READY,
	TARGET_NOTHING_TO_DO, /* no longer pending; maybe new attributes */
	TARGET_LATER,         /* entry->retry_ns says when */
	TARGET_SKIPPED,       /* by this process */
};

struct batch;

/* Have a pending file ready to be protected: due, declared, its changes made.
   up to max_bytes of them if it may be done in parts. -1: errno. */
int target_prepare(struct protector *p, struct batch *batch, uint32_t entry,
		   uint64_t max_bytes, struct target *target,
		   enum readiness *readiness);

/* What belongs to a batch (protector_batch.c). */
struct mrmr_live_member *batch_member(struct batch *batch, uint16_t number);

struct batch *batch_new(struct protector *p);
/* As mrmr_catalog_path(), for files of which many are in the same directory. To
   be forgotten when names may have changed. */
char *batch_path(struct batch *batch, void *mem_ctx,
		 const struct mrmr_node *node, bool *in_trash);
void batch_forget_paths(struct batch *batch);
/* What changes with a file (protector_changes.c). */
uint32_t target_count_extents(uint64_t size_bytes, uint32_t grid_bytes);
int target_load_extents(struct protector *p, void *mem_ctx,
			const struct mrmr_node *node,
			struct mrmr_extent **extents);
/* By len bytes; 0: it is to leave. Into target->changes, which has room. */
void target_add_change(struct target *target, uint32_t index, uint32_t len,
		       const struct mrmr_extent *old);
/*
 * Those extents that the catalogue does not have as they are. In parts, up to
 * max_bytes of them, unless some are of another version.
 */
int target_find_changes(struct protector *p, void *mem_ctx,
			struct target *target, bool unchanged,
			uint64_t max_bytes);
/* The changes by which what was given up of a file leaves its stripes, while it
   is open (protector_gone.c). */
int target_prepare_lost(struct protector *p, struct batch *batch,
			struct target *target);
/* The changes by which a file leaves its stripes; then, after they were applied,
   have it, with all names, leave the catalogue. -1: errno. */
int target_prepare_gone(struct protector *p, struct batch *batch,
			struct target *target);
int target_remove_gone(struct protector *p, const struct target *target);

/* How it went with a file, within the transaction (protector_outcome.c); and one
   that could not be read, declared or looked at. */
int batch_conclude(struct protector *p, struct target *target);
void batch_failed(struct protector *p, uint32_t index, int error);

/* Why a file of a batch could not be read; 0: it could. */
int batch_error(const struct target *target);

/* One pass over what is pending and due. *any tells if anything was done. */
int batches_run(struct protector *p, bool *any, struct mrmr_error *err);

/* --- the trash (protector_trash.c), mending (protector_mend.c) ------------------ */

/* Remove what is over its time, and make the room that is asked for. *any: if
   something was removed, by which there may be room for what had none. */
int trash_run(struct protector *p, bool *any, struct mrmr_error *err);
/* Does anybody wait for room? */
bool trash_is_wished(struct protector *p);

/* Some of the stripes that are not as they should be. *any: if there may be
   more. */
int mend_run(struct protector *p, bool *any, struct mrmr_error *err);
/* Those that are short of rows, for the result. */
void mend_count_short(struct protector *p);
/* Slots that leave their stripe for another one (protector_move.c). Zero with p
   and a new batch, which is to be freed. */
struct moving {
	struct protector *p;
	struct batch *batch;
	struct mrmr_change *leaves; /* talloc: to be applied first */
	struct mrmr_change *comes;
	size_t num;
	bool has_no_place; /* they found no other stripe, or cannot leave theirs
			      without loss to what is in it, or have not the
			      bytes that they should */
};
/* 1; 0 if something is not as the stripe says, or its bytes are not there. */
int moving_add_piece(struct moving *m, const struct mrmr_stripe *stripe,
		     const struct mrmr_slot *slot,
		     const struct mrmr_piece *piece);
int moving_add_slot(struct moving *m, const struct mrmr_stripe *stripe,
		    const struct mrmr_slot *slot);
/* leaves or comes. -1 too if one of them cannot be done. */
int moving_apply(struct moving *m, struct mrmr_stripes *work,
		 struct mrmr_change *changes, struct mrmr_error *err);
/* mrmr_stripes_mend(), after slots have left for which there is no place any
   more with as many rows as are wanted (protector_narrow.c). If they cannot move
   (has_no_place), -1, and p->cannot_narrow is set. */
int narrow_and_mend(struct protector *p, struct mrmr_stripes *work,
		    const struct mrmr_stripe *stripe, bool *mended,
		    struct mrmr_error *err);
/* Files of which something is in no stripe, and that are not pending: their
   stripes could not be kept. If that is noted; a person's run looks once in any
   case, if the sums tell that there are any. */
int mend_seek_bare(struct protector *p, bool *any, struct mrmr_error *err);
/* If something found no room for its parity: have stripes take less of it
   (protector_squeeze.c). *any: so that it is worth while to try again. */
int squeeze_run(struct protector *p, bool *any, struct mrmr_error *err);
/* Those that found no room are tried again once there is more than there was
   when they did (protector_room.c). */
int room_note(struct protector *p);
int room_begin(struct protector *p, struct mrmr_error *err);
int room_look(struct protector *p, struct mrmr_error *err);
/* Now, whatever room there is: no file has these flags any more. In transactions of
   its own. */
int room_retry(struct protector *p, uint8_t flags, struct mrmr_error *err);

#endif
