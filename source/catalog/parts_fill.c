/*
 * MRMR: the catalogue: the parts of members, written at the same time.
 *
 * Each part is a store of its own, on a drive of its own, and takes of the
 * catalogue what it is to have. So each can be written by another thread; what
 * they ask the catalogue, they ask one after another (mirror_private.h). A small
 * commit is not worth a thread.
 *
 * None is written before all of them have what they are to have: if the catalogue turns
 * out to be damaged on the way, it is as if there had been no commit.
 *
 * talloc is for one thread: what a thread allocates hangs on its part, or on
 * nothing. What hangs on the catalogue is made before the threads begin.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include <mrmr/thread_root.h>

#include "parts_private.h"

#define THREADS_MAX 16

size_t parts_threads_from = 512;

struct filling {
	struct mrmr_catalog *cat;
	const struct seen_node *seen;
	int (*step)(struct filling *f, struct attached *a);
	atomic_size_t next;
};

static int fill_part(struct filling *f, struct attached *a)
{
	return mirror(f->cat, a, a->pending, a->num_pending, f->seen);
}

static int save_part(struct filling *f, struct attached *a)
{
	if (part_save(f->cat, a) == -1) {
		return -1;
	}
	a->was_written = true;
	records_trim(a->part); /* until the next commit, which may be far */
	return 0;
}

static void *do_step(void *private_data)
{
	struct filling *f = private_data;
	size_t i;

	while ((i = atomic_fetch_add(&f->next, 1)) < f->cat->num_attached) {
		struct attached *a = &f->cat->attached[i];

		if (a->is_behind || a->error != 0 || a->num_pending == 0) {
			continue;
		}
		if (f->step(f, a) == -1) {
			a->error = errno != 0 ? errno : EIO;
		}
	}
	return NULL;
}

static void *work(void *private_data)
{
	struct mrmr_thread_root root;

	(void)mrmr_thread_root_enter(&root);
	do_step(private_data);
	mrmr_thread_root_leave(&root);
	return NULL;
}

/* Beside the caller's. */
static size_t count_threads(const struct mrmr_catalog *cat)
{
	size_t num = cat->threads < cat->num_attached ? cat->threads
						      : cat->num_attached;

	if (num < 2 || cat->num_touched < parts_threads_from) {
		return 0;
	}
	return num < THREADS_MAX ? num - 1 : THREADS_MAX;
}

/* Signals are for the caller's thread. Fewer threads than wanted are enough. */
static size_t start_threads(struct filling *f, pthread_t *threads, size_t num)
{
	sigset_t all;
	sigset_t before;
	size_t i = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (i < num && pthread_create(&threads[i], NULL, work, f) == 0) {
		i++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return i;
}

static void run(struct filling *f,
		int (*step)(struct filling *f, struct attached *a))
{
	pthread_t threads[THREADS_MAX];
	size_t num;
	size_t i;

	f->step = step;
	atomic_store(&f->next, 0);
	num = start_threads(f, threads, count_threads(f->cat));
	do_step(f);
	for (i = 0; i < num; i++) {
		pthread_join(threads[i], NULL);
	}
}

/* Not because of its drive. */
static bool does_not_fit(const struct attached *a)
{
	return a->error == EILSEQ || a->error == ENOENT || a->error == EEXIST ||
	       a->error == ENOTDIR;
}

static bool all_fit(const struct mrmr_catalog *cat)
{
	size_t i;

	for (i = 0; i < cat->num_attached; i++) {
		if (does_not_fit(&cat->attached[i])) {
			return false;
		}
	}
	return true;
}

int parts_fill(struct mrmr_catalog *cat, const struct seen_node *seen)
{
	struct filling f = {.cat = cat, .seen = seen};
	int error;
	size_t i;

	run(&f, fill_part);
	/* what does not fit into a part may be wrong here */
	if (!cat->is_damaged &&
	    (all_fit(cat) || catalog_check_once(cat) == 0)) {
		run(&f, save_part);
		return 0;
	}
	error = cat->is_damaged ? EILSEQ : errno;
	for (i = 0; i < cat->num_attached; i++) {
		reload(cat->attached[i].part);
		cat->attached[i].error = 0; /* it is not the part's */
	}
	errno = error;
	return -1;
}
