/*
 * MRMR: parity blocks as files (see mrmr/blob.h).
 *
 * A blob is made as .mrmr/parity/new/<process>.<count>, in a folder of its own
 * so that what a crash leaves there is found without reading 256 others, and
 * renamed: under its own name it is whole. A name is content, so it does not
 * matter which of two writers of the same blob comes last.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/beneath.h>
#include <mrmr/blob.h>
#include <mrmr/digest.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/hex.h>

#define SUFFIX ".blob"
#define HEX_LEN ((size_t)2 * MRMR_SHA256_LEN)
#define FOLDER_LEN 3 /* "xx/" */
#define NAME_LEN (HEX_LEN + sizeof(SUFFIX) - 1)
#define NEW "new"
#define PATH_SIZE (sizeof(MRMR_PARITY_FOLDER "/") + FOLDER_LEN + NAME_LEN)

/* "parity/xx/<sha256>.blob" */
static void blob_path(const uint8_t sha256[32], char path[PATH_SIZE])
{
	char hex[HEX_LEN + 1];

	mrmr_hex_encode(sha256, MRMR_SHA256_LEN, hex);
	snprintf(path, PATH_SIZE, MRMR_PARITY_FOLDER "/%.2s/%s" SUFFIX, hex,
		 hex);
}

int mrmr_blob_open(int private_fd, const uint8_t sha256[32])
{
	char path[PATH_SIZE];

	blob_path(sha256, path);
	if (mrmr_fault("blob-open") != 0) {
		return -1;
	}
	return mrmr_open_beneath(private_fd, path,
				 O_RDONLY | MRMR_OPEN_ANYTHING, 0);
}

int mrmr_blob_remove(int private_fd, const uint8_t sha256[32])
{
	char path[PATH_SIZE];

	blob_path(sha256, path);
	if (mrmr_fault("blob-remove") != 0) {
		return -1;
	}
	return mrmr_unlink_beneath(private_fd, path, 0);
}

/* --- writing --------------------------------------------------------------- */

static int make_folder(int private_fd, const char *path)
{
	const char *name = NULL;
	int fd = mrmr_parent_beneath(private_fd, path, &name);
	int saved_errno;
	int ret;

	if (fd == -1) {
		return -1;
	}
	ret = mkdirat(fd, name, 0700);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return ret == -1 && errno != EEXIST ? -1 : 0;
}

/* The folder that a path lies in, and that of all blobs. */
static int make_folders(int private_fd, const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_SIZE];

	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	if (make_folder(private_fd, MRMR_PARITY_FOLDER) == -1) {
		return -1;
	}
	return make_folder(private_fd, folder);
}

static int create(int private_fd, const char *path)
{
	int flags = O_WRONLY | O_CREAT | O_TRUNC | MRMR_OPEN_ANYTHING;
	int fd = mrmr_open_beneath(private_fd, path, flags, 0600);

	if (fd != -1 || errno != ENOENT) {
		return fd;
	}
	if (make_folders(private_fd, path) == -1) {
		return -1;
	}
	return mrmr_open_beneath(private_fd, path, flags, 0600);
}

static int rename_into(int private_fd, const char *from, const char *to)
{
	const char *from_name = NULL;
	const char *to_name = NULL;
	int saved_errno;
	int from_fd;
	int to_fd;
	int ret = -1;

	if (mrmr_fault("blob-rename") != 0) {
		return -1;
	}
	from_fd = mrmr_parent_beneath(private_fd, from, &from_name);
	if (from_fd == -1) {
		return -1;
	}
	to_fd = mrmr_parent_beneath(private_fd, to, &to_name);
	if (to_fd == -1 && errno == ENOENT &&
	    make_folders(private_fd, to) == 0) {
		to_fd = mrmr_parent_beneath(private_fd, to, &to_name);
	}
	if (to_fd != -1) {
		ret = renameat(from_fd, from_name, to_fd, to_name);
	}
	saved_errno = errno;
	if (to_fd != -1) {
		close(to_fd);
	}
	close(from_fd);
	errno = saved_errno;
	return ret;
}

static int write_whole(int private_fd, const char *path, const void *data,
		       size_t len, bool sync)
{
	static atomic_ulong count;
	char temporary[PATH_SIZE];
	int saved_errno;
	int ret = -1;
	int fd;

	snprintf(temporary, sizeof(temporary),
		 MRMR_PARITY_FOLDER "/" NEW "/%ld.%lu", (long)getpid(),
		 atomic_fetch_add(&count, 1));
	fd = create(private_fd, temporary);
	if (fd == -1) {
		return -1;
	}
	if (mrmr_fault("blob-write") == 0 &&
	    mrmr_write_fully(fd, data, len, 0) == 0 &&
	    (!sync || fsync(fd) == 0)) {
		ret = 0;
	}
	saved_errno = errno;
	/* where the space is only taken when the file is closed (NFS) */
	if (close(fd) == -1 && ret == 0) {
		saved_errno = errno;
		ret = -1;
	}
	if (ret == 0) {
		ret = rename_into(private_fd, temporary, path);
		saved_errno = errno;
	}
	if (ret == -1) {
		mrmr_unlink_beneath(private_fd, temporary, 0);
	}
	errno = saved_errno;
	return ret;
}

int mrmr_blob_write(int private_fd, const uint8_t sha256[32], const void *data,
		    size_t len)
{
	char path[PATH_SIZE];
	struct stat st = {0};

	blob_path(sha256, path);
	if (fstatat(private_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) && (uint64_t)st.st_size == len) {
		return 0;
	}
	return write_whole(private_fd, path, data, len, false);
}

static int sync_folder(int private_fd, const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_SIZE];
	int saved_errno;
	int ret;
	int fd;

	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	fd = mrmr_open_beneath(private_fd, folder,
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd == -1) {
		return -1;
	}
	ret = fsync(fd);
	if (ret == -1 && errno == EINVAL) {
		ret = 0; /* a file system that has nothing to sync there */
	}
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return ret;
}

int mrmr_blob_replace(int private_fd, const uint8_t sha256[32],
		      const void *data, size_t len)
{
	char path[PATH_SIZE];

	blob_path(sha256, path);
	if (write_whole(private_fd, path, data, len, true) == -1) {
		return -1;
	}
	return sync_folder(private_fd, path);
}

/* --- what is there ----------------------------------------------------------- */

static DIR *open_folder(int at_fd, const char *name)
{
	int fd = mrmr_open_beneath(at_fd, name,
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = NULL;

	if (fd == -1) {
		return NULL;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
	}
	return dir;
}

/* Only what is named as we name blobs is one. */
static bool is_blob(const char *name, unsigned int folder, uint8_t sha256[32])
{
	char again[HEX_LEN + 1];

	if (strlen(name) != NAME_LEN || strcmp(name + HEX_LEN, SUFFIX) != 0 ||
	    !mrmr_hex_decode(name, sha256, MRMR_SHA256_LEN)) {
		return false;
	}
	mrmr_hex_encode(sha256, MRMR_SHA256_LEN, again);
	return sha256[0] == folder && strncmp(name, again, HEX_LEN) == 0;
}

static int walk_folder(DIR *dir, unsigned int folder,
		       int (*fn)(const uint8_t sha256[32], uint64_t size_bytes,
				 void *private_data),
		       void *private_data)
{
	struct dirent *entry = NULL;
	uint8_t sha256[MRMR_SHA256_LEN];
	struct stat st;
	int ret = 0;

	while (ret == 0) {
		errno = 0;
		entry = readdir(dir);
		if (entry == NULL) {
			return errno == 0 ? 0 : -1;
		}
		if (!is_blob(entry->d_name, folder, sha256)) {
			continue;
		}
		if (fstatat(dirfd(dir), entry->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) == -1) {
			if (errno != ENOENT) {
				return -1;
			}
			continue;
		}
		if (S_ISREG(st.st_mode)) {
			ret = fn(sha256, (uint64_t)st.st_size, private_data);
		}
	}
	return ret;
}

int mrmr_blob_walk(int private_fd,
		   int (*fn)(const uint8_t sha256[32], uint64_t size_bytes,
			     void *private_data),
		   void *private_data)
{
	unsigned int folder;
	int ret = 0;

	for (folder = 0; ret == 0 && folder < 256; folder++) {
		char name[PATH_SIZE];
		int saved_errno;
		DIR *dir = NULL;

		snprintf(name, sizeof(name), MRMR_PARITY_FOLDER "/%02x",
			 folder);
		dir = open_folder(private_fd, name);
		if (dir == NULL && errno == ENOENT) {
			continue;
		}
		if (dir == NULL) {
			return -1;
		}
		ret = walk_folder(dir, folder, fn, private_data);
		saved_errno = errno;
		closedir(dir);
		errno = saved_errno;
	}
	return ret;
}

void mrmr_blob_sweep(int private_fd)
{
	DIR *dir = open_folder(private_fd, MRMR_PARITY_FOLDER "/" NEW);
	struct dirent *entry = NULL;

	if (dir == NULL) {
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			unlinkat(dirfd(dir), entry->d_name, 0);
		}
	}
	closedir(dir);
}
