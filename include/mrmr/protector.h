/*
 * MRMR: the protector: keeps parity in step with the files.
 *
 * Started after a close by whoever notices that none is there (mrmr-admin sync
 * --background), one a pool; it ends when the queue is empty. It may be killed
 * at any point.
 *
 * In turns: take the events from the queue; bring the catalogue's names and
 * attributes in step; choose files that are due (changed, quiet for the settle
 * time, not open for writing); declare them (mrmr/guard.h), have their changed
 * extents put into stripes (mrmr/stripes.h), sync, commit; then let go of what
 * nothing depends on any more: old parity blocks, pre-images, the trash that is
 * over its time.
 *
 * A file is read as it was when it was declared, whatever is written to it
 * meanwhile, as its pre-images are taken from then on (mrmr/undo.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_PROTECTOR_H
#define MRMR_PROTECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <mrmr/engine.h>

#define MRMR_SETTLE_NS_DEFAULT (INT64_C(2000000000))

struct mrmr_protect_progress {
	uint64_t done_bytes; /* of files */
	uint64_t todo_bytes; /* known so far */
	uint64_t done_files;
	uint64_t todo_files;
};

struct mrmr_protect_options {
	int64_t settle_ns;
	bool background; /* idle I/O priority while clients are busy; goes on
			    until nothing is left to wait for */
	bool everything; /* do not wait for the settle time */
	bool scan;       /* go through all names first; if that is doubtful
			    (mrmr/scan.h), ECANCELED */
	bool names_only; /* what is to be protected stays pending */
	const bool *accept_loss; /* of pool->members[i]: what is gone from it
				    was deleted, however much that is; NULL:
				    of none */
	uint64_t batch_bytes;    /* to be read for one commit; 0: from 256 MiB
				    to 1 GiB, what takes about a second */
	uint32_t window_files; /* pending files that are remembered at the same
				    time; 0: a number that is enough */
	unsigned int threads;  /* 0: as many as processors */
	void (*progress)(const struct mrmr_protect_progress *progress,
			 void *private_data); /* may be NULL */
	bool (*should_stop)(void *private_data);
	void *private_data;
};

struct mrmr_protect_result {
	uint64_t protected_files;
	uint64_t protected_bytes;
	uint64_t unprotected_files; /* there was no room for their parity, */
	uint64_t unprotected_bytes;
	uint64_t unreadable_files;
	uint64_t open_files; /* left for later */
	uint64_t mended_stripes;
	/* Not in the background: have fewer rows than the pool wants; for want of
	   room, if no member is away */
	uint64_t short_stripes;
	uint64_t short_bytes;  /* of files in them */
	uint32_t window_files; /* remembered at the same time, at most */
	bool is_scan_refused;  /* it was asked for by the queue, and doubtful */
	/* In the background only: something is left, as another process waits
	   for the catalogue, or, then gives_turn, to be the protector itself. */
	bool gives_way;
	bool gives_turn;
};

/* Do all there is to do now. 0 also if files are left (see *result); -1 with
   *err filled if it could not go on. */
int mrmr_protect(struct mrmr_engine *engine,
		 const struct mrmr_protect_options *options,
		 struct mrmr_protect_result *result, struct mrmr_error *err);

/*
 * What mrmr_protect() would have to do, by going through all names: calls file
 * (may be NULL) for each that is not protected as it is. engine is for reading,
 * NULL if nothing was ever protected.
 */
struct mrmr_protect_preview {
	uint64_t num_files; /* of the pool, as far as it is online */
	uint64_t num_bytes;
	uint64_t todo_files;
	uint64_t todo_bytes;
};
int mrmr_protect_preview(struct mrmr_pool *pool, struct mrmr_engine *engine,
			 void (*file)(const char *path, uint64_t bytes,
				      void *private_data),
			 void *private_data,
			 struct mrmr_protect_preview *result,
			 struct mrmr_error *err);

/* The files that are known to be left to do, and their bytes; and whether a scan
   is to look for more. */
int mrmr_protector_pending(struct mrmr_catalog *catalog, uint64_t *num_files,
			   uint64_t *num_bytes, bool *needs_scan);

/* Why some of them wait: what a protector that was started by an event does not
   try again by itself. -1 with errno. */
struct mrmr_hindered {
	uint64_t no_room_files;
	uint64_t no_room_bytes; /* of them, in no stripe */
	uint64_t unreadable_files;
};
int mrmr_protector_hindered(struct mrmr_catalog *catalog,
			    struct mrmr_hindered *hindered);

/* What the protector knows of what is at a path. */
struct mrmr_standing {
	struct mrmr_node *node; /* as it was when it was protected, or at least
				   noticed; NULL: nothing is known of it */
	bool is_as_known;       /* by size and time: no changes since */
	bool is_name_known;     /* of its names, this one */
	bool is_pending;
	bool has_no_room; /* for its parity, when it was tried last */
	bool is_unreadable;
};

/*
 * st is what is there, on pool->members[member] (of a directory: any). What is
 * still in the queue is taken into account as far as names go. node is a talloc
 * child of mem_ctx. engine is for reading. -1 with errno: the catalogue cannot
 * be read.
 */
int mrmr_protector_ask(struct mrmr_engine *engine, void *mem_ctx, size_t member,
		       const char *path, const struct stat *st,
		       struct mrmr_standing *standing);

/* May there be stripes that have not as many rows as the pool wants? If so, it
   is worth while to look at all. */
bool mrmr_protector_may_be_short(struct mrmr_catalog *catalog);

/*
 * One protector a pool runs, or is about to: to be held from before the engine
 * is opened until after it is closed. A talloc child of mem_ctx; freed by
 * freeing it. NULL with *err: EALREADY if another one runs and will see what is
 * in the queue now, and wait is false.
 */
struct mrmr_protector_turn;
struct mrmr_protector_turn *mrmr_protector_enter(void *mem_ctx,
						 struct mrmr_pool *pool,
						 bool wait,
						 struct mrmr_error *err);

/* How one is started. {0} is as installed. */
struct mrmr_protector_command {
	const char *path;            /* of mrmr-admin; NULL: as installed */
	unsigned int settle_seconds; /* 0: the default */
};

/*
 * Have a protector run for this pool, if none does: to be called after an event
 * was added. Costs a memory access when one runs. It is started as root,
 * detached from the caller. One that does not come up is not started again for
 * some seconds.
 */
void mrmr_protector_start(struct mrmr_pool *pool,
			  const struct mrmr_protector_command *command);

/* Has anybody left word, since a protector began, that there is something to do of
   which the queue does not know? A member has returned, for which files, or rows
   of stripes, have waited; or the config has changed. */
bool mrmr_protector_has_work(const struct mrmr_pool *pool);

/* Does one run, or was it started and has not come up yet? Costs two memory accesses;
   of one that was killed or could not be started it says yes for some time. */
bool mrmr_protector_is_at_work(const struct mrmr_pool *pool);

/*
 * Wait until a file that was just closed is protected, or cannot be now; for
 * mrmr:protect = wait. Has a protector run, and not wait for the settle time. -1
 * ETIMEDOUT. Polls a memory page.
 */
int mrmr_protector_wait(struct mrmr_pool *pool,
			const struct mrmr_protector_command *command,
			const struct mrmr_uuid *member, uint64_t inode,
			int64_t timeout_ns);

#endif
