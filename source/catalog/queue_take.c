/*
 * MRMR: the queue, for the protector: taking what has happened.
 *
 * The theory is in queue.c.
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
#include <mrmr/log.h>
#include <mrmr/thread_root.h>

#include "queue_private.h"

/* The log becomes taken.N; no writer has it any more. 1, 0 if it is empty, or
   -1. */
static int take_log(struct mrmr_queue *queue, uint64_t number)
{
	struct queue_page *page = queue->page;
	struct stat st;
	char name[32];
	int ret = -1;

	if (queue_open_locked(queue, LOCK_EX) == -1) {
		return -1;
	}
	if (atomic_load(&page->scan) != 0 && queue_write_scan(queue) == 0) {
		atomic_store(&page->scan, 0);
	}
	if (fstat(queue->log_fd, &st) == -1) {
		goto out;
	}
	if (st.st_size == 0) {
		ret = 0;
		goto out;
	}
	queue_taken_name(number, name);
	atomic_store(&page->has_taken, 1);
	atomic_store(&page->rotation, atomic_load(&page->rotation) | 1);
	if (mrmr_fault("queue-take") == 0 &&
	    renameat(queue->dir_fd, QUEUE_LOG, queue->dir_fd, name) == 0) {
		atomic_store(&page->log_bytes, 0);
		ret = mrmr_fault("queue-taken") == 0 ? 1 : -1;
	}
	atomic_fetch_add(&page->rotation, 1);
out:
	flock(queue->log_fd, LOCK_UN);
	if (ret != 0) {
		queue_close(queue->log_fd);
		queue->log_fd = -1;
	}
	return ret;
}

/* Whoever was about to append to a file that a dead process took has done so,
   or sees that it was taken. */
static int wait_for_writers(struct mrmr_queue *queue, const char *name)
{
	int fd = openat(queue->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int ret;

	if (fd == -1) {
		return -1;
	}
	ret = queue_lock(fd, LOCK_EX);
	queue_close(fd);
	return ret;
}

struct batch {
	struct mrmr_event *events;
	size_t num;
};

static int add_event(struct batch *batch, void *mem_ctx,
		     const struct mrmr_event *event)
{
	struct mrmr_event *more = NULL;

	/* by doubling */
	if ((batch->num & (batch->num - 1)) == 0) {
		more = talloc_realloc(mem_ctx, batch->events, struct mrmr_event,
				      batch->num > 0 ? 2 * batch->num : 1);
		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		batch->events = more;
	}
	batch->events[batch->num++] = *event;
	return 0;
}

static int add_scan(struct batch *batch, void *mem_ctx)
{
	const struct mrmr_event scan = {
		.kind = MRMR_EVENT_SCAN,
		.path = "",
		.to = "",
	};

	return add_event(batch, mem_ctx, &scan);
}

static int read_taken(struct mrmr_queue *queue, void *mem_ctx, uint64_t number,
		      struct batch *batch)
{
	struct mrmr_event event;
	char *data = NULL;
	size_t offset = 0;
	char name[32];
	size_t len;
	int ret;

	queue_taken_name(number, name);
	if (wait_for_writers(queue, name) == -1) {
		return -1;
	}
	data = queue_read_file(queue, mem_ctx, name, 0, &len);
	if (data == NULL) {
		return -1;
	}
	while ((ret = queue_parse(data, len, &offset, &event)) == 1) {
		if (add_event(batch, mem_ctx, &event) == -1) {
			return -1;
		}
	}
	if (ret == -1) {
		mrmr_log(MRMR_LOG_WARNING,
			 "%s/%s in the state directory is damaged at byte %zu; "
			 "what came after is found by a scan",
			 MRMR_QUEUE_FOLDER, name, offset);
		return add_scan(batch, mem_ctx);
	}
	return 0;
}

static int take(struct mrmr_queue *queue, void *mem_ctx, struct batch *batch)
{
	size_t first = queue->num_taken;
	size_t i;
	int ret;

	if (!queue->has_listed) {
		if (queue_list_taken(queue, queue, &queue->taken,
				     &queue->num_taken) == -1) {
			return -1;
		}
		queue->has_listed = true;
		queue->next_number =
			queue->num_taken > 0
				? queue->taken[queue->num_taken - 1] + 1
				: 0;
	}
	ret = take_log(queue, queue->next_number);
	if (ret == 1) {
		ret = queue_add_number(queue, &queue->taken, &queue->num_taken,
				       queue->next_number++);
	}
	if (ret == -1) {
		return -1;
	}
	for (i = first; i < queue->num_taken; i++) {
		if (read_taken(queue, mem_ctx, queue->taken[i], batch) == -1) {
			return -1;
		}
	}
	/* It could not even be written into the log. */
	if (atomic_load(&queue->page->scan) != 0 &&
	    add_scan(batch, mem_ctx) == -1) {
		return -1;
	}
	return 0;
}

int mrmr_queue_take(struct mrmr_queue *queue, void *mem_ctx,
		    struct mrmr_event **events, size_t *num)
{
	void *frame = talloc_new(mem_ctx);
	struct mrmr_thread_root root;
	struct batch batch = {.events = NULL};
	int saved_errno;
	int ret;

	*events = NULL;
	*num = 0;
	if (frame == NULL || mrmr_thread_root_enter(&root) == -1) {
		talloc_free(frame);
		return -1;
	}
	batch.events = talloc_array(mem_ctx, struct mrmr_event, 1);
	ret = batch.events != NULL ? take(queue, frame, &batch) : -1;
	saved_errno = errno;
	mrmr_thread_root_leave(&root);
	if (ret == -1) {
		/* All of it is taken again. */
		queue->has_listed = false;
		queue->num_taken = 0;
		TALLOC_FREE(queue->taken);
		talloc_free(batch.events);
		talloc_free(frame);
		errno = saved_errno;
		return -1;
	}
	talloc_steal(batch.events, frame); /* the strings */
	*events = batch.events;
	*num = batch.num;
	return 0;
}

void mrmr_queue_done(struct mrmr_queue *queue)
{
	struct mrmr_thread_root root;
	size_t i;

	if (mrmr_thread_root_enter(&root) == -1) {
		return;
	}
	for (i = 0; i < queue->num_taken; i++) {
		char name[32];

		queue_taken_name(queue->taken[i], name);
		if (unlinkat(queue->dir_fd, name, 0) == -1 && errno != ENOENT) {
			mrmr_log(MRMR_LOG_WARNING,
				 "%s/%s in the state directory cannot be "
				 "removed, and will be gone through again: %s",
				 MRMR_QUEUE_FOLDER, name, strerror(errno));
		}
	}
	TALLOC_FREE(queue->taken);
	queue->num_taken = 0;
	atomic_fetch_add(&queue->page->changes, 1);
	atomic_store(&queue->page->has_taken, 0);
	mrmr_thread_root_leave(&root);
}
