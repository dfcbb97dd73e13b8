/*
 * MRMR: removing what is in the trash (see mrmr/undelete.h).
 *
 * In batches, each one transaction: the files leave their stripes and the
 * catalogue; then, when that is durable, they are removed. Killed before the
 * commit, nothing has happened (new parity blocks are garbage); after it, there
 * are files in the trash that nothing depends on, which the next purge removes.
 *
 * A catalogue that is damaged may not know any more what others' parity needs: then
 * nothing is removed. Whether a file is protected tells the catalogue, by its name in the trash and by
 * its inode. A file of which it only knows the inode, under another name, is one
 * whose way to the trash the protector has not heard of: it is left.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/beneath.h>
#include <mrmr/fault.h>
#include <mrmr/live.h>
#include <mrmr/log.h>
#include <mrmr/protection.h>
#include <mrmr/staging.h>
#include <mrmr/stripes.h>
#include <mrmr/trash.h>
#include <mrmr/undelete.h>
#include <mrmr/undo.h>

#include "trash_private.h"

#define BATCH_ITEMS 512
#define BATCH_EXTENTS 4096

char *trash_name(void *mem_ctx, struct mrmr_engine *engine,
		 const struct mrmr_trashed *item)
{
	char *name =
		talloc_asprintf(mem_ctx, "%u/%s", engine->number[item->member],
				item->trash_path);

	if (name == NULL) {
		errno = ENOMEM;
	}
	return name;
}

void trash_prune(const struct mrmr_member *member, const char *trash_path)
{
	char path[MRMR_TRASH_PATH_MAX + sizeof(MRMR_TRASH)];
	char *slash = NULL;

	snprintf(path, sizeof(path), MRMR_TRASH "/%s", trash_path);
	while ((slash = strrchr(path, '/')) != NULL &&
	       slash != path + strlen(MRMR_TRASH)) {
		*slash = '\0';
		if (mrmr_unlink_beneath(member->private_fd, path,
					AT_REMOVEDIR) == -1) {
			return; /* not empty */
		}
	}
}

/* --- one file --------------------------------------------------------------------- */

struct leaving {
	const struct mrmr_trashed *item;
	struct mrmr_node *node; /* NULL: the catalogue does not know it */
	char *name;             /* in the catalogue's trash */
	bool is_last_name;
	size_t num_changes;
};

struct batch {
	struct mrmr_pool *pool;
	struct mrmr_engine *engine; /* may be NULL */
	struct mrmr_purge_result *result;
	struct mrmr_error *err;
	struct mrmr_live_member **members;
	struct leaving *leaving;
	size_t num;
	struct mrmr_change *changes;
	size_t num_changes;
	bool keeps_all; /* parity, of what stays in the stripes */
};

static void full_path(const struct mrmr_trashed *item,
		      char path[MRMR_TRASH_PATH_MAX + sizeof(MRMR_TRASH)])
{
	snprintf(path, MRMR_TRASH_PATH_MAX + sizeof(MRMR_TRASH),
		 MRMR_TRASH "/%s", item->trash_path);
}

/* Is it there still, as it was listed? */
static bool is_there(const struct batch *b, const struct mrmr_trashed *item,
		     struct stat *st)
{
	char path[MRMR_TRASH_PATH_MAX + sizeof(MRMR_TRASH)];

	full_path(item, path);
	return fstatat(b->pool->members[item->member].private_fd, path, st,
		       AT_SYMLINK_NOFOLLOW) == 0 &&
	       st->st_ino == item->st.st_ino;
}

struct adding {
	struct batch *b;
	struct leaving *leaving;
	struct mrmr_live *was;
};

static int add_change(const struct mrmr_extent *extent, uint32_t index,
		      void *private_data)
{
	const struct adding *adding = private_data;
	struct leaving *leaving = adding->leaving;
	struct batch *b = adding->b;
	size_t size = talloc_array_length(b->changes);

	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		return 0;
	}
	if (b->num_changes == size) {
		b->changes = talloc_realloc(b, b->changes, struct mrmr_change,
					    size > 0 ? 2 * size : 256);
		if (b->changes == NULL) {
			errno = ENOMEM;
			return -1;
		}
	}
	b->changes[b->num_changes++] = (struct mrmr_change){
		.file = leaving->node->id,
		.member = leaving->node->member,
		.index = index,
		.offset = (uint64_t)index * leaving->node->grid_bytes,
		.old = *extent,
		.has_old = true,
		.was = adding->was,
	};
	leaving->num_changes++;
	return 0;
}

/* Every extent that is in a stripe. If the bytes are gone, the stripe is computed
   without. */
static int add_changes(struct batch *b, struct leaving *leaving)
{
	const struct mrmr_node *node = leaving->node;
	struct adding adding = {.b = b, .leaving = leaving};
	size_t member = leaving->item->member;

	if (b->members[member] == NULL) {
		b->members[member] =
			mrmr_live_member_open(b, b->engine, node->member);
	}
	if (b->members[member] == NULL ||
	    mrmr_live_open_on(b, b->engine, b->members[member], node, true,
			      &adding.was) == -1) {
		adding.was = NULL;
	}
	return mrmr_catalog_each_extent(b->engine->catalog, node, add_change,
					&adding);
}

/* How many of the catalogue's names of it go with this batch already. */
static size_t count_going(const struct batch *b, uint64_t id)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < b->num; i++) {
		num += b->leaving[i].node != NULL &&
		       b->leaving[i].node->id == id;
	}
	return num;
}

/* Is there a name on the disk that does not go with this batch? */
static bool keeps_a_name(const struct batch *b, const struct mrmr_trashed *item,
			 const struct stat *st)
{
	nlink_t num = 1;
	size_t i;

	for (i = 0; i < b->num; i++) {
		num += b->leaving[i].item->member == item->member &&
		       b->leaving[i].item->st.st_ino == st->st_ino;
	}
	return st->st_nlink > num;
}

/* 1: it may go. 0: it is to stay. -1: errno. */
static int look_up(struct batch *b, struct leaving *leaving,
		   const struct stat *st)
{
	struct mrmr_catalog *catalog = b->engine->catalog;
	struct mrmr_link *links = NULL;
	size_t num = 0;
	uint64_t id;

	leaving->name = trash_name(b, b->engine, leaving->item);
	if (leaving->name == NULL) {
		return -1;
	}
	if (mrmr_catalog_find(catalog, b, MRMR_ID_TRASH, leaving->name,
			      &leaving->node) == 0) {
		if (mrmr_catalog_links(catalog, b, leaving->node->id, &links,
				       &num) == -1) {
			return -1;
		}
		leaving->is_last_name =
			num == count_going(b, leaving->node->id) + 1;
		talloc_free(links);
		return leaving->is_last_name ||
		       keeps_a_name(b, leaving->item, st);
	}
	if (errno != ENOENT) {
		return -1;
	}
	if (mrmr_catalog_find_inode(catalog,
				    b->engine->number[leaving->item->member],
				    (uint64_t)st->st_ino, &id) == 0) {
		/* with another name its bytes stay */
		return keeps_a_name(b, leaving->item, st);
	}
	return errno == ENOENT ? 1 : -1;
}

/* 0, or -1 with errno. What is to stay is counted. */
static int add_item(struct batch *b, const struct mrmr_trashed *item)
{
	const struct mrmr_member *member = &b->pool->members[item->member];
	struct leaving *leaving = &b->leaving[b->num];
	struct stat st = {0};
	int may_go = 1;

	*leaving = (struct leaving){.item = item};
	if (member->state != MRMR_MEMBER_ONLINE || member->read_only) {
		b->result->num_left++;
		return 0;
	}
	if (!is_there(b, item, &st)) {
		return 0; /* somebody was quicker */
	}
	if (b->engine != NULL) {
		may_go = look_up(b, leaving, &st);
	}
	if (may_go == 1 && leaving->node != NULL && leaving->is_last_name) {
		may_go = add_changes(b, leaving) == 0 ? 1 : -1;
	}
	if (may_go == 0) {
		b->result->num_left++;
	}
	b->num += may_go == 1;
	return may_go == -1 ? -1 : 0;
}

/* --- leaving ------------------------------------------------------------------------ */

static int fail_catalog(struct batch *b)
{
	return mrmr_error_set(b->err, errno,
			      "the catalogue cannot be changed: %s",
			      mrmr_catalog_why(errno));
}

static int leave_catalog(struct batch *b)
{
	size_t i;

	for (i = 0; i < b->num; i++) {
		const struct leaving *leaving = &b->leaving[i];

		if (leaving->node == NULL) {
			continue;
		}
		if ((leaving->is_last_name &&
		     mrmr_catalog_cut_extents(b->engine->catalog,
					      leaving->node->id, 0) == -1) ||
		    mrmr_catalog_remove(b->engine->catalog, MRMR_ID_TRASH,
					leaving->name) == -1) {
			return fail_catalog(b);
		}
	}
	return 0;
}

/* 1: nothing is to be done of it: what stays in the stripes would lose by it. */
static int leave_stripes(struct batch *b, struct mrmr_stripes *work)
{
	size_t i;

	mrmr_stripes_keep_all(work, b->keeps_all);
	if (b->num_changes > 0 &&
	    mrmr_stripes_apply(work, b->changes, b->num_changes, b->err) ==
		    -1) {
		return mrmr_stripes_kept(work) ? 1 : -1;
	}
	for (i = 0; i < b->num_changes; i++) {
		if (b->changes[i].error != 0) {
			return mrmr_error_set(b->err, b->changes[i].error,
					      "a file in the trash cannot "
					      "leave its stripe: %s",
					      strerror(b->changes[i].error));
		}
	}
	if (leave_catalog(b) == -1) {
		return -1;
	}
	if (mrmr_fault("purge-left") != 0) {
		return mrmr_error_set(b->err, errno, "stopped by a test");
	}
	return mrmr_stripes_sync(work, b->err);
}

static bool has_nodes(const struct batch *b)
{
	size_t i;

	for (i = 0; i < b->num; i++) {
		if (b->leaving[i].node != NULL) {
			return true;
		}
	}
	return false;
}

/* 1: nothing was done, see leave_stripes(). */
static int leave(struct batch *b)
{
	const struct mrmr_stripes_options options = {0};
	struct mrmr_stripes *work = NULL;
	int ret;

	if (b->engine == NULL || !has_nodes(b)) {
		return 0;
	}
	work = mrmr_stripes_new(b, b->engine, &options);
	if (work == NULL) {
		return mrmr_error_set(b->err, ENOMEM, "not enough memory");
	}
	if (mrmr_catalog_begin(b->engine->catalog) == -1) {
		fail_catalog(b);
		mrmr_stripes_abort(work);
		return -1;
	}
	ret = leave_stripes(b, work);
	if (ret != 0) {
		mrmr_catalog_cancel(b->engine->catalog);
		mrmr_stripes_abort(work);
		return ret;
	}
	if (mrmr_catalog_commit(b->engine->catalog, b->err) == -1) {
		mrmr_stripes_abort(work);
		return -1;
	}
	mrmr_stripes_finish(work);
	return 0;
}

/* --- removing ------------------------------------------------------------------------- */

/* Nothing depends on it any more. Forgotten first: who comes in between keeps
   nothing. */
static void let_go(struct batch *b, const struct leaving *leaving)
{
	const struct mrmr_node *node = leaving->node;
	const struct mrmr_member *member =
		&b->pool->members[leaving->item->member];

	if (node == NULL || !leaving->is_last_name || node->inode == 0) {
		return;
	}
	mrmr_guard_forget(b->engine->guard, &member->config->id, node->inode);
	mrmr_undo_drop(member->private_fd, node->inode, 0);
}

static int remove_files(struct batch *b)
{
	size_t i;

	if (mrmr_fault("purge-committed") != 0) {
		return mrmr_error_set(b->err, errno, "stopped by a test");
	}
	for (i = 0; i < b->num; i++) {
		const struct mrmr_trashed *item = b->leaving[i].item;
		const struct mrmr_member *member =
			&b->pool->members[item->member];
		char path[MRMR_TRASH_PATH_MAX + sizeof(MRMR_TRASH)];

		let_go(b, &b->leaving[i]);
		full_path(item, path);
		if (mrmr_unlink_beneath(member->private_fd, path, 0) == -1 &&
		    errno != ENOENT) {
			return mrmr_error_set(b->err, errno,
					      "%s cannot be removed from the "
					      "trash of member %s: %s",
					      item->path,
					      mrmr_member_name(member),
					      strerror(errno));
		}
		trash_prune(member, item->trash_path);
		mrmr_room_forget_trash(b->pool, item->member);
		b->result->num_removed++;
		b->result->removed_bytes += (uint64_t)item->st.st_size;
	}
	return 0;
}

/* --- batches --------------------------------------------------------------------------- */

static struct batch *new_batch(struct mrmr_pool *pool,
			       struct mrmr_engine *engine,
			       struct mrmr_purge_result *result,
			       struct mrmr_error *err)
{
	struct batch *b = talloc_zero(pool, struct batch);

	if (b == NULL) {
		return NULL;
	}
	b->pool = pool;
	b->engine = engine;
	b->result = result;
	b->err = err;
	b->members = talloc_zero_array(b, struct mrmr_live_member *,
				       pool->num_members);
	b->leaving = talloc_array(b, struct leaving, BATCH_ITEMS);
	if (b->members == NULL || b->leaving == NULL) {
		TALLOC_FREE(b);
	}
	return b;
}

/* *done moves on. 1: it does not: with keeps_all, they cannot go together. */
static int purge_batch(struct mrmr_pool *pool, struct mrmr_engine *engine,
		       const struct mrmr_trashed *items, size_t num,
		       bool keeps_all, size_t *done,
		       struct mrmr_purge_result *result, struct mrmr_error *err)
{
	struct batch *b = new_batch(pool, engine, result, err);
	uint64_t left_before = result->num_left;
	size_t begin = *done;
	int ret = 0;

	if (b == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	b->keeps_all = keeps_all;
	while (ret == 0 && *done < num && b->num < BATCH_ITEMS &&
	       b->num_changes < BATCH_EXTENTS) {
		ret = add_item(b, &items[*done]);
		(*done)++;
	}
	if (ret == -1) {
		fail_catalog(b);
	} else {
		ret = leave(b);
	}
	if (ret == 0) {
		ret = remove_files(b);
	}
	if (ret == 1) {
		result->num_left = left_before;
		*done = begin;
	}
	talloc_free(b);
	return ret;
}

/*
 * As many at a time as can go without loss to what stays in their stripes, for whose
 * new parity there must be room. One that cannot by itself goes nonetheless: a
 * person wants it. What its stripes lack then is noted.
 */
static int purge_next(struct mrmr_pool *pool, struct mrmr_engine *engine,
		      const struct mrmr_trashed *items, size_t num,
		      size_t *done, size_t *most,
		      struct mrmr_purge_result *result, struct mrmr_error *err)
{
	size_t n = num - *done < *most ? num - *done : *most;
	size_t begin = *done;
	int ret;

	/* what has gone has made room */
	mrmr_pool_look_at_space(pool);
	ret = purge_batch(pool, engine, items, begin + n, true, done, result,
			  err);
	if (ret == 1 && n == 1) {
		ret = purge_batch(pool, engine, items, begin + n, false, done,
				  result, err);
	} else if (ret == 1) {
		*most = n / 2;
		return 0;
	}
	*most = 2 * *most < BATCH_ITEMS ? 2 * *most : BATCH_ITEMS;
	return ret;
}

static int fail_damaged(const struct mrmr_pool *pool, struct mrmr_error *err)
{
	const struct mrmr_error why = *err;

	return mrmr_error_set(err, why.code,
			      "nothing was removed: the catalogue in %s, which "
			      "tells what others' parity needs, is damaged: "
			      "%s; mrmr-admin recover makes it again",
			      pool->config->state_dir, why.text);
}

int mrmr_trash_purge(struct mrmr_pool *pool, struct mrmr_engine *engine,
		     const struct mrmr_trashed *items, size_t num,
		     const struct mrmr_purge_options *options,
		     struct mrmr_purge_result *result, struct mrmr_error *err)
{
	struct mrmr_error ignored = {0};
	size_t most = BATCH_ITEMS;
	size_t done = 0;

	*result = (struct mrmr_purge_result){0};
	err = err != NULL ? err : &ignored;
	if (num > 0 && engine != NULL &&
	    mrmr_catalog_check(engine->catalog, err) == -1) {
		return fail_damaged(pool, err);
	}
	while (done < num) {
		if (options->should_stop != NULL &&
		    options->should_stop(options->private_data)) {
			return 0;
		}
		if (purge_next(pool, engine, items, num, &done, &most, result,
			       err) == -1) {
			return -1;
		}
		if (options->progress != NULL) {
			options->progress(done, num, options->private_data);
		}
	}
	result->is_complete = true;
	return 0;
}
