/*
 * MRMR: files read as if they were there: who computes (reader.c has the theory).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "reader_private.h"

#define IDLE_SECONDS 10

/* --- the queue ---------------------------------------------------------------- */

void reader_unqueue(struct reader_entry *entry)
{
	struct reader_entry **at = &readers.queue;

	while (*at != entry) {
		at = &(*at)->next_queued;
	}
	*at = entry->next_queued;
	if (readers.queue_end == &entry->next_queued) {
		readers.queue_end = at;
	}
	entry->next_queued = NULL;
}

void reader_enqueue(struct reader_entry *entry)
{
	entry->state = READER_QUEUED;
	entry->next_queued = NULL;
	*readers.queue_end = entry;
	readers.queue_end = &entry->next_queued;
}

/* For those who want what was computed into a buffer that is not theirs, which
   stays until its owner has come by. */
static void keep_copy(struct reader_entry *entry)
{
	entry->bytes = reader_make_room(entry->len_bytes);
	if (entry->bytes != NULL) {
		pthread_mutex_unlock(&readers.lock);
		memcpy(entry->bytes, entry->direct, entry->len_bytes);
		pthread_mutex_lock(&readers.lock);
	}
}

void reader_run(struct reader_entry *entry)
{
	uint8_t *out = entry->direct;
	int ret = -1;

	entry->state = READER_RUNNING;
	if (out == NULL) {
		entry->bytes = reader_make_room(entry->len_bytes);
		out = entry->bytes;
	}
	if (out != NULL) {
		pthread_mutex_unlock(&readers.lock);
		ret = mrmr_decode_run(entry->job, out);
		pthread_mutex_lock(&readers.lock);
	}
	if (ret == -1) {
		reader_forget_bytes(entry);
	} else if (entry->direct != NULL && entry->is_wanted) {
		keep_copy(entry);
	}
	entry->state = ret == 0 ? READER_READY : READER_FAILED;
	entry->used = ++readers.uses;
	pthread_cond_broadcast(&readers.done);
}

/* --- threads ------------------------------------------------------------------- */

static bool wait_for_work(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += IDLE_SECONDS;
	readers.num_idle++;
	while (readers.queue == NULL) {
		if (pthread_cond_timedwait(&readers.work, &readers.lock,
					   &until) == ETIMEDOUT) {
			break;
		}
	}
	readers.num_idle--;
	return readers.queue != NULL;
}

static void *work(void *unused)
{
	pthread_mutex_lock(&readers.lock);
	while (readers.queue != NULL || wait_for_work()) {
		struct reader_entry *entry = readers.queue;

		reader_unqueue(entry);
		reader_run(entry);
	}
	readers.num_threads--;
	pthread_mutex_unlock(&readers.lock);
	return NULL;
}

/* Signals are for the thread that expects them. Without threads, whoever reads
   computes. */
static void start_thread(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t every;
	sigset_t before;

	if (pthread_attr_init(&attr) != 0) {
		return;
	}
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&every);
	pthread_sigmask(SIG_BLOCK, &every, &before);
	if (pthread_create(&thread, &attr, work, NULL) == 0) {
		readers.num_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
}

void reader_wake_threads(void)
{
	if (readers.num_idle == 0 &&
	    readers.num_threads < readers.limit_threads) {
		start_thread();
	}
	pthread_cond_signal(&readers.work);
}
