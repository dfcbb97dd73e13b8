/*
 * MRMR: rebuilding: threads, for all that needs no catalogue.
 *
 * One thread has the catalogue, the names and the talloc contexts; it makes jobs
 * and takes them back when they were run. Each thread has a buffer of its own.
 * Only so many jobs are under way, as each holds what it is going to read, and keeps
 * files open.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/thread_root.h>

#include "rebuild_private.h"

#define THREADS_MAX 8

/* Jobs that wait, are run, or are to be taken back, for each thread. */
#define JOBS_PER_THREAD 4

/* What a job keeps open of a member: two folders, and what it reads from. All jobs
   together may have half of what the process may. */
#define FDS_PER_MEMBER 3

struct buffer {
	uint8_t *bytes;
	size_t size;
};

struct rebuild_work {
	pthread_mutex_t lock;
	pthread_cond_t has_work;
	pthread_cond_t has_done;
	struct rebuild_job *first; /* to be run */
	struct rebuild_job **end;
	struct rebuild_job *done;
	size_t num_under_way;
	size_t most_under_way;
	size_t num_waiting; /* of these, those that nobody has begun, or is at */
	bool is_ending;
	pthread_t threads[THREADS_MAX];
	size_t num_threads;
	struct buffer own; /* of who adds, if there are no threads */
};

static void run_job(struct rebuild_job *job, struct buffer *buffer)
{
	struct mrmr_thread_root root;

	if (buffer->size < job->buffer_bytes) {
		free(buffer->bytes);
		buffer->bytes =
			aligned_alloc(64, (job->buffer_bytes + 63) / 64 * 64);
		buffer->size = buffer->bytes != NULL ? job->buffer_bytes : 0;
	}
	if (buffer->size < job->buffer_bytes ||
	    mrmr_thread_root_enter(&root) == -1) {
		job->run(job, NULL);
		return;
	}
	job->run(job, buffer->bytes);
	mrmr_thread_root_leave(&root);
}

static void *work(void *private_data)
{
	struct rebuild_work *work = private_data;
	struct buffer buffer = {NULL};

	pthread_mutex_lock(&work->lock);
	while (true) {
		struct rebuild_job *job = work->first;

		if (job == NULL && work->is_ending) {
			break;
		}
		if (job == NULL) {
			pthread_cond_wait(&work->has_work, &work->lock);
			continue;
		}
		work->first = job->next;
		if (work->first == NULL) {
			work->end = &work->first;
		}
		pthread_mutex_unlock(&work->lock);
		run_job(job, &buffer);
		pthread_mutex_lock(&work->lock);
		job->next = work->done;
		work->done = job;
		work->num_waiting--;
		pthread_cond_signal(&work->has_done);
	}
	pthread_mutex_unlock(&work->lock);
	free(buffer.bytes);
	return NULL;
}

static int end_work(struct rebuild_work *work)
{
	size_t i;

	pthread_mutex_lock(&work->lock);
	work->is_ending = true;
	pthread_cond_broadcast(&work->has_work);
	pthread_mutex_unlock(&work->lock);
	for (i = 0; i < work->num_threads; i++) {
		pthread_join(work->threads[i], NULL);
	}
	pthread_mutex_destroy(&work->lock);
	pthread_cond_destroy(&work->has_work);
	pthread_cond_destroy(&work->has_done);
	free(work->own.bytes);
	return 0;
}

/* Signals are for the thread that expects them. */
static void start_threads(struct rebuild_work *work_of)
{
	long want = sysconf(_SC_NPROCESSORS_ONLN);
	sigset_t every;
	sigset_t before;

	want = want < 1 ? 1 : want > THREADS_MAX ? THREADS_MAX : want;
	sigfillset(&every);
	pthread_sigmask(SIG_BLOCK, &every, &before);
	while (work_of->num_threads < (size_t)want &&
	       pthread_create(&work_of->threads[work_of->num_threads], NULL,
			      work, work_of) == 0) {
		work_of->num_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static size_t most_jobs(size_t num_threads, size_t num_members)
{
	size_t most = (num_threads > 0 ? num_threads : 1) * JOBS_PER_THREAD;
	struct rlimit limit;
	rlim_t fit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1) {
		return most;
	}
	fit = limit.rlim_cur / 2 / (FDS_PER_MEMBER * num_members);
	if (fit >= most) {
		return most;
	}
	return fit > 0 ? (size_t)fit : 1;
}

struct rebuild_work *rebuild_work_new(void *mem_ctx, size_t num_members)
{
	struct rebuild_work *made = talloc_zero(mem_ctx, struct rebuild_work);

	if (made == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->has_work, NULL);
	pthread_cond_init(&made->has_done, NULL);
	made->end = &made->first;
	talloc_set_destructor(made, end_work);
	start_threads(made);
	made->most_under_way = most_jobs(made->num_threads, num_members);
	return made;
}

bool rebuild_work_is_full(struct rebuild_work *work)
{
	return work->num_under_way >= work->most_under_way;
}

void rebuild_work_add(struct rebuild_work *work, struct rebuild_job *job)
{
	work->num_under_way++;
	job->next = NULL;
	if (work->num_threads == 0) {
		run_job(job, &work->own);
		job->next = work->done;
		work->done = job;
		return;
	}
	pthread_mutex_lock(&work->lock);
	*work->end = job;
	work->end = &job->next;
	work->num_waiting++;
	pthread_cond_signal(&work->has_work);
	pthread_mutex_unlock(&work->lock);
}

struct rebuild_job *rebuild_work_take(struct rebuild_work *work, bool wait)
{
	struct rebuild_job *job = NULL;

	pthread_mutex_lock(&work->lock);
	while (wait && work->done == NULL && work->num_waiting > 0) {
		pthread_cond_wait(&work->has_done, &work->lock);
	}
	job = work->done;
	if (job != NULL) {
		work->done = job->next;
		work->num_under_way--;
	}
	pthread_mutex_unlock(&work->lock);
	return job;
}
