/*
 * MRMR: realpath(3) over the union.
 *
 * Symlinks are files of members, so the kernel cannot follow them through the
 * spine: this walks component by component.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/fd_path.h>
#include <mrmr/names.h>

/* Replace path by target and what follows the symlink. */
static int put_target(char *path, size_t size, const char *target,
		      const char *rest)
{
	char joined[2 * MRMR_PATH_MAX];
	size_t target_len = strlen(target);
	size_t rest_len = strlen(rest);

	if (target_len + 1 + rest_len >= size ||
	    target_len + 1 + rest_len >= sizeof(joined)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(joined, target, target_len);
	if (rest_len > 0) {
		joined[target_len++] = '/';
	}
	memcpy(joined + target_len, rest, rest_len + 1);
	memcpy(path, joined, target_len + rest_len + 1);
	return 0;
}

static const char *within_spine(const struct mrmr_pool *pool, const char *path)
{
	size_t len = strlen(pool->spine_path);

	if (strncmp(path, pool->spine_path, len) != 0 ||
	    (path[len] != '/' && path[len] != '\0')) {
		return NULL;
	}
	path += len;
	return path + strspn(path, "/");
}

/* resolved = the path of fd, then "/name". */
static int finish(int fd, const char *name, char resolved[MRMR_PATH_MAX])
{
	size_t len;

	if (mrmr_fd_path(fd, resolved, MRMR_PATH_MAX) == -1) {
		return -1;
	}
	len = strlen(resolved);
	if (name == NULL) {
		return 0;
	}
	if (len + 1 + strlen(name) >= MRMR_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	resolved[len] = '/';
	strcpy(resolved + len + 1, name);
	return 0;
}

struct walker {
	struct mrmr_pool *pool;
	int fd;                   /* the directory reached, O_PATH */
	char path[MRMR_PATH_MAX]; /* what is left to go */
	unsigned int links;
};

enum step {
	STEP_MORE,
	STEP_DONE,
	STEP_FAILED
};

static enum step go_up(struct walker *w)
{
	struct stat here;
	struct stat root;
	int fd;

	if (fstat(w->fd, &here) == -1 ||
	    fstat(w->pool->spine_fd, &root) == -1) {
		return STEP_FAILED;
	}
	if (here.st_ino == root.st_ino && here.st_dev == root.st_dev) {
		errno = EXDEV; /* ".." of the root leads out of the pool */
		return STEP_FAILED;
	}
	fd = openat(w->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		return STEP_FAILED;
	}
	close(w->fd);
	w->fd = fd;
	return STEP_MORE;
}

static enum step follow(struct walker *w, struct mrmr_dir *dir, size_t member,
			const char *name, const char *rest,
			char resolved[MRMR_PATH_MAX])
{
	char target[MRMR_PATH_MAX];
	const char *inside = NULL;
	ssize_t len;
	int clone_fd;
	int fd;

	if (++w->links > 40) {
		errno = ELOOP;
		return STEP_FAILED;
	}
	clone_fd = mrmr_dir_on_member(dir, member);
	if (clone_fd == -1) {
		return STEP_FAILED;
	}
	len = readlinkat(clone_fd, name, target, sizeof(target) - 1);
	if (len == -1) {
		return STEP_FAILED;
	}
	target[len] = '\0';
	if (target[0] != '/') {
		return put_target(w->path, sizeof(w->path), target, rest) == 0
			       ? STEP_MORE
			       : STEP_FAILED;
	}

	inside = within_spine(w->pool, target);
	if (inside == NULL) {
		/* Out of the pool: tell where to, and go no further. With what
		   follows it could look like a path in the pool again. */
		strcpy(resolved, target);
		return STEP_DONE;
	}
	fd = openat(w->pool->spine_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		return STEP_FAILED;
	}
	close(w->fd);
	w->fd = fd;
	return put_target(w->path, sizeof(w->path), inside, rest) == 0
		       ? STEP_MORE
		       : STEP_FAILED;
}

static enum step walk_one(struct walker *w, char resolved[MRMR_PATH_MAX])
{
	char name[NAME_MAX + 1];
	char rest[MRMR_PATH_MAX];
	struct mrmr_dir *dir = NULL;
	struct stat st;
	size_t member;
	size_t len;
	int fd;

	len = strcspn(w->path, "/");
	if (len > NAME_MAX) {
		errno = ENAMETOOLONG;
		return STEP_FAILED;
	}
	memcpy(name, w->path, len);
	name[len] = '\0';
	strcpy(rest, w->path + len + strspn(w->path + len, "/"));

	if (name[0] == '\0' && rest[0] == '\0') {
		return finish(w->fd, NULL, resolved) == 0 ? STEP_DONE
							  : STEP_FAILED;
	}
	if (name[0] == '\0' || strcmp(name, ".") == 0) {
		strcpy(w->path, rest);
		return STEP_MORE;
	}
	if (strcmp(name, "..") == 0) {
		strcpy(w->path, rest);
		return go_up(w);
	}

	dir = mrmr_dir_get(w->pool, w->fd);
	if (dir == NULL || mrmr_name_find(dir, name, &member, &st) == -1) {
		return STEP_FAILED;
	}
	if (S_ISLNK(st.st_mode)) {
		return follow(w, dir, member, name, rest, resolved);
	}
	if (!S_ISDIR(st.st_mode)) {
		if (w->path[len] != '\0') {
			errno = ENOTDIR;
			return STEP_FAILED;
		}
		return finish(w->fd, name, resolved) == 0 ? STEP_DONE
							  : STEP_FAILED;
	}
	fd = openat(w->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return STEP_FAILED;
	}
	close(w->fd);
	w->fd = fd;
	strcpy(w->path, rest);
	return STEP_MORE;
}

int mrmr_path_resolve(struct mrmr_pool *pool, int at_fd, const char *path,
		      char resolved[MRMR_PATH_MAX])
{
	struct walker w = {.pool = pool, .fd = -1};
	enum step step = STEP_MORE;
	int saved_errno;

	if (path[0] == '/') {
		path = within_spine(pool, path);
		if (path == NULL) {
			errno = EXDEV;
			return -1;
		}
		at_fd = pool->spine_fd;
	}
	if (strlen(path) >= sizeof(w.path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(w.path, path);
	w.fd = openat(at_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (w.fd == -1) {
		return -1;
	}
	while (step == STEP_MORE) {
		step = walk_one(&w, resolved);
	}
	saved_errno = errno;
	close(w.fd);
	errno = saved_errno;
	return step == STEP_DONE ? 0 : -1;
}
