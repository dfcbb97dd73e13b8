/*
 * MRMR: the Samba module: the numbers that files are known by.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_NUMBERS_H
#define VFS_MRMR_NUMBERS_H

#include "vfs_mrmr.h"

#include <mrmr/shared.h>

struct mrmr_number {
	uint64_t device;
	uint64_t ino;
};

bool mrmr_same_number(struct mrmr_number a, struct mrmr_number b);

/* Of a file by its stat, by its descriptor too (the number that a ghost has is
   that of the file), by its id. */
struct mrmr_number mrmr_number_of(const struct mrmr_pool *pool,
				  const struct stat *st);
struct mrmr_number mrmr_number_of_file(const struct mrmr_pool *pool,
				       const struct stat *st, int fd);
struct mrmr_number mrmr_number_of_id(const struct file_id *id);

/* What the file with this number is known by: mostly the same. */
struct mrmr_number mrmr_known_by(struct mrmr_shared *shared,
				 struct mrmr_number number);

/* Nobody else looks at this number now: its file is not to be found yet, or not
   any more. False: the page is full. */
bool mrmr_set_known_by(struct mrmr_shared *shared, struct mrmr_number number,
		       struct mrmr_number known);

/* What killed processes left behind is forgotten. */
void mrmr_forget_unused_numbers(struct mrmr_shared *shared);

/* Who has the file with this id open: any process, others than this one (only
   if msg_ctx is not NULL). */
struct mrmr_users {
	struct server_id self;
	bool any;
	bool others;
};

struct mrmr_users mrmr_users_of(struct messaging_context *msg_ctx,
				struct file_id id);

#endif
