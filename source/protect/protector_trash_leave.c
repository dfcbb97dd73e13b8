/*
 * MRMR: the protector: files that leave the trash.
 *
 * Other files' redundancy may depend on them, so they leave their stripes, and the
 * catalogue, in a transaction; after the commit nothing depends on them, and they
 * are unlinked (invariant 2). What stays in these stripes keeps all of its parity:
 * where that cannot be, nothing is done.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>

#include "protector_trash.h"
#include "was.h"

/* --- what the catalogue has of them ------------------------------------------------- */

int trash_find_place(struct protector *p, void *mem_ctx,
		     const struct trashed *file, struct mrmr_node **node,
		     enum trash_place *place)
{
	const struct trash *trash = file->trash;
	char *name =
		talloc_asprintf(mem_ctx, "%u/%s", trash->number, file->path);
	struct mrmr_link *links = NULL;
	bool has_name = false;
	size_t num = 0;
	uint64_t id;
	int is_needed;
	size_t i;

	*place = TRASH_NOT_KNOWN;
	if (name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (mrmr_catalog_find_inode(p->catalog, trash->number, file->inode,
				    &id) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	is_needed = was_is_needed(p->catalog, id);
	if (is_needed != 0) {
		errno = is_needed == 1 ? EBUSY : errno;
		return -1;
	}
	if (mrmr_catalog_get(p->catalog, mem_ctx, id, node) == -1 ||
	    mrmr_catalog_links(p->catalog, mem_ctx, id, &links, &num) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		has_name = has_name || (links[i].dir_id == MRMR_ID_TRASH &&
					strcmp(links[i].name, name) == 0);
	}
	*place = has_name && num == 1 ? TRASH_IN_TRASH : TRASH_STILL_USED;
	if (!has_name || (num > 1 && file->is_last_name)) {
		errno = EBUSY; /* an event, or a scan, will tell */
		return -1;
	}
	return 0;
}

/* With other names, the file lives: this one is one too many. */
static int remove_name(struct protector *p, void *mem_ctx,
		       const struct trashed *file)
{
	char *name = talloc_asprintf(mem_ctx, "%u/%s", file->trash->number,
				     file->path);

	if (name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return mrmr_catalog_remove(p->catalog, MRMR_ID_TRASH, name);
}

/* --- leaving the stripes ------------------------------------------------------------ */

struct leaving {
	struct protector *p;
	struct batch *batch;
	struct target *targets; /* talloc */
	size_t num_targets;
	struct mrmr_change *changes;
	size_t num_changes;
};

static int add_target(struct leaving *leaving, struct mrmr_node *node)
{
	struct target *target = &leaving->targets[leaving->num_targets];

	*target = (struct target){
		.entry = WINDOW_NONE,
		.old = node,
		.is_gone = true,
	};
	if (target_prepare_gone(leaving->p, leaving->batch, target) == -1) {
		return -1;
	}
	leaving->num_targets++;
	leaving->num_changes += target->num_changes;
	return 0;
}

/* *may_go: it may, if all goes well. */
static int add_file(struct leaving *leaving, const struct trashed *file,
		    bool *may_go)
{
	struct mrmr_node *node = NULL;
	enum trash_place place;

	*may_go = false;
	if (trash_find_place(leaving->p, leaving->targets, file, &node,
			     &place) == -1) {
		return errno == EBUSY ? 0 : -1;
	}
	*may_go = true;
	switch (place) {
	case TRASH_NOT_KNOWN:
		return 0;
	case TRASH_IN_TRASH:
		return add_target(leaving, node);
	case TRASH_STILL_USED:
		return remove_name(leaving->p, leaving->targets, file);
	}
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

/* 1: what stays would lose by it. */
static int apply(struct leaving *leaving, struct mrmr_stripes *work,
		 struct mrmr_error *err)
{
	size_t i;

	if (leaving->num_changes == 0) {
		return 0;
	}
	mrmr_stripes_keep_all(work, true);
	if (mrmr_stripes_apply(work, leaving->changes, leaving->num_changes,
			       err) == -1) {
		return mrmr_stripes_kept(work) ? 1 : -1;
	}
	for (i = 0; i < leaving->num_changes; i++) {
		/* then a stripe still depends on it */
		if (leaving->changes[i].error != 0) {
			return mrmr_error_set(err, leaving->changes[i].error,
					      "a file in the trash cannot "
					      "leave its stripes: %s",
					      strerror(leaving->changes[i]
							       .error));
		}
	}
	return 0;
}

static int change_catalog(struct leaving *leaving, struct mrmr_stripes *work,
			  struct trashed **files, bool *may_go, size_t num,
			  struct mrmr_error *err)
{
	struct protector *p = leaving->p;
	size_t i;
	int ret;

	for (i = 0; i < num; i++) {
		if (add_file(leaving, files[i], &may_go[i]) == -1) {
			return protector_fail_catalog(p, err);
		}
	}
	if (gather(leaving) == -1) {
		return protector_no_memory(err);
	}
	ret = apply(leaving, work, err);
	if (ret != 0) {
		return ret;
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

/* Who makes something in a folder meanwhile makes it again. */
void trash_remove_file(struct trashed *file)
{
	struct trash *trash = file->trash;
	char *path = talloc_strdup(trash, file->path);
	char *slash = NULL;

	file->is_removed = true;
	if ((mrmr_fault("trash-unlink") == 0 &&
	     unlinkat(trash->fd, file->path, 0) == 0) ||
	    errno == ENOENT) {
		trash->freed_bytes += file->bytes;
	} else {
		trash->has_failed = true;
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: %s cannot be removed from its trash: %s",
			 mrmr_member_name(trash->member), file->path,
			 strerror(errno));
	}
	while (path != NULL && (slash = strrchr(path, '/')) != NULL) {
		*slash = '\0';
		if (unlinkat(trash->fd, path, AT_REMOVEDIR) == -1) {
			break;
		}
	}
	talloc_free(path);
}

int trash_leave(struct protector *p, struct trashed **files, size_t num,
		struct mrmr_error *err)
{
	struct batch *batch = batch_new(p);
	struct leaving leaving = {.p = p, .batch = batch};
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
	if (protector_begin(p, err) == 0) {
		ret = change_catalog(&leaving, work, files, may_go, num, err);
	}
	if (ret == 0) {
		ret = protector_commit(p, err);
	}
	if (ret == 1) {
		protector_take_back(p);
		mrmr_stripes_abort(work);
		talloc_free(batch);
		err->code = 0;
		return 1;
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
			trash_remove_file(files[i]);
		}
	}
	talloc_free(batch);
	return 0;
}
