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
#include <mrmr/file.h>
#include <mrmr/live.h>
#include <mrmr/staging.h>
#include <mrmr/trash.h>
#include <mrmr/undo.h>

#define NS_PER_S INT64_C(1000000000)

/* Own descriptors: a member that is let go of, or comes anew, closes the
   pool's. */
struct mrmr_live_member {
	uint16_t number;
	int root_fd;
	int private_fd;
	uint64_t dir_id; /* whose path was asked for last, or 0 */
	char *dir_path;
};

struct mrmr_live {
	struct mrmr_live_member *member;
	uint64_t inode;
	uint32_t generation;
	uint64_t size_bytes;
	int64_t mtime_ns;
	int fd;           /* -1: there is no file, or it is closed; */
	char *path;       /* then it is opened by this, below at_fd */
	int at_fd;        /* one of member's */
	bool is_alike;    /* not by its inode, but by its size and time */
	bool is_expected; /* to be found out when it is opened */
};

struct search {
	struct mrmr_engine *engine;
	const struct mrmr_node *node;
	struct mrmr_live *live;
	void *mem_ctx; /* what the search needs meanwhile */
	int error;     /* why a candidate could not be looked at; or ENOENT */
};

/* --- members -------------------------------------------------------------------- */

static int close_member(struct mrmr_live_member *member)
{
	if (member->root_fd != -1) {
		close(member->root_fd);
	}
	if (member->private_fd != -1) {
		close(member->private_fd);
	}
	return 0;
}

struct mrmr_live_member *mrmr_live_member_open(void *mem_ctx,
					       struct mrmr_engine *engine,
					       uint16_t number)
{
	size_t index = mrmr_engine_member(engine, number);
	const struct mrmr_member *from = NULL;
	struct mrmr_live_member *member = NULL;

	if (index == SIZE_MAX ||
	    engine->pool->members[index].state != MRMR_MEMBER_ONLINE) {
		errno = ENODEV;
		return NULL;
	}
	from = &engine->pool->members[index];
	member = talloc_zero(mem_ctx, struct mrmr_live_member);
	if (member == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	member->number = number;
	member->root_fd = fcntl(from->root_fd, F_DUPFD_CLOEXEC, 0);
	member->private_fd = fcntl(from->private_fd, F_DUPFD_CLOEXEC, 0);
	talloc_set_destructor(member, close_member);
	if (member->root_fd == -1 || member->private_fd == -1) {
		int saved_errno = errno;

		talloc_free(member);
		errno = saved_errno;
		return NULL;
	}
	return member;
}

/* --- candidates --------------------------------------------------------------- */

/* Within the member, and through no symlink. */
static int open_beneath(int at_fd, const char *path)
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

static bool is_unchanged(const struct mrmr_live *live, const struct stat *st)
{
	return (uint64_t)st->st_size == live->size_bytes &&
	       mtime_ns(st) == live->mtime_ns;
}

static bool is_not_there(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP ||
	       error == EXDEV || error == ENAMETOOLONG;
}

/* Make this open file the one that is known by path, for now. */
static void take_file(struct mrmr_live *live, int fd, int at_fd,
		      const char *path, bool is_alike)
{
	if (live->fd != -1) {
		close(live->fd);
	}
	talloc_free(live->path);
	live->fd = fd;
	live->at_fd = at_fd;
	live->path = talloc_strdup(live, path);
	live->is_alike = is_alike;
}

/* True ends the search. */
static bool try_path(struct search *s, int at_fd, const char *path)
{
	struct mrmr_live *live = s->live;
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
	if (live->inode != 0 && (uint64_t)st.st_ino == live->inode) {
		take_file(live, fd, at_fd, path, false);
		return true;
	}
	if (live->fd == -1 && is_unchanged(live, &st)) {
		take_file(live, fd, at_fd, path, true);
		return false;
	}
	close(fd);
	return false;
}

static bool try_trash(struct search *s, const char *path)
{
	char *full = talloc_asprintf(s->mem_ctx, MRMR_TRASH "/%s", path);

	return full != NULL && try_path(s, s->live->member->private_fd, full);
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
		       try_path(s, s->live->member->root_fd, now);
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
			     : try_path(s, s->live->member->root_fd, path)) {
			return true;
		}
	}
	return false;
}

/* Of one that lost its name while its member was away: it may have come to the
   trash a moment ago, or not have been removed at all. */
static bool try_gone(struct search *s, const char *path)
{
	if (strncmp(path, MRMR_TRASH_GONE, strlen(MRMR_TRASH_GONE)) != 0) {
		return false;
	}
	path = mrmr_trash_origin(path);
	return try_path(s, s->live->member->root_fd, path) ||
	       try_queue(s, path);
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
		if (!try_trash(s, path)) {
			try_gone(s, path);
		}
		return;
	}
	if (try_path(s, s->live->member->root_fd, path) || try_queue(s, path) ||
	    try_links(s, false)) {
		return;
	}
	try_links(s, true);
}

/* --- opening ------------------------------------------------------------------- */

static int close_live(struct mrmr_live *live)
{
	if (live->fd != -1) {
		close(live->fd);
	}
	return 0;
}

static bool has_preimages(const struct mrmr_live *live)
{
	char name[sizeof(MRMR_UNDO "/") + 16];
	struct stat st;

	if (live->inode == 0) {
		return false;
	}
	snprintf(name, sizeof(name), MRMR_UNDO "/%" PRIx64, live->inode);
	return fstatat(live->member->private_fd, name, &st,
		       AT_SYMLINK_NOFOLLOW) == 0;
}

static int look_for(struct search *s)
{
	if (mrmr_fault("live-open") != 0) {
		return -1;
	}
	find_file(s);
	if (s->live->fd == -1 && !has_preimages(s->live)) {
		errno = s->error;
		return -1;
	}
	return 0;
}

static struct mrmr_live *make(void *mem_ctx, struct mrmr_live_member *member,
			      const struct mrmr_node *node)
{
	struct mrmr_live *live = talloc_zero(mem_ctx, struct mrmr_live);

	if (live == NULL) {
		return NULL;
	}
	live->member = member;
	live->inode = node->inode;
	live->generation = node->generation;
	live->size_bytes = node->size_bytes;
	live->mtime_ns = node->mtime_ns;
	live->fd = -1;
	talloc_set_destructor(live, close_live);
	return live;
}

int mrmr_live_at(void *mem_ctx, struct mrmr_live_member *member,
		 const struct mrmr_node *node, const char *path,
		 struct mrmr_live **live)
{
	struct mrmr_live *made = NULL;

	if (mrmr_fault("live-open") != 0) {
		return -1;
	}
	made = make(mem_ctx, member, node);
	if (made != NULL) {
		made->path = talloc_strdup(made, path);
	}
	if (made == NULL || made->path == NULL) {
		talloc_free(made);
		errno = ENOMEM;
		return -1;
	}
	made->at_fd = member->root_fd;
	*live = made;
	return 0;
}

int mrmr_live_open_on(void *mem_ctx, struct mrmr_engine *engine,
		      struct mrmr_live_member *member,
		      const struct mrmr_node *node, bool is_closed,
		      struct mrmr_live **live)
{
	struct search s = {.engine = engine, .node = node, .error = ENOENT};
	int saved_errno;
	int ret;

	if (member->number != node->member) {
		errno = EINVAL;
		return -1;
	}
	s.live = make(mem_ctx, member, node);
	s.mem_ctx = s.live != NULL ? talloc_new(s.live) : NULL;
	if (s.mem_ctx == NULL) {
		talloc_free(s.live);
		errno = ENOMEM;
		return -1;
	}
	ret = look_for(&s);
	saved_errno = errno;
	talloc_free(s.mem_ctx);
	if (ret == -1) {
		talloc_free(s.live);
		errno = saved_errno;
		return -1;
	}
	if (is_closed && s.live->path != NULL) {
		close(s.live->fd);
		s.live->fd = -1;
	}
	*live = s.live;
	return 0;
}

int mrmr_live_open(void *mem_ctx, struct mrmr_engine *engine,
		   const struct mrmr_node *node, struct mrmr_live **live)
{
	struct mrmr_live_member *member =
		mrmr_live_member_open(mem_ctx, engine, node->member);
	int saved_errno;
	int ret;

	if (member == NULL) {
		return -1;
	}
	ret = mrmr_live_open_on(mem_ctx, engine, member, node, false, live);
	if (ret == -1) {
		saved_errno = errno;
		talloc_free(member);
		errno = saved_errno;
		return -1;
	}
	/* Destructors of children run after their parent's: what needs the
	   member is its own descriptor only. */
	talloc_steal(*live, member);
	return 0;
}

int mrmr_live_fd(const struct mrmr_live *live)
{
	return live->fd;
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
	talloc_set_destructor(made, close_live);
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
	live->fd = open_beneath(live->at_fd, live->path);
	if (live->fd == -1) {
		return -1;
	}
	if (fstat(live->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		live->is_alike =
			live->inode == 0 || (uint64_t)st.st_ino != live->inode;
		if (!live->is_alike || is_unchanged(live, &st)) {
			return 0;
		}
	}
	mrmr_live_let_go(live);
	errno = ENOENT;
	return -1;
}

/* --- reading --------------------------------------------------------------------- */

/* The file, open for one look; -1 if it is not there. To be given back. */
static int borrow_file(const struct mrmr_live *live)
{
	struct stat st = {0};
	int fd;

	if (live->fd != -1 || live->path == NULL) {
		return live->fd;
	}
	fd = open_beneath(live->at_fd, live->path);
	if (fd == -1) {
		return -1;
	}
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    (live->is_alike ? !is_unchanged(live, &st)
			    : (uint64_t)st.st_ino != live->inode)) {
		close(fd);
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

int mrmr_live_read(struct mrmr_live *live, void *buf, size_t len,
		   uint64_t offset)
{
	int ret;
	int fd;

	if (mrmr_fault("live-read") != 0) {
		return -1;
	}
	if (live->is_expected) {
		return open_expected(live) == 0
			       ? read_from(live, live->fd, buf, len, offset)
			       : -1;
	}
	fd = borrow_file(live);
	ret = read_from(live, fd, buf, len, offset);
	give_back(live, fd);
	return ret;
}

bool mrmr_live_is_unchanged(struct mrmr_live *live)
{
	struct stat st = {0};
	int fd = borrow_file(live);
	bool ret = fd != -1 && fstat(fd, &st) == 0 && is_unchanged(live, &st);

	give_back(live, fd);
	return ret;
}

bool mrmr_live_has(struct mrmr_live *live, size_t len, uint64_t offset)
{
	struct stat st = {0};
	int fd = borrow_file(live);
	bool has = fd != -1 && fstat(fd, &st) == 0 && is_unchanged(live, &st);

	give_back(live, fd);
	return has || (live->inode != 0 &&
		       mrmr_undo_has(live->member->private_fd, live->inode,
				     live->generation, (uint64_t)st.st_size,
				     len, offset));
}
