/*
 * MRMR: rebuilding: what can be brought back, and what cannot.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/decode.h>
#include <mrmr/shortage.h>

#include "protector_private.h"
#include "rebuild_private.h"
#include "was.h"

/* --- blocks of files ------------------------------------------------------------ */

bool rebuild_is_protected(struct rebuild *r, const struct mrmr_node *node)
{
	return node->size_bytes == 0
		       ? rebuild_is_covered(r, node)
		       : was_is_protected(r->engine->catalog, node) == 1;
}

/* --- changes that nobody has protected -------------------------------------------- */

struct change {
	const char *path;
	size_t when;
};

static int compare_changes(const void *a_void, const void *b_void)
{
	const struct change *a = a_void;
	const struct change *b = b_void;
	int ret = strcmp(a->path, b->path);

	if (ret != 0) {
		return ret;
	}
	return a->when < b->when ? -1 : a->when > b->when;
}

/* What is below `from` is below `to` now. */
static char *renamed(void *mem_ctx, char *path, const char *from,
		     const char *to)
{
	size_t len = strlen(from);

	if (strncmp(path, from, len) != 0 ||
	    (path[len] != '\0' && path[len] != '/')) {
		return path;
	}
	return talloc_asprintf(mem_ctx, "%s%s", to, path + len);
}

/* Where it is after all that came later, NULL: it is gone. */
static char *follow(void *mem_ctx, const struct mrmr_event **names, size_t num,
		    const struct mrmr_event *change)
{
	char *path = talloc_strdup(mem_ctx, change->path);
	size_t i;

	for (i = 0; i < num && path != NULL; i++) {
		const struct mrmr_event *event = names[i];

		if (event < change) {
			continue; /* they are in one array, in their order */
		}
		if (event->kind == MRMR_EVENT_RENAMED) {
			path = renamed(mem_ctx, path, event->path, event->to);
		} else if (strcmp(event->path, path) == 0) {
			return NULL;
		}
	}
	return path;
}

#define OLDER_TEXT                                                        \
	"its last change was not protected yet; it comes back as it was " \
	"before that"

void rebuild_tell_older(struct rebuild *r, const struct rebuild_file *file)
{
	rebuild_tell(r, MRMR_REBUILD_OLDER, rebuild_path(file),
		     file->was->size_bytes, OLDER_TEXT);
}

/* Those that are pending are told by tell_pending(). */
static void tell_change(struct rebuild *r, void *mem_ctx, const char *path)
{
	struct mrmr_catalog *catalog = r->engine->catalog;
	char *known = mrmr_queue_resolve_back(r->engine->queue, mem_ctx, path);
	struct pending_place place;
	struct mrmr_node *node = NULL;

	if (known == NULL ||
	    mrmr_catalog_find_path(catalog, mem_ctx, known, &node) == -1) {
		rebuild_tell(r, MRMR_REBUILD_UNPROTECTED, path, 0,
			     "it was new, and not protected yet");
	} else if (node->member == r->number && node->kind == MRMR_NODE_FILE &&
		   pending_saved(catalog, node->id, &place) == 0) {
		rebuild_tell(r, MRMR_REBUILD_OLDER, path, node->size_bytes,
			     OLDER_TEXT);
	}
}

/* The protector has heard of these, and had not come to them. Those of which
   nothing is protected are told when it is their turn. */
static int tell_pending(const struct pending_place *place, void *private_data)
{
	struct rebuild *r = private_data;
	struct mrmr_catalog *catalog = r->engine->catalog;
	struct mrmr_node *node = NULL;
	bool in_trash = false;
	char *path = NULL;
	int ret = 0;

	if (mrmr_catalog_get(catalog, r, place->node, &node) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	/* it may have come to another member since it was noticed */
	if (node->member == r->number && node->kind == MRMR_NODE_FILE) {
		path = mrmr_catalog_path(catalog, node, node->id, &in_trash);
		ret = path != NULL ? 0 : -1;
	}
	if (path != NULL && !in_trash && rebuild_is_protected(r, node)) {
		rebuild_tell(r, MRMR_REBUILD_OLDER, path, node->size_bytes,
			     OLDER_TEXT);
	}
	talloc_free(node);
	return ret;
}

static bool is_name_event(const struct mrmr_event *event)
{
	return event->kind == MRMR_EVENT_RENAMED ||
	       event->kind == MRMR_EVENT_REMOVED ||
	       event->kind == MRMR_EVENT_TRASHED ||
	       event->kind == MRMR_EVENT_MOVED;
}

static int tell_changes(struct rebuild *r, void *mem_ctx,
			const struct mrmr_event *events, size_t num)
{
	const struct mrmr_uuid *id =
		&r->pool->members[r->options->lost].config->id;
	const struct mrmr_event **names = NULL;
	struct change *changes = NULL;
	size_t num_changes = 0;
	size_t num_names = 0;
	size_t i;

	names = talloc_zero_array(mem_ctx, const struct mrmr_event *, num);
	changes = talloc_zero_array(mem_ctx, struct change, num);
	if (names == NULL || changes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (events[i].kind == MRMR_EVENT_CHANGED &&
		    mrmr_uuid_equal(&events[i].member, id)) {
			changes[num_changes].path = events[i].path;
			changes[num_changes++].when = i;
		} else if (is_name_event(&events[i])) {
			names[num_names++] = &events[i];
		}
	}
	qsort(changes, num_changes, sizeof(changes[0]), compare_changes);
	for (i = 0; i < num_changes; i++) {
		char *path = NULL;

		if (i + 1 < num_changes &&
		    strcmp(changes[i].path, changes[i + 1].path) == 0) {
			continue; /* the last one counts */
		}
		path = follow(mem_ctx, names, num_names,
			      &events[changes[i].when]);
		if (path != NULL) {
			tell_change(r, mem_ctx, path);
		}
	}
	return 0;
}

int rebuild_changes(struct rebuild *r, struct mrmr_error *err)
{
	void *frame = talloc_new(r);
	struct mrmr_event *events = NULL;
	size_t num = 0;
	int ret;

	ret = mrmr_queue_peek(r->engine->queue, frame, &events, &num);
	if (ret == 0 && num > 0) {
		ret = tell_changes(r, frame, events, num);
	}
	if (ret == 0) {
		ret = pending_each_saved(r->engine->catalog, tell_pending, r);
	}
	if (ret == -1) {
		mrmr_error_set(err, errno,
			       "what was not protected yet cannot be read: %s",
			       strerror(errno));
	}
	talloc_free(frame);
	return ret;
}

/* --- the plan ---------------------------------------------------------------------- */

static void plan_node(struct rebuild *r, struct mrmr_node *node)
{
	void *frame = talloc_new(r);
	struct rebuild_file *file = NULL;
	struct mrmr_error err = {0};

	talloc_steal(frame, node);
	file = rebuild_look(r, frame, node);
	if (file != NULL && !file->is_adopted && file->was == NULL &&
	    node->kind == MRMR_NODE_FILE && !rebuild_is_protected(r, node)) {
		rebuild_drop(r, file, MRMR_REBUILD_UNPROTECTED,
			     "it was never protected, or not in whole");
		file = NULL;
	}
	if (file != NULL && !file->is_adopted &&
	    mrmr_decode_can(r->engine, rebuild_version(file), &err) == -1) {
		rebuild_drop(r, file,
			     mrmr_is_shortage(err.code) ? MRMR_REBUILD_FAILED
							: MRMR_REBUILD_LOST,
			     err.text);
		file = NULL;
	}
	if (file != NULL && file->was != NULL) {
		rebuild_tell_older(r, file);
	}
	if (file != NULL) {
		r->result->files++;
		r->result->bytes += rebuild_version(file)->size_bytes;
		r->result->adopted += file->is_adopted;
	}
	r->progress.done_files++;
	r->progress.done_bytes += node->size_bytes;
	if (r->options->progress != NULL) {
		r->options->progress(&r->progress, r->options->private_data);
	}
	talloc_free(frame);
}

static void plan_room(struct rebuild *r)
{
	size_t i;

	for (i = 0; i < r->pool->num_members; i++) {
		if (i != r->options->lost &&
		    (r->options->onto == MRMR_REBUILD_SPREAD ||
		     r->options->onto == i)) {
			r->result->room_bytes +=
				mrmr_member_room(&r->pool->members[i]);
		}
	}
}

static int plan(struct rebuild *r)
{
	struct mrmr_catalog *catalog = r->engine->catalog;
	struct mrmr_catalog_sums sums = {0};
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	if (mrmr_catalog_sums(catalog, r->number, &sums) == -1) {
		return -1;
	}
	r->result->stripes = sums.num_blobs;
	r->result->parity_bytes = sums.parity_bytes;
	plan_room(r);
	while (!rebuild_should_stop(r)) {
		if (mrmr_catalog_next_on(catalog, r, r->number, false, id,
					 &node) == -1) {
			return errno == ENOENT ? 0 : -1;
		}
		id = node->id;
		plan_node(r, node);
	}
	r->result->is_stopped = true;
	return 0;
}

int mrmr_rebuild_plan(struct mrmr_engine *engine,
		      const struct mrmr_rebuild_options *options,
		      struct mrmr_rebuild_result *result,
		      struct mrmr_error *err)
{
	struct rebuild *r = rebuild_begin(engine, options, result, err);
	int saved_errno;
	int ret;

	if (r == NULL) {
		return -1;
	}
	r->is_plan = true;
	ret = rebuild_changes(r, err);
	if (ret == 0 && plan(r) == -1) {
		ret = mrmr_error_set(err, errno,
				     "the catalogue cannot be read: %s",
				     mrmr_catalog_why(errno));
	}
	saved_errno = errno;
	talloc_free(r);
	errno = saved_errno;
	return ret;
}
