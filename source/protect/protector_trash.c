/*
 * MRMR: the protector: emptying the trash.
 *
 * The oldest first, on each member: what is over its time, what is more than the
 * trash may take, and what clients need room for. Other files' redundancy may
 * depend on a file in the trash, so it leaves its stripes, and the catalogue, in
 * a transaction; after the commit nothing depends on it, and it is unlinked
 * (invariant 2). One that the catalogue does not know was never protected, or a
 * protector was killed between the two: it is unlinked as well. One that the
 * catalogue knows under a name outside of the trash is not touched: there is an
 * event to come, or it is a further name of a file that lives. Nor is one that is
 * what is protected of a file in the share (was.h).
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
#include <mrmr/staging.h>

#include "protector_private.h"
#include "trash_private.h"
#include "was.h"

#define BATCH_FILES 512
#define BATCH_BYTES (UINT64_C(512) << 20)
#define NS_PER_S INT64_C(1000000000)
#define DAY_NS (86400 * NS_PER_S)

struct trashed {
	char *path; /* below the member's trash */
	int64_t time_ns;
	uint64_t inode;
	uint64_t bytes; /* on disk, that its removal gives */
	bool is_last_name;
};

struct trash {
	struct protector *p;
	struct mrmr_member *member;
	uint16_t number;
	int fd;
	struct trashed *files; /* talloc; the oldest first */
	size_t num;
	uint64_t bytes; /* of all */
};

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

/* NULL: it is empty, or cannot be read, which is told. */
static struct trash *look(struct protector *p, struct mrmr_member *member)
{
	struct trash *trash = talloc_zero(p, struct trash);

	if (trash == NULL) {
		return NULL;
	}
	trash->p = p;
	trash->member = member;
	trash->number = p->engine->number[member->index];
	trash->fd = openat(member->private_fd, MRMR_TRASH,
			   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	talloc_set_destructor(trash, close_trash);
	if (trash->fd == -1) {
		talloc_free(trash);
		return NULL;
	}
	if (trash_walk(member, add_file, trash) == -1) {
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

/* How many of the oldest. */
static size_t count_due(struct trash *trash, uint64_t wanted_bytes)
{
	const struct mrmr_config *config = trash->p->pool->config;
	int64_t over_ns =
		protector_now_ns() - (int64_t)config->trash_days * DAY_NS;
	uint64_t most =
		trash->member->total_bytes / 100 * config->trash_max_percent;
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

/* --- leaving the stripes ------------------------------------------------------------ */

struct leaving {
	struct trash *trash;
	struct batch *batch;
	struct target *targets; /* talloc */
	size_t num_targets;
	struct mrmr_change *changes;
	size_t num_changes;
};

enum place {
	NOT_KNOWN,  /* or only by this name, with nothing in stripes */
	IN_TRASH,   /* this is its only name */
	STILL_USED, /* it has others */
};

static int find_place(struct leaving *leaving, const struct trashed *file,
		      struct mrmr_node **node, enum place *place)
{
	struct protector *p = leaving->trash->p;
	char *name = talloc_asprintf(leaving->targets, "%u/%s",
				     leaving->trash->number, file->path);
	struct mrmr_link *links = NULL;
	bool has_name = false;
	size_t num = 0;
	uint64_t id;
	int is_needed;
	size_t i;

	*place = NOT_KNOWN;
	if (name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (mrmr_catalog_find_inode(p->catalog, leaving->trash->number,
				    file->inode, &id) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	is_needed = was_is_needed(p->catalog, id);
	if (is_needed != 0) {
		errno = is_needed == 1 ? EBUSY : errno;
		return -1;
	}
	if (mrmr_catalog_get(p->catalog, leaving->targets, id, node) == -1 ||
	    mrmr_catalog_links(p->catalog, leaving->targets, id, &links,
			       &num) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		has_name = has_name || (links[i].dir_id == MRMR_ID_TRASH &&
					strcmp(links[i].name, name) == 0);
	}
	*place = has_name && num == 1 ? IN_TRASH : STILL_USED;
	if (!has_name || (num > 1 && file->is_last_name)) {
		errno = EBUSY; /* an event, or a scan, will tell */
		return -1;
	}
	/* with other names, the file lives: this one is one too many */
	return num > 1 ? mrmr_catalog_remove(p->catalog, MRMR_ID_TRASH, name)
		       : 0;
}

static int add_target(struct leaving *leaving, struct mrmr_node *node)
{
	struct target *target = &leaving->targets[leaving->num_targets];

	*target = (struct target){
		.entry = WINDOW_NONE,
		.old = node,
		.is_gone = true,
	};
	if (target_prepare_gone(leaving->trash->p, leaving->batch, target) ==
	    -1) {
		return -1;
	}
	leaving->num_targets++;
	leaving->num_changes += target->num_changes;
	return 0;
}

static int gather(struct leaving *leaving)
{
	size_t at = 0;
	size_t i;

	leaving->changes = talloc_array(leaving->targets, struct mrmr_change,
					leaving->num_changes + 1);
	if (leaving->changes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < leaving->num_targets; i++) {
		struct target *target = &leaving->targets[i];
		size_t bytes = target->num_changes * sizeof(struct mrmr_change);

		if (bytes > 0) {
			memcpy(leaving->changes + at, target->changes, bytes);
		}
		target->changes = leaving->changes + at;
		at += target->num_changes;
	}
	return 0;
}

static int change_catalog(struct leaving *leaving, struct mrmr_stripes *work,
			  const struct trashed *files, bool *may_go, size_t num,
			  struct mrmr_error *err)
{
	struct protector *p = leaving->trash->p;
	size_t i;

	for (i = 0; i < num; i++) {
		struct mrmr_node *node = NULL;
		enum place place;

		may_go[i] = false;
		if (find_place(leaving, &files[i], &node, &place) == -1) {
			if (errno == EBUSY) {
				continue;
			}
			return protector_fail_catalog(p, err);
		}
		may_go[i] = true;
		if (place == IN_TRASH && add_target(leaving, node) == -1) {
			return protector_fail_catalog(p, err);
		}
	}
	if (gather(leaving) == -1) {
		return protector_no_memory(err);
	}
	if (leaving->num_changes > 0 &&
	    mrmr_stripes_apply(work, leaving->changes, leaving->num_changes,
			       err) == -1) {
		return -1;
	}
	for (i = 0; i < leaving->num_changes; i++) {
		/* then a stripe still depends on it */
		if (leaving->changes[i].error != 0) {
			return mrmr_error_set(err, leaving->changes[i].error,
					      "a file in the trash of %s "
					      "cannot leave its stripes: %s",
					      mrmr_member_name(
						      leaving->trash->member),
					      strerror(leaving->changes[i]
							       .error));
		}
	}
	for (i = 0; i < leaving->num_targets; i++) {
		if (target_remove_gone(p, &leaving->targets[i]) == -1) {
			return protector_fail_catalog(p, err);
		}
	}
	if (mrmr_fault("trash-left") != 0) {
		return mrmr_error_set(err, errno, "stopped by a test");
	}
	return mrmr_stripes_sync(work, err);
}

/* --- and going ----------------------------------------------------------------------- */

/* With the folders above it that are empty then. Who makes something in one
   meanwhile makes it again. */
static void remove_file(struct trash *trash, const struct trashed *file)
{
	char *path = talloc_strdup(trash, file->path);
	char *slash = NULL;

	if (mrmr_fault("trash-unlink") != 0 ||
	    unlinkat(trash->fd, file->path, 0) == -1) {
		if (errno != ENOENT) {
			mrmr_log(MRMR_LOG_WARNING,
				 "member %s: %s cannot be removed from its "
				 "trash: %s",
				 mrmr_member_name(trash->member), file->path,
				 strerror(errno));
		}
	}
	while (path != NULL && (slash = strrchr(path, '/')) != NULL) {
		*slash = '\0';
		if (unlinkat(trash->fd, path, AT_REMOVEDIR) == -1) {
			break;
		}
	}
	talloc_free(path);
}

static int remove_some(struct trash *trash, const struct trashed *files,
		       size_t num, struct mrmr_error *err)
{
	struct protector *p = trash->p;
	struct batch *batch = batch_new(p);
	struct leaving leaving = {.trash = trash, .batch = batch};
	const struct mrmr_stripes_options options = {
		.steps_back = p->options->background,
		.is_urgent = protector_is_urgent,
		.private_data = p,
	};
	struct mrmr_stripes *work = NULL;
	bool *may_go = NULL;
	size_t i;
	int ret = -1;

	if (batch != NULL) {
		leaving.targets = talloc_array(batch, struct target, num);
		may_go = talloc_array(batch, bool, num);
		work = mrmr_stripes_new(batch, p->engine, &options);
	}
	if (leaving.targets == NULL || may_go == NULL || work == NULL) {
		talloc_free(batch);
		return protector_no_memory(err);
	}
	if (protector_begin(p, err) == 0 &&
	    change_catalog(&leaving, work, files, may_go, num, err) == 0) {
		ret = protector_commit(p, err);
	}
	if (ret == -1) {
		int error = err->code;

		protector_cancel(p);
		mrmr_stripes_abort(work);
		talloc_free(batch);
		errno = error;
		return -1;
	}
	(void)mrmr_fault("trash-committed");
	mrmr_stripes_finish(work);
	p->has_made_short = p->has_made_short || mrmr_stripes_made_short(work);
	for (i = 0; i < num; i++) {
		if (may_go[i]) {
			remove_file(trash, &files[i]);
		}
	}
	talloc_free(batch);
	return 0;
}

static int empty(struct trash *trash, size_t num, struct mrmr_error *err)
{
	size_t done = 0;

	while (done < num && !protector_should_stop(trash->p)) {
		uint64_t bytes = 0;
		size_t n = 0;

		while (done + n < num && n < BATCH_FILES &&
		       (n == 0 || bytes < BATCH_BYTES)) {
			bytes += trash->files[done + n].bytes;
			n++;
		}
		/* what has gone makes room for the parity of what is left */
		mrmr_pool_look_at_space(trash->p->pool);
		if (remove_some(trash, trash->files + done, n, err) == -1) {
			return -1;
		}
		done += n;
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

		if (member->slot != -1 && member->state == MRMR_MEMBER_ONLINE &&
		    atomic_load(
			    &p->pool->shared->room[member->slot].wanted_bytes) >
			    0) {
			return true;
		}
	}
	return false;
}

int trash_run(struct protector *p, struct mrmr_error *err)
{
	size_t i;
	int ret = 0;

	mrmr_pool_look_at_space(p->pool);
	for (i = 0; i < p->pool->num_members && ret == 0; i++) {
		struct mrmr_member *member = &p->pool->members[i];
		struct trash *trash = NULL;
		uint64_t wanted_bytes;
		uint64_t left = 0;
		size_t num = 0;
		size_t n;

		if (member->state != MRMR_MEMBER_ONLINE || member->read_only) {
			continue;
		}
		wanted_bytes = take_wish(p, member);
		trash = look(p, member);
		if (trash != NULL) {
			num = count_due(trash, wanted_bytes);
			ret = empty(trash, num, err);
			for (n = num; n < trash->num; n++) {
				left += trash->files[n].bytes;
			}
		}
		mrmr_room_set_reclaimable(p->pool, i, left);
		talloc_free(trash);
	}
	p->trash_is_seen = ret == 0;
	return ret;
}
