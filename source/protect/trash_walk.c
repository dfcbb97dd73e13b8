/*
 * MRMR: the trash: all that is in one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/staging.h>

#include "trash_private.h"

struct walk {
	trash_walk_fn *fn;
	void *private_data;
};

static int walk_folder(const struct walk *walk, int dir_fd, const char *path);

static int walk_entry(const struct walk *walk, int dir_fd, const char *path,
		      const char *name)
{
	struct stat st = {0};
	char *below = NULL;
	int ret;
	int fd;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	below = talloc_asprintf(NULL, "%s%s%s", path,
				path[0] != '\0' ? "/" : "", name);
	if (below == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (!S_ISDIR(st.st_mode)) {
		ret = walk->fn(below, &st, walk->private_data);
	} else {
		fd = openat(dir_fd, name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		ret = fd != -1          ? walk_folder(walk, fd, below)
		      : errno == ENOENT ? 0
					: -1;
	}
	talloc_free(below);
	return ret;
}

/* Takes over dir_fd. */
static int walk_folder(const struct walk *walk, int dir_fd, const char *path)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *entry = NULL;
	int saved_errno;
	int ret = 0;

	if (dir == NULL) {
		saved_errno = errno;
		close(dir_fd);
		errno = saved_errno;
		return -1;
	}
	while (ret == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0) {
			ret = walk_entry(walk, dirfd(dir), path, entry->d_name);
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

int trash_walk(const struct mrmr_member *member, trash_walk_fn *fn,
	       void *private_data)
{
	const struct walk walk = {.fn = fn, .private_data = private_data};
	int fd = openat(member->private_fd, MRMR_TRASH,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	return walk_folder(&walk, fd, "");
}

int64_t trash_time_s(const char *trash_path, const struct stat *st)
{
	struct tm tm = {0};

	return strptime(trash_path, "%Y%m%dT%H%M%SZ", &tm) != NULL
		       ? (int64_t)timegm(&tm)
		       : (int64_t)st->st_ctime;
}
