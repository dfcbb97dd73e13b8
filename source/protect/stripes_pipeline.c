/*
 * MRMR: stripes being made and changed: by several threads.
 *
 * A job goes through three hands. The caller's thread prepares it, as only that
 * may ask the catalogue; a worker reads, hashes, computes and writes its blocks;
 * the caller's thread records it. Jobs are prepared and recorded in their order,
 * so what comes out does not depend on how fast they were. Some are prepared
 * ahead: the kernel reads their files from all members at a time while others
 * are computed, and writes what is written to them.
 *
 * Memory: the buffers belong to the workers; their number is what fits. A job
 * that a worker cannot carry out by reading alone is done by the caller's
 * thread, while the others go on.
 *
 * With one thread the caller's does it all; unless the work is to step back.
 * Then the workers are of the kernel's idle class: they run where nobody else
 * wants the processor, and whoever comes to want it has it at once. What holds
 * locks is the caller's thread, which is not. A priority that is merely low
 * would be enough for a fair share, but not for clients not to notice: theirs
 * is the work of a hundred short moments a second, and each would wait a little.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/thread_root.h>

#include "stripes_private.h"

#define THREADS_MAX 16
#define AHEAD_PER_THREAD 3
#define LOOK_NS INT64_C(20000000)
#define PATIENCE_NS (10 * INT64_C(1000000000))
#define NS_PER_S INT64_C(1000000000)

struct slot {
	struct run run;
	enum job_state state;
	bool is_done;
	struct mrmr_error err;
};

struct pipeline {
	struct mrmr_stripes *work;
	struct jobs *jobs;
	pthread_mutex_t lock;
	pthread_cond_t todo;
	pthread_cond_t done;
	bool ends;

	/* Jobs [recorded, submitted) are under way, each in the slot of its
	   number; those below `taken` have been taken by a worker. */
	struct slot *slots;
	size_t num_slots;
	size_t submitted;
	size_t taken;

	pthread_t threads[THREADS_MAX];
	size_t num_threads; /* that run */
	struct run buffers; /* of the caller's thread */
	bool is_single;
	bool steps_back; /* still */
};

static struct slot *slot_of(struct pipeline *p, size_t number)
{
	return &p->slots[number % p->num_slots];
}

/* --- workers ---------------------------------------------------------------------- */

/* The buffers go along with a worker, not with the job. */
static void work_on(struct slot *slot, struct run *buffers)
{
	run_lend(&slot->run, buffers);
	slot->state = job_work(&slot->run, &slot->err);
	run_lend(buffers, &slot->run);
}

static void *work(void *private_data)
{
	struct pipeline *p = private_data;
	struct run buffers = {0};
	struct mrmr_thread_root root;

	/* without it, reading says EPERM, and that is told of each piece */
	(void)mrmr_thread_root_enter(&root);
	pthread_mutex_lock(&p->lock);
	while (true) {
		struct slot *slot = NULL;

		while (!p->ends && p->taken == p->submitted) {
			pthread_cond_wait(&p->todo, &p->lock);
		}
		if (p->ends) {
			break;
		}
		slot = slot_of(p, p->taken++);
		pthread_mutex_unlock(&p->lock);
		work_on(slot, &buffers);
		pthread_mutex_lock(&p->lock);
		slot->is_done = true;
		pthread_cond_signal(&p->done);
	}
	pthread_mutex_unlock(&p->lock);
	mrmr_thread_root_leave(&root);
	run_free(&buffers);
	return NULL;
}

/* What a worker needs at most: the rows, a piece, and the bytes of swaps. */
static size_t worker_bytes(const struct mrmr_stripes *work)
{
	return (size_t)work->block_bytes * (work->rows + 3);
}

static size_t count_threads(const struct mrmr_stripes *work, size_t num_jobs)
{
	size_t num = work->options.threads;
	size_t fit = work->options.memory_bytes / worker_bytes(work);

	if (num == 0) {
		long online = sysconf(_SC_NPROCESSORS_ONLN);

		num = online > 0 ? (size_t)online : 1;
	}
	/* the caller's thread has buffers too, when it does what is slow */
	fit = fit > 1 ? fit - 1 : 1;
	num = num < fit ? num : fit;
	num = num < num_jobs ? num : num_jobs;
	return num < THREADS_MAX ? num : THREADS_MAX;
}

/* With a clock that nobody sets. */
static void init_done(struct pipeline *p)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&p->done, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* Signals are for the caller's thread. Fewer threads than wanted are enough. */
static void start_threads(struct pipeline *p, size_t num)
{
	sigset_t all;
	sigset_t before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (p->num_threads < num &&
	       pthread_create(&p->threads[p->num_threads], NULL, work, p) ==
		       0) {
		p->num_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static bool is_urgent(const struct mrmr_stripes_options *options)
{
	return options->is_urgent != NULL &&
	       options->is_urgent(options->private_data);
}

/* Of all workers. One that stays as it was works nonetheless. */
static void set_class(struct pipeline *p, int policy)
{
	const struct sched_param param = {0};
	size_t i;

	for (i = 0; i < p->num_threads; i++) {
		(void)pthread_setschedparam(p->threads[i], policy, &param);
	}
}

static int start(struct pipeline *p, size_t num_jobs)
{
	const struct mrmr_stripes_options *options = &p->work->options;
	size_t num = count_threads(p->work, num_jobs);
	bool wants_threads;

	p->steps_back = options->steps_back && !is_urgent(options);
	wants_threads = num > 1 || p->steps_back;
	p->num_slots = wants_threads ? AHEAD_PER_THREAD * num : 1;
	p->slots = calloc(p->num_slots, sizeof(p->slots[0]));
	if (p->slots == NULL) {
		errno = ENOMEM;
		return -1;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->todo, NULL);
	init_done(p);
	if (wants_threads) {
		start_threads(p, num);
	}
	if (p->steps_back) {
		set_class(p, SCHED_IDLE);
	}
	p->is_single = p->num_threads == 0;
	return 0;
}

static void end(struct pipeline *p)
{
	size_t i;

	pthread_mutex_lock(&p->lock);
	p->ends = true;
	pthread_cond_broadcast(&p->todo);
	pthread_mutex_unlock(&p->lock);
	for (i = 0; i < p->num_threads; i++) {
		pthread_join(p->threads[i], NULL);
	}
	pthread_cond_destroy(&p->done);
	pthread_cond_destroy(&p->todo);
	pthread_mutex_destroy(&p->lock);
	run_free(&p->buffers);
	free(p->slots);
}

/* --- the caller's thread ------------------------------------------------------------- */

static int submit(struct pipeline *p, struct mrmr_error *err)
{
	struct job *job = p->jobs->list[p->submitted];
	struct slot *slot = slot_of(p, p->submitted);

	if (job_prepare(p->work, job) == -1) {
		return errno == ENOMEM ? stripes_no_memory(err)
				       : stripes_fail_catalog(err);
	}
	*slot = (struct slot){.run = {.work = p->work, .job = job}};
	pthread_mutex_lock(&p->lock);
	p->submitted++;
	pthread_cond_signal(&p->todo);
	pthread_mutex_unlock(&p->lock);
	if (p->is_single) {
		work_on(slot, &p->buffers);
		slot->is_done = true;
	}
	return 0;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* With the lock. */
static void wait_a_moment(struct pipeline *p)
{
	int64_t until_ns = now_ns() + LOOK_NS;
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / NS_PER_S),
		.tv_nsec = (long)(until_ns % NS_PER_S),
	};

	pthread_cond_timedwait(&p->done, &p->lock, &until);
}

/* As long as it steps back: somebody may come to wait for what is being done,
   and the processors may be in use for longer than can be waited for. */
static void wait_patiently(struct pipeline *p, const struct slot *slot)
{
	int64_t end_ns = now_ns() + PATIENCE_NS;

	while (!slot->is_done && p->steps_back) {
		bool urgent;

		wait_a_moment(p);
		pthread_mutex_unlock(&p->lock);
		urgent = now_ns() >= end_ns || is_urgent(&p->work->options);
		pthread_mutex_lock(&p->lock);
		if (urgent) {
			p->steps_back = false;
			set_class(p, SCHED_OTHER);
		}
	}
}

static struct slot *wait_for(struct pipeline *p, size_t number)
{
	struct slot *slot = slot_of(p, number);

	pthread_mutex_lock(&p->lock);
	wait_patiently(p, slot);
	while (!slot->is_done) {
		pthread_cond_wait(&p->done, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return slot;
}

static int record(struct pipeline *p, size_t number, struct mrmr_error *err)
{
	struct slot *slot = wait_for(p, number);
	struct job *job = slot->run.job;
	int ret;

	if (slot->state == JOB_FAILED && err != NULL) {
		*err = slot->err;
		errno = slot->err.code;
	}
	run_lend(&slot->run, &p->buffers);
	ret = job_finish(&slot->run, slot->state, err);
	run_lend(&p->buffers, &slot->run);
	if (ret == 0 && jobs_give_up(p->jobs, job) == -1) {
		ret = stripes_no_memory(err);
	}
	return ret;
}

static bool should_stop(const struct mrmr_stripes_options *options)
{
	return options->should_stop != NULL &&
	       options->should_stop(options->private_data);
}

static int run(struct pipeline *p, size_t *done, struct mrmr_error *err)
{
	while (*done < p->jobs->num) {
		if (should_stop(&p->work->options)) {
			return mrmr_error_set(err, ECANCELED, "interrupted");
		}
		if (mrmr_fault("stripes-job") != 0) {
			return mrmr_error_set(err, errno,
					      "a stripe cannot be changed");
		}
		while (p->submitted < p->jobs->num &&
		       p->submitted - *done < p->num_slots) {
			if (submit(p, err) == -1) {
				return -1;
			}
		}
		if (record(p, *done, err) == -1) {
			return -1;
		}
		job_end(p->jobs->list[*done]);
		(*done)++;
	}
	return 0;
}

int run_jobs(struct mrmr_stripes *work, struct jobs *jobs, size_t *done,
	     struct mrmr_error *err)
{
	struct pipeline p = {
		.work = work,
		.jobs = jobs,
		.submitted = *done,
		.taken = *done,
	};
	int saved_errno;
	int ret;

	if (*done == jobs->num) {
		return 0;
	}
	if (start(&p, jobs->num - *done) == -1) {
		return stripes_no_memory(err);
	}
	ret = run(&p, done, err);
	saved_errno = errno;
	end(&p);
	/* those that were under way when it failed */
	for (; *done < p.submitted; (*done)++) {
		job_end(jobs->list[*done]);
	}
	errno = saved_errno;
	return ret;
}
