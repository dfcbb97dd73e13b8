/*
 * MRMR: repairs: of a file (repair.c, repair_copy.c), of a parity block, and
 * what is left to do after a kill (repair_rest.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef REPAIR_PRIVATE_H
#define REPAIR_PRIVATE_H

#include <sys/stat.h>

#include <mrmr/live.h>
#include <mrmr/repair.h>
#include <mrmr/trash.h>

/* --- of a file ---------------------------------------------------------------- */

struct repair {
	struct mrmr_engine *engine;
	struct mrmr_node *node;
	size_t index; /* of its member */
	struct mrmr_member *member;
	struct mrmr_live *live;
	int fd; /* live's: the bad file, for reading */
	struct stat st;
	char path[MRMR_PATH_MAX]; /* on the member */
	bool in_trash;
	int rebuild_fd;
	char staged[96];
	int new_fd; /* for reading, once it is complete; -1: there is none */
	uint64_t new_inode;
	uint32_t generation;
	bool is_exchanged; /* the copy has the name, the bad file has `staged` */
	bool is_in_trash;  /* the bad file; as */
	char trash_path[MRMR_TRASH_PATH_MAX];
	struct mrmr_error *err;
};

/* -1, with a sentence about the file. */
int repair_fail(struct repair *r, int code, const char *why);
int repair_fail_errno(struct repair *r, const char *what);

/* Make the copy, with all attributes, durable; new_fd and new_inode. Nobody has it
   open for writing. */
int repair_copy(struct repair *r);

/* --- what is under way ---------------------------------------------------------- */

struct repair_note {
	uint64_t id; /* of the file */
	uint16_t member;
	uint64_t old_inode; /* which the catalogue has, */
	uint64_t new_inode; /* and is to get */
	uint32_t generation;
};

/* 1; 0 if there is none; -1. */
int repair_note_get(struct mrmr_catalog *catalog, struct repair_note *note);

/* Within a transaction; NULL: there is none any more. */
int repair_note_put(struct mrmr_catalog *catalog,
		    const struct repair_note *note);

#endif
