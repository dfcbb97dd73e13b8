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
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>
#include <xxhash.h>

#include <mrmr/thread_root.h>

#include "queue_private.h"

static bool concerns_names(const struct mrmr_event *event)
{
	return event->kind == MRMR_EVENT_RENAMED ||
	       event->kind == MRMR_EVENT_REMOVED ||
	       event->kind == MRMR_EVENT_TRASHED ||
	       event->kind == MRMR_EVENT_LINKED ||
	       event->kind == MRMR_EVENT_MOVED;
}

bool queue_leaves_names(const struct name_event *event)
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
	struct stat st;
	char *data = NULL;
	size_t len = 0;
	size_t at = 0;
	int ret = 0;

	if (fstatat(queue->dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (uint64_t)st.st_size <= *offset) {
		return 0; /* as mostly */
	}
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

int queue_look(struct mrmr_queue *queue)
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

const char *queue_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (strncmp(path, dir, len) != 0 ||
	    (path[len] != '/' && path[len] != '\0')) {
		return NULL;
	}
	return path + len;
}

bool queue_replace(void *mem_ctx, char **path, const char *dir,
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
	if (queue_look(queue) == -1) {
		return NULL;
	}
	now = talloc_strdup(mem_ctx, path);
	for (i = queue->names->first; now != NULL && i < queue->names->num;
	     i++) {
		const struct name_event *event = &queue->names->events[i];
		const char *rest = queue_below(now, event->path);

		if (queue_leaves_names(event)) {
			continue;
		}
		if (event->kind == MRMR_EVENT_RENAMED) {
			if (rest != NULL) {
				queue_replace(mem_ctx, &now, event->to, rest);
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

	if (queue_look(queue) == -1) {
		return NULL;
	}
	then = talloc_strdup(mem_ctx, path);
	for (i = queue->names->num; then != NULL && i > queue->names->first;
	     i--) {
		const struct name_event *event = &queue->names->events[i - 1];
		const char *rest = queue_below(then, event->path);

		if (queue_leaves_names(event)) {
			continue;
		}
		if (event->kind == MRMR_EVENT_RENAMED) {
			const char *moved = queue_below(then, event->to);

			if (moved != NULL) {
				queue_replace(mem_ctx, &then, event->path,
					      moved);
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
