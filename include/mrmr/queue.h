/*
 * MRMR: what has happened in the share, for the protector.
 *
 * Whoever changes something appends an event to <state dir>/queue/log: one
 * write(2) of a small record, in the order in which things happened. The
 * protector takes the log away and starts a new one. Nothing is synced: after a
 * power cut the events are lost, which costs a quick scan and nothing else: the
 * first to open the queue after a boot, or the first of all, asks for one.
 * (Not a TDB: its locks and its free list would cost more than the event, and
 * renames must be seen in their order.)
 *
 * A writer holds a shared flock on the log while it appends, the reader an
 * exclusive one while it takes it away; a writer that finds its log taken away
 * opens the new one. How it finds that: source/catalog/queue.c.
 *
 * Of one thread, that of the process's main loop.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_QUEUE_H
#define MRMR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/error.h>
#include <mrmr/uuid.h>

#define MRMR_QUEUE_FOLDER "queue" /* below the state directory */

enum mrmr_event_kind {
	/* A file, symlink or special file is new, or its bytes changed. */
	MRMR_EVENT_CHANGED = 1,
	/* Its mode, owner, times, extended attributes changed; or a directory
	   is new, or its attributes changed (member is nil then). */
	MRMR_EVENT_ATTRIBUTES = 2,
	/* path became to: a file on its member, or a directory everywhere. */
	MRMR_EVENT_RENAMED = 3,
	/* The name is gone: a file's (it may have others), or a directory's. */
	MRMR_EVENT_REMOVED = 4,
	/* The file at path went to its member's trash, where it is `to` (below
	   .mrmr/trash). The name is gone. */
	MRMR_EVENT_TRASHED = 5,
	/* `to` is a further name of the file at path. */
	MRMR_EVENT_LINKED = 6,
	/* Protected bytes had to be given up (mrmr/undo.h): mend at once. */
	MRMR_EVENT_LOST = 7,
	/* The file at path on `member` has moved there from another member; its
	   old inode is gone or in the trash. If that member is away, `to` is
	   the file's id in the catalogue there, in hexadecimal. */
	MRMR_EVENT_MOVED = 8,
	/* Something may have happened that nobody has written down: scan. path
	   "" for everything. */
	MRMR_EVENT_SCAN = 9,
};

struct mrmr_event {
	enum mrmr_event_kind kind;
	struct mrmr_uuid member; /* nil where it does not matter */
	uint64_t inode;          /* on that member, 0: not known */
	int64_t time_ns;         /* CLOCK_REALTIME; set by mrmr_queue_add */
	const char *path;        /* pool path */
	const char *to;          /* "" where there is none */
};

struct mrmr_queue;

/* A talloc child of mem_ctx. Needs root; the rest becomes root itself. NULL with
   *err filled. */
struct mrmr_queue *mrmr_queue_open(void *mem_ctx, int state_fd,
				   struct mrmr_error *err);

/*
 * Append. A change (of bytes or attributes) that repeats the last event of this
 * process within a second, and before that was taken, is left out. Cannot fail
 * for the caller: if it cannot be written, a mark is left in shared memory that
 * asks for a scan. The log is bounded: beyond MRMR_QUEUE_MAX_BYTES it becomes
 * one MRMR_EVENT_SCAN.
 */
#define MRMR_QUEUE_MAX_BYTES (64u << 20)
void mrmr_queue_add(struct mrmr_queue *queue, const struct mrmr_event *event);

/*
 * A number that is another one once events that are in the log now may have
 * been taken. While it is the same, there is no need to repeat one.
 */
uint64_t mrmr_queue_mark(const struct mrmr_queue *queue);

/* Is there anything in the log? One system call. */
bool mrmr_queue_is_empty(struct mrmr_queue *queue);

/*
 * For the holder of mrmr_catalog_lock: take what is there, in order. What was
 * taken and not given back by mrmr_queue_done() is taken again by the next
 * process. *events is a talloc child of mem_ctx. A damaged record ends the log
 * with an MRMR_EVENT_SCAN.
 */
int mrmr_queue_take(struct mrmr_queue *queue, void *mem_ctx,
		    struct mrmr_event **events, size_t *num);

/*
 * The same, without taking anything: what is in the log, and what was taken but
 * is not done. Of the holder of mrmr_catalog_lock as well, as nothing may be
 * taken meanwhile.
 */
int mrmr_queue_peek(struct mrmr_queue *queue, void *mem_ctx,
		    struct mrmr_event **events, size_t *num);

/* What was taken so far need not be remembered. */
void mrmr_queue_done(struct mrmr_queue *queue);

/* What tells an event from all others. */
uint64_t mrmr_queue_fingerprint(const struct mrmr_event *event);

/*
 * For readers of the catalogue: which is the last event that the catalogue has?
 * *fingerprint stays 0 if it has none. 0, or -1 with errno. Asked by each of the
 * functions below, which apply what came after it: an event may be in the catalogue
 * and not be done with yet. If it was never set, all are applied.
 */
typedef int (*mrmr_queue_applied_fn)(uint64_t *fingerprint, void *private_data);
void mrmr_queue_set_applied(struct mrmr_queue *queue,
			    mrmr_queue_applied_fn applied, void *private_data);

/*
 * Where is now what the catalogue knows as path?
 * Applies the renames that are still in the log (and in what was taken but is
 * not done). The new path, or NULL with ENOENT if it was removed or trashed
 * (*trashed, may be NULL, is then the path in the trash), as a talloc child of
 * mem_ctx.
 */
char *mrmr_queue_resolve(struct mrmr_queue *queue, void *mem_ctx,
			 const char *path, char **trashed);

/* The reverse: what did the catalogue know as this path? ENOENT if it is new. */
char *mrmr_queue_resolve_back(struct mrmr_queue *queue, void *mem_ctx,
			      const char *path);

/*
 * As mrmr_queue_resolve(), of a file with this inode on this member. Right also
 * if a scan has been ahead of the log, and found it under a later name.
 */
char *mrmr_queue_resolve_file(struct mrmr_queue *queue, void *mem_ctx,
			      const struct mrmr_uuid *member, uint64_t inode,
			      const char *path);

/*
 * Files that moved to a member from others that are away, by what is in the log,
 * and have not lost their name since. A talloc child of mem_ctx.
 */
struct mrmr_moved {
	uint64_t inode; /* on the member */
	uint64_t was;   /* its id in the catalogue, where it came from */
	char *path;     /* now */
};
int mrmr_queue_moved(struct mrmr_queue *queue, void *mem_ctx,
		     const struct mrmr_uuid *member, struct mrmr_moved **moved,
		     size_t *num);

/*
 * The further names (hard links) that this file got, by what is in the log, as
 * they are now: without those that it has lost since. A talloc child of mem_ctx.
 */
struct mrmr_linked {
	uint64_t event; /* the fingerprint of the one that tells of it */
	char *path;     /* now */
};
int mrmr_queue_linked(struct mrmr_queue *queue, void *mem_ctx,
		      const struct mrmr_uuid *member, uint64_t inode,
		      struct mrmr_linked **linked, size_t *num);

/* One of these again, as mrmr_queue_resolve(). */
char *mrmr_queue_resolve_linked(struct mrmr_queue *queue, void *mem_ctx,
				const struct mrmr_uuid *member, uint64_t inode,
				uint64_t event);

/*
 * Where this file went to the trash of its member, by what is in the log; also if it
 * was removed while that was away, and came there later. A talloc child of mem_ctx;
 * NULL with ENOENT.
 */
char *mrmr_queue_trashed(struct mrmr_queue *queue, void *mem_ctx,
			 const struct mrmr_uuid *member, uint64_t inode);

/*
 * The inodes of a member's files that were renamed, or got a further name, by what
 * is in the log; one may be named more than once. A talloc child of mem_ctx.
 * *has_any tells whether the log has any change of names: if not, the catalogue is
 * up to date.
 */
int mrmr_queue_renamed(struct mrmr_queue *queue, void *mem_ctx,
		       const struct mrmr_uuid *member, uint64_t **inodes,
		       size_t *num, bool *has_any);

#endif
