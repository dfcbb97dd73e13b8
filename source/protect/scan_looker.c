/*
 * MRMR: are the files of one member those that are known?
 *
 * Looking at a file that is in no cache costs a drive some milliseconds, in which
 * others can work. The catalogue is read by one thread, which hands files over to
 * a thread for each member, through a queue of a limited length.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mrmr/fault.h>

#include "scan_looker.h"

#define NS_PER_S INT64_C(1000000000)
#define HAND_OVER 64 /* files at a time: waking a thread is not for nothing */
#define QUEUE_MAX 8192

struct known {
	struct known *next;
	uint64_t id;
	uint64_t size_bytes;
	int64_t mtime_ns;
	char path[];
};

struct list {
	struct known *first;
	struct known **end;
	size_t num;
};

struct looker {
	int root_fd;
	pthread_t thread;
	struct list filling; /* of the thread that has the catalogue */

	/* Of the looker's own, until it has ended. */
	struct mrmr_scan_member counts;
	uint64_t *different;
	size_t num_different;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	struct list queue;
	bool is_ending;
	bool is_cancelled;
	int error;
};

/* --- files ----------------------------------------------------------------------- */

int look_beneath(int root_fd, const char *path, struct stat *st)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = -1;
	int ret;

	if (mrmr_fault("scan-look") == 0) {
		fd = (int)syscall(SYS_openat2, root_fd, path, &how,
				  sizeof(how));
	}
	if (fd == -1) {
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
				       errno == EXDEV
			       ? 0
			       : -1;
	}
	ret = fstat(fd, st);
	close(fd);
	return ret == 0 ? 1 : -1;
}

bool look_is_same(uint64_t size_bytes, int64_t mtime_ns, const struct stat *st)
{
	return S_ISREG(st->st_mode) && size_bytes == (uint64_t)st->st_size &&
	       mtime_ns == (int64_t)st->st_mtim.tv_sec * NS_PER_S +
				   st->st_mtim.tv_nsec;
}

static int note_different(struct looker *looker, uint64_t id)
{
	size_t num = looker->num_different;

	if ((num & (num - 1)) == 0) {
		uint64_t *larger =
			reallocarray(looker->different, num > 0 ? 2 * num : 1,
				     sizeof(*larger));

		if (larger == NULL) {
			return -1;
		}
		looker->different = larger;
	}
	looker->different[looker->num_different++] = id;
	return 0;
}

static int look_at(struct looker *looker, const struct known *known)
{
	struct stat st;
	int there = look_beneath(looker->root_fd, known->path, &st);

	if (there == -1) {
		/* by so long a path it is not protected, nor to be looked at */
		return errno == ENAMETOOLONG ? 0 : -1;
	}
	looker->counts.num_files++;
	if (there == 1 &&
	    look_is_same(known->size_bytes, known->mtime_ns, &st)) {
		looker->counts.num_same++;
		return 0;
	}
	if (there == 1 && S_ISREG(st.st_mode)) {
		looker->counts.num_changed++;
	} else {
		looker->counts.num_gone++;
	}
	return note_different(looker, known->id);
}

/* --- the queue --------------------------------------------------------------------- */

static void list_init(struct list *list)
{
	*list = (struct list){.end = &list->first};
}

/* All of it, to the end of another one. */
static void list_move(struct list *to, struct list *from)
{
	if (from->first == NULL) {
		return;
	}
	*to->end = from->first;
	to->end = from->end;
	to->num += from->num;
	list_init(from);
}

static void list_free(struct list *list)
{
	while (list->first != NULL) {
		struct known *known = list->first;

		list->first = known->next;
		free(known);
	}
	list_init(list);
}

/* False: there is nothing more to come. */
static bool take(struct looker *looker, struct list *list)
{
	bool goes_on;

	pthread_mutex_lock(&looker->lock);
	while (looker->queue.first == NULL && !looker->is_ending) {
		pthread_cond_wait(&looker->changed, &looker->lock);
	}
	list_move(list, &looker->queue);
	goes_on = list->first != NULL && !looker->is_cancelled;
	pthread_cond_broadcast(&looker->changed);
	pthread_mutex_unlock(&looker->lock);
	return goes_on;
}

/* Who adds finds out; what is in the queue after that is let go. */
static void fail(struct looker *looker, int error)
{
	pthread_mutex_lock(&looker->lock);
	looker->error = error;
	pthread_cond_broadcast(&looker->changed);
	pthread_mutex_unlock(&looker->lock);
}

static void *work(void *private_data)
{
	struct looker *looker = private_data;
	struct known *known = NULL;
	struct list list;
	bool has_failed = false;

	list_init(&list);
	while (take(looker, &list)) {
		for (known = list.first; known != NULL && !has_failed;
		     known = known->next) {
			if (look_at(looker, known) == -1) {
				has_failed = true;
				fail(looker, errno);
			}
		}
		list_free(&list);
	}
	list_free(&list);
	return NULL;
}

static int hand_over(struct looker *looker)
{
	int error;

	pthread_mutex_lock(&looker->lock);
	while (looker->queue.num >= QUEUE_MAX && looker->error == 0) {
		pthread_cond_wait(&looker->changed, &looker->lock);
	}
	list_move(&looker->queue, &looker->filling);
	error = looker->error;
	pthread_cond_broadcast(&looker->changed);
	pthread_mutex_unlock(&looker->lock);
	if (error != 0) {
		errno = error;
		return -1;
	}
	return 0;
}

/* --- the interface ------------------------------------------------------------------- */

struct looker *looker_start(int root_fd)
{
	struct looker *looker = calloc(1, sizeof(*looker));
	int error;

	if (looker == NULL) {
		return NULL;
	}
	looker->root_fd = root_fd;
	list_init(&looker->filling);
	list_init(&looker->queue);
	pthread_mutex_init(&looker->lock, NULL);
	pthread_cond_init(&looker->changed, NULL);
	error = pthread_create(&looker->thread, NULL, work, looker);
	if (error != 0) {
		pthread_cond_destroy(&looker->changed);
		pthread_mutex_destroy(&looker->lock);
		free(looker);
		errno = error;
		return NULL;
	}
	return looker;
}

int looker_add(struct looker *looker, uint64_t id, const char *path,
	       uint64_t size_bytes, int64_t mtime_ns)
{
	size_t len = strlen(path) + 1;
	struct known *known = malloc(sizeof(*known) + len);

	if (known == NULL) {
		return -1;
	}
	*known = (struct known){
		.id = id,
		.size_bytes = size_bytes,
		.mtime_ns = mtime_ns,
	};
	memcpy(known->path, path, len);
	*looker->filling.end = known;
	looker->filling.end = &known->next;
	looker->filling.num++;
	return looker->filling.num < HAND_OVER ? 0 : hand_over(looker);
}

int looker_end(struct looker *looker, bool is_cancelled,
	       struct mrmr_scan_member *counts, uint64_t **different,
	       size_t *num_different)
{
	int error;

	pthread_mutex_lock(&looker->lock);
	list_move(&looker->queue, &looker->filling);
	looker->is_ending = true;
	looker->is_cancelled = is_cancelled;
	pthread_cond_broadcast(&looker->changed);
	pthread_mutex_unlock(&looker->lock);
	pthread_join(looker->thread, NULL);
	error = looker->error;
	counts->num_files += looker->counts.num_files;
	counts->num_same += looker->counts.num_same;
	counts->num_changed += looker->counts.num_changed;
	counts->num_gone += looker->counts.num_gone;
	*different = looker->different;
	*num_different = looker->num_different;
	pthread_cond_destroy(&looker->changed);
	pthread_mutex_destroy(&looker->lock);
	free(looker);
	if (error != 0) {
		errno = error;
		return -1;
	}
	return 0;
}
