/*
 * MRMR: the queue, for those who read the catalogue: what became of a name.
 *
 * The catalogue knows names as they were when the protector last went through
 * the log. What was renamed, removed or trashed since stands in the log, and in
 * what was taken and is not done with. Of these, the events that concern names
 * are kept in memory, and what was appended since is read when it is needed. Of all
 * of them, their fingerprints are, to find the last one that the catalogue has.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>
#include <xxhash.h>

#include <mrmr/thread_root.h>

#include "queue_private.h"

struct name_event {
	enum mrmr_event_kind kind;
	struct mrmr_uuid member;
	uint64_t inode;
	uint64_t fingerprint;
	const char *path;
	const char *to;
};

/* Any event, of names or not. */
struct seen_event {
	uint64_t fingerprint;
	size_t num_names; /* how many events of names there are up to it */
};

struct queue_names {
	uint64_t mark;   /* of the queue, when they were read */
	uint64_t offset; /* in the log */
	struct name_event *events;
	size_t num;
	size_t first; /* that the catalogue does not have */
	struct seen_event *seen;
	size_t num_seen;
	uint64_t applied;    /* the fingerprint that was looked for, */
	size_t num_searched; /* among so many of those seen */
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

uint64_t mrmr_queue_fingerprint(const struct mrmr_event *event)
{
	uint64_t sum = XXH3_64bits(event->path, strlen(event->path));

	sum = XXH3_64bits_withSeed(event->to, strlen(event->to), sum);
	sum = XXH3_64bits_withSeed(event->member.byte, 16, sum);
	sum = XXH3_64bits_withSeed(&event->inode, sizeof(event->inode), sum);
	sum = XXH3_64bits_withSeed(&event->time_ns, sizeof(event->time_ns),
				   sum);
	return XXH3_64bits_withSeed(&event->kind, sizeof(event->kind), sum);
}

void mrmr_queue_set_applied(struct mrmr_queue *queue,
			    mrmr_queue_applied_fn applied, void *private_data)
{
	queue->applied = applied;
	queue->applied_data = private_data;
}

static int see(struct queue_names *names, const struct mrmr_event *event)
{
	struct seen_event *seen = NULL;

	if ((names->num_seen & (names->num_seen - 1)) == 0) {
		seen = talloc_realloc(names, names->seen, struct seen_event,
				      names->num_seen > 0 ? 2 * names->num_seen
							  : 1);
		if (seen == NULL) {
			errno = ENOMEM;
			return -1;
		}
		names->seen = seen;
	}
	names->seen[names->num_seen++] = (struct seen_event){
		.fingerprint = mrmr_queue_fingerprint(event),
		.num_names = names->num,
	};
	return 0;
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
		.fingerprint = mrmr_queue_fingerprint(event),
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
		if (ret == 0) {
			ret = see(names, &event);
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

/* Which events are in the catalogue already? */
static int find_applied(struct mrmr_queue *queue)
{
	struct queue_names *names = queue->names;
	uint64_t applied = 0;
	size_t i;

	if (queue->applied == NULL || names->num == 0) {
		return 0;
	}
	if (queue->applied(&applied, queue->applied_data) == -1) {
		return -1;
	}
	if (applied != names->applied) {
		names->applied = applied;
		names->num_searched = 0;
		names->first = 0;
	}
	for (i = names->num_seen; i > names->num_searched; i--) {
		if (names->seen[i - 1].fingerprint == applied) {
			names->first = names->seen[i - 1].num_names;
			break;
		}
	}
	names->num_searched = names->num_seen;
	return 0;
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
			       &queue->names->offset) == -1 ||
		    find_applied(queue) == -1) {
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
	for (i = queue->names->first; now != NULL && i < queue->names->num;
	     i++) {
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
	for (i = queue->names->num; then != NULL && i > queue->names->first;
	     i--) {
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
		/* one whose number was not known: then its path says it */
		bool may_be = event->inode == 0 &&
			      mrmr_uuid_equal(&event->member, member);
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
		} else if (is_its_own || may_be) {
			/* This name, and not a further one that it has. If a
			   scan has been ahead, the later ones lead on. */
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
	return follow(queue, mem_ctx, member, inode, path, queue->names->first);
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
	for (i = queue->names->first; i < queue->names->num; i++) {
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
		      struct mrmr_linked **linked, size_t *num)
{
	size_t i;

	*num = 0;
	*linked = NULL;
	if (look_as_root(queue) == -1) {
		return -1;
	}
	for (i = queue->names->first; i < queue->names->num; i++) {
		const struct name_event *event = &queue->names->events[i];
		struct mrmr_linked *more = NULL;
		char *path = NULL;

		if (event->kind != MRMR_EVENT_LINKED ||
		    !is_of(event, member, inode)) {
			continue;
		}
		path = follow(queue, mem_ctx, member, inode, event->to, i + 1);
		if (path == NULL && errno == ENOENT) {
			continue;
		}
		more = talloc_realloc(mem_ctx, *linked, struct mrmr_linked,
				      *num + 1);
		if (path == NULL || more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		more[(*num)++] = (struct mrmr_linked){
			.event = event->fingerprint,
			.path = path,
		};
		*linked = more;
	}
	return 0;
}

char *mrmr_queue_resolve_linked(struct mrmr_queue *queue, void *mem_ctx,
				const struct mrmr_uuid *member, uint64_t inode,
				uint64_t event)
{
	size_t i;

	if (look_as_root(queue) == -1) {
		return NULL;
	}
	for (i = queue->names->first; i < queue->names->num; i++) {
		if (queue->names->events[i].fingerprint == event) {
			return follow(queue, mem_ctx, member, inode,
				      queue->names->events[i].to, i + 1);
		}
	}
	errno = ENOENT;
	return NULL;
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
	*has_any = queue->names->num > queue->names->first;
	*inodes = talloc_array(mem_ctx, uint64_t, queue->names->num + 1);
	if (*inodes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = queue->names->first; i < queue->names->num; i++) {
		const struct name_event *event = &queue->names->events[i];

		if ((event->kind == MRMR_EVENT_RENAMED ||
		     event->kind == MRMR_EVENT_LINKED) &&
		    is_of(event, member, event->inode)) {
			(*inodes)[(*num)++] = event->inode;
		}
	}
	return 0;
}
