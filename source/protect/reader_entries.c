/*
 * MRMR: files read as if they were there: what is kept of them, and in how much
 * memory (reader.c has the theory).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdlib.h>

#include <talloc.h>

#include "reader_private.h"

#define CACHE_BYTES_DEFAULT ((size_t)64 << 20)
#define THREADS_DEFAULT 2
#define THREADS_MAX 16

struct readers readers = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
	.queue_end = &readers.queue,
	.limit_bytes = CACHE_BYTES_DEFAULT,
	.limit_threads = THREADS_DEFAULT,
};

void mrmr_reader_limits(size_t cache_bytes, unsigned int threads)
{
	pthread_mutex_lock(&readers.lock);
	readers.limit_bytes =
		cache_bytes != 0 ? cache_bytes : CACHE_BYTES_DEFAULT;
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

/* The ready entry that was not used for longest, and that nobody reads. */
static struct reader_entry *find_oldest(void)
{
	struct mrmr_reader *reader = NULL;
	struct reader_entry *oldest = NULL;

	for (reader = readers.first; reader != NULL; reader = reader->next) {
		struct reader_entry *entry = NULL;

		for (entry = reader->first; entry != NULL;
		     entry = entry->next) {
			if (entry->bytes != NULL && entry->readers == 0 &&
			    entry->state == READER_READY &&
			    (oldest == NULL || entry->used < oldest->used)) {
				oldest = entry;
			}
		}
	}
	return oldest;
}

uint8_t *reader_make_room(size_t len)
{
	uint8_t *bytes = NULL;

	while (readers.cached_bytes + len > readers.limit_bytes) {
		struct reader_entry *oldest = find_oldest();

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
		bytes = malloc(len > 0 ? len : 1);
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
