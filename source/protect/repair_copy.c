/*
 * MRMR: repairs: the copy of a file, of good bytes and computed ones (see
 * repair.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/decode.h>
#include <mrmr/digest.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/live.h>
#include <mrmr/shortage.h>
#include <mrmr/staging.h>
#include <mrmr/xattrs.h>

#include "repair_private.h"

static bool is_right(const struct mrmr_extent *extent, const uint8_t *bytes)
{
	uint8_t sha256[MRMR_SHA256_LEN];

	if (extent->state == MRMR_EXTENT_ZERO) {
		return mrmr_is_all_zero(bytes, extent->len_bytes);
	}
	mrmr_sha256(bytes, extent->len_bytes, sha256);
	return memcmp(sha256, extent->sha256, sizeof(sha256)) == 0;
}

/* The bytes that the bad file does not have. */
static int compute_extent(struct repair *r, uint32_t index,
			  const struct mrmr_extent *extent, uint8_t *buf)
{
	struct mrmr_decode *job = NULL;
	int error;
	int ret;

	if (extent->state == MRMR_EXTENT_ZERO) {
		memset(buf, 0, extent->len_bytes);
		return 0;
	}
	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		return repair_fail(r, EIO,
				   "bytes that are in no stripe are bad");
	}
	job = mrmr_decode_extent(r, r->engine, r->node, index, r->err);
	if (job == NULL) {
		return -1;
	}
	ret = mrmr_decode_run(job, buf);
	error = ret == -1 ? errno : 0;
	mrmr_decode_report(job, r->engine);
	talloc_free(job);
	if (mrmr_is_shortage(error)) {
		errno = error;
		return repair_fail_errno(r, "bytes cannot be computed now");
	}
	if (ret == -1 || !is_right(extent, buf)) {
		return repair_fail(r, EIO,
				   "bytes cannot be computed: too much of "
				   "their "
				   "stripe is bad");
	}
	return 0;
}

static int copy_extent(struct repair *r, uint32_t index,
		       const struct mrmr_extent *extent, uint8_t *buf)
{
	uint64_t offset = (uint64_t)index * r->node->grid_bytes;

	if (mrmr_read_fully(r->fd, buf, extent->len_bytes, offset) == -1 ||
	    !is_right(extent, buf)) {
		/* With a pre-image the file has others bytes by right. */
		if (mrmr_live_read(r->live, buf, extent->len_bytes, offset) ==
			    0 &&
		    is_right(extent, buf)) {
			return repair_fail(r, ESTALE,
					   "it has changed since it was "
					   "protected");
		}
		if (compute_extent(r, index, extent, buf) == -1) {
			return -1;
		}
	}
	/* holes stay holes */
	if (extent->state != MRMR_EXTENT_ZERO &&
	    (mrmr_fault("repair-write") != 0 ||
	     mrmr_write_fully(r->new_fd, buf, extent->len_bytes, offset) ==
		     -1)) {
		return repair_fail_errno(r, "its copy cannot be written");
	}
	return 0;
}

static int copy_extents(struct repair *r)
{
	uint8_t *buf = talloc_array(r, uint8_t, r->node->grid_bytes);
	uint64_t covered = 0;
	uint32_t i;

	if (buf == NULL) {
		return repair_fail(r, ENOMEM, "not enough memory");
	}
	for (i = 0; i < r->node->num_extents; i++) {
		struct mrmr_extent extent;
		uint32_t got = 0;

		if (mrmr_catalog_get_extents(r->engine->catalog, r->node->id, i,
					     &extent, 1, &got) == -1 ||
		    got != 1) {
			return repair_fail(r, EIO,
					   "its records cannot be read");
		}
		covered += extent.len_bytes;
		if (copy_extent(r, i, &extent, buf) == -1) {
			return -1;
		}
	}
	talloc_free(buf);
	if (covered != r->node->size_bytes) {
		return repair_fail(r, ESTALE, "not all of it was protected");
	}
	return 0;
}

static int copy_attributes(struct repair *r)
{
	uint8_t *xattrs = NULL;
	size_t len = 0;

	if (ftruncate(r->new_fd, r->st.st_size) == -1 ||
	    mrmr_xattrs_read(r, r->fd, &xattrs, &len) == -1 ||
	    fchown(r->new_fd, r->st.st_uid, r->st.st_gid) == -1 ||
	    mrmr_xattrs_write(r->new_fd, xattrs, len, NULL) == -1 ||
	    fchmod(r->new_fd, r->st.st_mode & 07777) == -1 ||
	    mrmr_times_set(r->new_fd, &r->st) == -1) {
		return repair_fail_errno(r, "its attributes cannot be copied");
	}
	return 0;
}

int repair_copy(struct repair *r)
{
	struct stat st = {0};

	r->rebuild_fd = mrmr_folder_open(r->member->private_fd, MRMR_REBUILD);
	if (r->rebuild_fd == -1) {
		return repair_fail_errno(r, "its copy cannot be made");
	}
	mrmr_staging_name(r->staged, sizeof(r->staged));
	r->new_fd = openat(r->rebuild_fd, r->staged,
			   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			   0600);
	if (r->new_fd == -1) {
		return repair_fail_errno(r, "its copy cannot be made");
	}
	if (copy_extents(r) == -1 || copy_attributes(r) == -1) {
		return -1;
	}
	if (mrmr_fault("repair-sync") != 0 || fsync(r->new_fd) == -1 ||
	    fstat(r->new_fd, &st) == -1) {
		return repair_fail_errno(r, "its copy cannot be written");
	}
	r->new_inode = (uint64_t)st.st_ino;
	close(r->new_fd);
	r->new_fd = openat(r->rebuild_fd, r->staged,
			   O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (r->new_fd == -1) {
		repair_fail_errno(r, "its copy cannot be opened");
		unlinkat(r->rebuild_fd, r->staged, 0);
		return -1;
	}
	return 0;
}
