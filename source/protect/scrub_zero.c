/*
 * MRMR: scrubbing: blocks of which all bytes are zero.
 *
 * They are in no stripe, and there is nothing to compute: so files are gone through by
 * their ids, and what is no hole is read. Where a scrub has come to, the next one goes
 * on: a note says which id was the last.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/digest.h>
#include <mrmr/shortage.h>

#include "scrub_private.h"

#define NOTE "scrub-zeros"
#define STEP_IDS 65536

int scrub_zeros_begin(struct scrub_zeros *z, struct mrmr_catalog *catalog,
		      unsigned int percent)
{
	size_t len = 0;
	uint8_t *value = NULL;
	uint64_t all;

	if (mrmr_catalog_last_id(catalog, &all) == -1) {
		return -1;
	}
	*z = (struct scrub_zeros){.left = all};
	if (percent > 0 && percent < 100) {
		z->left = all / 100 * percent + all % 100 * percent / 100 + 1;
	}
	value = mrmr_catalog_get_note(catalog, NULL, NOTE, &len);
	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == sizeof(z->at)) {
		memcpy(&z->at, value, sizeof(z->at));
		z->at = le64toh(z->at);
	}
	talloc_free(value);
	return 0;
}

int scrub_zeros_note(const struct scrub_zeros *z, struct mrmr_catalog *catalog)
{
	uint64_t at = htole64(z->at);

	return mrmr_catalog_put_note(catalog, NOTE, (const uint8_t *)&at,
				     sizeof(at));
}

/* --- one file --------------------------------------------------------------------- */

struct reading {
	struct scrub_zeros_reader *reader;
	const struct mrmr_node *node;
	struct mrmr_live *live;
	uint8_t *buf;
};

static bool is_hole(int fd, uint64_t offset, uint32_t len)
{
	off_t data = lseek(fd, (off_t)offset, SEEK_DATA);

	return data == -1 ? errno == ENXIO : (uint64_t)data >= offset + len;
}

/* 1: it is to stop. */
static int read_extent(const struct mrmr_extent *extent, uint32_t index,
		       void *private_data)
{
	const struct reading *r = private_data;
	struct scrub_zeros_reader *reader = r->reader;
	uint64_t offset = (uint64_t)index * r->node->grid_bytes;
	int fd = mrmr_live_fd(r->live);

	if (extent->state != MRMR_EXTENT_ZERO ||
	    (fd != -1 && is_hole(fd, offset, extent->len_bytes))) {
		return 0;
	}
	if (reader->should_stop(reader->private_data)) {
		return 1;
	}
	if (reader->deep && fd != -1) {
		(void)posix_fadvise(fd, (off_t)offset, (off_t)extent->len_bytes,
				    POSIX_FADV_DONTNEED);
	}
	if (mrmr_live_read(r->live, r->buf, extent->len_bytes, offset) == 0) {
		if (mrmr_is_all_zero(r->buf, extent->len_bytes)) {
			return 0;
		}
	} else if (mrmr_is_shortage(errno)) {
		return -1;
	}
	return reader->bad(r->node->id, index, reader->private_data);
}

/* It is not to be had: that is so of all its blocks. */
static int tell_first(const struct mrmr_extent *extent, uint32_t index,
		      void *private_data)
{
	const struct reading *r = private_data;

	if (extent->state != MRMR_EXTENT_ZERO) {
		return 0;
	}
	return r->reader->bad(r->node->id, index, r->reader->private_data) == -1
		       ? -1
		       : 2;
}

/* As read_extent(). What is on a member that is not there is left out. */
static int read_file(struct scrub_zeros_reader *reader, uint64_t id)
{
	struct mrmr_engine *engine = reader->engine;
	struct reading r = {.reader = reader};
	void *frame = talloc_new(engine);
	struct mrmr_node *node = NULL;
	size_t member = SIZE_MAX;
	int ret = -1;

	if (frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (mrmr_catalog_get(engine->catalog, frame, id, &node) == -1) {
		ret = errno == ENOENT ? 0 : -1;
	} else {
		member = mrmr_engine_member(engine, node->member);
		r.node = node;
		r.buf = talloc_array(frame, uint8_t, node->grid_bytes + 1);
		if (member == SIZE_MAX || reader->members[member] == NULL) {
			ret = 0;
		} else if (r.buf == NULL) {
			errno = ENOMEM;
		} else if (mrmr_live_open_on(frame, engine,
					     reader->members[member], node,
					     false, &r.live) == 0) {
			ret = mrmr_catalog_each_extent(engine->catalog, node,
						       read_extent, &r);
		} else if (!mrmr_is_shortage(errno)) {
			ret = mrmr_catalog_each_extent(engine->catalog, node,
						       tell_first, &r);
			ret = ret == 2 ? 0 : ret;
		}
	}
	talloc_free(frame);
	return ret;
}

/* --- all of them ------------------------------------------------------------------ */

/* Some ids. 1: it is to stop. A file that was begun is read to its end. */
static int read_some(struct scrub_zeros *z, struct scrub_zeros_reader *reader,
		     uint64_t upto)
{
	struct mrmr_catalog *catalog = reader->engine->catalog;
	uint64_t id = 0;

	while (mrmr_catalog_next_zero(catalog, z->at, upto, &id) == 0) {
		int ret = read_file(reader, id);

		if (ret != 0) {
			return ret;
		}
		z->left -= id - z->at < z->left ? id - z->at : z->left;
		z->at = id;
		if (reader->should_end(reader->private_data)) {
			return 1;
		}
	}
	if (errno != ENOENT) {
		return -1;
	}
	z->left -= upto - z->at < z->left ? upto - z->at : z->left;
	z->at = upto;
	return 0;
}

int scrub_zeros_read(struct scrub_zeros *z, struct scrub_zeros_reader *reader)
{
	uint64_t last;
	int ret = 0;

	if (mrmr_catalog_last_id(reader->engine->catalog, &last) == -1) {
		return -1;
	}
	while (ret == 0 && z->left > 0 &&
	       !reader->should_end(reader->private_data)) {
		uint64_t num = z->left < STEP_IDS ? z->left : STEP_IDS;

		if (z->at >= last) {
			z->at = 0;
		}
		num = num < last - z->at ? num : last - z->at;
		ret = num > 0 ? read_some(z, reader, z->at + num) : 0;
		if (last == 0) {
			z->left = 0;
		}
	}
	return ret == -1 ? -1 : 0;
}
