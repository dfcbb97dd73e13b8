/*
 * MRMR: where the protected bytes of a file are (see mrmr/live.h).
 *
 * The catalogue knows the file by a path and an inode. Both may be a little
 * behind: the path when the file was renamed or deleted and the protector has
 * not been there yet, the inode on file systems that give new numbers at each
 * mount, and when a file was put back from a backup. So names are candidates,
 * tried in the order of likelihood, and the first that leads to the inode is
 * the file. If none does, one with the record's size and time will do: whoever
 * reads it checks the bytes, and if they are right, they are right.
 *
 * A file whose every name is gone has protected bytes nonetheless while its
 * pre-images are there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/live.h>
#include <mrmr/staging.h>
#include <mrmr/undo.h>

#define NS_PER_S INT64_C(1000000000)

struct mrmr_live {
	int private_fd; /* own descriptors: a member that is let go of, or */
	int fd;         /* comes anew, closes the pool's */
	uint64_t inode;
	uint32_t generation;
	bool is_alike; /* not by its inode, but by its size and time */
};

struct search {
	struct mrmr_engine *engine;
	const struct mrmr_node *node;
	const struct mrmr_member *member;
	void *mem_ctx; /* what the search needs meanwhile */
	int fd;        /* of the file; -1: not found yet */
	int alike_fd;  /* of one of the same size and time */
	int error;     /* why a candidate could not be looked at; or ENOENT */
};

static int free_live(struct mrmr_live *live)
{
	if (live->fd != -1) {
		close(live->fd);
	}
	if (live->private_fd != -1) {
		close(live->private_fd);
	}
	return 0;
}

/* --- candidates --------------------------------------------------------------- */

/* Within the member, and through no symlink. */
static int open_beneath(int at_fd, const char *path)
{
	struct open_how how = {
		/* what it is shows only when it is open: not to hang on a
		   FIFO */
		.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, at_fd, path, &how, sizeof(how));
}

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

static bool is_not_there(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP ||
	       error == EXDEV || error == ENAMETOOLONG;
}

/* True ends the search. */
static bool try_path(struct search *s, int at_fd, const char *path)
{
	const struct mrmr_node *node = s->node;
	struct stat st = {0};
	int fd = open_beneath(at_fd, path);

	if (fd == -1) {
		if (!is_not_there(errno)) {
			s->error = errno;
		}
		return false;
	}
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		close(fd);
		return false;
	}
	if (node->inode != 0 && (uint64_t)st.st_ino == node->inode) {
		s->fd = fd;
		return true;
	}
	if (s->alike_fd == -1 && (uint64_t)st.st_size == node->size_bytes &&
	    mtime_ns(&st) == node->mtime_ns) {
		s->alike_fd = fd;
		return false;
	}
	close(fd);
	return false;
}

static bool try_trash(struct search *s, const char *path)
{
	char *full = talloc_asprintf(s->mem_ctx, MRMR_TRASH "/%s", path);

	return full != NULL && try_path(s, s->member->private_fd, full);
}

/* Where the queue says that a path of the catalogue is by now. */
static bool try_queue(struct search *s, const char *path)
{
	struct mrmr_queue *queue = s->engine->queue;
	char *trashed = NULL;
	char *now = NULL;

	if (queue == NULL) {
		return false;
	}
	now = mrmr_queue_resolve(queue, s->mem_ctx, path, &trashed);
	if (now != NULL) {
		return strcmp(now, path) != 0 &&
		       try_path(s, s->member->root_fd, now);
	}
	return trashed != NULL && try_trash(s, trashed);
}

/* The names of hard links beside the first one. */
static bool try_links(struct search *s, bool by_queue)
{
	struct mrmr_catalog *catalog = s->engine->catalog;
	struct mrmr_link *links = NULL;
	size_t num = 0;
	size_t i;

	if (mrmr_catalog_links(catalog, s->mem_ctx, s->node->id, &links,
			       &num) == -1) {
		return false;
	}
	for (i = 1; i < num; i++) {
		bool in_trash = false;
		char *dir = mrmr_catalog_path(catalog, s->mem_ctx,
					      links[i].dir_id, &in_trash);
		char *path = NULL;

		if (dir == NULL || links[i].dir_id == MRMR_ID_TRASH) {
			continue;
		}
		path = talloc_asprintf(s->mem_ctx, "%s%s%s", dir,
				       dir[0] != '\0' ? "/" : "",
				       links[i].name);
		if (path == NULL) {
			return false;
		}
		if (by_queue ? try_queue(s, path)
			     : try_path(s, s->member->root_fd, path)) {
			return true;
		}
	}
	return false;
}

static void find_file(struct search *s)
{
	bool in_trash = false;
	char *path = mrmr_catalog_path(s->engine->catalog, s->mem_ctx,
				       s->node->id, &in_trash);

	if (path == NULL) {
		return;
	}
	if (in_trash) {
		try_trash(s, path);
		return;
	}
	if (try_path(s, s->member->root_fd, path) || try_queue(s, path) ||
	    try_links(s, false) || try_links(s, true)) {
		return;
	}
}

/* --- opening ------------------------------------------------------------------- */

static bool has_preimages(const struct mrmr_member *member, uint64_t inode)
{
	char name[sizeof(MRMR_UNDO "/") + 16];
	struct stat st;

	if (inode == 0) {
		return false;
	}
	snprintf(name, sizeof(name), MRMR_UNDO "/%" PRIx64, inode);
	return fstatat(member->private_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int choose(struct search *s, struct mrmr_live *live)
{
	if (s->fd == -1 && s->alike_fd != -1) {
		s->fd = s->alike_fd;
		s->alike_fd = -1;
		live->is_alike = true;
	}
	if (s->alike_fd != -1) {
		close(s->alike_fd);
	}
	live->fd = s->fd;
	if (live->fd == -1 && !has_preimages(s->member, live->inode)) {
		errno = s->error;
		return -1;
	}
	live->private_fd = fcntl(s->member->private_fd, F_DUPFD_CLOEXEC, 0);
	return live->private_fd == -1 ? -1 : 0;
}

int mrmr_live_open(void *mem_ctx, struct mrmr_engine *engine,
		   const struct mrmr_node *node, struct mrmr_live **live)
{
	struct search s = {
		.engine = engine,
		.node = node,
		.fd = -1,
		.alike_fd = -1,
		.error = ENOENT,
	};
	size_t index = mrmr_engine_member(engine, node->member);
	struct mrmr_live *made = NULL;
	int saved_errno;
	int ret;

	if (index == SIZE_MAX ||
	    engine->pool->members[index].state != MRMR_MEMBER_ONLINE) {
		errno = ENODEV;
		return -1;
	}
	s.member = &engine->pool->members[index];
	if (mrmr_fault("live-open") != 0) {
		return -1;
	}
	made = talloc_zero(mem_ctx, struct mrmr_live);
	s.mem_ctx = talloc_new(made);
	if (s.mem_ctx == NULL) {
		talloc_free(made);
		errno = ENOMEM;
		return -1;
	}
	made->fd = -1;
	made->private_fd = -1;
	made->inode = node->inode;
	made->generation = node->generation;
	talloc_set_destructor(made, free_live);
	find_file(&s);
	ret = choose(&s, made);
	saved_errno = errno;
	talloc_free(s.mem_ctx);
	if (ret == -1) {
		talloc_free(made);
		errno = saved_errno;
		return -1;
	}
	*live = made;
	return 0;
}

int mrmr_live_fd(const struct mrmr_live *live)
{
	return live->fd;
}

/* --- reading --------------------------------------------------------------------- */

static int read_all(int fd, uint8_t *buf, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t got = pread(fd, buf, len, (off_t)offset);

		if (got == -1 && errno == EINTR) {
			continue;
		}
		if (got == 0) {
			errno = EIO;
		}
		if (got <= 0) {
			return -1;
		}
		buf += got;
		len -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

int mrmr_live_read(struct mrmr_live *live, void *buf, size_t len,
		   uint64_t offset)
{
	if (mrmr_fault("live-read") != 0) {
		return -1;
	}
	/* Pre-images are kept by inode: of another one there can be none. */
	if (live->is_alike &&
	    mrmr_undo_read(live->private_fd, live->inode, live->generation, -1,
			   buf, len, offset) == -1) {
		return read_all(live->fd, buf, len, offset);
	}
	if (live->is_alike) {
		return 0;
	}
	return mrmr_undo_read(live->private_fd, live->inode, live->generation,
			      live->fd, buf, len, offset);
}
