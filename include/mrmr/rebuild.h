/*
 * MRMR: bringing back what was on a member that is lost.
 *
 * Its files are computed from the rest of their stripes, made in `.mrmr/rebuild`
 * of another member, with all that belongs to them, and renamed into place; then
 * the catalogue says that they are there. A slot of a stripe has the same bytes
 * as before, on another member, so parity stays as it is, unless that member's
 * unit has a block of the stripe already: then the bytes go into another one.
 * After the files, its parity blocks are computed anew on other members.
 *
 * May be stopped or killed at any instant, and goes on when it is called again:
 * the catalogue tells what is still on the lost member. What was half way is
 * garbage in `.mrmr/rebuild`, or it is in place and found to be right.
 *
 * The share is in use meanwhile. Nothing that has a file's name is ever
 * overwritten: what was made there since is what clients want.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_REBUILD_H
#define MRMR_REBUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/engine.h>

#define MRMR_REBUILD_SPREAD SIZE_MAX

/* Why a file is not there again. */
enum mrmr_rebuild_trouble {
	MRMR_REBUILD_LOST,        /* more is missing than there is parity for */
	MRMR_REBUILD_UNPROTECTED, /* it never was protected */
	MRMR_REBUILD_TAKEN,       /* something else has its name */
	MRMR_REBUILD_FAILED,      /* no room, or an error: may succeed later */
	MRMR_REBUILD_OLDER,       /* it is, but its last change is lost */
};

struct mrmr_rebuild_progress {
	uint64_t done_bytes; /* of files, */
	uint64_t todo_bytes; /* of those that were on the lost member; of its
				parity afterwards */
	uint64_t done_files;
	uint64_t todo_files;
	bool is_parity; /* which of the two it is at */
};

struct mrmr_rebuild_result;

struct mrmr_rebuild_options {
	size_t lost;          /* index of a member that is not online */
	size_t onto;          /* index, or MRMR_REBUILD_SPREAD */
	uint64_t batch_bytes; /* of files, to a commit; 0: 256 MiB */

	/* All may be NULL. */
	void (*progress)(const struct mrmr_rebuild_progress *progress,
			 void *private_data);
	/* path is within the pool; why is a sentence for a person. */
	void (*trouble)(enum mrmr_rebuild_trouble kind, const char *path,
			uint64_t size_bytes, const char *why,
			void *private_data);
	/* The id of a node that somebody waits for, 0: there is none. Asked
	   before each file; these are brought back first. */
	uint64_t (*next_wanted)(void *private_data);
	/* Asked once, when all files are back that can be, if some are lost: are
	   they to be given up? result is as far as it is. Then those that still
	   cannot be had leave their stripes and the catalogue for good. NULL:
	   they stay. */
	bool (*accept_loss)(const struct mrmr_rebuild_result *result,
			    void *private_data);
	/* Called after each commit, with nothing under way: who else needs the
	   engine may have it for a while. -1 with *err filled ends it. */
	int (*between)(struct mrmr_error *err, void *private_data);
	bool (*should_stop)(void *private_data);
	void *private_data;
};

struct mrmr_rebuild_result {
	uint64_t files; /* brought back; symlinks and the like among them */
	uint64_t bytes;
	uint64_t adopted; /* of the files: were there already, and right */
	uint64_t stripes; /* whose parity was mended */
	uint64_t parity_bytes;
	uint64_t lost_files; /* and unprotected ones, */
	uint64_t lost_bytes;
	uint64_t given_up_files; /* of the lost ones: they are known no more */
	uint64_t given_up_bytes;
	/* Were to be given up, and can be had by now: by the next run. */
	uint64_t spared_files;
	uint64_t taken_files;
	uint64_t failed_files;
	uint64_t older_files;
	uint64_t bare_extents; /* came back, but are in no stripe: no room */
	uint64_t stripes_left; /* that could not be mended */
	uint64_t
		room_bytes; /* plan: for files, on the members they may go to */
	bool is_stopped;
	bool has_returned; /* a member: what is lost may be there, so it was not
			      given up */
	bool is_complete; /* the catalogue has nothing on this member any more */
};

/*
 * What would be done: counts what can be brought back by what is there, without
 * reading it, and tells trouble that is to be expected. Nothing is changed.
 */
int mrmr_rebuild_plan(struct mrmr_engine *engine,
		      const struct mrmr_rebuild_options *options,
		      struct mrmr_rebuild_result *result,
		      struct mrmr_error *err);

/*
 * Do it. 0 also if files are left (see *result); -1 with *err filled if it could
 * not go on: EBUSY the member is online. Needs root, and the engine for writing.
 */
int mrmr_rebuild(struct mrmr_engine *engine,
		 const struct mrmr_rebuild_options *options,
		 struct mrmr_rebuild_result *result, struct mrmr_error *err);

/* The member, of which nothing is left to rebuild, goes for good: nothing is
   remembered for it any more. EBUSY if there is something left, EAGAIN if the
   protector has to hear of what happened meanwhile (names_only will do). */
int mrmr_rebuild_forget(struct mrmr_engine *engine, size_t lost,
			struct mrmr_error *err);

#endif
