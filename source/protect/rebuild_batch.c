/*
 * MRMR: rebuilding: batches: what becomes durable, gets its names and is
 * committed together (see rebuild.c).
 *
 * New parity of the stripes that files leave is written beside the old, which goes
 * after the commit. If there is no room for all of it, half of the files are
 * committed, and then the other half, down to those that must go together: for
 * which there is no room even so, they stay where the catalogue has them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>

#include "rebuild_private.h"

static void close_staging(struct rebuild *r)
{
	size_t i;

	for (i = 0; i < MRMR_MEMBERS_MAX; i++) {
		if (r->staging_fd[i] != -1) {
			close(r->staging_fd[i]);
			r->staging_fd[i] = -1;
		}
	}
}

void rebuild_batch_begin(struct rebuild *r)
{
	close_staging(r);
	TALLOC_FREE(r->batch);
	r->batch = talloc_new(r);
	r->files = NULL;
	r->num_files = 0;
	r->ids = NULL;
	r->families = NULL;
	r->families_end = &r->families;
	r->batch_bytes = 0;
	memset(r->is_target, 0, sizeof(r->is_target));
}

/* The place of an id in the table, or that where it would be. */
static size_t find_id(const uint64_t *ids, size_t size, uint64_t id)
{
	size_t at = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 32) % size;

	while (ids[at] != MRMR_ID_NONE && ids[at] != id) {
		at = (at + 1) % size;
	}
	return at;
}

static int add_id(struct rebuild *r, uint64_t id)
{
	size_t size = talloc_array_length(r->ids);
	uint64_t *larger = NULL;
	size_t i;

	if (2 * (r->num_files + 1) > size) {
		larger = talloc_zero_array(r->batch, uint64_t, 2 * size + 256);
		if (larger == NULL) {
			return -1;
		}
		for (i = 0; i < r->num_files; i++) {
			uint64_t old = r->files[i]->node->id;

			larger[find_id(larger, 2 * size + 256, old)] = old;
		}
		talloc_free(r->ids);
		r->ids = larger;
		size = 2 * size + 256;
	}
	r->ids[find_id(r->ids, size, id)] = id;
	return 0;
}

int rebuild_batch_add(struct rebuild *r, struct rebuild_file *file)
{
	size_t size = talloc_array_length(r->files);

	if (r->num_files == size) {
		struct rebuild_file **larger =
			talloc_realloc(r->batch, r->files,
				       struct rebuild_file *, 2 * size + 64);

		if (larger == NULL) {
			errno = ENOMEM;
			return -1;
		}
		r->files = larger;
	}
	if (add_id(r, file->node->id) == -1) {
		errno = ENOMEM;
		return -1;
	}
	r->files[r->num_files++] = talloc_steal(r->batch, file);
	r->batch_bytes += rebuild_version(file)->size_bytes;
	return 0;
}

static void find_targets(struct rebuild *r)
{
	size_t i;

	for (i = 0; i < r->num_files; i++) {
		if (r->files[i]->state == REBUILD_STAGED) {
			r->is_target[r->files[i]->target] = true;
		}
	}
}

/* A member that cannot be synced keeps nothing of the batch. */
static void sync_targets(struct rebuild *r)
{
	size_t i, n;

	for (i = 0; i < r->pool->num_members; i++) {
		const struct mrmr_member *member = &r->pool->members[i];
		int error;

		if (!r->is_target[i] || (mrmr_fault("rebuild-sync") == 0 &&
					 syncfs(member->root_fd) == 0)) {
			continue;
		}
		error = errno;
		mrmr_pool_suspect(r->pool, member, error);
		for (n = 0; n < r->num_files; n++) {
			struct rebuild_file *file = r->files[n];

			if (file->target == i &&
			    file->state != REBUILD_DROPPED) {
				rebuild_drop(r, file, MRMR_REBUILD_FAILED,
					     strerror(error));
			}
		}
	}
}

/* Where a list of files may be cut in two, near its middle; 0: nowhere. */
static size_t find_cut(struct rebuild_file **files, size_t num)
{
	size_t at = num / 2;

	while (at > 0 && at < num &&
	       files[at]->family == files[at - 1]->family) {
		at++;
	}
	if (at < num) {
		return at;
	}
	for (at = num / 2; at > 0 && files[at]->family == files[at - 1]->family;
	     at--) {
	}
	return at;
}

static void leave_out(struct rebuild *r, struct rebuild_file **files,
		      size_t num, const char *why)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (files[i]->state == REBUILD_PLACED) {
			rebuild_drop(r, files[i], MRMR_REBUILD_FAILED, why);
		}
	}
}

static int record(struct rebuild *r, struct rebuild_file **files, size_t num,
		  struct mrmr_error *err)
{
	int ret = rebuild_record(r, files, num, err);
	size_t cut;

	if (ret != 1) {
		return ret;
	}
	cut = find_cut(files, num);
	if (cut == 0) {
		leave_out(r, files, num, err->text);
		return 0;
	}
	mrmr_pool_look_at_space(r->pool);
	if (record(r, files, cut, err) == -1) {
		return -1;
	}
	mrmr_pool_look_at_space(r->pool);
	return record(r, files + cut, num - cut, err);
}

static void count_batch(struct rebuild *r)
{
	size_t i;

	for (i = 0; i < r->num_files; i++) {
		struct rebuild_file *file = r->files[i];

		if (file->state != REBUILD_PLACED) {
			continue;
		}
		rebuild_drop_ghosts(r, file);
		if (file->was != NULL) {
			rebuild_tell_older(r, file);
		}
		r->result->files++;
		r->result->bytes += rebuild_version(file)->size_bytes;
		r->result->adopted += file->is_adopted;
		r->progress.done_files++;
	}
}

int rebuild_batch_finish(struct rebuild *r, struct mrmr_error *err)
{
	size_t i;
	int ret = rebuild_families_end(r, err);

	if (ret == 0 && r->num_files > 0) {
		find_targets(r);
		sync_targets(r);
		for (i = 0; i < r->num_files; i++) {
			if (r->files[i]->state == REBUILD_STAGED) {
				rebuild_place(r, r->files[i]);
			}
		}
		if (mrmr_fault("rebuild-placed") != 0) {
			ret = mrmr_error_set(err, errno, "%s", strerror(errno));
		}
	}
	if (ret == 0 && r->num_files > 0) {
		sync_targets(r);
		ret = record(r, r->files, r->num_files, err);
	}
	if (ret == 0) {
		count_batch(r);
		rebuild_batch_begin(r);
		mrmr_pool_look_at_space(r->pool);
	}
	return ret;
}

void rebuild_batch_drop(struct rebuild *r)
{
	int saved_errno = errno;
	size_t i;

	rebuild_slots_take(r, true);
	for (i = 0; i < r->num_files; i++) {
		rebuild_unstage(r, r->files[i]);
	}
	close_staging(r);
	errno = saved_errno;
}

bool rebuild_batch_has(const struct rebuild *r, uint64_t id)
{
	size_t size = talloc_array_length(r->ids);

	return size > 0 && r->ids[find_id(r->ids, size, id)] == id;
}
