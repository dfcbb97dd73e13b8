/*
 * MRMR: the queue, for those who read the catalogue: what became of a file that is known
 * by its member and inode.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "queue_private.h"

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
		const char *rest = queue_below(now, event->path);
		bool is_gone = false;

		if (queue_leaves_names(event)) {
			continue;
		}
		if (event->kind != MRMR_EVENT_RENAMED) {
			is_gone = rest != NULL && rest[0] == '\0' &&
				  (is_its_own || event->inode == 0);
		} else if (mrmr_uuid_is_nil(&event->member)) {
			if (rest != NULL) { /* a directory above it */
				queue_replace(mem_ctx, &now, event->to, rest);
			}
		} else if (is_its_own || may_be) {
			/* This name, and not a further one that it has. If a
			   scan has been ahead, the later ones lead on. */
			if (rest != NULL && rest[0] == '\0') {
				queue_replace(mem_ctx, &now, event->to, "");
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
	if (queue_look(queue) == -1) {
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
	if (queue_look(queue) == -1) {
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
	if (queue_look(queue) == -1) {
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

	if (queue_look(queue) == -1) {
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

char *mrmr_queue_trashed(struct mrmr_queue *queue, void *mem_ctx,
			 const struct mrmr_uuid *member, uint64_t inode)
{
	char *path = NULL;
	size_t i;

	if (queue_look(queue) == -1) {
		return NULL;
	}
	for (i = queue->names->num; i > queue->names->first; i--) {
		const struct name_event *event = &queue->names->events[i - 1];

		if (event->kind == MRMR_EVENT_TRASHED &&
		    is_of(event, member, inode)) {
			path = talloc_strdup(mem_ctx, event->to);
			errno = path != NULL ? 0 : ENOMEM;
			return path;
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
	if (queue_look(queue) == -1) {
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
