/*
 * MRMR: the queue, for those who read the catalogue: what became of a name.
 *
 * The catalogue knows names as they were when the protector last went through
 * the log. What was renamed, removed or trashed since stands in the log, and in
 * what was taken and is not done with. Of these, the events that concern names
 * are kept in memory, and what was appended since is read when it is needed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/thread_root.h>

#include "queue_private.h"

struct name_event {
	enum mrmr_event_kind kind;
	struct mrmr_uuid member;
	uint64_t inode;
	const char *path;
	const char *to;
};

struct queue_names {
	uint64_t mark;   /* of the queue, when they were read */
	uint64_t offset; /* in the log */
	struct name_event *events;
	size_t num;
};

static bool concerns_names(const struct mrmr_event *event)
{
	return event->kind == MRMR_EVENT_RENAMED ||
	       event->kind == MRMR_EVENT_REMOVED ||
	       event->kind == MRMR_EVENT_TRASHED ||
	       event->kind == MRMR_EVENT_LINKED ||
	       event->kind == MRMR_EVENT_MOVED;
}

/* It has the names that it had. */
static bool leaves_names(const struct name_event *event)
{
	return event->kind == MRMR_EVENT_LINKED ||
	       event->kind == MRMR_EVENT_MOVED;
}

static int keep(struct queue_names *names, const struct mrmr_event *event)
{
	struct name_event *kept = NULL;

	if ((names->num & (names->num - 1)) == 0) {
		kept = talloc_realloc(names, names->events, struct name_event,
				      names->num > 0 ? 2 * names->num : 1);
		if (kept == NULL) {
			errno = ENOMEM;
			return -1;
		}
		names->events = kept;
	}
	kept = &names->events[names->num];
	*kept = (struct name_event){
		.kind = event->kind,
		.member = event->member,
		.inode = event->inode,
		.path = talloc_strdup(names, event->path),
		.to = talloc_strdup(names, event->to),
	};
	if (kept->path == NULL || kept->to == NULL) {
		errno = ENOMEM;
		return -1;
	}
	names->num++;
	return 0;
}

/* *offset is moved past what was read: whole records, as a writer may be in the
   middle of one. */
static int read_names(struct mrmr_queue *queue, struct queue_names *names,
		      const char *file, uint64_t *offset)
{
	struct mrmr_event event;
	char *data = NULL;
	size_t len = 0;
	size_t at = 0;
	int ret = 0;

	data = queue_read_file(queue, NULL, file, *offset, &len);
	if (data == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	while (ret == 0 && queue_parse(data, len, &at, &event) == 1) {
		if (concerns_names(&event)) {
			ret = keep(names, &event);
		}
	}
	*offset += at;
	talloc_free(data);
	return ret;
}

static struct queue_names *read_all(struct mrmr_queue *queue)
{
	struct queue_names *names = talloc_zero(queue, struct queue_names);
	uint64_t *numbers = NULL;
	size_t num = 0;
	size_t i;

	if (names == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	names->mark = mrmr_queue_mark(queue);
	if (queue_list_taken(queue, names, &numbers, &num) == -1) {
		talloc_free(names);
		return NULL;
	}
	for (i = 0; i < num; i++) {
		uint64_t offset = 0;
		char name[32];

		queue_taken_name(numbers[i], name);
		if (read_names(queue, names, name, &offset) == -1) {
			talloc_free(names);
			return NULL;
		}
	}
	return names;
}

/* Bring queue->names up to date. */
static int look(struct mrmr_queue *queue)
{
	unsigned int tries;

	for (tries = 0; tries < 100; tries++) {
		if (queue->names != NULL &&
		    queue->names->mark != mrmr_queue_mark(queue)) {
			TALLOC_FREE(queue->names);
		}
		if (queue->names == NULL) {
			queue->names = read_all(queue);
		}
		if (queue->names == NULL ||
		    read_names(queue, queue->names, QUEUE_LOG,
			       &queue->names->offset) == -1) {
			TALLOC_FREE(queue->names);
			return -1;
		}
		/* If it was taken or removed meanwhile, it may have been read
		   twice, or not at all. */
		if (queue->names->mark == mrmr_queue_mark(queue)) {
			return 0;
		}
	}
	errno = EAGAIN;
	return -1;
}

static int look_as_root(struct mrmr_queue *queue)
{
	struct mrmr_thread_root root;
	int ret;

	if (mrmr_thread_root_enter(&root) == -1) {
		return -1;
	}
	ret = look(queue);
	mrmr_thread_root_leave(&root);
	return ret;
}

/* What of path is left after a directory's, with its slash; "" if it is that
   very path; NULL if it is elsewhere. */
static const char *below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (strncmp(path, dir, len) != 0 ||
	    (path[len] != '/' && path[len] != '\0')) {
		return NULL;
	}
	return path + len;
}

/* As a child of mem_ctx, in place of *path, which goes. False: no memory. */
static bool replace(void *mem_ctx, char **path, const char *dir,
		    const char *rest)
{
	char *longer = talloc_asprintf(mem_ctx, "%s%s", dir, rest);

	talloc_free(*path);
	*path = longer;
	return longer != NULL;
}

char *mrmr_queue_resolve(struct mrmr_queue *queue, void *mem_ctx,
			 const char *path, char **trashed)
{
	char *now = NULL;
	size_t i;

	if (trashed != NULL) {
		*trashed = NULL;
	}
	if (look_as_root(queue) == -1) {
		return NULL;
	}
	now = talloc_strdup(mem_ctx, path);
	for (i = 0; now != NULL && i < queue->names->num; i++) {
		const struct name_event *event = &queue->names->events[i];
		const char *rest = below(now, event->path);

		if (leaves_names(event)) {
			continue;
		}
		if (event->kind == MRMR_EVENT_RENAMED) {
			if (rest != NULL) {
				replace(mem_ctx, &now, event->to, rest);
				continue;
			}
			/* another file took its place */
			rest = strcmp(now, event->to) == 0 ? "" : NULL;
		}
		if (rest == NULL || rest[0] != '\0') {
			continue;
		}
		if (event->kind == MRMR_EVENT_TRASHED && trashed != NULL) {
			*trashed = talloc_strdup(mem_ctx, event->to);
		}
		talloc_free(now);
		errno = ENOENT;
		return NULL;
	}
	if (now == NULL) {
		errno = ENOMEM;
	}
	return now;
}

char *mrmr_queue_resolve_back(struct mrmr_queue *queue, void *mem_ctx,
			      const char *path)
{
	char *then = NULL;
	size_t i;

	if (look_as_root(queue) == -1) {
		return NULL;
	}
	then = talloc_strdup(mem_ctx, path);
	for (i = queue->names->num; then != NULL && i > 0; i--) {
		const struct name_event *event = &queue->names->events[i - 1];
		const char *rest = below(then, event->path);

		if (leaves_names(event)) {
			continue;
		}
		if (event->kind == MRMR_EVENT_RENAMED) {
			const char *moved = below(then, event->to);

			if (moved != NULL) {
				replace(mem_ctx, &then, event->path, moved);
				continue;
			}
		} else if (rest != NULL && rest[0] != '\0') {
			continue; /* a file's name, which is no directory's */
		}
		if (rest == NULL) {
			continue;
		}
		/* The one that had the name has left it: this one came since. */
		talloc_free(then);
		errno = ENOENT;
		return NULL;
	}
	if (then == NULL) {
		errno = ENOMEM;
	}
	return then;
}

/* --- of a file that is known by its inode ------------------------------------- */

static bool is_of(const struct name_event *event,
		  const struct mrmr_uuid *member, uint64_t inode)
{
	return inode != 0 && event->inode == inode &&
	       mrmr_uuid_equal(&event->member, member);
}

/* What became of a path by the events from first on. */
static char *follow(struct mrmr_queue *queue, void *mem_ctx,
		    const struct mrmr_uuid *member, uint64_t inode,
		    const char *path, size_t first)
{
	char *now = talloc_strdup(mem_ctx, path);
	size_t i;

	for (i = first; now != NULL && i < queue->names->num; i++) {
		const struct name_event *event = &queue->names->events[i];
		bool is_its_own = is_of(event, member, inode);
		const char *rest = below(now, event->path);
		bool is_gone = false;

		if (leaves_names(event)) {
			continue;
		}
		if (event->kind != MRMR_EVENT_RENAMED) {
			is_gone = rest != NULL && rest[0] == '\0' &&
				  (is_its_own || event->inode == 0);
		} else if (mrmr_uuid_is_nil(&event->member)) {
			if (rest != NULL) { /* a directory above it */
				replace(mem_ctx, &now, event->to, rest);
			}
		} else if (is_its_own) {
			/* This name, and not a further one that it has. If the
			   catalogue has some of them already, the later ones
			   lead on. */
			if (rest != NULL && rest[0] == '\0') {
				replace(mem_ctx, &now, event->to, "");
			}
		} else {
			/* another file took its place */
			is_gone = strcmp(now, event->to) == 0;
		}
		if (is_gone) {
			talloc_free(now);
			errno = ENOENT;
			return NULL;
		}
	}
	if (now == NULL) {
		errno = ENOMEM;
	}
	return now;
}

char *mrmr_queue_resolve_file(struct mrmr_queue *queue, void *mem_ctx,
			      const struct mrmr_uuid *member, uint64_t inode,
			      const char *path)
{
	if (look_as_root(queue) == -1) {
		return NULL;
	}
	return follow(queue, mem_ctx, member, inode, path, 0);
}

int mrmr_queue_moved(struct mrmr_queue *queue, void *mem_ctx,
		     const struct mrmr_uuid *member, struct mrmr_moved **moved,
		     size_t *num)
{
	size_t i;

	*num = 0;
	*moved = NULL;
	if (look_as_root(queue) == -1) {
		return -1;
	}
	for (i = 0; i < queue->names->num; i++) {
		const struct name_event *event = &queue->names->events[i];
		struct mrmr_moved *more = NULL;
		char *path = NULL;

		if (event->kind != MRMR_EVENT_MOVED || event->to[0] == '\0' ||
		    !is_of(event, member, event->inode)) {
			continue;
		}
		path = follow(queue, mem_ctx, member, event->inode, event->path,
			      i + 1);
		if (path == NULL && errno == ENOENT) {
			continue;
		}
		more = talloc_realloc(mem_ctx, *moved, struct mrmr_moved,
				      *num + 1);
		if (path == NULL || more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		more[(*num)++] = (struct mrmr_moved){
			.inode = event->inode,
			.was = strtoull(event->to, NULL, 16),
			.path = path,
		};
		*moved = more;
	}
	return 0;
}

int mrmr_queue_linked(struct mrmr_queue *queue, void *mem_ctx,
		      const struct mrmr_uuid *member, uint64_t inode,
		      char ***paths, size_t *num)
{
	size_t i;

	*num = 0;
	*paths = NULL;
	if (look_as_root(queue) == -1) {
		return -1;
	}
	for (i = 0; i < queue->names->num; i++) {
		const struct name_event *event = &queue->names->events[i];
		char **more = NULL;
		char *path = NULL;

		if (event->kind != MRMR_EVENT_LINKED ||
		    !is_of(event, member, inode)) {
			continue;
		}
		path = follow(queue, mem_ctx, member, inode, event->to, i + 1);
		if (path == NULL && errno == ENOENT) {
			continue;
		}
		more = talloc_realloc(mem_ctx, *paths, char *, *num + 1);
		if (path == NULL || more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		more[(*num)++] = path;
		*paths = more;
	}
	return 0;
}

int mrmr_queue_renamed(struct mrmr_queue *queue, void *mem_ctx,
		       const struct mrmr_uuid *member, uint64_t **inodes,
		       size_t *num, bool *has_any)
{
	size_t i;

	*num = 0;
	*inodes = NULL;
	if (look_as_root(queue) == -1) {
		return -1;
	}
	*has_any = queue->names->num > 0;
	*inodes = talloc_array(mem_ctx, uint64_t, queue->names->num + 1);
	if (*inodes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < queue->names->num; i++) {
		const struct name_event *event = &queue->names->events[i];

		if ((event->kind == MRMR_EVENT_RENAMED ||
		     event->kind == MRMR_EVENT_LINKED) &&
		    is_of(event, member, event->inode)) {
			(*inodes)[(*num)++] = event->inode;
		}
	}
	return 0;
}
