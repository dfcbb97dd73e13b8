/*
 * MRMR: files read as if they were there: what is kept of them, and in how much
 * memory (reader.c has the theory).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <talloc.h>

#include "reader_private.h"

/* By default: of the machine's memory, within these. There is a process for each
   client. */
#define MEMORY_PART 256
#define CACHE_BYTES_MIN ((size_t)16 << 20)
#define CACHE_BYTES_MAX ((size_t)64 << 20)
#define THREADS_DEFAULT 2
#define THREADS_MAX 16

/* Of the limit: with more, what is spent goes first. */
#define SPENT_PART 4

#define ALIGNMENT ((size_t)4096)
#define LARGE_PAGE ((uintptr_t)2 << 20) /* of x86-64, and most others */

struct readers readers = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
	.queue_end = &readers.queue,
	.limit_threads = THREADS_DEFAULT,
};

static size_t default_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t bytes = 0;

	if (pages > 0 && page_bytes > 0) {
		bytes = (uint64_t)pages * (uint64_t)page_bytes / MEMORY_PART;
	}
	if (bytes < CACHE_BYTES_MIN) {
		return CACHE_BYTES_MIN;
	}
	return bytes < CACHE_BYTES_MAX ? (size_t)bytes : CACHE_BYTES_MAX;
}

void reader_set_default_limit(void)
{
	if (readers.limit_bytes == 0) {
		readers.limit_bytes = default_bytes();
	}
}

void mrmr_reader_limits(size_t cache_bytes, unsigned int threads)
{
	pthread_mutex_lock(&readers.lock);
	readers.limit_bytes = cache_bytes != 0 ? cache_bytes : default_bytes();
	readers.limit_threads = threads != 0 ? threads : THREADS_DEFAULT;
	if (readers.limit_threads > THREADS_MAX) {
		readers.limit_threads = THREADS_MAX;
	}
	pthread_mutex_unlock(&readers.lock);
}

/* --- entries ------------------------------------------------------------------ */

struct reader_entry *reader_find(const struct mrmr_reader *reader,
				 uint32_t index)
{
	struct reader_entry *entry = reader->first;

	while (entry != NULL && entry->index != index) {
		entry = entry->next;
	}
	return entry;
}

static void unlink_entry(struct reader_entry *entry)
{
	if (entry->previous != NULL) {
		entry->previous->next = entry->next;
	} else {
		entry->reader->first = entry->next;
	}
	if (entry->next != NULL) {
		entry->next->previous = entry->previous;
	}
	entry->previous = NULL;
	entry->next = NULL;
}

void reader_link(struct reader_entry *entry)
{
	struct mrmr_reader *reader = entry->reader;

	entry->next = reader->first;
	if (entry->next != NULL) {
		entry->next->previous = entry;
	}
	reader->first = entry;
}

void reader_use(struct reader_entry *entry)
{
	entry->used = ++readers.uses;
	if (entry->reader->first != entry) {
		unlink_entry(entry);
		reader_link(entry);
	}
}

/* --- bytes ---------------------------------------------------------------------- */

/* The bytes of an entry, for another one. */
static uint8_t *take_bytes(struct reader_entry *entry)
{
	uint8_t *bytes = entry->bytes;

	entry->bytes = NULL;
	readers.cached_bytes -= entry->len_bytes;
	return bytes;
}

void reader_forget_bytes(struct reader_entry *entry)
{
	if (entry->bytes != NULL) {
		free(take_bytes(entry));
	}
}

/* The ready entry that was not used for longest, and that nobody reads; or of
   those that are spent. */
static struct reader_entry *find_oldest(bool is_spent)
{
	struct mrmr_reader *reader = NULL;
	struct reader_entry *oldest = NULL;

	for (reader = readers.first; reader != NULL; reader = reader->next) {
		struct reader_entry *entry = NULL;

		for (entry = reader->first; entry != NULL;
		     entry = entry->next) {
			if (entry->bytes != NULL && entry->readers == 0 &&
			    entry->state == READER_READY &&
			    (entry->is_spent || !is_spent) &&
			    (oldest == NULL || entry->used < oldest->used)) {
				oldest = entry;
			}
		}
	}
	return oldest;
}

void reader_use_large_pages(void *buf, size_t len)
{
	uintptr_t begin = (uintptr_t)buf;
	uintptr_t end = begin + len;

	begin = (begin + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
	end = end / LARGE_PAGE * LARGE_PAGE;
	if (begin < end) {
		/* where there are none, it goes on with small ones */
		madvise((void *)begin, end - begin, MADV_HUGEPAGE);
	}
}

/* ISA-L is faster with buffers that are aligned. */
static uint8_t *new_bytes(size_t len)
{
	size_t num = (len + ALIGNMENT - 1) / ALIGNMENT;

	return aligned_alloc(ALIGNMENT, (num > 0 ? num : 1) * ALIGNMENT);
}

/* NULL: there is none to be had of what is kept. */
static uint8_t *take_spent(size_t len)
{
	struct reader_entry *oldest = NULL;

	if (readers.cached_bytes + len <= readers.limit_bytes / SPENT_PART) {
		return NULL;
	}
	oldest = find_oldest(true);
	return oldest != NULL && oldest->len_bytes == len ? take_bytes(oldest)
							  : NULL;
}

uint8_t *reader_make_room(size_t len)
{
	uint8_t *bytes = take_spent(len);

	while (readers.cached_bytes + len > readers.limit_bytes) {
		struct reader_entry *oldest = find_oldest(false);

		if (oldest == NULL) {
			break; /* all are being read or computed */
		}
		if (bytes == NULL && oldest->len_bytes == len) {
			bytes = take_bytes(oldest);
		} else {
			free(take_bytes(oldest));
		}
	}
	if (bytes == NULL) {
		bytes = new_bytes(len);
	}
	if (bytes != NULL) {
		readers.cached_bytes += len;
	}
	return bytes;
}

void reader_drop(struct reader_entry *entry)
{
	if (entry->state == READER_QUEUED) {
		reader_unqueue(entry);
	}
	unlink_entry(entry);
	reader_forget_bytes(entry);
	talloc_free(entry->job);
	free(entry);
}
