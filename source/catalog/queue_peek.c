/*
 * MRMR: the queue: looking at what has happened, without taking it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include <mrmr/thread_root.h>

#include "queue_private.h"

struct peek {
	struct mrmr_event *events; /* talloc; grows by doubling */
	size_t num;
	void *strings; /* what the events' strings lie in */
};

static int add(struct peek *peek, void *mem_ctx, const struct mrmr_event *event)
{
	struct mrmr_event *more = NULL;

	if ((peek->num & (peek->num - 1)) == 0) {
		more = talloc_realloc(mem_ctx, peek->events, struct mrmr_event,
				      peek->num > 0 ? 2 * peek->num : 1);
		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		peek->events = more;
	}
	peek->events[peek->num++] = *event;
	return 0;
}

/* A writer may be in the middle of the last record: whole ones only. */
static int read_file(struct mrmr_queue *queue, struct peek *peek, void *mem_ctx,
		     const char *name)
{
	struct mrmr_event event;
	size_t offset = 0;
	size_t len = 0;
	char *data = queue_read_file(queue, peek->strings, name, 0, &len);

	if (data == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	while (queue_parse(data, len, &offset, &event) == 1) {
		if (add(peek, mem_ctx, &event) == -1) {
			return -1;
		}
	}
	return 0;
}

static int read_all(struct mrmr_queue *queue, struct peek *peek, void *mem_ctx)
{
	uint64_t *numbers = NULL;
	size_t num = 0;
	size_t i;

	if (queue_list_taken(queue, peek->strings, &numbers, &num) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		char name[32];

		queue_taken_name(numbers[i], name);
		if (read_file(queue, peek, mem_ctx, name) == -1) {
			return -1;
		}
	}
	return read_file(queue, peek, mem_ctx, QUEUE_LOG);
}

int mrmr_queue_peek(struct mrmr_queue *queue, void *mem_ctx,
		    struct mrmr_event **events, size_t *num)
{
	struct peek peek = {.strings = talloc_new(mem_ctx)};
	struct mrmr_thread_root root;
	int saved_errno;
	int ret;

	*events = NULL;
	*num = 0;
	if (peek.strings == NULL || mrmr_thread_root_enter(&root) == -1) {
		talloc_free(peek.strings);
		return -1;
	}
	ret = read_all(queue, &peek, mem_ctx);
	saved_errno = errno;
	mrmr_thread_root_leave(&root);
	if (ret == -1 || peek.num == 0) {
		talloc_free(peek.events);
		talloc_free(peek.strings);
		errno = saved_errno;
		return ret;
	}
	talloc_steal(peek.events, peek.strings);
	*events = peek.events;
	*num = peek.num;
	return 0;
}
