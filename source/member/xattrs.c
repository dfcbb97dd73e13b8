/*
 * MRMR: all extended attributes of a file, as one value (see mrmr/xattrs.h).
 *
 * What is behind a descriptor is asked by the descriptor. A symlink or a
 * special file cannot be opened for that; it is asked by a path, that of the
 * directory's descriptor in /proc with the name after it, as there are no
 * calls with a directory and a name.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include <talloc.h>

#include <mrmr/xattrs.h>

#define LIST_MAX 65536 /* the kernel's own limits */
#define VALUE_MAX 65536
#define LEN_BYTES 4

/* What is asked: a descriptor, or a path if that is -1. */
struct target {
	int fd;
	char path[PATH_MAX];
};

static void aim_at_fd(struct target *target, int fd)
{
	target->fd = fd;
	target->path[0] = '\0';
}

static int aim_at_name(struct target *target, int at_fd, const char *name)
{
	int len;

	target->fd = -1;
	len = at_fd == AT_FDCWD
		      ? snprintf(target->path, sizeof(target->path), "%s", name)
		      : snprintf(target->path, sizeof(target->path),
				 "/proc/self/fd/%d/%s", at_fd, name);
	if (len < 0 || (size_t)len >= sizeof(target->path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

static ssize_t list_names(const struct target *target, char *list, size_t size)
{
	return target->fd != -1 ? flistxattr(target->fd, list, size)
				: llistxattr(target->path, list, size);
}

static ssize_t get_value(const struct target *target, const char *name,
			 void *value, size_t size)
{
	return target->fd != -1 ? fgetxattr(target->fd, name, value, size)
				: lgetxattr(target->path, name, value, size);
}

static int set_value(const struct target *target, const char *name,
		     const void *value, size_t len)
{
	return target->fd != -1 ? fsetxattr(target->fd, name, value, len, 0)
				: lsetxattr(target->path, name, value, len, 0);
}

static int remove_value(const struct target *target, const char *name)
{
	return target->fd != -1 ? fremovexattr(target->fd, name)
				: lremovexattr(target->path, name);
}

/* Labels that security modules give are theirs, not the file's. */
static bool is_label(const char *name)
{
	return strcmp(name, "security.selinux") == 0 ||
	       strcmp(name, "security.ima") == 0 ||
	       strcmp(name, "security.evm") == 0 ||
	       strcmp(name, "security.apparmor") == 0;
}

/* A file system without such attributes. */
static bool has_none(int error)
{
	return error == ENOTSUP || error == ENOSYS;
}

static void put_len(uint8_t *at, uint32_t len)
{
	at[0] = (uint8_t)len;
	at[1] = (uint8_t)(len >> 8);
	at[2] = (uint8_t)(len >> 16);
	at[3] = (uint8_t)(len >> 24);
}

static uint32_t get_len(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
	       (uint32_t)at[3] << 24;
}

/* --- the names that a file has --------------------------------------------- */

struct names {
	char *list;
	const char **names; /* sorted, without labels */
	size_t num;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The raw list; its length, or -1. */
static ssize_t read_list(void *mem_ctx, const struct target *target,
			 char **list)
{
	size_t size = 1024;
	ssize_t len = -1;

	*list = NULL;
	while (size <= LIST_MAX) {
		talloc_free(*list);
		*list = talloc_array(mem_ctx, char, size);
		if (*list == NULL) {
			errno = ENOMEM;
			return -1;
		}
		len = list_names(target, *list, size);
		if (len != -1 || errno != ERANGE) {
			break;
		}
		size *= 8;
	}
	return len;
}

/* A talloc child of mem_ctx, NULL with errno. */
static struct names *read_names(void *mem_ctx, const struct target *target)
{
	struct names *names = talloc_zero(mem_ctx, struct names);
	const char *name = NULL;
	size_t num = 0;
	ssize_t len;

	if (names == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	len = read_list(names, target, &names->list);
	if (len == -1 && has_none(errno)) {
		len = 0;
	}
	if (len == -1) {
		int saved_errno = errno;

		talloc_free(names);
		errno = saved_errno;
		return NULL;
	}
	for (name = names->list; name < names->list + len;
	     name += strlen(name) + 1) {
		num++;
	}
	names->names = talloc_array(names, const char *, num + 1);
	if (names->names == NULL) {
		talloc_free(names);
		errno = ENOMEM;
		return NULL;
	}
	for (name = names->list; name < names->list + len;
	     name += strlen(name) + 1) {
		if (!is_label(name)) {
			names->names[names->num++] = name;
		}
	}
	qsort(names->names, names->num, sizeof(names->names[0]), compare_names);
	return names;
}

static bool has_name(const struct names *names, const char *name)
{
	return names->num > 0 &&
	       bsearch(&name, names->names, names->num, sizeof(names->names[0]),
		       compare_names) != NULL;
}

/* --- reading ---------------------------------------------------------------- */

struct blob {
	uint8_t *bytes;
	size_t len;
	size_t size;
};

static int make_room(void *mem_ctx, struct blob *blob, size_t more)
{
	size_t size = 2 * blob->size > blob->len + more ? 2 * blob->size
							: blob->len + more;
	uint8_t *bytes = NULL;

	if (blob->size - blob->len >= more) {
		return 0;
	}
	bytes = talloc_realloc(mem_ctx, blob->bytes, uint8_t, size);
	if (bytes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	blob->bytes = bytes;
	blob->size = size;
	return 0;
}

/* An attribute that has gone since the names were read is left out. */
static int append(void *mem_ctx, struct blob *blob, const struct target *target,
		  const char *name)
{
	size_t head = strlen(name) + 1 + LEN_BYTES;
	size_t guess = 256;
	ssize_t len;

	do {
		if (make_room(mem_ctx, blob, head + guess) == -1) {
			return -1;
		}
		len = get_value(target, name, blob->bytes + blob->len + head,
				blob->size - blob->len - head);
		guess = guess < VALUE_MAX ? VALUE_MAX : 2 * guess;
	} while (len == -1 && errno == ERANGE && guess <= MRMR_XATTRS_MAX);
	if (len == -1) {
		return errno == ENODATA || has_none(errno) ? 0 : -1;
	}
	memcpy(blob->bytes + blob->len, name, strlen(name) + 1);
	put_len(blob->bytes + blob->len + strlen(name) + 1, (uint32_t)len);
	blob->len += head + (size_t)len;
	if (blob->len > MRMR_XATTRS_MAX) {
		errno = E2BIG;
		return -1;
	}
	return 0;
}

static int read_target(void *mem_ctx, const struct target *target,
		       uint8_t **bytes, size_t *len)
{
	struct names *names = read_names(mem_ctx, target);
	struct blob blob = {NULL};
	int ret = 0;
	size_t i;

	*bytes = NULL;
	*len = 0;
	if (names == NULL) {
		return -1;
	}
	for (i = 0; ret == 0 && i < names->num; i++) {
		ret = append(mem_ctx, &blob, target, names->names[i]);
	}
	if (ret == -1 || blob.len == 0) {
		int saved_errno = errno;

		talloc_free(blob.bytes);
		talloc_free(names);
		errno = saved_errno;
		return ret;
	}
	talloc_free(names);
	*bytes = blob.bytes;
	*len = blob.len;
	return 0;
}

int mrmr_xattrs_read(void *mem_ctx, int fd, uint8_t **blob, size_t *len)
{
	struct target target;

	aim_at_fd(&target, fd);
	return read_target(mem_ctx, &target, blob, len);
}

int mrmr_xattrs_read_at(void *mem_ctx, int at_fd, const char *name,
			uint8_t **blob, size_t *len)
{
	struct target target;

	if (aim_at_name(&target, at_fd, name) == -1) {
		return -1;
	}
	return read_target(mem_ctx, &target, blob, len);
}

/* --- the value -------------------------------------------------------------- */

struct entry {
	const char *name;
	const uint8_t *value;
	uint32_t len;
};

/*
 * The entry at *pos, which moves on. 1; 0 at the end; -1 if it is none. Names
 * ascend, so each is there once.
 */
static int next_entry(const uint8_t *blob, size_t len, size_t *pos,
		      struct entry *entry)
{
	const char *before = entry->name;
	const uint8_t *end = NULL;
	size_t name_len;

	if (*pos == len) {
		return 0;
	}
	end = memchr(blob + *pos, '\0', len - *pos);
	if (end == NULL) {
		return -1;
	}
	name_len = (size_t)(end - (blob + *pos));
	if (name_len == 0 || name_len > XATTR_NAME_MAX ||
	    len - *pos - name_len - 1 < LEN_BYTES) {
		return -1;
	}
	entry->name = (const char *)blob + *pos;
	entry->len = get_len(end + 1);
	entry->value = end + 1 + LEN_BYTES;
	*pos += name_len + 1 + LEN_BYTES;
	if (len - *pos < entry->len ||
	    (before != NULL && strcmp(before, entry->name) >= 0)) {
		return -1;
	}
	*pos += entry->len;
	return 1;
}

int mrmr_xattrs_check(const uint8_t *blob, size_t len)
{
	struct entry entry = {NULL};
	size_t pos = 0;
	int ret = 0;

	do {
		ret = len > MRMR_XATTRS_MAX
			      ? -1
			      : next_entry(blob, len, &pos, &entry);
	} while (ret == 1);
	if (ret == -1) {
		errno = EINVAL;
	}
	return ret;
}

const uint8_t *mrmr_xattrs_find(const uint8_t *blob, size_t len,
				const char *name, size_t *value_len)
{
	struct entry entry = {NULL};
	size_t pos = 0;

	while (next_entry(blob, len, &pos, &entry) == 1) {
		if (strcmp(entry.name, name) == 0) {
			*value_len = entry.len;
			return entry.value;
		}
	}
	return NULL;
}

/* --- writing ---------------------------------------------------------------- */

/* A file system that has little room for the attributes of one file (ext4: a
   block) says ENOSPC when that is used up, as it does when it is full. */
static bool has_free_space(const struct target *target, int at_fd)
{
	struct statvfs fs;

	return fstatvfs(target->fd != -1 ? target->fd : at_fd, &fs) == 0 &&
	       (uint64_t)fs.f_bavail * fs.f_frsize >= MRMR_XATTRS_MAX;
}

/*
 * Does the error mean that the file system cannot keep such an attribute at
 * all? EPERM: user.* of what is neither a file nor a directory.
 */
static bool cannot_keep(const struct target *target, int at_fd, int error)
{
	return has_none(error) || error == EPERM || error == EINVAL ||
	       error == E2BIG || error == ERANGE || error == ENAMETOOLONG ||
	       (error == ENOSPC && has_free_space(target, at_fd));
}

static int remove_others(const struct target *target, const struct names *names,
			 const uint8_t *blob, size_t len)
{
	size_t i, value_len;

	for (i = 0; i < names->num; i++) {
		const char *name = names->names[i];

		if (mrmr_xattrs_find(blob, len, name, &value_len) == NULL &&
		    remove_value(target, name) == -1 && errno != ENODATA &&
		    !has_none(errno) && errno != EPERM && errno != EINVAL) {
			return -1;
		}
	}
	return 0;
}

/* One that has its value already is left alone: its ctime stays, and nothing
   is written. */
static bool is_set(const struct target *target, const struct names *names,
		   const struct entry *entry, uint8_t *buffer)
{
	ssize_t len;

	if (!has_name(names, entry->name)) {
		return false;
	}
	len = get_value(target, entry->name, buffer, VALUE_MAX);
	return len == (ssize_t)entry->len &&
	       memcmp(buffer, entry->value, entry->len) == 0;
}

static int write_target(const struct target *target, int at_fd,
			const uint8_t *blob, size_t len, unsigned int *left_out)
{
	struct entry entry = {NULL};
	struct names *names = NULL;
	uint8_t *buffer = NULL;
	unsigned int left = 0;
	size_t pos = 0;
	int ret;

	if (mrmr_xattrs_check(blob, len) == -1) {
		return -1;
	}
	names = read_names(NULL, target);
	if (names == NULL) {
		return -1;
	}
	buffer = talloc_array(names, uint8_t, VALUE_MAX);
	if (buffer == NULL) {
		talloc_free(names);
		errno = ENOMEM;
		return -1;
	}
	ret = remove_others(target, names, blob, len);
	while (ret == 0 && next_entry(blob, len, &pos, &entry) == 1) {
		if (is_label(entry.name) ||
		    is_set(target, names, &entry, buffer) ||
		    set_value(target, entry.name, entry.value, entry.len) ==
			    0) {
			continue;
		}
		if (cannot_keep(target, at_fd, errno)) {
			left++;
		} else {
			ret = -1;
		}
	}
	if (left_out != NULL) {
		*left_out = left;
	}
	talloc_free(names);
	return ret;
}

int mrmr_xattrs_write(int fd, const uint8_t *blob, size_t len,
		      unsigned int *left_out)
{
	struct target target;

	aim_at_fd(&target, fd);
	return write_target(&target, fd, blob, len, left_out);
}

int mrmr_xattrs_write_at(int at_fd, const char *name, const uint8_t *blob,
			 size_t len, unsigned int *left_out)
{
	struct target target;

	if (aim_at_name(&target, at_fd, name) == -1) {
		return -1;
	}
	return write_target(&target, at_fd, blob, len, left_out);
}
