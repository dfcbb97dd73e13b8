/*
 * MRMR: moving a file to another member while it is open: the copy.
 *
 * It may run in a thread: it touches nothing but the descriptors of the move.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/log.h>

#include "move_private.h"

#define COPY_CHUNK (1024 * 1024)
#define AVOID_NS (INT64_C(10) * 1000000000)

/* --- to the copy ----------------------------------------------------------- */

static bool is_full(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

static int on_target(struct mrmr_move *m, int ret)
{
	if (ret == -1) {
		m->target_error = errno;
	}
	return ret;
}

static int put(struct mrmr_move *m, const void *data, size_t len, uint64_t pos)
{
	int ret = mrmr_fault("move-write") == 0
			  ? mrmr_write_fully(m->new_fd, data, len, pos)
			  : -1;

	return on_target(m, ret);
}

static int cut(struct mrmr_move *m, off_t size)
{
	return on_target(m, ftruncate(m->new_fd, size));
}

static int put_on_stable_storage(struct mrmr_move *m)
{
	int ret = mrmr_fault("move-sync") == 0 ? fsync(m->new_fd) : -1;

	return on_target(m, ret);
}

/* What the copy takes, as far as it has come. */
static uint64_t taken_bytes(const struct mrmr_move *m)
{
	struct stat st;

	return fstat(m->new_fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

bool mrmr_move_blame_target(struct mrmr_move *m)
{
	struct mrmr_member *member = &m->pool->members[m->to];

	if (m->target_error == 0) {
		return false;
	}
	mrmr_pool_look_at_space(m->pool);
	if (is_full(m->target_error) &&
	    mrmr_member_room(member) + taken_bytes(m) < m->need_bytes) {
		return false; /* as anybody can see now */
	}
	mrmr_log(MRMR_LOG_WARNING,
		 "member %s: a file cannot be copied there: %s; it is not "
		 "chosen for a while",
		 mrmr_member_name(member), strerror(m->target_error));
	mrmr_pool_suspect(m->pool, member, m->target_error);
	member->avoided_until_ns = mrmr_now_ns() + AVOID_NS;
	return true;
}

/* --- copying --------------------------------------------------------------- */

static int copy_range(struct mrmr_move *m, off_t pos, off_t end, char *buffer)
{
	while (pos < end) {
		size_t want = end - pos < COPY_CHUNK ? (size_t)(end - pos)
						     : COPY_CHUNK;
		ssize_t len = pread(m->from_fd, buffer, want, pos);

		if (len == -1 && errno == EINTR) {
			continue;
		}
		if (len <= 0) {
			return (int)len;
		}
		if (put(m, buffer, (size_t)len, (uint64_t)pos) == -1) {
			return -1;
		}
		pos += len;
	}
	return 0;
}

/* Data only: holes stay holes. */
static int copy_content(struct mrmr_move *m, off_t size)
{
	char *buffer = malloc(COPY_CHUNK);
	off_t data = 0;
	int ret = 0;

	if (buffer == NULL) {
		return -1;
	}
	while (ret == 0 && data < size) {
		off_t hole;

		data = lseek(m->from_fd, data, SEEK_DATA);
		if (data == -1) {
			ret = errno == ENXIO ? 0 : -1;
			break;
		}
		hole = lseek(m->from_fd, data, SEEK_HOLE);
		if (hole == -1) {
			hole = size;
		}
		ret = mrmr_fault("move-copy") == 0
			      ? copy_range(m, data, hole, buffer)
			      : -1;
		data = hole;
	}
	free(buffer);
	return ret == 0 ? cut(m, size) : -1;
}

/* What the source gives of a range; how much of it that was, or -1 if nothing. */
static ssize_t copy_computed(struct mrmr_move *m, uint64_t begin, uint64_t end)
{
	uint8_t *buffer = malloc(COPY_CHUNK);
	uint64_t pos = begin;

	while (buffer != NULL && pos < end) {
		size_t want = end - pos < COPY_CHUNK ? (size_t)(end - pos)
						     : COPY_CHUNK;
		ssize_t got = m->source.read(buffer, want, pos,
					     m->source.private_data);

		if (got == 0) {
			errno = EIO;
		}
		if (got <= 0 || mrmr_fault("move-copy") != 0 ||
		    put(m, buffer, (size_t)got, pos) == -1) {
			break;
		}
		pos += (uint64_t)got;
	}
	free(buffer);
	return pos > begin || begin == end ? (ssize_t)(pos - begin) : -1;
}

ssize_t mrmr_move_copy_part(struct mrmr_move *m, uint64_t offset, size_t len)
{
	uint64_t size = (uint64_t)m->st.st_size;
	uint64_t end = size - offset < len ? size : offset + len;
	ssize_t done;

	m->target_error = 0;
	done = copy_computed(m, offset, end);
	if (done != -1 && offset + (uint64_t)done == size &&
	    put_on_stable_storage(m) == -1) {
		return -1;
	}
	return done;
}

static int copy_all_computed(struct mrmr_move *m)
{
	uint64_t size = (uint64_t)m->st.st_size;
	uint64_t pos = 0;

	do {
		ssize_t done = mrmr_move_copy_part(m, pos, COPY_CHUNK);

		if (done == -1) {
			return -1;
		}
		pos += (uint64_t)done;
	} while (pos < size);
	return 0;
}

int mrmr_move_copy(struct mrmr_move *m)
{
	if (m->is_ghost) {
		return copy_all_computed(m);
	}
	/* As it is now: what was written since the beginning, too. */
	if (fstat(m->from_fd, &m->st) == -1 ||
	    copy_content(m, m->st.st_size) == -1) {
		return -1;
	}
	/* What the client may have synced must not become less durable. */
	return m->st.st_size > 0 ? put_on_stable_storage(m) : 0;
}
