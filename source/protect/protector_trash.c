/*
 * MRMR: the protector: emptying the trash.
 *
 * The oldest first, on each member: what is over its time, what is more than the
 * trash may take, and what clients need room for. One that the catalogue does not
 * know was never protected, or a protector was killed after the commit by which it
 * left its stripes: it is unlinked, if the catalogue is sound. One that the catalogue knows under a name
 * outside of the trash is not touched: there is an event to come, or it is a further
 * name of a file that lives. Nor is one that is what is protected of a file in the
 * share (was.h).
 *
 * In a pool that is full, a file may be unable to leave: what shares stripes with it
 * needs other parity then, which is written before the old one goes, and there may
 * be no room for that. Then fewer are tried at a time, as what has left makes room
 * for the next ones; and if not one of them can, it is done stripe by stripe
 * (protector_trash_tight.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/protection.h>
#include <mrmr/reserve.h>
#include <mrmr/staging.h>

#include "protector_trash.h"
#include "trash_private.h"

#define BATCH_FILES 512
#define BATCH_BYTES (UINT64_C(512) << 20)
#define TIGHT_FILES 1024 /* that leave stripe by stripe, at a time */
#define NS_PER_S INT64_C(1000000000)
#define DAY_NS (86400 * NS_PER_S)

/* --- what there is ------------------------------------------------------------- */

static int add_file(const char *path, const struct stat *st, void *private_data)
{
	struct trash *trash = private_data;
	size_t size = talloc_array_length(trash->files);
	struct trashed *file = NULL;

	if (trash->num == size) {
		struct trashed *files =
			talloc_realloc(trash, trash->files, struct trashed,
				       size > 0 ? 2 * size : 64);

		if (files == NULL) {
			errno = ENOMEM;
			return -1;
		}
		trash->files = files;
	}
	file = &trash->files[trash->num];
	*file = (struct trashed){
		.trash = trash,
		.path = talloc_strdup(trash, path),
		.time_ns = trash_time_s(path, st) * NS_PER_S,
		.inode = (uint64_t)st->st_ino,
		.bytes = st->st_nlink == 1 ? (uint64_t)st->st_blocks * 512 : 0,
		.is_last_name = st->st_nlink == 1,
	};
	if (file->path == NULL) {
		errno = ENOMEM;
		return -1;
	}
	trash->num++;
	trash->bytes += file->bytes;
	return 0;
}

static int compare(const void *a_void, const void *b_void)
{
	const struct trashed *a = a_void;
	const struct trashed *b = b_void;

	if (a->time_ns != b->time_ns) {
		return a->time_ns < b->time_ns ? -1 : 1;
	}
	return strcmp(a->path, b->path);
}

static int close_trash(struct trash *trash)
{
	if (trash->fd != -1) {
		close(trash->fd);
	}
	return 0;
}

/* NULL: it cannot be read, which is told. */
static struct trash *look(struct protector *p, struct mrmr_member *member)
{
	struct trash *trash = talloc_zero(p, struct trash);

	if (trash == NULL) {
		return NULL;
	}
	trash->begun_ns = protector_now_ns();
	/* unless all goes well, the next one looks again */
	mrmr_room_look_at_trash(p->pool, member->index, trash->begun_ns);
	trash->known_bytes = mrmr_room_reclaimable(p->pool, member->index);
	trash->p = p;
	trash->member = member;
	trash->number = p->engine->number[member->index];
	trash->fd = openat(member->private_fd, MRMR_TRASH,
			   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	talloc_set_destructor(trash, close_trash);
	if (trash->fd == -1 && errno == ENOENT) {
		return trash; /* nothing was ever deleted */
	}
	if (trash->fd == -1 || trash_walk(member, add_file, trash) == -1) {
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: its trash cannot be read: %s",
			 mrmr_member_name(member), strerror(errno));
		talloc_free(trash);
		return NULL;
	}
	if (trash->num > 0) {
		qsort(trash->files, trash->num, sizeof(trash->files[0]),
		      compare);
	}
	return trash;
}

/* --- what is to go ----------------------------------------------------------------- */

/* What came before this is over its time. */
static int64_t find_over_ns(const struct protector *p)
{
	return protector_now_ns() -
	       (int64_t)p->pool->config->trash_days * DAY_NS;
}

static uint64_t find_most(const struct protector *p,
			  const struct mrmr_member *member)
{
	return member->total_bytes / 100 * p->pool->config->trash_max_percent;
}

/*
 * Is there a reason to look through a member's trash? A protector runs after each
 * file that is closed, and a drive that is asleep should not be woken for that: what
 * the last one left tells when something of it is over its time, or too much. Once
 * a day it is looked at nevertheless, as people do things there by hand; and always
 * if somebody says sync.
 */
static bool is_due(const struct protector *p, const struct mrmr_member *member)
{
	struct mrmr_trash_seen seen;
	int64_t now_ns = protector_now_ns();

	return !p->options->background ||
	       !mrmr_room_trash_seen(p->pool, member->index, &seen) ||
	       now_ns < seen.at_ns || now_ns - seen.at_ns >= DAY_NS ||
	       seen.oldest_ns < find_over_ns(p) ||
	       seen.bytes > find_most(p, member);
}

/* How many of the oldest. */
static size_t count_due(struct trash *trash, uint64_t wanted_bytes)
{
	int64_t over_ns = find_over_ns(trash->p);
	uint64_t most = find_most(trash->p, trash->member);
	uint64_t left = trash->bytes;
	uint64_t freed = 0;
	size_t i;

	for (i = 0; i < trash->num; i++) {
		const struct trashed *file = &trash->files[i];

		if (file->time_ns >= over_ns && left <= most &&
		    freed >= wanted_bytes) {
			break;
		}
		left -= file->bytes;
		freed += file->bytes;
	}
	return i;
}

/* --- which are to go ------------------------------------------------------------------- */

/* Of all members: those that clients wait for first, then the oldest. */
struct due_files {
	struct trashed **list; /* talloc */
	size_t num;
};

static int compare_due(const void *a_void, const void *b_void)
{
	const struct trashed *a = *(struct trashed *const *)a_void;
	const struct trashed *b = *(struct trashed *const *)b_void;
	bool a_is_wanted = a->trash->wanted_bytes > 0;
	bool b_is_wanted = b->trash->wanted_bytes > 0;

	if (a_is_wanted != b_is_wanted) {
		return a_is_wanted ? -1 : 1;
	}
	return compare(a, b);
}

/*
 * Those that the catalogue does not know stay while it is damaged: it may have known
 * them, and others' parity may need them.
 */
static int leave_doubtful(struct protector *p, struct due_files *due,
			  struct mrmr_error *err)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < due->num; i++) {
		struct trashed *file = due->list[i];
		uint64_t id;

		if (mrmr_catalog_find_inode(p->catalog, file->trash->number,
					    file->inode, &id) == -1) {
			if (errno != ENOENT) {
				return protector_fail_catalog(p, err);
			}
			if (!tidy_is_sound(p)) {
				continue;
			}
		}
		due->list[num++] = file;
	}
	due->num = num;
	return 0;
}

static int empty(struct protector *p, struct due_files *due,
		 struct mrmr_error *err)
{
	size_t most = BATCH_FILES;
	size_t done = 0;

	while (done < due->num && !protector_should_stop(p)) {
		uint64_t bytes = 0;
		size_t n = 0;
		int ret;

		while (done + n < due->num && n < most &&
		       (n == 0 || bytes < BATCH_BYTES)) {
			bytes += due->list[done + n]->bytes;
			n++;
		}
		/* what has gone makes room for the parity of what is left */
		mrmr_pool_look_at_space(p->pool);
		ret = trash_leave(p, due->list + done, n, err);
		if (ret == 1 && n > 1) {
			most = n / 2;
			continue;
		}
		if (ret == 1) {
			n = due->num - done < TIGHT_FILES ? due->num - done
							  : TIGHT_FILES;
			ret = trash_leave_by_stripes(p, due->list + done, n,
						     err);
		}
		if (ret == -1) {
			return -1;
		}
		done += n;
		most = 2 * most < BATCH_FILES ? 2 * most : BATCH_FILES;
	}
	return 0;
}

/* --- when ------------------------------------------------------------------------------- */

/* What clients wait for, less what there is. */
static uint64_t take_wish(struct protector *p, struct mrmr_member *member)
{
	uint64_t wish = mrmr_room_take_wish(p->pool, member->index);
	uint64_t room = mrmr_member_room(member);

	return wish > room ? wish - room : 0;
}

bool trash_is_wished(struct protector *p)
{
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		const struct mrmr_member *member = &p->pool->members[i];

		/* of one that cannot be written, nothing can be had now */
		if (member->slot != -1 && member->state == MRMR_MEMBER_ONLINE &&
		    !member->read_only &&
		    atomic_load(
			    &p->pool->shared->room[member->slot].wanted_bytes) >
			    0) {
			return true;
		}
	}
	return false;
}

/* What is due of a member's trash; what is not is let go of. */
static int add_due(struct due_files *due, struct trash *trash, size_t num)
{
	size_t i;

	due->list = talloc_realloc(trash->p, due->list, struct trashed *,
				   due->num + num + 1);
	if (due->list == NULL) {
		return -1;
	}
	for (i = 0; i < trash->num; i++) {
		if (i < num) {
			due->list[due->num++] = &trash->files[i];
		} else {
			TALLOC_FREE(trash->files[i].path);
		}
	}
	return 0;
}

static int look_at_all(struct protector *p, struct trash **trashes,
		       struct due_files *due)
{
	const struct mrmr_trash_seen none = {.at_ns = 0};
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		struct mrmr_member *member = &p->pool->members[i];
		uint64_t wanted_bytes;

		if (member->state != MRMR_MEMBER_ONLINE || member->read_only) {
			continue;
		}
		wanted_bytes = take_wish(p, member);
		if (wanted_bytes == 0 && !is_due(p, member)) {
			continue;
		}
		trashes[i] = look(p, member);
		if (trashes[i] == NULL) {
			mrmr_room_see_trash(p->pool, i, &none, 0);
			continue;
		}
		trashes[i]->wanted_bytes = wanted_bytes;
		p->makes_room = p->makes_room || wanted_bytes > 0;
		if (add_due(due, trashes[i],
			    count_due(trashes[i], wanted_bytes)) == -1) {
			return -1;
		}
	}
	if (due->num > 0) {
		qsort(due->list, due->num, sizeof(due->list[0]), compare_due);
	}
	return 0;
}

/* When the oldest that is left had come there; if none is, when it was looked at. */
static int64_t find_oldest_ns(const struct trash *trash)
{
	size_t i;

	for (i = 0; i < trash->num; i++) {
		if (!trash->files[i].is_removed) {
			return trash->files[i].time_ns < trash->begun_ns
				       ? trash->files[i].time_ns
				       : trash->begun_ns;
		}
	}
	return trash->begun_ns;
}

static void tell_left(struct protector *p, struct trash **trashes)
{
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		const struct trash *trash = trashes[i];
		struct mrmr_trash_seen seen;

		if (trash == NULL) {
			continue;
		}
		seen = (struct mrmr_trash_seen){
			.at_ns = trash->has_failed ? 0 : trash->begun_ns,
			.oldest_ns = find_oldest_ns(trash),
			.bytes = trash->bytes - trash->freed_bytes,
		};
		mrmr_room_see_trash(p->pool, i, &seen, trash->known_bytes);
	}
}

static bool has_freed(struct protector *p, struct trash **trashes)
{
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		if (trashes[i] != NULL && trashes[i]->freed_bytes > 0) {
			return true;
		}
	}
	return false;
}

int trash_run(struct protector *p, bool *any, struct mrmr_error *err)
{
	struct trash **trashes =
		talloc_zero_array(p, struct trash *, p->pool->num_members);
	struct due_files due = {.list = NULL};
	size_t i;
	int ret;

	if (trashes == NULL) {
		return protector_no_memory(err);
	}
	mrmr_pool_look_at_space(p->pool);
	ret = look_at_all(p, trashes, &due) == 0 ? leave_doubtful(p, &due, err)
						 : protector_no_memory(err);
	if (ret == 0) {
		ret = empty(p, &due, err);
	}
	tell_left(p, trashes);
	p->makes_room = false;
	if (has_freed(p, trashes)) {
		*any = true;
		mrmr_pool_look_at_space(p->pool);
		if (ret == 0) {
			ret = room_look(p, err);
		}
	}
	for (i = 0; i < p->pool->num_members; i++) {
		talloc_free(trashes[i]);
	}
	talloc_free(due.list);
	talloc_free(trashes);
	p->trash_is_seen = ret == 0;
	if (ret == 0) {
		mrmr_reserve_keep(p->pool);
	}
	return ret;
}
