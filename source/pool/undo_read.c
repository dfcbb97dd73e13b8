/*
 * MRMR: pre-images: reading protected bytes, and letting go of them.
 *
 * A reader takes no lock. A writer changes the file only after the pre-image
 * has its name; so whoever reads the file, and looks for one then, has either
 * found it or read what was protected. Most have none, and most of those that
 * have some, very many: so this takes a few looks, however many there are
 * (undo_names.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/beneath.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>

#include "undo_private.h"

static void close_keeping_errno(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
}

/* --- reading --------------------------------------------------------------- */

struct search {
	uint64_t piece;
	uint32_t generation; /* from this one on */
	uint32_t found;      /* the lowest, 0: none */
	bool lost;
};

static int consider(int folder_fd, const char *name,
		    const struct undo_entry *entry, void *private_data)
{
	struct search *search = private_data;

	(void)folder_fd;
	(void)name;
	if (entry->kind == UNDO_OTHER ||
	    entry->generation < search->generation) {
		return 0;
	}
	if (entry->kind == UNDO_LOST) {
		search->lost = search->lost || entry->piece <= search->piece;
		return 0;
	}
	if (entry->piece == search->piece &&
	    (search->found == 0 || entry->generation < search->found)) {
		search->found = entry->generation;
	}
	return 0;
}

/* Of what the short list has: it may be there for this piece. */
static int consider_listed(int folder_fd, struct undo_entry entry,
			   struct search *search)
{
	char name[UNDO_NAME_MAX];
	int there;

	if (entry.kind == UNDO_OTHER || entry.generation < search->generation) {
		return 0;
	}
	if (entry.kind == UNDO_PIECE) {
		entry.piece = search->piece;
		undo_piece_name(entry.piece, entry.generation, name);
	} else {
		undo_lost_name(entry.piece, entry.generation, name);
	}
	there = undo_is_there(folder_fd, name);
	return there == 1 ? consider(folder_fd, name, &entry, search) : there;
}

/* The lowest generation of the piece that there is, but for the one that is
   asked for. */
static int search_folder(int folder_fd, struct search *search)
{
	struct undo_names names;
	struct undo_entry entry;
	size_t at = 0;
	int ret = 0;

	if (!undo_names_read(folder_fd, &names)) {
		return undo_list(folder_fd, consider, search);
	}
	while (ret == 0 && undo_names_next(&names, &at, &entry)) {
		ret = consider_listed(folder_fd, entry, search);
	}
	return ret;
}

/* The pre-image, or -1 with errno: ENOENT there is none, EIO it was given up. */
static int open_piece(int private_fd, uint64_t inode, uint64_t piece,
		      uint32_t generation)
{
	struct search search = {.piece = piece, .generation = generation};
	const int flags = O_RDONLY | MRMR_OPEN_ANYTHING;
	int folder_fd = undo_folder_open(private_fd, inode, false);
	char name[UNDO_NAME_MAX];
	int fd;

	if (folder_fd == -1) {
		return -1;
	}
	/* Most have the number that is asked for. */
	undo_piece_name(piece, generation, name);
	fd = openat(folder_fd, name, flags);
	if (fd == -1 && errno == ENOENT) {
		if (search_folder(folder_fd, &search) == 0) {
			errno = search.lost ? EIO : ENOENT;
			if (search.found != 0) {
				undo_piece_name(piece, search.found, name);
				fd = openat(folder_fd, name, flags);
			}
		}
	}
	close_keeping_errno(folder_fd);
	return fd;
}

static int read_from_piece(int piece_fd, char *buf, size_t len, uint64_t offset)
{
	int ret = mrmr_read_fully(piece_fd, buf, len, offset % MRMR_UNDO_PIECE);

	close_keeping_errno(piece_fd);
	return ret;
}

/* Within one piece. */
static int read_part(int private_fd, uint64_t inode, uint32_t generation,
		     int fd, char *buf, size_t len, uint64_t offset)
{
	uint64_t piece = offset / MRMR_UNDO_PIECE;
	int error = EIO;
	int piece_fd;

	if (fd != -1) {
		error = mrmr_fault("undo-read") == 0 &&
					mrmr_read_fully(fd, buf, len, offset) ==
						0
				? 0
				: errno;
	}
	/* Has it been overwritten, be it just now? */
	piece_fd = open_piece(private_fd, inode, piece, generation);
	if (piece_fd != -1) {
		return read_from_piece(piece_fd, buf, len, offset);
	}
	if (errno != ENOENT) {
		return -1;
	}
	errno = error;
	return error == 0 ? 0 : -1;
}

int mrmr_undo_read(int private_fd, uint64_t inode, uint32_t generation, int fd,
		   void *buf, size_t len, uint64_t offset)
{
	char *to = buf;

	while (len > 0) {
		size_t part = MRMR_UNDO_PIECE - offset % MRMR_UNDO_PIECE;

		part = part < len ? part : len;
		if (read_part(private_fd, inode, generation, fd, to, part,
			      offset) == -1) {
			return -1;
		}
		to += part;
		offset += part;
		len -= part;
	}
	return 0;
}

/* Within one piece: the pre-image is long enough, or there is none and the file
   is. */
static bool has_part(int private_fd, uint64_t inode, uint32_t generation,
		     uint64_t size_bytes, size_t len, uint64_t offset)
{
	int fd = open_piece(private_fd, inode, offset / MRMR_UNDO_PIECE,
			    generation);
	struct stat st = {0};
	bool has;

	if (fd == -1) {
		return errno == ENOENT && offset + len <= size_bytes;
	}
	has = fstat(fd, &st) == 0 &&
	      offset % MRMR_UNDO_PIECE + len <= (uint64_t)st.st_size;
	close(fd);
	return has;
}

bool mrmr_undo_has(int private_fd, uint64_t inode, uint32_t generation,
		   uint64_t size_bytes, size_t len, uint64_t offset)
{
	while (len > 0) {
		size_t part = MRMR_UNDO_PIECE - offset % MRMR_UNDO_PIECE;

		part = part < len ? part : len;
		if (!has_part(private_fd, inode, generation, size_bytes, part,
			      offset)) {
			return false;
		}
		offset += part;
		len -= part;
	}
	return true;
}

bool mrmr_undo_is_empty(int private_fd)
{
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	bool is_empty;
	int fd = openat(private_fd, MRMR_UNDO,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1) {
		return errno == ENOENT;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return false;
	}
	errno = 0;
	while ((entry = readdir(dir)) != NULL &&
	       (strcmp(entry->d_name, ".") == 0 ||
		strcmp(entry->d_name, "..") == 0)) {
	}
	is_empty = entry == NULL && errno == 0;
	closedir(dir);
	return is_empty;
}

/* --- letting go ------------------------------------------------------------ */

struct dropping {
	uint32_t below;
	bool has_any; /* that stay */
	bool has_lost;
};

static int drop_entry(int folder_fd, const char *name,
		      const struct undo_entry *entry, void *private_data)
{
	struct dropping *dropping = private_data;

	if (entry->kind != UNDO_OTHER && dropping->below != 0 &&
	    entry->generation >= dropping->below) {
		dropping->has_any = true;
		dropping->has_lost =
			dropping->has_lost || entry->kind == UNDO_LOST;
		return 0;
	}
	if (strcmp(name, UNDO_LOST_FLAG) == 0 ||
	    strcmp(name, UNDO_NAMES) == 0) {
		return 0;
	}
	if (mrmr_fault("undo-drop") != 0 ||
	    unlinkat(folder_fd, name, 0) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	return 0;
}

int mrmr_undo_drop(int private_fd, uint64_t inode, uint32_t below_generation)
{
	struct dropping dropping = {.below = below_generation};
	char path[2 * UNDO_NAME_MAX];
	int fd = undo_folder_lock(private_fd, inode, false);
	int ret;

	if (fd == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	ret = undo_list(fd, drop_entry, &dropping);
	if (ret == 0 && !dropping.has_lost) {
		ret = unlinkat(fd, UNDO_LOST_FLAG, 0);
		ret = ret == -1 && errno == ENOENT ? 0 : ret;
	}
	if (ret == 0 && !dropping.has_any) {
		ret = undo_names_remove(fd);
	}
	snprintf(path, sizeof(path), MRMR_UNDO "/%" PRIx64, inode);
	if (ret == 0 &&
	    mrmr_unlink_beneath(private_fd, path, AT_REMOVEDIR) == -1 &&
	    errno != ENOTEMPTY && errno != EEXIST) {
		ret = -1;
	}
	close_keeping_errno(fd);
	return ret;
}

static int add_bytes(int folder_fd, const char *name,
		     const struct undo_entry *entry, void *private_data)
{
	uint64_t *bytes = private_data;
	struct stat st;

	(void)entry;
	if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		*bytes += (uint64_t)st.st_blocks * 512;
	}
	return 0;
}

static int walk_one(int private_fd, const char *name,
		    int (*fn)(uint64_t inode, uint64_t bytes,
			      void *private_data),
		    void *private_data)
{
	uint64_t bytes = 0;
	uint64_t inode;
	char *end = NULL;
	int ret;
	int fd;

	inode = strtoull(name, &end, 16);
	if (end == name || *end != '\0') {
		return 0;
	}
	fd = undo_folder_open(private_fd, inode, false);
	if (fd == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	ret = undo_list(fd, add_bytes, &bytes);
	close_keeping_errno(fd);
	return ret == 0 ? fn(inode, bytes, private_data) : -1;
}

int mrmr_undo_walk(int private_fd,
		   int (*fn)(uint64_t inode, uint64_t bytes,
			     void *private_data),
		   void *private_data)
{
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int saved_errno;
	int ret = 0;
	int fd;

	fd = openat(private_fd, MRMR_UNDO,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		close_keeping_errno(fd);
		return -1;
	}
	while (ret == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		ret = walk_one(private_fd, entry->d_name, fn, private_data);
	}
	if (ret == 0 && errno != 0) {
		ret = -1;
	}
	saved_errno = errno;
	closedir(dir);
	errno = saved_errno;
	return ret;
}
