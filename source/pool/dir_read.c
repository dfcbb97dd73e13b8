/*
 * MRMR: reading directories of the spine and the members, entry by entry.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mrmr/listing.h>
#include <mrmr/shortage.h>

#include "dir_private.h"

#define READ_SIZE (256 * 1024)

static bool is_dots(const char *name)
{
	return name[0] == '.' &&
	       (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

int dir_each_entry(int fd,
		   bool (*fn)(const struct linux_dirent64 *entry,
			      void *private_data),
		   void *private_data)
{
	static _Alignas(struct linux_dirent64) char buffer[READ_SIZE];

	if (lseek(fd, 0, SEEK_SET) == -1) {
		return -1;
	}
	for (;;) {
		long len = syscall(SYS_getdents64, fd, buffer, READ_SIZE);
		long pos = 0;

		if (len == -1) {
			return -1;
		}
		if (len == 0) {
			return 0;
		}
		while (pos < len) {
			const struct linux_dirent64 *entry =
				(const void *)(buffer + pos);

			pos += entry->d_reclen;
			if (is_dots(entry->d_name)) {
				continue;
			}
			if (fn(entry, private_data)) {
				return 1;
			}
		}
	}
}

struct search {
	struct mrmr_dir *dir;
	bool (*fn)(const char *name, void *private_data);
	void *private_data;
	struct folded_set *seen;
};

static bool search_one(const struct linux_dirent64 *entry, void *private_data)
{
	struct search *search = private_data;

	if (mrmr_name_is_private(search->dir, entry->d_name)) {
		return false;
	}
	search->seen = folded_take(search->dir, search->seen, entry->d_name);
	return search->fn(entry->d_name, search->private_data);
}

/* As mrmr_dir_search(), without what others have found out before. */
static int search_all(struct mrmr_dir *dir, struct search *search,
		      bool *has_failed)
{
	size_t i;
	int ret;

	ret = dir_each_entry(dir->spine_fd, search_one, search);
	for (i = 0; i < dir->pool->num_members && ret == 0; i++) {
		int fd = mrmr_dir_on_member(dir, i);

		/* a file must not seem deleted for that */
		if (fd == -1 && mrmr_is_shortage(errno)) {
			return -1;
		}
		if (fd == -1) {
			continue;
		}
		ret = dir_each_entry(fd, search_one, search);
		if (ret == -1) {
			mrmr_pool_suspect(dir->pool, &dir->pool->members[i],
					  errno);
			*has_failed = true;
			ret = 0;
		}
	}
	return ret;
}

int mrmr_dir_search(struct mrmr_dir *dir, const char *name,
		    bool (*fn)(const char *name, void *private_data),
		    void *private_data)
{
	struct search search = {
		.dir = dir,
		.fn = fn,
		.private_data = private_data,
	};
	bool has_failed = false;
	int ret;

	if (folded_lacks(dir, name)) {
		return 0;
	}
	search.seen = folded_begin(dir);
	ret = search_all(dir, &search, &has_failed);
	folded_end(dir, search.seen, ret == 0 && !has_failed);
	return ret;
}

static bool is_equal(const struct linux_dirent64 *entry, void *private_data)
{
	return strcmp(entry->d_name, private_data) == 0;
}

int mrmr_fd_has_entry(int fd, const char *name)
{
	return dir_each_entry(fd, is_equal, (void *)name);
}

static bool anything(const struct linux_dirent64 *entry, void *private_data)
{
	(void)entry;
	(void)private_data;
	return true;
}

int mrmr_fd_is_empty(int fd, bool *empty)
{
	int ret = dir_each_entry(fd, anything, NULL);

	if (ret == -1) {
		return -1;
	}
	*empty = ret == 0;
	return 0;
}

int mrmr_dir_is_empty(struct mrmr_dir *dir, bool *empty)
{
	size_t i;

	if (mrmr_fd_is_empty(dir->spine_fd, empty) == -1) {
		return -1;
	}
	for (i = 0; i < dir->pool->num_members && *empty; i++) {
		int fd = mrmr_dir_on_member(dir, i);

		if (fd == -1 && !mrmr_dir_is_lacking(errno)) {
			return -1;
		}
		if (fd != -1 && mrmr_fd_is_empty(fd, empty) == -1) {
			return -1;
		}
	}
	return 0;
}
