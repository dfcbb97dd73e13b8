/*
 * MRMR: serving what is not there, for its own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SERVE_PRIVATE_H
#define MRMR_SERVE_PRIVATE_H

#include <mrmr/serve.h>

/* pool->absent_data */
struct serving {
	struct mrmr_pool *pool;
	struct mrmr_engine *engine; /* NULL: not opened so far */
	bool is_given;              /* it is not ours */
	int64_t retry_ns;
	struct mrmr_error last;
	struct mrmr_served *served;
};

/* As root. NULL with *err: it cannot be opened, or could not a moment ago. */
struct mrmr_engine *serve_engine(struct serving *s, struct mrmr_error *err);

/* serve_names.c: for struct mrmr_absent_ops; private_data is the serving. */
int serve_fill(struct mrmr_dir *dir, size_t member, int fd, int64_t *mtime_ns,
	       void *private_data);

/*
 * serve_paths.c: all names that a file of this member has now, by what the
 * catalogue (which knows it as id) and the log say: none if it was removed; one may
 * be there twice. Talloc children of mem_ctx. -1 with errno; ENOENT: the catalogue
 * does not have it.
 */
int serve_paths(struct mrmr_engine *engine, void *mem_ctx,
		const struct mrmr_uuid *member, uint64_t id, uint64_t inode,
		char ***paths, size_t *num);

#endif
