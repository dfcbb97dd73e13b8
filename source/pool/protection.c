/*
 * MRMR: what a pool needs of its protector, and the protector of the pool.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <mrmr/catalog.h>
#include <mrmr/guard.h>
#include <mrmr/log.h>
#include <mrmr/protection.h>
#include <mrmr/shared.h>

static bool is_there(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int mrmr_protection_open(struct mrmr_pool *pool, struct mrmr_error *err)
{
	if (pool->config->parity.max == 0 &&
	    !is_there(pool->state_fd, MRMR_CATALOG_FOLDER)) {
		return 0;
	}
	pool->queue = mrmr_queue_open(pool, pool->state_fd, err);
	if (pool->queue == NULL) {
		return -1;
	}
	pool->guard = mrmr_guard_open(pool, pool->state_fd, err);
	return pool->guard != NULL ? 0 : -1;
}

int mrmr_protection_check(struct mrmr_pool *pool, struct mrmr_error *err)
{
	size_t i;

	if (pool->guard == NULL ||
	    is_there(pool->state_fd, MRMR_CATALOG_FOLDER)) {
		return 0;
	}
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state != MRMR_MEMBER_ONLINE ||
		    !is_there(member->private_fd, MRMR_CATALOG_PART)) {
			continue;
		}
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s has protected files, of which %s knows "
			 "nothing: mrmr-admin recover; until then, all that is "
			 "overwritten or deleted is kept",
			 mrmr_member_name(member), pool->config->state_dir);
		return mrmr_guard_distrust(pool->guard, err);
	}
	return 0;
}

/* --- telling --------------------------------------------------------------- */

void mrmr_tell(struct mrmr_pool *pool, enum mrmr_event_kind kind, size_t member,
	       uint64_t inode, const char *path, const char *to)
{
	struct mrmr_event event = {
		.kind = kind,
		.inode = inode,
		.path = path,
		.to = to,
	};

	if (pool->queue == NULL) {
		return;
	}
	if (member != MRMR_NO_MEMBER) {
		event.member = pool->members[member].config->id;
	}
	mrmr_queue_add(pool->queue, &event);
}

bool mrmr_is_in_subvolume(const struct mrmr_member *member,
			  const struct stat *st)
{
	return member->state == MRMR_MEMBER_ONLINE && st->st_dev != member->dev;
}

uint64_t mrmr_inode_to_tell(const struct mrmr_pool *pool, size_t member,
			    const struct stat *st)
{
	return mrmr_is_in_subvolume(&pool->members[member], st) ? 0
								: st->st_ino;
}

int mrmr_name_path(struct mrmr_dir *dir, const char *name,
		   char path[MRMR_PATH_MAX])
{
	size_t len;

	if (mrmr_dir_path(dir, path) == -1) {
		return -1;
	}
	len = strlen(path);
	if (len + strlen(name) + 2 > MRMR_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	sprintf(path + len, "%s%s", len > 0 ? "/" : "", name);
	return 0;
}

void mrmr_tell_name(struct mrmr_dir *dir, const char *name,
		    enum mrmr_event_kind kind, size_t member, uint64_t inode)
{
	char path[MRMR_PATH_MAX];
	int saved_errno = errno;

	if (dir->pool->queue == NULL) {
		return;
	}
	if (mrmr_name_path(dir, name, path) == 0) {
		mrmr_tell(dir->pool, kind, member, inode, path, NULL);
	} else {
		mrmr_tell(dir->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "",
			  NULL);
	}
	errno = saved_errno;
}

/* --- room ------------------------------------------------------------------ */

static struct mrmr_shared_room *room_of(const struct mrmr_pool *pool,
					size_t member)
{
	return &pool->shared->room[pool->members[member].slot];
}

void mrmr_room_ask(struct mrmr_pool *pool, size_t member, uint64_t bytes)
{
	struct mrmr_shared_room *room = room_of(pool, member);
	uint64_t wanted = atomic_load(&room->wanted_bytes);

	/* Those who wait at the same time have files of their own, but also try
	   again and again: the largest wish is granted, then the next. */
	while (bytes > wanted &&
	       !atomic_compare_exchange_weak(&room->wanted_bytes, &wanted,
					     bytes)) {
	}
}

uint64_t mrmr_room_take_wish(struct mrmr_pool *pool, size_t member)
{
	return atomic_exchange(&room_of(pool, member)->wanted_bytes, 0);
}

uint64_t mrmr_room_reclaimable(const struct mrmr_pool *pool, size_t member)
{
	/* A pool that is only looked at may have no page. */
	if (pool->shared == NULL || pool->members[member].slot == -1) {
		return 0;
	}
	return atomic_load_explicit(&room_of(pool, member)->reclaimable_bytes,
				    memory_order_relaxed);
}

bool mrmr_room_trash_seen(const struct mrmr_pool *pool, size_t member,
			  struct mrmr_trash_seen *seen)
{
	struct mrmr_shared_room *room = room_of(pool, member);

	*seen = (struct mrmr_trash_seen){
		.at_ns = atomic_load(&room->trash_seen_ns),
		.oldest_ns = atomic_load(&room->trash_oldest_ns),
		.bytes = atomic_load(&room->reclaimable_bytes),
	};
	return seen->at_ns > 0;
}

void mrmr_room_look_at_trash(struct mrmr_pool *pool, size_t member,
			     int64_t begun_ns)
{
	atomic_store(&room_of(pool, member)->trash_seen_ns, -begun_ns);
}

void mrmr_room_see_trash(struct mrmr_pool *pool, size_t member,
			 const struct mrmr_trash_seen *seen,
			 uint64_t known_bytes)
{
	struct mrmr_shared_room *room = room_of(pool, member);
	uint64_t before =
		atomic_exchange(&room->reclaimable_bytes, seen->bytes);
	int64_t begun_ns = -seen->at_ns;

	atomic_store(&room->trash_oldest_ns, seen->oldest_ns);
	/* unless it was forgotten meanwhile */
	atomic_compare_exchange_strong(&room->trash_seen_ns, &begun_ns,
				       before == known_bytes ? seen->at_ns : 0);
}

void mrmr_room_forget_trash(struct mrmr_pool *pool, size_t member)
{
	if (pool->shared != NULL && pool->members[member].slot != -1) {
		atomic_store(&room_of(pool, member)->trash_seen_ns, 0);
	}
}

void mrmr_room_add_reclaimable(struct mrmr_pool *pool, size_t member,
			       uint64_t bytes)
{
	if (pool->shared != NULL && pool->members[member].slot != -1) {
		atomic_fetch_add(&room_of(pool, member)->reclaimable_bytes,
				 bytes);
	}
}
