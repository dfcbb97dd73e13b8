/*
 * MRMR: rebuilding: the file itself.
 *
 * Made in .mrmr/rebuild of the target, where nobody but root comes: bytes first,
 * each of which was checked against its hash (rebuild_slots.c; invariant 4), then
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

#include <mrmr/digest.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/staging.h>
#include <mrmr/undo.h>
#include <mrmr/xattrs.h>

#include "protector_private.h"
#include "rebuild_private.h"

#define NS_PER_S INT64_C(1000000000)

bool rebuild_is_covered(const struct rebuild *r, const struct mrmr_node *node)
{
	/* One that is still to be looked at may have been empty only when it was
	   noticed. */
	if (node->size_bytes == 0) {
		struct pending_place place;

		return node->generation != 0 ||
		       pending_saved(r->engine->catalog, node->id, &place) == 0;
	}
	return node->grid_bytes > 0 &&
	       (uint64_t)node->num_extents * node->grid_bytes >=
		       node->size_bytes;
}

/* --- attributes ---------------------------------------------------------------- */

/* What a file system that has no such thing answers. */
static bool is_unsupported(int error)
{
	return error == EPERM || error == ENOTSUP || error == ENOSYS ||
	       error == EINVAL;
}

/* Owner first, as that clears bits; the mode after the ACL, of which it has the
   mask. Of what is no file: by its name. */
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

static void take_stat(struct rebuild_file *file, const struct stat *st)
{
	file->inode = st->st_ino;
	file->mtime_ns =
		(int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

int rebuild_finish_file(struct rebuild_file *file, int fd)
{
	const struct mrmr_node *node = rebuild_version(file);
	const struct timespec ts[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = node->mtime_ns / NS_PER_S,
		 .tv_nsec = node->mtime_ns % NS_PER_S},
	};
	struct stat st;

	if (fstat(fd, &st) == -1 ||
	    ((uint64_t)st.st_size != node->size_bytes &&
	     ftruncate(fd, (off_t)node->size_bytes) == -1) ||
	    mrmr_fault("rebuild-attributes") != 0) {
		return -1;
	}
	if ((st.st_uid != node->uid || st.st_gid != node->gid) &&
	    fchown(fd, node->uid, node->gid) == -1 && !is_unsupported(errno)) {
		return -1;
	}
	if (mrmr_xattrs_write(fd, node->xattrs, node->xattrs_len, NULL) == -1) {
		return -1;
	}
	if (fchmod(fd, node->mode & 07777) == -1 && !is_unsupported(errno)) {
		return -1;
	}
	if (futimens(fd, ts) == -1 || fstat(fd, &st) == -1) {
		return -1;
	}
	take_stat(file, &st);
	return 0;
}

/* --- making it ------------------------------------------------------------------ */

int rebuild_staging(struct rebuild *r, size_t member)
{
	if (r->staging_fd[member] == -1) {
		r->staging_fd[member] =
			mrmr_folder_open(r->pool->members[member].private_fd,
					 MRMR_REBUILD);
	}
	return r->staging_fd[member];
}

int rebuild_stage_begin(struct rebuild *r, struct rebuild_file *file)
{
	file->staging_fd = rebuild_staging(r, file->target);
	if (file->staging_fd == -1 || mrmr_fault("rebuild-stage") != 0) {
		return -1;
	}
	mrmr_staging_name(file->staged, sizeof(file->staged));
	return 0;
}

/* Of zeros, or of nothing. */
static int make_file(struct rebuild_file *file)
{
	int saved_errno;
	int ret;
	int fd;

	fd = openat(file->staging_fd, file->staged,
		    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		return -1;
	}
	ret = rebuild_finish_file(file, fd);
	saved_errno = errno;
	if (close(fd) == -1 && ret == 0) {
		return -1;
	}
	errno = saved_errno;
	return ret;
}

static int make_other(struct rebuild_file *file)
{
	const struct mrmr_node *node = file->node;
	struct stat st;
	int ret;

	if (node->kind == MRMR_NODE_SYMLINK) {
		ret = symlinkat(node->target, file->staging_fd, file->staged);
	} else {
		ret = mknodat(file->staging_fd, file->staged,
			      (node->mode & S_IFMT) | 0600,
			      (dev_t)node->device);
	}
	if (ret == 0) {
		ret = set_attributes(file->staging_fd, file->staged, node);
	}
	if (ret == 0) {
		ret = fstatat(file->staging_fd, file->staged, &st,
			      AT_SYMLINK_NOFOLLOW);
	}
	if (ret == 0) {
		take_stat(file, &st);
	}
	return ret;
}

static int declare(struct rebuild *r, struct rebuild_file *file)
{
	/* One that is an older version is protected as any new one, later. */
	if (file->node->num_extents == 0 || file->was != NULL) {
		return 0;
	}
	return mrmr_guard_declare(r->engine->guard,
				  &r->pool->members[file->target].config->id,
				  file->inode, &file->generation);
}

int rebuild_stage_end(struct rebuild *r, struct rebuild_file *file)
{
	if (declare(r, file) == -1) {
		return -1;
	}
	file->state = REBUILD_STAGED;
	return 0;
}

int rebuild_stage(struct rebuild *r, struct rebuild_file *file)
{
	if (rebuild_stage_begin(r, file) == -1) {
		return -1;
	}
	return file->node->kind == MRMR_NODE_FILE ? make_file(file)
						  : make_other(file);
}

void rebuild_unstage(struct rebuild *r, struct rebuild_file *file)
{
	int staging_fd;

	if (file->staged[0] == '\0') {
		return;
	}
	staging_fd = rebuild_staging(r, file->target);
	if (staging_fd != -1) {
		unlinkat(staging_fd, file->staged, 0);
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
	const struct mrmr_node *node = rebuild_version(file);
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
	const struct mrmr_node *node = rebuild_version(file);
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
	if (file->was == NULL &&
	    mrmr_guard_declare(r->engine->guard,
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
