/*
 * MRMR: pre-images: their folders, and how a piece is made.
 *
 * A piece that has its name is whole and on stable storage, in this order: its
 * bytes, fsync, the name, fsync of the folder. Several are made together, so
 * that the folder is synced once.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/beneath.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/staging.h>

#include "undo_private.h"

#define COPY_CHUNK (256 * 1024)

/* From so many on, one syncfs is cheaper. */
#define SYNC_EACH 8

/* --- names ----------------------------------------------------------------- */

void undo_piece_name(uint64_t piece, uint32_t generation,
		     char name[UNDO_NAME_MAX])
{
	snprintf(name, UNDO_NAME_MAX, "%" PRIx64 ".%" PRIx32, piece,
		 generation);
}

void undo_lost_name(uint64_t piece, uint32_t generation,
		    char name[UNDO_NAME_MAX])
{
	snprintf(name, UNDO_NAME_MAX, UNDO_LOST_FLAG ".%" PRIx64 ".%" PRIx32,
		 piece, generation);
}

static void new_name(size_t n, char name[UNDO_NAME_MAX])
{
	snprintf(name, UNDO_NAME_MAX, ".new.%zu", n);
}

struct undo_entry undo_parse_name(const char *name)
{
	struct undo_entry entry = {.kind = UNDO_OTHER};
	const size_t prefix = strlen(UNDO_LOST_FLAG ".");
	const char *number = name;
	uint64_t piece;
	uint32_t generation;
	int end = 0;

	if (strncmp(name, UNDO_LOST_FLAG ".", prefix) == 0) {
		number = name + prefix;
	}
	if (sscanf(number, "%" SCNx64 ".%" SCNx32 "%n", &piece, &generation,
		   &end) == 2 &&
	    number[end] == '\0') {
		entry.kind = number == name ? UNDO_PIECE : UNDO_LOST;
		entry.piece = piece;
		entry.generation = generation;
	}
	return entry;
}

int undo_is_there(int folder_fd, const char *name)
{
	struct stat st;

	if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		return 1;
	}
	return errno == ENOENT ? 0 : -1;
}

int undo_list(int folder_fd,
	      int (*fn)(int folder_fd, const char *name,
			const struct undo_entry *entry, void *private_data),
	      void *private_data)
{
	struct dirent *dirent = NULL;
	DIR *dir = NULL;
	int saved_errno;
	int ret = 0;
	int fd;

	if (mrmr_fault("undo-list") != 0) {
		return -1;
	}
	fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		return -1;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		saved_errno = errno;
		close(fd);
		errno = saved_errno;
		return -1;
	}
	while (ret == 0 && (errno = 0, dirent = readdir(dir)) != NULL) {
		struct undo_entry entry = undo_parse_name(dirent->d_name);

		if (strcmp(dirent->d_name, ".") != 0 &&
		    strcmp(dirent->d_name, "..") != 0) {
			ret = fn(folder_fd, dirent->d_name, &entry,
				 private_data);
		}
	}
	if (ret == 0 && errno != 0) {
		ret = -1;
	}
	saved_errno = errno;
	closedir(dir);
	errno = saved_errno;
	return ret;
}

/* --- folders --------------------------------------------------------------- */

static int open_folder(int at_fd, const char *name, bool make)
{
	return make ? mrmr_folder_open(at_fd, name)
		    : openat(at_fd, name,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void close_keeping_errno(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
}

/* It is asked for each file that is read, and mostly not there. */
static int open_existing(int private_fd, uint64_t inode)
{
	char path[sizeof(MRMR_UNDO "/") + UNDO_NAME_MAX];

	snprintf(path, sizeof(path), MRMR_UNDO "/%" PRIx64, inode);
	return mrmr_open_beneath(private_fd, path,
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

int undo_folder_open(int private_fd, uint64_t inode, bool make)
{
	char name[UNDO_NAME_MAX];
	int undo_fd;
	int fd;

	if (!make) {
		return open_existing(private_fd, inode);
	}
	undo_fd = open_folder(private_fd, MRMR_UNDO, make);
	if (undo_fd == -1) {
		return -1;
	}
	snprintf(name, sizeof(name), "%" PRIx64, inode);
	fd = open_folder(undo_fd, name, make);
	close_keeping_errno(undo_fd);
	return fd;
}

/* Has it been removed since it was opened? */
static bool is_linked(int private_fd, uint64_t inode, int fd)
{
	char path[2 * UNDO_NAME_MAX];
	struct stat named;
	struct stat st;

	snprintf(path, sizeof(path), MRMR_UNDO "/%" PRIx64, inode);
	return fstat(fd, &st) == 0 &&
	       fstatat(private_fd, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_ino == named.st_ino && st.st_dev == named.st_dev;
}

int undo_folder_lock(int private_fd, uint64_t inode, bool make)
{
	unsigned int tries;

	for (tries = 0; tries < 100; tries++) {
		int fd = undo_folder_open(private_fd, inode, make);
		int ret;

		if (fd == -1 && errno == ENOENT && make) {
			continue; /* removed just after it was made */
		}
		if (fd == -1) {
			return -1;
		}
		do {
			ret = flock(fd, LOCK_EX);
		} while (ret == -1 && errno == EINTR);
		if (ret == 0 && is_linked(private_fd, inode, fd)) {
			return fd;
		}
		close_keeping_errno(fd);
		if (ret == -1) {
			return -1;
		}
	}
	errno = EAGAIN;
	return -1;
}

int undo_folder_sync(int private_fd)
{
	int fd = open_folder(private_fd, MRMR_UNDO, false);
	int ret;

	if (fd == -1) {
		return -1;
	}
	ret = mrmr_fault("undo-folder") == 0 ? mrmr_sync(fd) : -1;
	close_keeping_errno(fd);
	return ret == 0 ? mrmr_sync(private_fd) : -1;
}

/* --- one piece ------------------------------------------------------------- */

static int copy_by_hand(int from_fd, off_t from, int to_fd, off_t to,
			size_t len)
{
	char *buffer = malloc(COPY_CHUNK);
	int ret = 0;

	if (buffer == NULL) {
		errno = ENOMEM;
		return -1;
	}
	while (ret == 0 && len > 0) {
		ssize_t got = pread(from_fd, buffer,
				    len < COPY_CHUNK ? len : COPY_CHUNK, from);

		if (got == -1 && errno == EINTR) {
			continue;
		}
		if (got == 0) {
			break; /* the file became shorter behind our back */
		}
		ret = got == -1 ? -1
				: mrmr_write_fully(to_fd, buffer, (size_t)got,
						   (uint64_t)to);
		from += got;
		to += got;
		len -= got > 0 ? (size_t)got : 0;
	}
	free(buffer);
	return ret;
}

static int copy_piece(int from_fd, off_t from, int to_fd, size_t len)
{
	off_t to = 0;

	if (mrmr_fault("undo-copy") != 0) {
		return -1;
	}
	while (len > 0) {
		loff_t in = from;
		loff_t out = to;
		ssize_t got =
			copy_file_range(from_fd, &in, to_fd, &out, len, 0);

		if (got == -1 && errno == EINTR) {
			continue;
		}
		if (got <= 0) {
			/* Not between these, or not this; it says more. */
			return copy_by_hand(from_fd, from, to_fd, to, len);
		}
		from += got;
		to += got;
		len -= (size_t)got;
	}
	return 0;
}

/* Is there nothing but a hole? */
static bool is_hole(int fd, off_t start, size_t len)
{
	off_t data = lseek(fd, start, SEEK_DATA);

	return (data == -1 && errno == ENXIO) || data >= start + (off_t)len;
}

static bool share_piece(int from_fd, off_t start, int to_fd, size_t len)
{
	struct file_clone_range range = {
		.src_fd = from_fd,
		.src_offset = (uint64_t)start,
		.src_length = len,
		.dest_offset = 0,
	};

	return mrmr_fault("undo-share") == 0 &&
	       ioctl(to_fd, FICLONERANGE, &range) == 0;
}

/* The piece under the name of the n-th new one; *fd is open, or -1 if the file
   ends before it. */
static int fill_new(struct undo_batch *batch, size_t n, int *fd)
{
	off_t start = (off_t)(batch->pieces[n] * MRMR_UNDO_PIECE);
	char name[UNDO_NAME_MAX];
	struct stat st;
	size_t len;

	*fd = -1;
	if (fstat(batch->file_fd, &st) == -1) {
		return -1;
	}
	if (start >= st.st_size) {
		return 0;
	}
	len = st.st_size - start < (off_t)MRMR_UNDO_PIECE
		      ? (size_t)(st.st_size - start)
		      : MRMR_UNDO_PIECE;

	/* What a killed process left under this name is overwritten. */
	new_name(n, name);
	*fd = openat(batch->folder_fd, name,
		     O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*fd == -1) {
		return -1;
	}
	if (is_hole(batch->file_fd, start, len)) {
		return ftruncate(*fd, (off_t)len);
	}
	batch->may_share = batch->may_share &&
			   share_piece(batch->file_fd, start, *fd, len);
	if (batch->may_share) {
		return 0;
	}
	return copy_piece(batch->file_fd, start, *fd, len);
}

/* --- several --------------------------------------------------------------- */

static int sync_new(struct undo_batch *batch, const int *fds)
{
	size_t i;

	if (batch->num >= SYNC_EACH) {
		return syncfs(batch->folder_fd);
	}
	for (i = 0; i < batch->num; i++) {
		if (fds[i] != -1 && fsync(fds[i]) == -1) {
			return -1;
		}
	}
	return 0;
}

static int name_new(struct undo_batch *batch, const int *fds)
{
	size_t i;

	for (i = 0; i < batch->num; i++) {
		char name[UNDO_NAME_MAX];
		char temporary[UNDO_NAME_MAX];

		if (fds[i] == -1) {
			continue;
		}
		new_name(i, temporary);
		undo_piece_name(batch->pieces[i], batch->generation, name);
		if (mrmr_fault("undo-rename") != 0 ||
		    renameat(batch->folder_fd, temporary, batch->folder_fd,
			     name) == -1) {
			return -1;
		}
	}
	return mrmr_fault("undo-renamed") == 0 ? mrmr_sync(batch->folder_fd)
					       : -1;
}

int undo_make_pieces(struct undo_batch *batch)
{
	int fds[UNDO_BATCH];
	int saved_errno;
	int ret = 0;
	size_t i;

	for (i = 0; i < batch->num; i++) {
		fds[i] = -1;
	}
	for (i = 0; ret == 0 && i < batch->num; i++) {
		ret = fill_new(batch, i, &fds[i]);
	}
	if (ret == 0) {
		ret = mrmr_fault("undo-written") == 0 ? sync_new(batch, fds)
						      : -1;
	}
	if (ret == 0) {
		ret = name_new(batch, fds);
	}
	saved_errno = errno;
	for (i = 0; i < batch->num; i++) {
		char temporary[UNDO_NAME_MAX];

		if (fds[i] != -1) {
			close(fds[i]);
		}
		if (ret == -1) {
			new_name(i, temporary);
			unlinkat(batch->folder_fd, temporary, 0);
		}
	}
	errno = saved_errno;
	return ret;
}
