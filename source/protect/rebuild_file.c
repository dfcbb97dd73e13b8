/*
 * MRMR: rebuilding: the file itself.
 *
 * Made in .mrmr/rebuild of the target, where nobody but root comes: bytes first,
 * each of which was checked against its hash by the reader (invariant 4), then
 * owner, extended attributes, mode and times. Before it can be seen, its inode
 * is declared: whoever writes to it from its first moment on keeps the protected
 * bytes (invariant 2).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/decode.h>
#include <mrmr/digest.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/staging.h>
#include <mrmr/undo.h>
#include <mrmr/xattrs.h>

#include "protector_private.h"
#include "rebuild_private.h"

#define NS_PER_S INT64_C(1000000000)
#define EXTENTS_AT_ONCE 64
#define WRITE_TRIES 2

bool rebuild_is_covered(const struct rebuild *r, const struct mrmr_node *node)
{
	/* One that is still to be looked at may have been empty only when it was
	   noticed. */
	if (node->size_bytes == 0) {
		return r->pending == NULL || node->generation != 0 ||
		       pending_find(r->pending, node->id) == PENDING_NONE;
	}
	return node->grid_bytes > 0 &&
	       (uint64_t)node->num_extents * node->grid_bytes >=
		       node->size_bytes;
}

/* --- bytes --------------------------------------------------------------------- */

/* The whole of an extent. */
static int compute(struct mrmr_reader *reader, uint8_t *buf, size_t len,
		   uint64_t offset, struct mrmr_error *err)
{
	size_t done = 0;
	int tries = 0;

	while (done < len) {
		ssize_t got;

		if (mrmr_reader_prepare(reader, offset + done, len - done,
					err) == -1) {
			return -1;
		}
		got = mrmr_reader_read(reader, buf + done, len - done,
				       offset + done);
		if (got > 0) {
			done += (size_t)got;
			tries = 0;
		} else if (++tries == WRITE_TRIES) {
			return mrmr_error_set(err, EIO,
					      "its bytes cannot be computed "
					      "from what is there");
		}
	}
	return 0;
}

struct copying {
	struct rebuild *r;
	const struct mrmr_node *node;
	struct mrmr_reader *reader;
	uint8_t *buf;
	int fd;
	bool *lost;
	struct mrmr_error *err;
};

/* Zeros stay holes. */
static int copy_extent(struct copying *c, uint32_t index,
		       const struct mrmr_extent *extent)
{
	uint64_t offset = (uint64_t)index * c->node->grid_bytes;

	if (extent->state == MRMR_EXTENT_ZERO) {
		return 0;
	}
	if (rebuild_should_stop(c->r)) {
		return mrmr_error_set(c->err, EINTR, "it was interrupted");
	}
	if (compute(c->reader, c->buf, extent->len_bytes, offset, c->err) ==
	    -1) {
		*c->lost = true;
		return -1;
	}
	if (mrmr_fault("rebuild-write") != 0 ||
	    mrmr_write_fully(c->fd, c->buf, extent->len_bytes, offset) == -1) {
		return -1;
	}
	c->r->progress.done_bytes += extent->len_bytes;
	if (c->r->options->progress != NULL) {
		c->r->options->progress(&c->r->progress,
					c->r->options->private_data);
	}
	return 0;
}

static int copy_extents(struct copying *c)
{
	struct mrmr_extent extents[EXTENTS_AT_ONCE];
	uint32_t first = 0;
	uint32_t got;
	uint32_t i;

	while (first < c->node->num_extents) {
		if (mrmr_catalog_get_extents(c->r->engine->catalog, c->node->id,
					     first, extents, EXTENTS_AT_ONCE,
					     &got) == -1 ||
		    got == 0) {
			*c->lost = true;
			return mrmr_error_set(c->err, EIO,
					      "the catalogue does not know its "
					      "blocks");
		}
		for (i = 0; i < got; i++) {
			if (copy_extent(c, first + i, &extents[i]) == -1) {
				return -1;
			}
		}
		first += got;
	}
	return 0;
}

static int write_content(struct rebuild *r, const struct mrmr_node *node,
			 int fd, bool *lost, struct mrmr_error *err)
{
	struct copying c = {.r = r,
			    .node = node,
			    .fd = fd,
			    .lost = lost,
			    .err = err};
	int saved_errno;
	int ret = -1;

	if (node->num_extents > 0) {
		c.buf = malloc(node->grid_bytes);
		c.reader = mrmr_reader_open(r, r->engine, node, err);
		*lost = c.reader == NULL;
		if (c.buf != NULL && c.reader != NULL) {
			ret = copy_extents(&c);
		}
		saved_errno = errno;
		talloc_free(c.reader);
		free(c.buf);
		errno = saved_errno;
		if (ret == -1) {
			return -1;
		}
	}
	return ftruncate(fd, (off_t)node->size_bytes);
}

/* --- attributes ---------------------------------------------------------------- */

/* What a file system that has no such thing answers. */
static bool is_unsupported(int error)
{
	return error == EPERM || error == ENOTSUP || error == ENOSYS ||
	       error == EINVAL;
}

/* Owner first, as that clears bits; the mode after the ACL, of which it has the
   mask. */
static int set_attributes(int staging_fd, const char *name,
			  const struct mrmr_node *node)
{
	const struct timespec ts[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = node->mtime_ns / NS_PER_S,
		 .tv_nsec = node->mtime_ns % NS_PER_S},
	};

	if (mrmr_fault("rebuild-attributes") != 0) {
		return -1;
	}
	if (fchownat(staging_fd, name, node->uid, node->gid,
		     AT_SYMLINK_NOFOLLOW) == -1 &&
	    !is_unsupported(errno)) {
		return -1;
	}
	if (mrmr_xattrs_write_at(staging_fd, name, node->xattrs,
				 node->xattrs_len, NULL) == -1) {
		return -1;
	}
	if (node->kind != MRMR_NODE_SYMLINK &&
	    fchmodat(staging_fd, name, node->mode & 07777, 0) == -1 &&
	    !is_unsupported(errno)) {
		return -1;
	}
	return utimensat(staging_fd, name, ts, AT_SYMLINK_NOFOLLOW);
}

/* --- making it ------------------------------------------------------------------ */

static int make_file(struct rebuild *r, struct rebuild_file *file,
		     int staging_fd, bool *lost, struct mrmr_error *err)
{
	int saved_errno;
	int ret;
	int fd;

	fd = openat(staging_fd, file->staged,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		return -1;
	}
	ret = write_content(r, file->node, fd, lost, err);
	saved_errno = errno;
	if (close(fd) == -1 && ret == 0) {
		return -1;
	}
	errno = saved_errno;
	return ret;
}

static int make_node(struct rebuild *r, struct rebuild_file *file,
		     int staging_fd, bool *lost, struct mrmr_error *err)
{
	const struct mrmr_node *node = file->node;

	if (mrmr_fault("rebuild-stage") != 0) {
		return -1;
	}
	switch (node->kind) {
	case MRMR_NODE_FILE:
		return make_file(r, file, staging_fd, lost, err);
	case MRMR_NODE_SYMLINK:
		return symlinkat(node->target, staging_fd, file->staged);
	case MRMR_NODE_SPECIAL:
		return mknodat(staging_fd, file->staged,
			       (node->mode & S_IFMT) | 0600,
			       (dev_t)node->device);
	case MRMR_NODE_DIRECTORY:
		break;
	}
	errno = EINVAL;
	return -1;
}

static int declare(struct rebuild *r, struct rebuild_file *file)
{
	if (file->node->num_extents == 0) {
		return 0;
	}
	return mrmr_guard_declare(r->engine->guard,
				  &r->pool->members[file->target].config->id,
				  file->inode, &file->generation);
}

static int take_stat(struct rebuild_file *file, const struct stat *st)
{
	file->inode = st->st_ino;
	file->mtime_ns =
		(int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
	return 0;
}

int rebuild_stage(struct rebuild *r, struct rebuild_file *file, bool *lost,
		  struct mrmr_error *err)
{
	const struct mrmr_member *member = &r->pool->members[file->target];
	int staging_fd = mrmr_folder_open(member->private_fd, MRMR_REBUILD);
	struct stat st;
	int saved_errno;
	int ret = -1;

	*lost = false;
	err->text[0] = '\0';
	if (staging_fd != -1) {
		mrmr_staging_name(file->staged, sizeof(file->staged));
		ret = make_node(r, file, staging_fd, lost, err);
	}
	if (ret == 0) {
		ret = set_attributes(staging_fd, file->staged, file->node);
	}
	if (ret == 0) {
		ret = fstatat(staging_fd, file->staged, &st,
			      AT_SYMLINK_NOFOLLOW);
	}
	if (ret == 0) {
		take_stat(file, &st);
		ret = declare(r, file);
	}
	saved_errno = errno;
	if (staging_fd != -1) {
		close(staging_fd);
	}
	if (ret == -1) {
		rebuild_unstage(r, file);
		if (err->text[0] == '\0') {
			mrmr_error_set(err, saved_errno, "member %s: %s",
				       mrmr_member_name(member),
				       strerror(saved_errno));
		}
		errno = saved_errno;
		return -1;
	}
	file->state = REBUILD_STAGED;
	return 0;
}

void rebuild_unstage(struct rebuild *r, struct rebuild_file *file)
{
	const struct mrmr_member *member = &r->pool->members[file->target];
	int staging_fd;

	if (file->staged[0] == '\0') {
		return;
	}
	staging_fd = mrmr_folder_open(member->private_fd, MRMR_REBUILD);
	if (staging_fd != -1) {
		unlinkat(staging_fd, file->staged, 0);
		close(staging_fd);
	}
	file->staged[0] = '\0';
}

/* --- one that is there already ------------------------------------------------ */

/* False if somebody has it open for writing, as far as the file system can
   tell. */
static bool is_quiet(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) == -1) {
		return errno != EAGAIN && errno != EACCES;
	}
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return true;
}

static int compare_extent(struct rebuild *r, const struct rebuild_file *file,
			  size_t member, int fd, uint32_t index, uint8_t *buf)
{
	const struct mrmr_node *node = file->node;
	struct mrmr_extent extent;
	uint8_t sha256[32];
	uint32_t got = 0;
	struct stat st;

	if (mrmr_catalog_get_extents(r->engine->catalog, node->id, index,
				     &extent, 1, &got) == -1 ||
	    got != 1 || extent.state == MRMR_EXTENT_UNKNOWN) {
		return 0;
	}
	if (fstat(fd, &st) == -1) {
		return -1;
	}
	/* Somebody may be writing by now: as it was when it was declared. */
	if (mrmr_undo_read(r->pool->members[member].private_fd, st.st_ino,
			   file->generation, fd, buf, extent.len_bytes,
			   (uint64_t)index * node->grid_bytes) == -1) {
		return -1;
	}
	mrmr_sha256(buf, extent.len_bytes, sha256);
	return memcmp(sha256, extent.sha256, sizeof(sha256)) == 0;
}

int rebuild_adopt(struct rebuild *r, struct rebuild_file *file, size_t member,
		  int fd)
{
	const struct mrmr_node *node = file->node;
	uint8_t *buf = NULL;
	struct stat st;
	uint32_t i;
	int ret = 1;

	if (!rebuild_is_covered(r, node)) {
		return 0;
	}
	if (node->num_extents == 0) {
		return 1;
	}
	if (fstat(fd, &st) == -1) {
		return -1;
	}
	/* Declared first, then looked at: see mrmr/guard.h. */
	if (mrmr_guard_declare(r->engine->guard,
			       &r->pool->members[member].config->id, st.st_ino,
			       &file->generation) == -1) {
		return -1;
	}
	if (!is_quiet(fd)) {
		errno = EBUSY;
		return -1;
	}
	buf = malloc(node->grid_bytes);
	if (buf == NULL) {
		return -1;
	}
	for (i = 0; i < node->num_extents && ret == 1; i++) {
		ret = compare_extent(r, file, member, fd, i, buf);
	}
	free(buf);
	return ret;
}
