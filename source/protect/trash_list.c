/*
 * MRMR: what is in the trash (see mrmr/undelete.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/staging.h>
#include <mrmr/trash.h>
#include <mrmr/undelete.h>

struct listing {
	void *mem_ctx;
	size_t member;
	struct mrmr_trashed *items;
	size_t num;
};

/* The folder is "<time>.<process>"; one of another name was made by somebody
   else, and the file's last change will do. */
static int64_t time_of(const char *trash_path, const struct stat *st)
{
	struct tm tm = {0};
	const char *end = strptime(trash_path, "%Y%m%dT%H%M%SZ.", &tm);

	return end != NULL ? (int64_t)timegm(&tm) : (int64_t)st->st_ctime;
}

static int add_item(struct listing *l, const char *trash_path,
		    const struct stat *st)
{
	size_t size = talloc_array_length(l->items);
	struct mrmr_trashed *item = NULL;

	if (l->num == size) {
		l->items = talloc_realloc(l->mem_ctx, l->items,
					  struct mrmr_trashed,
					  size > 0 ? 2 * size : 256);
		if (l->items == NULL) {
			errno = ENOMEM;
			return -1;
		}
	}
	item = &l->items[l->num];
	*item = (struct mrmr_trashed){
		.member = l->member,
		.trash_path = talloc_strdup(l->items, trash_path),
		.time_s = time_of(trash_path, st),
		.st = *st,
	};
	if (item->trash_path == NULL) {
		errno = ENOMEM;
		return -1;
	}
	item->path = item->trash_path +
		     (mrmr_trash_origin(item->trash_path) - item->trash_path);
	l->num++;
	return 0;
}

static int list_folder(struct listing *l, int fd, const char *path);

static int list_entry(struct listing *l, int dir_fd, const char *path,
		      const char *name)
{
	struct stat st;
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
		ret = add_item(l, below, &st);
	} else {
		fd = openat(dir_fd, name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		ret = fd != -1          ? list_folder(l, fd, below)
		      : errno == ENOENT ? 0
					: -1;
	}
	talloc_free(below);
	return ret;
}

/* Closes fd. */
static int list_folder(struct listing *l, int fd, const char *path)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry = NULL;
	int saved_errno;
	int ret = 0;

	if (dir == NULL) {
		close(fd);
		return -1;
	}
	while (ret == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0) {
			ret = list_entry(l, dirfd(dir), path, entry->d_name);
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

static int compare_times(const void *a, const void *b)
{
	const struct mrmr_trashed *x = a;
	const struct mrmr_trashed *y = b;

	if (x->time_s != y->time_s) {
		return x->time_s > y->time_s ? -1 : 1;
	}
	return strcmp(x->path, y->path);
}

int mrmr_trash_list(void *mem_ctx, struct mrmr_pool *pool,
		    struct mrmr_trashed **items, size_t *num,
		    struct mrmr_error *err)
{
	struct listing l = {.mem_ctx = mem_ctx};

	for (l.member = 0; l.member < pool->num_members; l.member++) {
		const struct mrmr_member *member = &pool->members[l.member];
		int fd;

		if (member->state != MRMR_MEMBER_ONLINE) {
			continue;
		}
		fd = openat(member->private_fd, MRMR_TRASH,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd == -1 && errno == ENOENT) {
			continue;
		}
		if (fd == -1 || list_folder(&l, fd, "") == -1) {
			mrmr_error_set(err, errno,
				       "member %s: its trash cannot be read: "
				       "%s",
				       mrmr_member_name(member),
				       strerror(errno));
			talloc_free(l.items);
			return -1;
		}
	}
	if (l.num > 0) {
		qsort(l.items, l.num, sizeof(*l.items), compare_times);
	}
	*items = l.items;
	*num = l.num;
	return 0;
}
