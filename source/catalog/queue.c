/*
 * MRMR: what has happened in the share, for the protector.
 *
 *     queue/log        being appended to
 *     queue/taken.N    what the protector has taken, until it is done with it
 *     queue/page       a page that all have mapped
 *
 * A record is appended by one write(2) to a descriptor opened with O_APPEND, so
 * that two never mix. It carries a checksum: a process may be killed, or the
 * disk be full, in the middle of it. What comes after a damaged one cannot be
 * found; a scan is asked for then.
 *
 * Taking the log away. `rotation` in the page is even, and counts up by two
 * whenever the log was renamed; it is odd in between, and stays so if the reader
 * was killed there.
 *
 *     reader                             writer
 *     lock the log (exclusive)           lock the log (shared)
 *     rotation becomes odd               rotation is even, and as it was when
 *     rename it to taken.N                 this file was found to be the log?
 *     rotation becomes even                else look: has it that name?
 *     unlock                             write
 *                                        unlock
 *
 * The reader cannot be between its first and last step while a writer has the
 * lock. So a writer that finds the number unchanged has the log; one that does
 * not, or finds it odd, compares inodes, which is true for as long as it has the
 * lock. Events thus cost three system calls: flock, write, flock. A file that
 * was taken does not change any more once the reader has had the lock.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/boot.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/thread_root.h>

#include "queue_private.h"

#define PAGE_MAGIC UINT64_C(0x3145554555514d52)
#define PAGE_BYTES 4096
#define SECOND_NS INT64_C(1000000000)

/* --- opening --------------------------------------------------------------- */

static int queue_destructor(struct mrmr_queue *queue)
{
	if (queue->page != NULL) {
		munmap(queue->page, PAGE_BYTES);
	}
	if (queue->log_fd != -1) {
		close(queue->log_fd);
	}
	if (queue->dir_fd != -1) {
		close(queue->dir_fd);
	}
	return 0;
}

/* With the page locked. */
static int renew_page(struct mrmr_queue *queue, uint64_t boot)
{
	struct queue_page *page = queue->page;
	uint64_t *numbers = NULL;
	size_t num;

	if (page->magic == PAGE_MAGIC && page->boot == boot && boot != 0) {
		return 0;
	}
	if (queue_list_taken(queue, queue, &numbers, &num) == -1) {
		return -1;
	}
	talloc_free(numbers);
	atomic_store(&page->has_taken, num > 0);
	/* What was in the log when the power went is not known; and a queue
	   that is new has missed all there was before. */
	atomic_store(&page->scan, 1);
	page->boot = boot;
	page->magic = PAGE_MAGIC;
	return 0;
}

static int open_page(struct mrmr_queue *queue)
{
	void *p = NULL;
	int error;
	int ret;
	int fd;

	fd = openat(queue->dir_fd, QUEUE_PAGE,
		    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		return -1;
	}
	error = queue_lock(fd, LOCK_EX) == -1
			? errno
			: posix_fallocate(fd, 0, PAGE_BYTES);
	if (error == 0) {
		p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, 0);
		error = p == MAP_FAILED ? errno : 0;
	}
	if (error != 0) {
		close(fd);
		errno = error;
		return -1;
	}
	queue->page = p;
	ret = renew_page(queue, mrmr_boot_id());
	/* The mapping keeps the open file, and so the lock, alive. */
	flock(fd, LOCK_UN);
	queue_close(fd);
	return ret;
}

static int open_folder(int state_fd)
{
	if (mkdirat(state_fd, MRMR_QUEUE_FOLDER, 0700) == -1 &&
	    errno != EEXIST) {
		return -1;
	}
	return openat(state_fd, MRMR_QUEUE_FOLDER,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

struct mrmr_queue *mrmr_queue_open(void *mem_ctx, int state_fd,
				   struct mrmr_error *err)
{
	struct mrmr_queue *queue = talloc_zero(mem_ctx, struct mrmr_queue);

	if (queue == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	queue->log_fd = -1;
	queue->dir_fd = open_folder(state_fd);
	talloc_set_destructor(queue, queue_destructor);
	if (queue->dir_fd == -1 || open_page(queue) == -1) {
		mrmr_error_set(err, errno,
			       "%s in the state directory cannot be used: %s",
			       MRMR_QUEUE_FOLDER, strerror(errno));
		talloc_free(queue);
		return NULL;
	}
	return queue;
}

uint64_t mrmr_queue_mark(const struct mrmr_queue *queue)
{
	uint32_t rotation = atomic_load_explicit(&queue->page->rotation,
						 memory_order_acquire);
	uint32_t changes = atomic_load_explicit(&queue->page->changes,
						memory_order_acquire);

	return (uint64_t)rotation << 32 | changes;
}

/* --- appending ------------------------------------------------------------- */

static bool has_the_name(struct mrmr_queue *queue)
{
	struct stat named;
	struct stat st;

	return fstat(queue->log_fd, &st) == 0 &&
	       fstatat(queue->dir_fd, QUEUE_LOG, &named, AT_SYMLINK_NOFOLLOW) ==
		       0 &&
	       st.st_ino == named.st_ino && st.st_dev == named.st_dev;
}

/* As root. The log, locked: shared or exclusively. */
int queue_open_locked(struct mrmr_queue *queue, int how)
{
	unsigned int tries;

	for (tries = 0; tries < 100; tries++) {
		uint32_t rotation;

		if (queue->log_fd == -1) {
			queue->log_fd = openat(queue->dir_fd, QUEUE_LOG,
					       O_WRONLY | O_APPEND | O_CREAT |
						       O_NOFOLLOW | O_CLOEXEC,
					       0600);
			if (queue->log_fd == -1) {
				return -1;
			}
		}
		if (queue_lock(queue->log_fd, how) == -1) {
			return -1;
		}
		rotation = atomic_load(&queue->page->rotation);
		if (has_the_name(queue)) {
			queue->rotation = rotation;
			queue->is_verified = rotation % 2 == 0;
			return 0;
		}
		/* A child of ours may have it, too, and would keep the lock. */
		flock(queue->log_fd, LOCK_UN);
		close(queue->log_fd);
		queue->log_fd = -1;
	}
	errno = EAGAIN;
	return -1;
}

/* The log, locked for writing. */
static int lock_log(struct mrmr_queue *queue)
{
	struct mrmr_thread_root root;
	int ret;

	if (queue->log_fd != -1 && queue->is_verified) {
		if (queue_lock(queue->log_fd, LOCK_SH) == -1) {
			return -1;
		}
		if (atomic_load(&queue->page->rotation) == queue->rotation) {
			return 0;
		}
		flock(queue->log_fd, LOCK_UN);
	}
	if (mrmr_thread_root_enter(&root) == -1) {
		return -1;
	}
	ret = queue_open_locked(queue, LOCK_SH);
	mrmr_thread_root_leave(&root);
	return ret;
}

static int write_record(struct mrmr_queue *queue, const char *record,
			uint32_t len)
{
	ssize_t put;

	if (mrmr_fault("queue-write") != 0) {
		return -1;
	}
	do {
		put = write(queue->log_fd, record, len);
	} while (put == -1 && errno == EINTR);
	if (put != (ssize_t)len) {
		errno = put == -1 ? errno : ENOSPC;
		return -1;
	}
	atomic_fetch_add(&queue->page->log_bytes, len);
	return 0;
}

/* With the log locked. */
int queue_write_scan(struct mrmr_queue *queue)
{
	const struct mrmr_event event = {.kind = MRMR_EVENT_SCAN, .path = ""};
	char record[QUEUE_RECORD_MAX];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return write_record(queue, record,
			    queue_format(&event,
					 now.tv_sec * SECOND_NS + now.tv_nsec,
					 record));
}

/* Too much for anybody to go through: a scan is quicker. */
static void overflow(struct mrmr_queue *queue)
{
	struct mrmr_thread_root root;
	struct stat st;

	if (mrmr_thread_root_enter(&root) == -1) {
		return;
	}
	if (queue_open_locked(queue, LOCK_EX) == 0) {
		if (fstat(queue->log_fd, &st) == 0) {
			atomic_store(&queue->page->log_bytes,
				     (uint64_t)st.st_size);
		}
		if (atomic_load(&queue->page->log_bytes) >
		    MRMR_QUEUE_MAX_BYTES) {
			atomic_store(&queue->page->scan, 1);
			atomic_fetch_add(&queue->page->changes, 1);
			if (ftruncate(queue->log_fd, 0) == 0) {
				atomic_store(&queue->page->log_bytes, 0);
				if (queue_write_scan(queue) == 0) {
					atomic_store(&queue->page->scan, 0);
				}
			}
		}
		flock(queue->log_fd, LOCK_UN);
	}
	mrmr_thread_root_leave(&root);
}

static int64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* A change that follows a change tells nothing; new attributes are part of
   what a change of bytes tells. */
static bool repeats_last(const struct mrmr_queue *queue,
			 const struct mrmr_event *event)
{
	const struct queue_last *last = &queue->last;

	return (event->kind == MRMR_EVENT_CHANGED ||
		event->kind == MRMR_EVENT_ATTRIBUTES) &&
	       (last->kind == event->kind ||
		last->kind == MRMR_EVENT_CHANGED) &&
	       last->inode == event->inode &&
	       mrmr_uuid_equal(&last->member, &event->member) &&
	       last->mark == mrmr_queue_mark(queue) &&
	       monotonic_ns() - last->time_ns < SECOND_NS &&
	       strcmp(last->path, event->path) == 0;
}

static void remember(struct mrmr_queue *queue, const struct mrmr_event *event)
{
	struct queue_last *last = &queue->last;
	size_t len = strlen(event->path);

	last->kind = event->kind;
	if (len >= sizeof(last->path)) {
		last->kind = MRMR_EVENT_SCAN; /* which nothing repeats */
		return;
	}
	last->member = event->member;
	last->inode = event->inode;
	memcpy(last->path, event->path, len + 1);
	last->time_ns = monotonic_ns();
	/* Of the log that it is in; it cannot be taken while it is locked. */
	last->mark = mrmr_queue_mark(queue);
}

void mrmr_queue_add(struct mrmr_queue *queue, const struct mrmr_event *event)
{
	char record[QUEUE_RECORD_MAX];
	struct timespec now;
	int saved_errno = errno;
	uint32_t len;
	int ret = -1;

	if (repeats_last(queue, event)) {
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	len = queue_format(event, now.tv_sec * SECOND_NS + now.tv_nsec, record);
	if (len > 0 && lock_log(queue) == 0) {
		ret = write_record(queue, record, len);
		if (ret == 0) {
			remember(queue, event);
		}
		flock(queue->log_fd, LOCK_UN);
	}
	if (ret == -1) {
		queue->last.kind = MRMR_EVENT_SCAN;
		if (atomic_exchange(&queue->page->scan, 1) == 0) {
			mrmr_log(MRMR_LOG_WARNING,
				 "what has happened to '%s' cannot be noted "
				 "for the protector, which will have to look "
				 "at everything: %s",
				 event->path,
				 len > 0 ? strerror(errno) : "long names");
		}
	} else if (atomic_load_explicit(&queue->page->log_bytes,
					memory_order_relaxed) >
		   MRMR_QUEUE_MAX_BYTES) {
		overflow(queue);
	}
	errno = saved_errno;
}

bool mrmr_queue_is_empty(struct mrmr_queue *queue)
{
	struct mrmr_thread_root root;
	bool empty = false;
	struct stat st;

	if (atomic_load(&queue->page->scan) != 0 ||
	    atomic_load(&queue->page->has_taken) != 0) {
		return false;
	}
	if (queue->log_fd != -1 && queue->is_verified &&
	    atomic_load(&queue->page->rotation) == queue->rotation) {
		return fstat(queue->log_fd, &st) == 0 && st.st_size == 0;
	}
	if (mrmr_thread_root_enter(&root) == 0) {
		empty = fstatat(queue->dir_fd, QUEUE_LOG, &st,
				AT_SYMLINK_NOFOLLOW) == 0
				? st.st_size == 0
				: errno == ENOENT;
		mrmr_thread_root_leave(&root);
	}
	return empty;
}
