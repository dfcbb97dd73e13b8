/*
 * MRMR: pre-images, for their own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_UNDO_PRIVATE_H
#define MRMR_UNDO_PRIVATE_H

#include <mrmr/undo.h>

/* What is in the folder of an inode. */
enum undo_kind {
	UNDO_PIECE,
	UNDO_LOST,  /* lost.PIECE.GENERATION */
	UNDO_OTHER, /* what is being made, and the two below */
};

struct undo_entry {
	enum undo_kind kind;
	uint64_t piece;
	uint32_t generation;
};

/* Is there if any lost.* is: so that one look tells that there is none. */
#define UNDO_LOST_FLAG "lost"
/* A short list of what there is. */
#define UNDO_NAMES ".names"
#define UNDO_NAME_MAX 64

void undo_piece_name(uint64_t piece, uint32_t generation,
		     char name[UNDO_NAME_MAX]);
void undo_lost_name(uint64_t piece, uint32_t generation,
		    char name[UNDO_NAME_MAX]);

struct undo_entry undo_parse_name(const char *name);

/* 1 or 0; -1 with errno. */
int undo_is_there(int folder_fd, const char *name);

/* Call fn for each entry until it returns non-zero, which is returned; -1 with
   errno if the folder cannot be read. */
int undo_list(int folder_fd,
	      int (*fn)(int folder_fd, const char *name,
			const struct undo_entry *entry, void *private_data),
	      void *private_data);

/* The folder of an inode; ENOENT. With make it is made if it is missing. */
int undo_folder_open(int private_fd, uint64_t inode, bool make);

/* The same, with an exclusive lock, which goes with the descriptor. */
int undo_folder_lock(int private_fd, uint64_t inode, bool make);

/* The folder's own name, and that of the folder it is in, onto stable
   storage. */
int undo_folder_sync(int private_fd);

/* --- the short list (see undo_names.c) --------------------------------------- */

struct undo_names {
	size_t len;
	char text[4096];
};

/* False: there is no valid one, and the folder is to be listed. */
bool undo_names_read(int folder_fd, struct undo_names *names);

/* The entries, one after another from *at = 0 on, until it is false. Of a
   generation's pieces there is one, with any number. */
bool undo_names_next(const struct undo_names *names, size_t *at,
		     struct undo_entry *entry);

/* Before the first piece of a generation, and each mark, gets its name. With the
   folder locked. Makes the folder's own name durable. */
int undo_names_enter(int private_fd, int folder_fd, enum undo_kind kind,
		     uint64_t piece, uint32_t generation);

/* The folder has nothing else any more. */
int undo_names_remove(int folder_fd);

/* --- making pieces ----------------------------------------------------------- */

/* Pieces to be made at a time. */
#define UNDO_BATCH 32

struct undo_batch {
	int folder_fd; /* locked */
	int file_fd;
	uint32_t generation;
	uint64_t pieces[UNDO_BATCH];
	size_t num;
	bool may_share; /* in: try it; out: it was possible */
};

/*
 * Make these pieces of what the file has, durably: when it returns 0 they have
 * their names on stable storage. -1 with errno: some may have them. A piece
 * that begins beyond the end of the file is not made.
 */
int undo_make_pieces(struct undo_batch *batch);

#endif
