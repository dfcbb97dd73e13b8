/*
 * MRMR: the engine: a pool with its catalogue.
 *
 * What is opened, and in which order: the lock first, as nothing may be looked
 * at that another process is changing; the catalogue; the parts of the members,
 * each brought up to date before it is attached; the guard, which is made anew
 * from the catalogue if it does not know what is protected. (Before that, a file
 * whose repair was cut short gets the inode that it has.)
 *
 * The catalogue is the only thing here that cannot be made again from the rest
 * of the state directory. When it is missing, there are two reasons: nothing was
 * ever protected, or it was lost. Members tell which: what was protected has left
 * parts and parity blocks on them. To begin a new catalogue over those would make
 * garbage of all parity there is, so that is refused (invariant 6: recover makes
 * it from the parts).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/engine.h>
#include <mrmr/log.h>
#include <mrmr/repair.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

#include "applied.h"

/* What a member carries of the catalogue, as far as it is attached. */
struct mrmr_engine_part {
	struct mrmr_catalog *part; /* NULL: it is not */
	uint32_t epoch;            /* of the member when it was opened */
	bool is_attached_only;     /* not refreshed yet */
	uint32_t failed_epoch;     /* of the member when that failed last; */
	bool has_failed;           /* not tried again until it has gone */
};

/* --- a catalogue that is not there ------------------------------------------ */

static int stop_at_first(const uint8_t sha256[32], uint64_t size_bytes,
			 void *private_data)
{
	return 1;
}

/* Does a member say that something was protected in this pool? */
static bool has_traces(const struct mrmr_member *member)
{
	struct stat st;

	return fstatat(member->private_fd, MRMR_CATALOG_PART, &st,
		       AT_SYMLINK_NOFOLLOW) == 0 ||
	       mrmr_blob_walk(member->private_fd, stop_at_first, NULL) == 1;
}

int mrmr_engine_check_new(const struct mrmr_pool *pool, struct mrmr_error *err)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state == MRMR_MEMBER_ONLINE && has_traces(member)) {
			return mrmr_error_set(
				err, EILSEQ,
				"the catalogue in %s is missing, but files "
				"of this pool were protected: member %s has "
				"records or parity of them; mrmr-admin "
				"recover makes the catalogue again",
				pool->config->state_dir,
				mrmr_member_name(member));
		}
	}
	return 0;
}

static int open_catalog(struct mrmr_engine *engine, struct mrmr_error *err)
{
	struct mrmr_pool *pool = engine->pool;
	const struct mrmr_uuid *id = &pool->config->pool_id;
	struct mrmr_error lost = {0};

	engine->catalog = mrmr_catalog_open(engine, pool->state_fd, id,
					    MRMR_CATALOG_READ, err);
	if (engine->catalog == NULL && err->code == ENOENT &&
	    mrmr_engine_check_new(pool, &lost) == -1) {
		/* or another process has begun it in between */
		engine->catalog = mrmr_catalog_open(engine, pool->state_fd, id,
						    MRMR_CATALOG_READ, err);
		if (engine->catalog == NULL) {
			*err = err->code == ENOENT ? lost : *err;
			return -1;
		}
	}
	if (engine->mode == MRMR_ENGINE_READ) {
		return engine->catalog != NULL ? 0 : -1;
	}
	/* What else hinders reading may be mended by opening it for writing;
	   if not, that says so. */
	TALLOC_FREE(engine->catalog);
	engine->catalog = mrmr_catalog_open(engine, pool->state_fd, id,
					    MRMR_CATALOG_WRITE, err);
	return engine->catalog != NULL ? 0 : -1;
}

/* --- numbers ------------------------------------------------------------------ */

static bool find_numbers(struct mrmr_engine *engine)
{
	struct mrmr_pool *pool = engine->pool;
	bool complete = true;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		engine->number[i] =
			mrmr_catalog_member(engine->catalog,
					    &pool->members[i].config->id);
		complete = complete && engine->number[i] != MRMR_MEMBER_NONE;
	}
	return complete;
}

/*
 * If this is the first commit of a new catalogue, no part is attached yet: so
 * there is no part of a catalogue that has not come into being. If members have
 * come to those that it knows, the parts of these are.
 */
static int give_numbers(struct mrmr_engine *engine, struct mrmr_error *err)
{
	struct mrmr_pool *pool = engine->pool;
	size_t i;

	if (mrmr_catalog_begin(engine->catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue in %s cannot be changed: "
				      "%s",
				      pool->config->state_dir,
				      mrmr_catalog_why(errno));
	}
	for (i = 0; i < pool->num_members; i++) {
		if (mrmr_catalog_add_member(engine->catalog,
					    &pool->members[i].config->id,
					    &engine->number[i]) == -1) {
			int error = errno;

			mrmr_catalog_cancel(engine->catalog);
			return mrmr_error_set(err, error,
					      "member %s cannot be entered in "
					      "the catalogue: %s",
					      mrmr_member_name(
						      &pool->members[i]),
					      mrmr_catalog_why(error));
		}
	}
	return mrmr_catalog_commit(engine->catalog, err);
}

size_t mrmr_engine_member(const struct mrmr_engine *engine, uint16_t number)
{
	size_t i;

	for (i = 0; i < engine->pool->num_members; i++) {
		if (engine->number[i] == number && number != MRMR_MEMBER_NONE) {
			return i;
		}
	}
	return SIZE_MAX;
}

struct mrmr_member *mrmr_engine_online(const struct mrmr_engine *engine,
				       uint16_t number)
{
	size_t i = mrmr_engine_member(engine, number);

	if (i == SIZE_MAX ||
	    engine->pool->members[i].state != MRMR_MEMBER_ONLINE) {
		return NULL;
	}
	return &engine->pool->members[i];
}

/* --- parts -------------------------------------------------------------------- */

static void detach(struct mrmr_engine *engine, size_t index)
{
	struct mrmr_engine_part *p = &engine->parts[index];

	if (p->part != NULL) {
		mrmr_catalog_attach(engine->catalog, engine->number[index],
				    NULL);
		TALLOC_FREE(p->part);
	}
	p->is_attached_only = false;
}

/*
 * A part that is damaged is derived data, and its drive may have a bad sector
 * there: put aside for a person to see, and made anew from the catalogue.
 */
static struct mrmr_catalog *open_part(struct mrmr_engine *engine,
				      const struct mrmr_member *member,
				      struct mrmr_error *err)
{
	const struct mrmr_uuid *id = &engine->pool->config->pool_id;
	struct mrmr_catalog *part =
		mrmr_catalog_open_part(engine, member->private_fd, id,
				       MRMR_CATALOG_WRITE, err);

	if (part != NULL || err->code != EILSEQ) {
		return part;
	}
	mrmr_log(MRMR_LOG_WARNING,
		 "member %s: its records are damaged, and made anew: %s",
		 mrmr_member_name(member), err->text);
	/* An earlier one goes, whatever it is. On a drive that somebody else had
	   it may be a directory, or the same file, and then a rename would do
	   nothing. */
	mrmr_remove_tree(member->private_fd, MRMR_CATALOG_PART ".damaged");
	if (renameat(member->private_fd, MRMR_CATALOG_PART, member->private_fd,
		     MRMR_CATALOG_PART ".damaged") == -1) {
		mrmr_error_set(err, errno,
			       "its damaged " MRMR_CATALOG_PART " cannot be "
			       "renamed: %s",
			       strerror(errno));
		return NULL;
	}
	return mrmr_catalog_open_part(engine, member->private_fd, id,
				      MRMR_CATALOG_WRITE, err);
}

/* A member without its part still has its files and its parity; what is missing
   is one of the copies of what is known. */
static void do_without(struct mrmr_engine *engine, size_t index,
		       const struct mrmr_error *err)
{
	const struct mrmr_member *member = &engine->pool->members[index];
	struct mrmr_engine_part *p = &engine->parts[index];

	mrmr_log(MRMR_LOG_ERROR,
		 "member %s does not get its part of the catalogue: %s",
		 mrmr_member_name(member), err->text);
	p->has_failed = true;
	p->failed_epoch = member->epoch;
}

static void attach(struct mrmr_engine *engine, size_t index)
{
	const struct mrmr_member *member = &engine->pool->members[index];
	struct mrmr_engine_part *p = &engine->parts[index];
	struct mrmr_error err = {0};

	if (p->has_failed && p->failed_epoch == member->epoch) {
		return;
	}
	p->has_failed = false;
	p->part = open_part(engine, member, &err);
	if (p->part == NULL) {
		do_without(engine, index, &err);
		return;
	}
	mrmr_catalog_attach(engine->catalog, engine->number[index], p->part);
	p->epoch = member->epoch;
	p->is_attached_only = true;
}

/* -1: the parts stay attached, to be refreshed the next time. */
static int refresh(struct mrmr_engine *engine, size_t index,
		   struct mrmr_error *err)
{
	struct mrmr_engine_part *p = &engine->parts[index];
	struct mrmr_error why = {0};
	int ret = mrmr_catalog_refresh_part(engine->catalog,
					    engine->number[index], &why);

	if (ret == -1) {
		return mrmr_error_set(err, why.code,
				      "the catalogue in %s cannot be changed: "
				      "%s",
				      engine->pool->config->state_dir,
				      why.text);
	}
	p->is_attached_only = false;
	if (ret == 1 && why.code == EILSEQ && p->part != NULL) {
		/* the next to open it makes it anew, if it is damaged */
		mrmr_catalog_doubt_part(p->part);
	}
	if (ret == 1) {
		detach(engine, index);
		do_without(engine, index, &why);
	}
	return 0;
}

int mrmr_engine_check_part(struct mrmr_engine *engine, size_t member,
			   bool *was_damaged, struct mrmr_error *err)
{
	struct mrmr_engine_part *p = &engine->parts[member];
	struct mrmr_error why = {0};

	*was_damaged = false;
	if (p->part == NULL || mrmr_catalog_check(p->part, &why) == 0) {
		return 0;
	}
	if (why.code != EILSEQ) {
		return mrmr_error_set(err, why.code,
				      "member %s: its records: %s",
				      mrmr_member_name(
					      &engine->pool->members[member]),
				      why.text);
	}
	*was_damaged = true;
	mrmr_catalog_doubt_part(p->part);
	detach(engine, member);
	attach(engine, member);
	return p->part != NULL ? refresh(engine, member, err) : 0;
}

static void attach_all(struct mrmr_engine *engine)
{
	struct mrmr_pool *pool = engine->pool;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		struct mrmr_engine_part *p = &engine->parts[i];
		bool online = member->state == MRMR_MEMBER_ONLINE &&
			      !member->read_only;

		if (p->part != NULL && (!online || p->epoch != member->epoch)) {
			detach(engine, i);
		}
		if (p->part == NULL && online &&
		    engine->number[i] != MRMR_MEMBER_NONE) {
			attach(engine, i);
		}
	}
}

/*
 * All are attached before the first is refreshed, which may take a commit: one
 * that is not attached by then would be behind, and had to be told what it knows
 * already. And what all have to be told takes one commit.
 */
int mrmr_engine_look(struct mrmr_engine *engine, struct mrmr_error *err)
{
	size_t i;

	mrmr_pool_use(engine->pool);
	if (engine->mode == MRMR_ENGINE_READ) {
		return 0;
	}
	attach_all(engine);
	for (i = 0; i < engine->pool->num_members; i++) {
		if (engine->parts[i].is_attached_only &&
		    refresh(engine, i, err) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- the guard ------------------------------------------------------------------ */

/* Files in the trash are among them: their bytes are protected as well. */
static int enter_in_guard(struct mrmr_engine *engine,
			  const struct mrmr_node *node)
{
	struct mrmr_uuid member;

	if (node->kind != MRMR_NODE_FILE || node->num_extents == 0 ||
	    node->inode == 0 || node->member == MRMR_MEMBER_NONE) {
		return 0;
	}
	if (mrmr_catalog_member_id(engine->catalog, node->member, &member) ==
	    -1) {
		return -1;
	}
	return mrmr_guard_rebuild_add(engine->guard, &member, node->inode,
				      node->generation);
}

static int rebuild_guard(struct mrmr_engine *engine)
{
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	if (mrmr_guard_rebuild_begin(engine->guard) == -1) {
		return -1;
	}
	while (mrmr_catalog_next(engine->catalog, engine, id, &node) == 0) {
		int ret = enter_in_guard(engine, node);

		id = node->id;
		TALLOC_FREE(node);
		if (ret == -1) {
			return -1;
		}
	}
	if (errno != ENOENT) {
		return -1;
	}
	return mrmr_guard_rebuild_end(engine->guard);
}

static int open_guard(struct mrmr_engine *engine, struct mrmr_error *err)
{
	struct mrmr_pool *pool = engine->pool;

	engine->guard = mrmr_guard_open(engine, pool->state_fd, err);
	if (engine->guard == NULL) {
		return -1;
	}
	if (engine->mode != MRMR_ENGINE_READ &&
	    !mrmr_guard_is_ready(engine->guard) &&
	    rebuild_guard(engine) == -1) {
		return mrmr_error_set(err, errno,
				      "%s/%s, the table of protected files, "
				      "cannot be made: %s",
				      pool->config->state_dir, MRMR_GUARD_NAME,
				      strerror(errno));
	}
	return 0;
}

/* --- opening, closing ------------------------------------------------------------- */

static int engine_destructor(struct mrmr_engine *engine)
{
	size_t i;

	for (i = 0; engine->catalog != NULL && engine->parts != NULL &&
		    i < engine->pool->num_members;
	     i++) {
		detach(engine, i);
	}
	TALLOC_FREE(engine->catalog);
	if (engine->lock_fd != -1) {
		close(engine->lock_fd);
	}
	return 0;
}

/* Whoever has it may give way, if he knows that it is wanted. */
static int wait_for_lock(struct mrmr_pool *pool)
{
	_Atomic uint32_t *wants = &pool->shared->protect.wants_lock;
	uint32_t self = (uint32_t)getpid();
	int fd;

	atomic_store(wants, self);
	fd = mrmr_catalog_lock(pool->state_fd, true);
	atomic_compare_exchange_strong(wants, &self, 0);
	return fd;
}

static int take_lock(struct mrmr_engine *engine, struct mrmr_error *err)
{
	struct mrmr_pool *pool = engine->pool;

	if (engine->mode == MRMR_ENGINE_READ) {
		return 0;
	}
	engine->lock_fd = mrmr_catalog_lock(pool->state_fd, false);
	if (engine->lock_fd == -1 && errno == EAGAIN &&
	    engine->mode == MRMR_ENGINE_WRITE) {
		engine->lock_fd = wait_for_lock(pool);
	}
	if (engine->lock_fd != -1) {
		return 0;
	}
	if (errno == EAGAIN) {
		return mrmr_error_set(err, EAGAIN,
				      "another mrmr-admin is working on this "
				      "pool's parity");
	}
	return mrmr_error_set(err, errno,
			      "the catalogue in %s cannot be "
			      "locked: %s",
			      pool->config->state_dir, strerror(errno));
}

/* As much redundancy for names as the pool may have for bytes. */
static unsigned int wanted_copies(const struct mrmr_pool *pool)
{
	unsigned int copies = pool->config->parity.max;

	if (copies > MRMR_PARITY_MAX) {
		copies = MRMR_PARITY_MAX;
	}
	if (copies >= pool->num_members) {
		copies = pool->num_members - 1;
	}
	return copies;
}

static unsigned int count_processors(void)
{
	long num = sysconf(_SC_NPROCESSORS_ONLN);

	return num > 0 ? (unsigned int)num : 1;
}

static int read_applied(uint64_t *fingerprint, void *private_data)
{
	const struct mrmr_engine *engine = private_data;

	return applied_get(engine->catalog, fingerprint);
}

static int open_all(struct mrmr_engine *engine, struct mrmr_error *err)
{
	struct mrmr_pool *pool = engine->pool;

	if (take_lock(engine, err) == -1 || open_catalog(engine, err) == -1) {
		return -1;
	}
	mrmr_catalog_set_copies(engine->catalog, wanted_copies(pool));
	mrmr_catalog_set_threads(engine->catalog, count_processors());
	if (!find_numbers(engine) && engine->mode != MRMR_ENGINE_READ) {
		mrmr_pool_use(pool);
		attach_all(engine);
		if (give_numbers(engine, err) == -1) {
			return -1;
		}
	}
	engine->queue = mrmr_queue_open(engine, pool->state_fd, err);
	if (engine->queue == NULL) {
		return -1;
	}
	mrmr_queue_set_applied(engine->queue, read_applied, engine);
	if (engine->mode != MRMR_ENGINE_READ &&
	    mrmr_repair_finish(engine, err) == -1) {
		return -1;
	}
	/* While the guard is made, every inode counts as guarded: that is what
	   must come to an end first. */
	if (open_guard(engine, err) == -1) {
		return -1;
	}
	if (engine->mode == MRMR_ENGINE_READ) {
		return 0;
	}
	return mrmr_engine_look(engine, err);
}

struct mrmr_engine *mrmr_engine_open(void *mem_ctx, struct mrmr_pool *pool,
				     enum mrmr_engine_mode mode,
				     struct mrmr_error *err)
{
	struct mrmr_engine *engine = talloc_zero(mem_ctx, struct mrmr_engine);
	struct mrmr_error ignored = {0};

	if (err == NULL) {
		err = &ignored;
	}
	if (engine == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	engine->pool = pool;
	engine->mode = mode;
	engine->lock_fd = -1;
	talloc_set_destructor(engine, engine_destructor);

	engine->number = talloc_zero_array(engine, uint16_t, pool->num_members);
	engine->parts = talloc_zero_array(engine, struct mrmr_engine_part,
					  pool->num_members);
	if (engine->number == NULL || engine->parts == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		TALLOC_FREE(engine);
		return NULL;
	}
	if (open_all(engine, err) == -1) {
		int error = errno;

		TALLOC_FREE(engine);
		errno = error;
		return NULL;
	}
	return engine;
}
