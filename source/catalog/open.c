/*
 * MRMR: the catalogue: opening, transactions.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/log.h>

#include "catalog_private.h"

#define STORE_NAME "0.tdb"
#define LOCK_NAME \
	"catalogue.lock" /* beside the folder, which may be replaced */

#define CLEAN_BYTES_WRITE ((size_t)32 * 1024 * 1024)
#define CLEAN_BYTES_READ ((size_t)2 * 1024 * 1024)

/* --- operations ----------------------------------------------------------------- */

int read_begin(struct mrmr_catalog *cat)
{
	bool has_changed = false;

	if (cat->depth++ > 0) {
		return 0;
	}
	records_trim(cat);
	if (cat->mode == MRMR_CATALOG_WRITE) {
		return 0;
	}
	if (store_lock(cat->store, &has_changed) == -1) {
		cat->depth--;
		return -1;
	}
	if (has_changed) {
		records_drop(cat);
		if (head_load(cat, NULL) == -1) {
			return read_end(cat, -1);
		}
	}
	return 0;
}

int read_end(struct mrmr_catalog *cat, int ret)
{
	int saved_errno = errno;

	if (--cat->depth == 0 && cat->mode == MRMR_CATALOG_READ) {
		store_unlock(cat->store);
	}
	errno = saved_errno;
	return ret;
}

int mrmr_catalog_hold(struct mrmr_catalog *cat)
{
	return read_begin(cat);
}

int mrmr_catalog_let_go(struct mrmr_catalog *cat, int ret)
{
	return read_end(cat, ret);
}

int change_begin(struct mrmr_catalog *cat)
{
	if (!cat->is_in_transaction) {
		errno = EINVAL;
		return -1;
	}
	if (cat->broken != 0) {
		errno = cat->broken;
		return -1;
	}
	records_trim(cat);
	cat->puts_before = cat->num_puts;
	return 0;
}

int change_end(struct mrmr_catalog *cat, int ret)
{
	if (ret == -1 && cat->num_puts != cat->puts_before) {
		cat->broken = errno;
	}
	return ret;
}

/* --- transactions ---------------------------------------------------------------- */

int mrmr_catalog_begin(struct mrmr_catalog *cat)
{
	if (cat->mode != MRMR_CATALOG_WRITE) {
		errno = EROFS;
		return -1;
	}
	if (cat->is_in_transaction) {
		errno = EINVAL;
		return -1;
	}
	/* also of the store: it may have been closed by a failure */
	if (head_load(cat, NULL) == -1) {
		return -1;
	}
	cat->is_in_transaction = true;
	cat->broken = 0;
	return 0;
}

int reload(struct mrmr_catalog *cat)
{
	records_drop(cat);
	return head_load(cat, NULL);
}

static void forget(struct mrmr_catalog *cat)
{
	touched_drop(cat);
	cat->is_in_transaction = false;
	if (reload(cat) == -1) {
		mrmr_log(MRMR_LOG_ERROR, "%s cannot be read any more: %s",
			 store_name(cat->store), strerror(errno));
	}
}

void mrmr_catalog_cancel(struct mrmr_catalog *cat)
{
	int saved_errno = errno;

	if (cat->is_in_transaction) {
		forget(cat);
	}
	errno = saved_errno;
}

static int fail(struct mrmr_catalog *cat, int error, struct mrmr_error *err)
{
	forget(cat);
	if (error == EILSEQ && !cat->is_part) {
		return mrmr_error_set(err, error,
				      "%s is damaged, and nothing is changed "
				      "in it; run 'mrmr-admin recover'",
				      store_name(cat->store));
	}
	return mrmr_error_set(err, error, "%s cannot be written: %s",
			      store_name(cat->store), strerror(error));
}

/*
 * What cannot be read may be what others depend on: whoever has met damage, while he
 * made a change or before, writes nothing more, however well he got on without what he
 * has not found.
 */
static int check_undamaged(struct mrmr_catalog *cat)
{
	if (cat->is_damaged && !cat->is_part) {
		errno = EILSEQ;
		return -1;
	}
	return 0;
}

int mrmr_catalog_commit(struct mrmr_catalog *cat, struct mrmr_error *err)
{
	if (!cat->is_in_transaction) {
		return mrmr_error_set(err, EINVAL, "no transaction was begun");
	}
	if (cat->broken != 0) {
		return fail(cat, cat->broken, err);
	}
	if (cat->dirty_bytes == 0 && !cat->head_is_dirty &&
	    !parts_have_work(cat)) {
		mrmr_catalog_cancel(cat); /* nothing was changed */
		return 0;
	}
	cat->head.sequence++;
	if (parts_write(cat) == -1 || check_undamaged(cat) == -1 ||
	    head_save(cat) == -1 || mrmr_fault("catalog-commit") != 0 ||
	    records_write(cat) == -1) {
		int error = errno;

		parts_written(cat, false);
		return fail(cat, error, err);
	}
	parts_written(cat, true);
	cat->head_is_dirty = false;
	cat->is_in_transaction = false;
	touched_drop(cat);
	return 0;
}

/* --- opening ------------------------------------------------------------------------ */

/* The root is in a directory that nobody can name, under the empty name. */
static int make_root(struct mrmr_catalog *cat)
{
	struct mrmr_node root = {
		.name = (char *)"",
		.kind = MRMR_NODE_DIRECTORY,
		.member = MRMR_MEMBER_NONE,
		.mode = S_IFDIR | 0755,
	};

	return node_create(cat, &root, MRMR_ID_ROOT);
}

static int make_new(struct mrmr_catalog *cat, const struct mrmr_uuid *pool_id,
		    struct mrmr_error *err)
{
	if (head_init(cat, pool_id) == -1 || make_root(cat) == -1 ||
	    head_save(cat) == -1 || records_write(cat) == -1) {
		return mrmr_error_set(err, errno, "cannot make %s: %s",
				      store_name(cat->store), strerror(errno));
	}
	cat->head_is_dirty = false;
	return 0;
}

static struct mrmr_catalog *open_store(void *mem_ctx, int dir_fd,
				       const struct store_shape *shape,
				       const struct mrmr_uuid *pool_id,
				       struct mrmr_error *err)
{
	struct mrmr_catalog *cat = talloc_zero(mem_ctx, struct mrmr_catalog);
	bool is_new = false;

	if (cat == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	cat->mode = shape->may_write ? MRMR_CATALOG_WRITE : MRMR_CATALOG_READ;
	cat->is_part = shape->is_part;
	cat->allows_unknown = shape->is_part;
	cat->copies = 1;
	cat->threads = 1;
	pthread_mutex_init(&cat->asking, NULL);
	cat->clean_bytes_max =
		shape->may_write ? CLEAN_BYTES_WRITE : CLEAN_BYTES_READ;
	cat->store = store_open(cat, dir_fd, shape, &is_new, err);
	if (cat->store == NULL) {
		goto fail;
	}
	if ((is_new ? make_new(cat, pool_id, err) : head_load(cat, err)) ==
	    -1) {
		goto fail;
	}
	if (!mrmr_uuid_equal(&cat->head.pool_id, pool_id)) {
		mrmr_error_set(err, EILSEQ, "%s is of another pool",
			       shape->name);
		goto fail;
	}
	return cat;
fail:
	talloc_free(cat);
	return NULL;
}

struct mrmr_catalog *mrmr_catalog_open(void *mem_ctx, int state_fd,
				       const struct mrmr_uuid *pool_id,
				       enum mrmr_catalog_mode mode,
				       struct mrmr_error *err)
{
	struct store_shape shape = {
		.name = STORE_NAME,
		.may_write = mode == MRMR_CATALOG_WRITE,
	};
	struct mrmr_catalog *cat = NULL;
	int fd;

	if (mode == MRMR_CATALOG_WRITE &&
	    mkdirat(state_fd, MRMR_CATALOG_FOLDER, 0700) == 0) {
		mrmr_file_sync_directory(state_fd);
	}
	fd = openat(state_fd, MRMR_CATALOG_FOLDER,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		mrmr_error_set(err, errno,
			       "cannot open the folder '" MRMR_CATALOG_FOLDER
			       "' of the state directory: %s",
			       strerror(errno));
		return NULL;
	}
	cat = open_store(mem_ctx, fd, &shape, pool_id, err);
	close(fd);
	return cat;
}

struct mrmr_catalog *mrmr_catalog_open_part(void *mem_ctx, int private_fd,
					    const struct mrmr_uuid *pool_id,
					    enum mrmr_catalog_mode mode,
					    struct mrmr_error *err)
{
	struct store_shape shape = {
		.name = MRMR_CATALOG_PART,
		.is_part = true,
		.may_write = mode == MRMR_CATALOG_WRITE,
	};

	return open_store(mem_ctx, private_fd, &shape, pool_id, err);
}

void mrmr_catalog_doubt_part(struct mrmr_catalog *part)
{
	store_doubt(part->store);
}

struct mrmr_catalog *part_open_as(void *mem_ctx, int private_fd,
				  const struct mrmr_uuid *pool_id,
				  const char *name, struct mrmr_error *err)
{
	struct store_shape shape = {
		.name = name,
		.is_part = true,
		.may_write = true,
	};

	return open_store(mem_ctx, private_fd, &shape, pool_id, err);
}

int mrmr_catalog_lock(int state_fd, bool wait)
{
	int fd = openat(state_fd, LOCK_NAME,
			O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int ret;

	if (fd == -1) {
		return -1;
	}
	do {
		ret = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
	} while (ret == -1 && errno == EINTR);
	if (ret == -1) {
		int error = errno;

		close(fd);
		errno = error == EWOULDBLOCK ? EAGAIN : error;
		return -1;
	}
	return fd;
}
