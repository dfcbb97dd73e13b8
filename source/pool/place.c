/*
 * MRMR: from a path to the directory that its last component is in.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mrmr/dir.h>
#include <mrmr/names.h>

/* Component by component, so that what only members have is brought in. */
static int walk_steps(struct mrmr_pool *pool, int at_fd, const char *path,
		      size_t len)
{
	char name[NAME_MAX + 1];
	int saved_errno;
	int fd;

	fd = (at_fd == AT_FDCWD) ? open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)
				 : fcntl(at_fd, F_DUPFD_CLOEXEC, 0);
	while (len > 0 && fd != -1) {
		struct mrmr_dir *dir = NULL;
		const char *slash = memchr(path, '/', len);
		size_t name_len = slash != NULL ? (size_t)(slash - path) : len;
		struct stat st;
		size_t member;
		int next;

		if (name_len > NAME_MAX) {
			close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, path, name_len);
		name[name_len] = '\0';
		path += name_len;
		len -= name_len;
		while (len > 0 && *path == '/') {
			path++;
			len--;
		}
		if (name_len == 0 || strcmp(name, ".") == 0) {
			continue;
		}
		if (strcmp(name, "..") == 0) {
			close(fd);
			errno = EXDEV;
			return -1;
		}
		dir = mrmr_dir_get_in_passing(pool, fd);
		next = (dir != NULL)
			       ? mrmr_name_open(dir, name,
						O_PATH | O_DIRECTORY |
							O_NOFOLLOW | O_CLOEXEC,
						&member, &st)
			       : -1;
		saved_errno = errno;
		close(fd);
		errno = saved_errno;
		fd = next;
	}
	return fd;
}

/* In one step, as far as the spine has it; nothing leads out of it. */
static int walk_spine(int at_fd, const char *path, size_t len)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	char dir[MRMR_PATH_MAX];

	if (len >= sizeof(dir)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(dir, path, len);
	dir[len] = '\0';
	if (len == 0 || strstr(dir, "..") != NULL) {
		errno = ENOENT; /* not for here */
		return -1;
	}
	return (int)syscall(SYS_openat2, at_fd, dir, &how, sizeof(how));
}

static int walk(struct mrmr_pool *pool, int at_fd, const char *path, size_t len)
{
	int fd = walk_spine(at_fd, path, len);

	return fd != -1 ? fd : walk_steps(pool, at_fd, path, len);
}

static int set_name(struct mrmr_place *place, const char *name)
{
	if (name[0] == '\0' || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0) {
		errno = EINVAL;
		return -1;
	}
	if (strlen(name) >= sizeof(place->name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(place->name, name);
	return 0;
}

int mrmr_place_in(struct mrmr_dir *dir, const char *name,
		  struct mrmr_place *place)
{
	place->dir = dir;
	return set_name(place, name);
}

int mrmr_place_find(struct mrmr_pool *pool, int at_fd, const char *path,
		    struct mrmr_place *place)
{
	const char *slash = NULL;
	const char *name = path;
	size_t spine_len = strlen(pool->spine_path);
	int saved_errno;
	int fd;

	if (path[0] == '/') {
		if (strncmp(path, pool->spine_path, spine_len) != 0 ||
		    (path[spine_len] != '/' && path[spine_len] != '\0')) {
			errno = EXDEV;
			return -1;
		}
		path += spine_len;
		path += strspn(path, "/");
		at_fd = pool->spine_fd;
		name = path;
	}
	slash = strrchr(path, '/');
	if (slash != NULL) {
		name = slash + 1;
	}
	if (set_name(place, name) == -1) {
		return -1;
	}

	if (slash == NULL) {
		place->dir = mrmr_dir_get(pool, at_fd);
		return place->dir != NULL ? 0 : -1;
	}
	fd = walk(pool, at_fd, path, slash - path);
	if (fd == -1) {
		return -1;
	}
	place->dir = mrmr_dir_get(pool, fd);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return place->dir != NULL ? 0 : -1;
}
