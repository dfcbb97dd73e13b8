/*
 * MRMR: the trash (see mrmr/trash.h).
 *
 * Whoever deletes a thousand files of a directory must not pay for a thousand
 * folders: the folder that a process uses on a member is used again for some
 * seconds, and the descriptor of the last place in it is kept. A name that is
 * taken there (it was deleted, made and deleted again) makes a new one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/beneath.h>
#include <mrmr/fault.h>
#include <mrmr/guard.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/protection.h>
#include <mrmr/reserve.h>
#include <mrmr/staging.h>
#include <mrmr/trash.h>

#define REUSE_NS (10 * INT64_C(1000000000))

/* The folder in use on one member, and the last place in it. */
struct trash_place {
	uint32_t epoch; /* of the member */
	char stamp[128];
	int64_t until_ns;
	int stamp_fd; /* -1: none */
	char parent[MRMR_PATH_MAX];
	int parent_fd; /* -1: none */
};

struct mrmr_trash_cache {
	struct trash_place **places; /* by member, NULL until it is used */
	size_t num;
};

bool mrmr_is_guarded(struct mrmr_pool *pool, size_t member,
		     const struct stat *st)
{
	return pool->guard != NULL && S_ISREG(st->st_mode) &&
	       !mrmr_is_in_subvolume(&pool->members[member], st) &&
	       mrmr_guard_find(pool->guard, &pool->members[member].config->id,
			       st->st_ino) != 0;
}

/* --- where ----------------------------------------------------------------- */

const char *mrmr_trash_origin(const char *trash_path)
{
	const char *path = trash_path;
	const char *slash = strchr(path, '/');

	if (slash != NULL &&
	    strncmp(path, MRMR_TRASH_GONE, strlen(MRMR_TRASH_GONE)) == 0) {
		path = slash + 1;
		slash = strchr(path, '/');
	}
	return slash != NULL ? slash + 1 : path;
}

static void place_close(struct trash_place *place)
{
	int saved_errno = errno;

	if (place->parent_fd != -1) {
		close(place->parent_fd);
		place->parent_fd = -1;
	}
	if (place->stamp_fd != -1) {
		close(place->stamp_fd);
		place->stamp_fd = -1;
	}
	errno = saved_errno;
}

void mrmr_trash_let_go(struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; pool->trash != NULL && i < pool->trash->num; i++) {
		if (pool->trash->places[i] != NULL) {
			place_close(pool->trash->places[i]);
		}
	}
	TALLOC_FREE(pool->trash);
}

static struct trash_place *place_of(struct mrmr_pool *pool, size_t member)
{
	struct mrmr_trash_cache *cache = pool->trash;
	struct trash_place *place = NULL;

	if (cache == NULL) {
		cache = talloc_zero(pool, struct mrmr_trash_cache);
		if (cache == NULL) {
			errno = ENOMEM;
			return NULL;
		}
		cache->places = talloc_zero_array(cache, struct trash_place *,
						  pool->num_members);
		if (cache->places == NULL) {
			talloc_free(cache);
			errno = ENOMEM;
			return NULL;
		}
		cache->num = pool->num_members;
		pool->trash = cache;
	}
	place = cache->places[member];
	if (place == NULL) {
		place = talloc_zero(cache, struct trash_place);
		if (place == NULL) {
			errno = ENOMEM;
			return NULL;
		}
		place->stamp_fd = -1;
		place->parent_fd = -1;
		cache->places[member] = place;
	}
	return place;
}

static int new_stamp(const struct mrmr_member *member,
		     struct trash_place *place)
{
	struct timespec now;
	char staged[96];
	struct tm tm;
	int trash_fd;

	place_close(place);
	trash_fd = mrmr_folder_open(member->private_fd, MRMR_TRASH);
	if (trash_fd == -1) {
		return -1;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	mrmr_staging_name(staged, sizeof(staged));
	snprintf(place->stamp, sizeof(place->stamp),
		 "%04d%02d%02dT%02d%02d%02dZ.%.90s", tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		 staged);
	place->stamp_fd = mrmr_folder_open(trash_fd, place->stamp);
	place->epoch = member->epoch;
	place->until_ns = mrmr_now_ns() + REUSE_NS;
	close(trash_fd);
	return place->stamp_fd == -1 ? -1 : 0;
}

/* Folders below at_fd for all of path; a descriptor of the deepest. */
static int make_folders(int at_fd, const char *path)
{
	char name[NAME_MAX + 1];
	int fd = dup(at_fd);

	while (fd != -1 && *path != '\0') {
		size_t len = strcspn(path, "/");
		int saved_errno;
		int next;

		if (len > NAME_MAX) {
			close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		next = mrmr_folder_open(fd, name);
		saved_errno = errno;
		close(fd);
		errno = saved_errno;
		fd = next;
		path += len + (path[len] == '/');
	}
	return fd;
}

/* The directory for a path in the folder that is in use. */
static int parent_for(struct trash_place *place, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash != NULL ? (size_t)(slash - path) : 0;

	if (len >= sizeof(place->parent)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (place->parent_fd != -1 && strlen(place->parent) == len &&
	    memcmp(place->parent, path, len) == 0) {
		return place->parent_fd;
	}
	if (place->parent_fd != -1) {
		close(place->parent_fd);
	}
	memcpy(place->parent, path, len);
	place->parent[len] = '\0';
	place->parent_fd = make_folders(place->stamp_fd, place->parent);
	return place->parent_fd;
}

/* --- what ------------------------------------------------------------------ */

static int rename_new(int from_fd, const char *from, int to_fd, const char *to)
{
	struct stat st;

	if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0) {
		return 0;
	}
	if (errno != EINVAL) {
		return -1;
	}
	/* A file system that cannot exclude the replacing: nobody but this
	   process makes names there, so looking will do. */
	if (fstatat(to_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	return errno == ENOENT ? renameat(from_fd, from, to_fd, to) : -1;
}

static int link_new(int from_fd, const char *from, int to_fd, const char *to)
{
	return mrmr_fault("trash-link") == 0
		       ? linkat(from_fd, from, to_fd, to, 0)
		       : -1;
}

static int try_place(struct mrmr_pool *pool, size_t index, int clone_fd,
		     const char *name, const char *path,
		     int (*give)(int from_fd, const char *from, int to_fd,
				 const char *to),
		     char trash_path[MRMR_TRASH_PATH_MAX], bool fresh)
{
	const struct mrmr_member *member = &pool->members[index];
	struct trash_place *place = place_of(pool, index);
	const char *slash = strrchr(path, '/');
	int fd;

	if (place == NULL) {
		return -1;
	}
	if ((fresh || place->stamp_fd == -1 || place->epoch != member->epoch ||
	     mrmr_now_ns() >= place->until_ns) &&
	    new_stamp(member, place) == -1) {
		return -1;
	}
	fd = parent_for(place, path);
	if (fd == -1 || mrmr_fault("trash") != 0) {
		return -1;
	}
	snprintf(trash_path, MRMR_TRASH_PATH_MAX, "%s/%s", place->stamp, path);
	return give(clone_fd, name, fd, slash != NULL ? slash + 1 : path);
}

static int into_trash(struct mrmr_pool *pool, size_t index, int clone_fd,
		      const char *name, const char *path,
		      int (*give)(int from_fd, const char *from, int to_fd,
				  const char *to),
		      char trash_path[MRMR_TRASH_PATH_MAX])
{
	int ret = try_place(pool, index, clone_fd, name, path, give, trash_path,
			    false);
	int saved_errno;

	/* The name is taken, or a file is where a directory should be, or the
	   folder was removed. */
	if (ret == -1 && (errno == EEXIST || errno == ENOTDIR ||
			  errno == EISDIR || errno == ENOENT)) {
		ret = try_place(pool, index, clone_fd, name, path, give,
				trash_path, true);
	}
	saved_errno = errno;
	if (ret == -1 && (errno == ENOSPC || errno == EDQUOT) &&
	    mrmr_reserve_give(&pool->members[index])) {
		return try_place(pool, index, clone_fd, name, path, give,
				 trash_path, false);
	}
	errno = saved_errno;
	return ret;
}

int mrmr_trash_move(struct mrmr_pool *pool, size_t member, int clone_fd,
		    const char *name, const char *path,
		    char trash_path[MRMR_TRASH_PATH_MAX])
{
	return into_trash(pool, member, clone_fd, name, path, rename_new,
			  trash_path);
}

int mrmr_trash_link(struct mrmr_pool *pool, size_t member, int clone_fd,
		    const char *name, const char *path,
		    char trash_path[MRMR_TRASH_PATH_MAX])
{
	return into_trash(pool, member, clone_fd, name, path, link_new,
			  trash_path);
}

bool mrmr_trash_cannot_link(int error)
{
	return error == EPERM || error == EOPNOTSUPP || error == ENOSYS ||
	       error == EMLINK || error == EINVAL;
}

void mrmr_trashed(struct mrmr_pool *pool, size_t member, const struct stat *st,
		  const char *path, const char *trash_path)
{
	mrmr_room_add_reclaimable(pool, member, (uint64_t)st->st_blocks * 512);
	if (mrmr_is_guarded(pool, member, st)) {
		mrmr_tell(pool, MRMR_EVENT_TRASHED, member, st->st_ino, path,
			  trash_path);
	}
}

static int trash(struct mrmr_pool *pool, size_t member, int clone_fd,
		 const char *name, const char *path, bool is_loser)
{
	char trash_path[MRMR_TRASH_PATH_MAX];
	struct stat st;

	if (fstatat(clone_fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    mrmr_trash_move(pool, member, clone_fd, name, path, trash_path) ==
		    -1) {
		return -1;
	}
	mrmr_trashed(pool, member, &st, path, trash_path);
	if (is_loser) {
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: its other copy of '%s' "
			 "went to " MRMR_DIR "/" MRMR_TRASH "/%s",
			 mrmr_member_name(&pool->members[member]), path,
			 trash_path);
	}
	return 0;
}

int mrmr_trash_file(struct mrmr_pool *pool, size_t member, int clone_fd,
		    const char *name, const char *path)
{
	return trash(pool, member, clone_fd, name, path, false);
}

int mrmr_trash(struct mrmr_pool *pool, size_t member, int clone_fd,
	       const char *name, const char *path)
{
	return trash(pool, member, clone_fd, name, path, true);
}

/* --- and back -------------------------------------------------------------- */

void mrmr_trash_unlink(struct mrmr_pool *pool, size_t member,
		       const char *trash_path)
{
	char path[MRMR_TRASH_PATH_MAX + sizeof(MRMR_TRASH)];
	int saved_errno = errno;

	snprintf(path, sizeof(path), MRMR_TRASH "/%s", trash_path);
	/* If it cannot be removed, the file has a name too many. */
	mrmr_unlink_beneath(pool->members[member].private_fd, path, 0);
	errno = saved_errno;
}

int mrmr_trash_return(struct mrmr_pool *pool, size_t member,
		      const char *trash_path, int clone_fd, const char *name)
{
	char path[MRMR_TRASH_PATH_MAX + sizeof(MRMR_TRASH)];
	const char *last = NULL;
	int saved_errno;
	int ret;
	int fd;

	snprintf(path, sizeof(path), MRMR_TRASH "/%s", trash_path);
	fd = mrmr_parent_beneath(pool->members[member].private_fd, path, &last);
	if (fd == -1) {
		return -1;
	}
	ret = rename_new(fd, last, clone_fd, name);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return ret;
}
