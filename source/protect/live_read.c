/*
 * MRMR: where the protected bytes of a file are: reading them (see live.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/shortage.h>
#include <mrmr/staging.h>
#include <mrmr/undo.h>

#include "live_private.h"

#define NS_PER_S INT64_C(1000000000)

/* --- files -------------------------------------------------------------------- */

int live_close(struct mrmr_live *live)
{
	if (live->fd != -1) {
		close(live->fd);
	}
	return 0;
}

int live_open_beneath(int at_fd, const char *path)
{
	struct open_how how = {
		/* what it is shows only when it is open: not to hang on a
		   FIFO */
		.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
			 O_NOATIME,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, at_fd, path, &how, sizeof(how));

	if (fd == -1 && errno == EPERM) {
		/* somebody else's file, on a server that has an opinion */
		how.flags &= ~(uint64_t)O_NOATIME;
		fd = (int)syscall(SYS_openat2, at_fd, path, &how, sizeof(how));
	}
	return fd;
}

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

bool live_is_unchanged(const struct mrmr_live *live, const struct stat *st)
{
	return (uint64_t)st->st_size == live->size_bytes &&
	       mtime_ns(st) == live->mtime_ns;
}

/* --- without looking ----------------------------------------------------------- */

/* One after another, files of the same directory are asked for. */
static const char *dir_path(struct mrmr_engine *engine,
			    struct mrmr_live_member *member, uint64_t dir_id)
{
	bool in_trash = false;

	if (member->dir_id != dir_id || member->dir_path == NULL) {
		talloc_free(member->dir_path);
		member->dir_path = mrmr_catalog_path(engine->catalog, member,
						     dir_id, &in_trash);
		member->dir_id = dir_id;
	}
	return member->dir_path;
}

/* What the catalogue calls it; in the trash, the name has the member before
   the path. */
static char *expected_path(void *mem_ctx, struct mrmr_engine *engine,
			   struct mrmr_live_member *member,
			   const struct mrmr_node *node)
{
	const char *dir = NULL;

	if (node->dir_id == MRMR_ID_TRASH) {
		const char *slash = strchr(node->name, '/');

		errno = ENOENT;
		return slash != NULL ? talloc_asprintf(mem_ctx, MRMR_TRASH "%s",
						       slash)
				     : NULL;
	}
	dir = dir_path(engine, member, node->dir_id);
	if (dir == NULL) {
		return NULL;
	}
	return talloc_asprintf(mem_ctx, "%s%s%s", dir,
			       dir[0] != '\0' ? "/" : "", node->name);
}

int mrmr_live_expect(void *mem_ctx, struct mrmr_engine *engine,
		     struct mrmr_live_member *member,
		     const struct mrmr_node *node, struct mrmr_live **live)
{
	struct mrmr_live *made = NULL;
	int saved_errno;

	if (member->number != node->member) {
		errno = EINVAL;
		return -1;
	}
	made = talloc(mem_ctx, struct mrmr_live);
	if (made == NULL) {
		errno = ENOMEM;
		return -1;
	}
	*made = (struct mrmr_live){
		.member = member,
		.inode = node->inode,
		.generation = node->generation,
		.size_bytes = node->size_bytes,
		.mtime_ns = node->mtime_ns,
		.fd = -1,
		.at_fd = node->dir_id == MRMR_ID_TRASH ? member->private_fd
						       : member->root_fd,
		.is_expected = true,
	};
	talloc_set_destructor(made, live_close);
	made->path = expected_path(made, engine, member, node);
	if (made->path == NULL) {
		saved_errno = errno;
		talloc_free(made);
		errno = saved_errno;
		return -1;
	}
	*live = made;
	return 0;
}

void mrmr_live_let_go(struct mrmr_live *live)
{
	if (live->is_expected && live->fd != -1) {
		close(live->fd);
		live->fd = -1;
	}
}

/* 0: live->fd is it. */
static int open_expected(struct mrmr_live *live)
{
	struct stat st = {0};

	if (live->fd != -1) {
		return 0;
	}
	live->fd = live_open_beneath(live->at_fd, live->path);
	if (live->fd == -1) {
		return -1;
	}
	if (fstat(live->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		live->is_alike =
			live->inode == 0 || (uint64_t)st.st_ino != live->inode;
		if (!live->is_alike || live_is_unchanged(live, &st)) {
			return 0;
		}
	}
	mrmr_live_let_go(live);
	errno = ENOENT;
	return -1;
}

/* --- reading --------------------------------------------------------------------- */

/* The file, open for one look; -1 with errno if it is not there. To be given
   back. */
static int borrow_file(const struct mrmr_live *live)
{
	struct stat st = {0};
	int fd;

	if (live->fd != -1 || live->path == NULL) {
		errno = ENOENT;
		return live->fd;
	}
	fd = live_open_beneath(live->at_fd, live->path);
	if (fd == -1) {
		return -1;
	}
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    (live->is_alike ? !live_is_unchanged(live, &st)
			    : (uint64_t)st.st_ino != live->inode)) {
		close(fd);
		errno = ENOENT;
		return -1;
	}
	return fd;
}

static void give_back(const struct mrmr_live *live, int fd)
{
	int saved_errno = errno;

	if (fd != -1 && fd != live->fd) {
		close(fd);
	}
	errno = saved_errno;
}

static int read_from(const struct mrmr_live *live, int fd, void *buf,
		     size_t len, uint64_t offset)
{
	int private_fd = live->member->private_fd;

	if (!live->is_alike) {
		return mrmr_undo_read(private_fd, live->inode, live->generation,
				      fd, buf, len, offset);
	}
	/* Pre-images are kept by inode, and are those of the record's. */
	if (live->inode != 0 &&
	    mrmr_undo_read(private_fd, live->inode, live->generation, -1, buf,
			   len, offset) == 0) {
		return 0;
	}
	if (fd == -1) {
		errno = EIO;
		return -1;
	}
	return mrmr_read_fully(fd, buf, len, offset);
}

int mrmr_live_expected_fd(struct mrmr_live *live)
{
	return live->is_expected && open_expected(live) == -1 ? -1 : live->fd;
}

/* Asked once for all files of a member that are read together. */
static bool has_any_preimages(struct mrmr_live_member *member)
{
	if (member->undo == UNDO_NOT_LOOKED) {
		member->undo = mrmr_undo_is_empty(member->private_fd)
				       ? UNDO_EMPTY
				       : UNDO_USED;
	}
	return member->undo == UNDO_USED;
}

static bool may_have_preimages(const struct mrmr_live *live)
{
	return live->is_expected ? has_any_preimages(live->member)
				 : live->has_kept;
}

/* With the file open, or -1. Unsure only as long as the file gives the bytes. */
static int read_open(const struct mrmr_live *live, int fd, bool is_sure,
		     void *buf, size_t len, uint64_t offset)
{
	if (!is_sure && fd != -1 && !may_have_preimages(live) &&
	    mrmr_read_fully(fd, buf, len, offset) == 0) {
		return 0;
	}
	return read_from(live, fd, buf, len, offset);
}

static int read_live(struct mrmr_live *live, bool is_sure, void *buf,
		     size_t len, uint64_t offset)
{
	int ret;
	int fd;

	if (mrmr_fault("live-read") != 0) {
		return -1;
	}
	if (live->is_expected) {
		return open_expected(live) == 0
			       ? read_open(live, live->fd, is_sure, buf, len,
					   offset)
			       : -1;
	}
	fd = borrow_file(live);
	if (fd == -1 && mrmr_is_shortage(errno)) {
		return -1;
	}
	ret = read_open(live, fd, is_sure, buf, len, offset);
	give_back(live, fd);
	return ret;
}

int mrmr_live_read(struct mrmr_live *live, void *buf, size_t len,
		   uint64_t offset)
{
	return read_live(live, true, buf, len, offset);
}

int mrmr_live_read_unsure(struct mrmr_live *live, void *buf, size_t len,
			  uint64_t offset)
{
	return read_live(live, false, buf, len, offset);
}

bool mrmr_live_is_unchanged(struct mrmr_live *live)
{
	struct stat st = {0};
	int fd = borrow_file(live);
	bool ret =
		fd != -1 && fstat(fd, &st) == 0 && live_is_unchanged(live, &st);

	give_back(live, fd);
	return ret;
}

bool mrmr_live_has(struct mrmr_live *live, size_t len, uint64_t offset)
{
	struct stat st = {0};
	int fd = borrow_file(live);
	bool has =
		fd != -1 && fstat(fd, &st) == 0 && live_is_unchanged(live, &st);

	give_back(live, fd);
	return has || (live->inode != 0 &&
		       mrmr_undo_has(live->member->private_fd, live->inode,
				     live->generation, (uint64_t)st.st_size,
				     len, offset));
}
