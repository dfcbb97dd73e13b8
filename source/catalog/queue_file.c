/*
 * MRMR: the queue's files: records and what is in them.
 *
 * The theory is in queue.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>
#include <xxhash.h>

#include <mrmr/file.h>

#include "queue_private.h"

struct record {
	uint32_t len; /* of all, a multiple of 8 */
	uint32_t sum; /* of what follows */
	uint8_t kind;
	uint8_t unused[3];
	uint16_t path_len; /* without NUL; then path, NUL, to, NUL */
	uint16_t to_len;
	uint8_t member[16];
	uint64_t inode;
	int64_t time_ns;
};
_Static_assert(sizeof(struct record) == 48, "record");
_Static_assert(QUEUE_RECORD_MAX ==
		       sizeof(struct record) + 2 * (QUEUE_STRING_MAX + 1) + 8,
	       "record");

/* --- records --------------------------------------------------------------- */

static uint32_t sum_of(const char *record, uint32_t len)
{
	size_t start = offsetof(struct record, kind);

	return (uint32_t)XXH3_64bits_withSeed(record + start, len - start, len);
}

uint32_t queue_format(const struct mrmr_event *event, int64_t time_ns,
		      char *buffer)
{
	size_t path_len = strlen(event->path);
	const char *to = event->to != NULL ? event->to : "";
	size_t to_len = strlen(to);
	struct record record = {
		.kind = (uint8_t)event->kind,
		.path_len = (uint16_t)path_len,
		.to_len = (uint16_t)to_len,
		.inode = event->inode,
		.time_ns = time_ns,
	};
	size_t len = sizeof(record) + path_len + to_len + 2;

	if (path_len > QUEUE_STRING_MAX || to_len > QUEUE_STRING_MAX) {
		return 0;
	}
	record.len = (uint32_t)((len + 7) & ~(size_t)7);
	memcpy(record.member, event->member.byte, 16);
	memcpy(buffer, &record, sizeof(record));
	memcpy(buffer + sizeof(record), event->path, path_len + 1);
	memcpy(buffer + sizeof(record) + path_len + 1, to, to_len + 1);
	memset(buffer + len, 0, record.len - len);
	record.sum = sum_of(buffer, record.len);
	memcpy(buffer, &record, sizeof(record));
	return record.len;
}

int queue_parse(const char *data, size_t len, size_t *offset,
		struct mrmr_event *event)
{
	const char *at = data + *offset;
	size_t left = len - *offset;
	struct record record;

	if (left == 0) {
		return 0;
	}
	if (left < sizeof(record)) {
		return -1;
	}
	memcpy(&record, at, sizeof(record));
	if (record.len > left || record.len % 8 != 0 ||
	    record.len < sizeof(record) + record.path_len + record.to_len + 2 ||
	    record.sum != sum_of(at, record.len) ||
	    record.kind < MRMR_EVENT_CHANGED || record.kind > MRMR_EVENT_SCAN) {
		return -1;
	}
	*event = (struct mrmr_event){
		.kind = record.kind,
		.inode = record.inode,
		.time_ns = record.time_ns,
		.path = at + sizeof(record),
		.to = at + sizeof(record) + record.path_len + 1,
	};
	memcpy(event->member.byte, record.member, 16);
	if (event->path[record.path_len] != '\0' ||
	    event->to[record.to_len] != '\0') {
		return -1;
	}
	*offset += record.len;
	return 1;
}

/* --- files ----------------------------------------------------------------- */

int queue_lock(int fd, int how)
{
	int ret;

	do {
		ret = flock(fd, how);
	} while (ret == -1 && errno == EINTR);
	return ret;
}

void queue_close(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
}

void queue_taken_name(uint64_t number, char name[32])
{
	snprintf(name, 32, QUEUE_TAKEN "%016" PRIx64, number);
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int queue_add_number(void *mem_ctx, uint64_t **numbers, size_t *num,
		     uint64_t number)
{
	uint64_t *more = talloc_realloc(mem_ctx, *numbers, uint64_t, *num + 1);

	if (more == NULL) {
		errno = ENOMEM;
		return -1;
	}
	more[(*num)++] = number;
	*numbers = more;
	return 0;
}

int queue_list_taken(struct mrmr_queue *queue, void *mem_ctx,
		     uint64_t **numbers, size_t *num)
{
	const size_t prefix = strlen(QUEUE_TAKEN);
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int ret = 0;
	int fd;

	*numbers = NULL;
	*num = 0;
	fd = openat(queue->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		return -1;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		queue_close(fd);
		return -1;
	}
	while (ret == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, QUEUE_TAKEN, prefix) == 0) {
			ret = queue_add_number(mem_ctx, numbers, num,
					       strtoull(entry->d_name + prefix,
							NULL, 16));
		}
	}
	if (ret == 0 && errno != 0) {
		ret = -1;
	}
	closedir(dir);
	if (ret == 0 && *num > 1) {
		qsort(*numbers, *num, sizeof(**numbers), compare_numbers);
	}
	return ret;
}

char *queue_read_file(struct mrmr_queue *queue, void *mem_ctx, const char *name,
		      uint64_t offset, size_t *len)
{
	char *data = NULL;
	struct stat st;
	ssize_t got;
	int fd;

	*len = 0;
	fd = openat(queue->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return NULL;
	}
	if (fstat(fd, &st) == -1) {
		queue_close(fd);
		return NULL;
	}
	if ((uint64_t)st.st_size < offset) {
		st.st_size = (off_t)offset; /* it was cut meanwhile */
	}
	data = talloc_array(mem_ctx, char, (size_t)st.st_size - offset + 1);
	if (data == NULL) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	got = mrmr_read_upto(fd, data, (size_t)st.st_size - offset, offset);
	queue_close(fd);
	if (got == -1) {
		int error = errno;

		talloc_free(data);
		errno = error;
		return NULL;
	}
	*len = (size_t)got;
	return data;
}
