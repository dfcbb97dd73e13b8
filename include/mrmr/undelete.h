/*
 * MRMR: what is in the trash, bringing it back, and removing it for good.
 *
 * How things come there: mrmr/trash.h. Needs root.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_UNDELETE_H
#define MRMR_UNDELETE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <mrmr/engine.h>

/* Something in the trash, everything but a directory. */
struct mrmr_trashed {
	size_t member;    /* index */
	char *trash_path; /* below the member's .mrmr/trash */
	char *path;       /* that it had in the pool */
	int64_t time_s;   /* when it came there, since 1970 */
	struct stat st;
};

/*
 * All that is in the trash of the members that are online, the newest first.
 * *items is a talloc child of mem_ctx. -1 with *err filled if a trash cannot be
 * read.
 */
int mrmr_trash_list(void *mem_ctx, struct mrmr_pool *pool,
		    struct mrmr_trashed **items, size_t *num,
		    struct mrmr_error *err);

/*
 * Give it a name in the pool again, on its member; directories that are not there
 * are made, with the rights of the one above. Nothing is replaced: EEXIST if the
 * path is taken, ESTALE if it is free, but the protector has still to hear that what
 * had it is gone (names_only in mrmr/protector.h). What is protected stays so, in
 * its stripes. Another process of the pool sees the file at once. The engine is for
 * writing, or NULL if nothing was ever protected. -1 with *err filled: then it is
 * where it was.
 */
int mrmr_trash_restore(struct mrmr_pool *pool, struct mrmr_engine *engine,
		       const struct mrmr_trashed *item, const char *path,
		       struct mrmr_error *err);

struct mrmr_purge_options {
	void (*progress)(uint64_t done, uint64_t todo,
			 void *private_data);    /* items; may be NULL */
	bool (*should_stop)(void *private_data); /* may be NULL */
	void *private_data;
};

struct mrmr_purge_result {
	uint64_t num_removed;
	uint64_t removed_bytes;
	uint64_t num_left; /* the protector does not know of them yet, or their
			      member is not there or read-only */
	bool is_complete;  /* not stopped */
};

/*
 * Remove them for good. A protected file leaves its stripes first, which are
 * computed anew without it, and is removed when that is durable (invariant 2).
 * engine as above. -1 with *err filled: what was not removed is as it was; that is all
 * if the catalogue is damaged, which is looked at first.
 */
int mrmr_trash_purge(struct mrmr_pool *pool, struct mrmr_engine *engine,
		     const struct mrmr_trashed *items, size_t num,
		     const struct mrmr_purge_options *options,
		     struct mrmr_purge_result *result, struct mrmr_error *err);

#endif
