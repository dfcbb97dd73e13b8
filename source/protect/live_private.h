/*
 * MRMR: where the protected bytes of a file are: what finding (live.c) and
 * reading (live_read.c) share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_LIVE_PRIVATE_H
#define MRMR_LIVE_PRIVATE_H

#include <sys/stat.h>

#include <mrmr/live.h>

/* Own descriptors: a member that is let go of, or comes anew, closes the
   pool's. */
struct mrmr_live_member {
	uint16_t number;
	int root_fd;
	int private_fd;
	uint64_t dir_id; /* whose path was asked for last, or 0 */
	char *dir_path;
	enum {
		UNDO_NOT_LOOKED,
		UNDO_EMPTY,
		UNDO_USED,
	} undo; /* what is in its folder of pre-images */
};

struct mrmr_live {
	struct mrmr_live_member *member;
	uint64_t inode;
	uint32_t generation;
	uint64_t size_bytes;
	int64_t mtime_ns;
	int fd;           /* -1: there is no file, or it is closed; */
	char *path;       /* then it is opened by this, below at_fd */
	int at_fd;        /* one of member's */
	bool is_alike;    /* not by its inode, but by its size and time */
	bool is_expected; /* to be found out when it is opened */
	bool has_kept; /* may have pre-images: false, it had none when opened */
};

/* A destructor of struct mrmr_live. */
int live_close(struct mrmr_live *live);

/* Open for reading, within the member, and through no symlink; -1 with errno. */
int live_open_beneath(int at_fd, const char *path);

/* Has the file the size and time of the record? */
bool live_is_unchanged(const struct mrmr_live *live, const struct stat *st);

#endif
