/*
 * MRMR: serving files of members that are away (see mrmr/serve.h).
 *
 * Here the pool's view of names meets the catalogue: which ghosts there are to
 * be in a directory (serve_names.c), and who computes the bytes of one.
 *
 * A file that is read has one reader, which all of its handles share. It is kept
 * for a while after the last one, as it keeps what was computed last; and not for
 * longer, as it keeps files on members open.
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
#include <mrmr/log.h>
#include <mrmr/move.h>
#include <mrmr/shared.h>
#include <mrmr/trouble.h>

#include "serve_private.h"
#include "was.h"

#define RETRY_NS (10 * INT64_C(1000000000)) /* after trouble */
#define IDLE_NS (3 * INT64_C(1000000000))

struct mrmr_served {
	struct serving *serving;
	struct mrmr_served *next;
	uint64_t node;
	struct mrmr_reader *reader;
	unsigned int users;
	int64_t used_ns;
};

static int64_t now_ns(void)
{
	return mrmr_now_ns();
}

/* As root. NULL with *err: it cannot be opened, or could not a moment ago. */
struct mrmr_engine *serve_engine(struct serving *s, struct mrmr_error *err)
{
	if (s->engine != NULL) {
		return s->engine;
	}
	if (now_ns() < s->retry_ns) {
		*err = s->last;
		errno = err->code;
		return NULL;
	}
	s->engine = mrmr_engine_open(s, s->pool, MRMR_ENGINE_READ, &s->last);
	if (s->engine == NULL) {
		s->retry_ns = now_ns() + RETRY_NS;
		if (s->last.code != ENOENT) {
			mrmr_log(MRMR_LOG_ERROR,
				 "files of members that are away cannot be "
				 "shown: %s",
				 s->last.text);
		}
		*err = s->last;
		errno = err->code;
	}
	return s->engine;
}

/* --- starting, ending ------------------------------------------------------------ */

static const struct mrmr_absent_ops ops = {.fill = serve_fill};

static int free_serving(struct serving *s)
{
	while (s->served != NULL) {
		struct mrmr_served *served = s->served;

		s->served = served->next;
		talloc_free(served);
	}
	if (!s->is_given) {
		TALLOC_FREE(s->engine);
	}
	return 0;
}

int mrmr_serve_start(struct mrmr_pool *pool, struct mrmr_engine *engine)
{
	struct serving *s = NULL;

	if (pool->queue == NULL) {
		return 0;
	}
	s = talloc_zero(pool, struct serving);
	if (s == NULL) {
		errno = ENOMEM;
		return -1;
	}
	s->pool = pool;
	s->engine = engine;
	s->is_given = engine != NULL;
	talloc_set_destructor(s, free_serving);
	pool->absent_data = s;
	pool->absent = &ops;
	return 0;
}

void mrmr_serve_stop(struct mrmr_pool *pool)
{
	struct serving *s = pool->absent_data;

	pool->absent = NULL;
	pool->absent_data = NULL;
	talloc_free(s);
}

/* --- bytes -------------------------------------------------------------------------- */

static struct mrmr_served *find_served(struct serving *s, uint64_t node)
{
	struct mrmr_served *served = s->served;

	while (served != NULL && served->node != node) {
		served = served->next;
	}
	return served;
}

/* As root. */
static struct mrmr_served *open_served(struct serving *s,
				       struct mrmr_engine *engine, uint64_t id,
				       struct mrmr_error *err)
{
	struct mrmr_served *served = find_served(s, id);
	struct mrmr_node *node = NULL;

	if (served != NULL) {
		served->users++;
		served->used_ns = now_ns();
		return served;
	}
	served = talloc_zero(NULL, struct mrmr_served);
	if (served == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	if (mrmr_catalog_get(engine->catalog, served, id, &node) == -1 ||
	    was_find(engine->catalog, served, &node) == -1) {
		mrmr_error_set(err, EIO,
			       "the catalogue does not know the file any "
			       "more");
	} else {
		served->reader = mrmr_reader_open(served, engine, node, err);
	}
	if (served->reader == NULL) {
		talloc_free(served);
		errno = err->code;
		return NULL;
	}
	TALLOC_FREE(node);
	served->serving = s;
	served->node = id;
	served->users = 1;
	served->used_ns = now_ns();
	served->next = s->served;
	s->served = served;
	return served;
}

struct mrmr_served *mrmr_served_get(struct mrmr_pool *pool,
				    const struct mrmr_ghost *ghost,
				    struct mrmr_error *err)
{
	struct serving *s = pool->absent_data;
	struct mrmr_engine *engine = NULL;
	struct mrmr_served *served = NULL;

	if (s == NULL) {
		mrmr_error_set(err, EIO, "nothing is protected in this pool");
		return NULL;
	}
	mrmr_shared_want(pool->shared, ghost->node);
	pool->identity.become_root();
	engine = serve_engine(s, err);
	if (engine != NULL) {
		served = open_served(s, engine, ghost->node, err);
	}
	pool->identity.unbecome_root();
	if (served == NULL) {
		errno = EIO;
	}
	return served;
}

/* The member that lies on a device, as far as it is known by it: members that
   share a file system have to be told apart by their inodes. */
static int find_node(struct serving *s, struct mrmr_engine *engine,
		     const struct stat *st, struct mrmr_node **node)
{
	const struct mrmr_pool *pool = s->pool;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		uint16_t number = mrmr_catalog_member(engine->catalog,
						      &member->config->id);
		uint64_t id;

		if (number != MRMR_MEMBER_NONE &&
		    atomic_load(&pool->shared->members[member->slot].dev) ==
			    st->st_dev &&
		    mrmr_catalog_find_inode(engine->catalog, number, st->st_ino,
					    &id) == 0) {
			return mrmr_catalog_get(engine->catalog, s, id, node);
		}
	}
	errno = ENOENT;
	return -1;
}

static bool is_as_protected(const struct mrmr_node *node, const struct stat *st)
{
	return node->kind == MRMR_NODE_FILE &&
	       node->size_bytes == (uint64_t)st->st_size &&
	       node->mtime_ns == (int64_t)st->st_mtim.tv_sec * 1000000000 +
					 st->st_mtim.tv_nsec;
}

static struct mrmr_served *get_file(struct serving *s, int fd,
				    struct mrmr_error *err)
{
	struct mrmr_engine *engine = serve_engine(s, err);
	struct mrmr_served *served = NULL;
	struct mrmr_node *node = NULL;
	struct stat st;

	if (engine == NULL) {
		return NULL;
	}
	if (fstat(fd, &st) == -1 || find_node(s, engine, &st, &node) == -1) {
		mrmr_error_set(err, EIO, "it is not protected");
		return NULL;
	}
	/* What was written since is nowhere else. */
	if (!is_as_protected(node, &st)) {
		mrmr_error_set(err, EIO,
			       "it was changed since it was protected");
	} else {
		served = open_served(s, engine, node->id, err);
	}
	talloc_free(node);
	return served;
}

static void count_refused(struct mrmr_pool *pool, int fd)
{
	char path[MRMR_PATH_MAX];
	size_t member;

	if (mrmr_file_locate(pool, fd, &member, path) == 0) {
		mrmr_trouble_refused(pool, member);
	}
}

struct mrmr_served *mrmr_served_get_file(struct mrmr_pool *pool, int fd,
					 struct mrmr_error *err)
{
	struct serving *s = pool->absent_data;
	struct mrmr_served *served = NULL;

	if (s == NULL) {
		mrmr_error_set(err, EIO, "nothing is protected in this pool");
		return NULL;
	}
	pool->identity.become_root();
	count_refused(pool, fd);
	served = get_file(s, fd, err);
	pool->identity.unbecome_root();
	if (served == NULL) {
		errno = EIO;
	}
	return served;
}

static size_t find_member(const struct mrmr_pool *pool,
			  const struct mrmr_uuid *id)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (mrmr_uuid_equal(&pool->members[i].config->id, id)) {
			return i;
		}
	}
	return SIZE_MAX;
}

static int open_returned(struct serving *s, const struct mrmr_ghost *ghost,
			 size_t member, int flags)
{
	struct mrmr_pool *pool = s->pool;
	struct mrmr_error err = {0};
	struct mrmr_engine *engine = serve_engine(s, &err);
	void *mem_ctx = talloc_new(NULL);
	struct mrmr_place place;
	char **paths = NULL;
	struct stat st;
	size_t num = 0;
	int dir_fd = -1;
	int fd = -1;

	if (engine != NULL &&
	    serve_paths(engine, mem_ctx, &ghost->member, ghost->node,
			ghost->inode, &paths, &num) == 0 &&
	    num == 0) {
		errno = ENOENT;
	}
	if (num > 0 &&
	    mrmr_place_find(pool, pool->spine_fd, paths[0], &place) == 0) {
		dir_fd = mrmr_dir_on_member(place.dir, member);
	}
	if (dir_fd != -1) {
		fd = openat(dir_fd, place.name, flags | O_NOFOLLOW | O_CLOEXEC);
	}
	talloc_free(mem_ctx);
	if (fd != -1 && (fstat(fd, &st) == -1 || st.st_ino != ghost->inode)) {
		close(fd);
		errno = ENOENT; /* another one has its name */
		return -1;
	}
	return fd;
}

int mrmr_serve_open_returned(struct mrmr_pool *pool,
			     const struct mrmr_ghost *ghost, int flags)
{
	size_t member = find_member(pool, &ghost->member);
	int saved_errno;
	int fd;

	if (pool->absent_data == NULL || member == SIZE_MAX ||
	    pool->members[member].state != MRMR_MEMBER_ONLINE) {
		errno = ENODEV;
		return -1;
	}
	pool->identity.become_root();
	fd = open_returned(pool->absent_data, ghost, member, flags);
	saved_errno = errno;
	pool->identity.unbecome_root();
	errno = saved_errno;
	return fd;
}

void mrmr_served_put(struct mrmr_served *served)
{
	served->users--;
	served->used_ns = now_ns();
}

int mrmr_served_prepare(struct mrmr_served *served, uint64_t offset, size_t len,
			struct mrmr_error *err)
{
	struct mrmr_pool *pool = served->serving->pool;
	int saved_errno;
	int ret;

	pool->identity.become_root();
	ret = mrmr_reader_prepare(served->reader, offset, len, err);
	saved_errno = errno;
	pool->identity.unbecome_root();
	errno = saved_errno;
	return ret;
}

ssize_t mrmr_served_read(struct mrmr_served *served, void *buf, size_t len,
			 uint64_t offset)
{
	return mrmr_reader_read(served->reader, buf, len, offset);
}

void mrmr_serve_idle(struct mrmr_pool *pool)
{
	struct serving *s = pool->absent_data;
	struct mrmr_served **at = NULL;

	if (s == NULL) {
		return;
	}
	at = &s->served;
	while (*at != NULL) {
		struct mrmr_served *served = *at;

		if (served->users > 0 || now_ns() - served->used_ns < IDLE_NS) {
			at = &served->next;
			continue;
		}
		*at = served->next;
		talloc_free(served);
	}
}

bool mrmr_serve_is_busy(const struct mrmr_pool *pool)
{
	const struct serving *s = pool->absent_data;
	const struct mrmr_served *served = NULL;

	for (served = s != NULL ? s->served : NULL; served != NULL;
	     served = served->next) {
		if (served->users > 0) {
			return true;
		}
	}
	return false;
}
