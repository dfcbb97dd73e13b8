/*
 * MRMR: a file read as if it were there (see mrmr/decode.h).
 *
 * An extent is computed whole, as its hash is over all of it, and kept, as the
 * next read will most likely want the rest. Each is an entry, on its way
 *
 *	PREPARED --> QUEUED --> RUNNING --> READY, or FAILED
 *	       \________________/
 *
 * from a job that the catalogue's thread has made to bytes. Whoever needs one
 * that nobody has begun computes it in his own thread, so a single read costs
 * no change of context; when access is sequential, prepare queues the next ones
 * for a few threads. So one extent is hashed on each processor, which is what
 * takes the time, while the client gets the one before.
 *
 * What is shared by all readers of the process: one lock, the queue, the threads
 * (which end when there has been nothing to do for a while), and one limit for
 * the bytes kept, by which those that were not read for longest are forgotten.
 *
 * talloc is for one thread. So the jobs of finished entries are freed when the
 * catalogue's thread comes by the next time; buffers are malloc's.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <talloc.h>

#include <mrmr/decode.h>

#define CACHE_BYTES_DEFAULT ((size_t)64 << 20)
#define THREADS_DEFAULT 2
#define THREADS_MAX 16
#define IDLE_SECONDS 10

/* Access is sequential after so many extents in their order. */
#define SEQUENTIAL_MIN 2

enum entry_state {
	ENTRY_PREPARED,
	ENTRY_QUEUED,
	ENTRY_RUNNING,
	ENTRY_READY,
	ENTRY_FAILED,
};

struct entry {
	struct mrmr_reader *reader;
	uint32_t index;
	uint32_t len_bytes;
	enum entry_state state;
	struct mrmr_decode *job; /* the catalogue's thread frees it */
	uint8_t *bytes;
	unsigned int readers;   /* that copy from it at the moment */
	struct entry *previous; /* of the same reader, last used first */
	struct entry *next;
	struct entry *next_queued;
	uint64_t used; /* when, by the count of uses */
};

struct mrmr_reader {
	struct mrmr_engine *engine;
	struct mrmr_node *node; /* as it was when the entries were made */
	struct entry *first;
	uint32_t last_index; /* of the last prepare, */
	uint32_t in_order;   /* so many extents in their order */
	struct mrmr_reader *previous;
	struct mrmr_reader *next;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t done;
	struct mrmr_reader *readers;
	struct entry *queue;
	struct entry **queue_end;
	size_t cached_bytes;
	uint64_t uses;
	unsigned int num_threads;
	unsigned int num_idle;
	size_t limit_bytes;
	unsigned int limit_threads;
} all = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
	.queue_end = &all.queue,
	.limit_bytes = CACHE_BYTES_DEFAULT,
	.limit_threads = THREADS_DEFAULT,
};

void mrmr_reader_limits(size_t cache_bytes, unsigned int threads)
{
	pthread_mutex_lock(&all.lock);
	all.limit_bytes = cache_bytes != 0 ? cache_bytes : CACHE_BYTES_DEFAULT;
	all.limit_threads = threads != 0 ? threads : THREADS_DEFAULT;
	if (all.limit_threads > THREADS_MAX) {
		all.limit_threads = THREADS_MAX;
	}
	pthread_mutex_unlock(&all.lock);
}

/* --- entries; with the lock held --------------------------------------------- */

static struct entry *find_entry(const struct mrmr_reader *reader,
				uint32_t index)
{
	struct entry *entry = reader->first;

	while (entry != NULL && entry->index != index) {
		entry = entry->next;
	}
	return entry;
}

static void unlink_entry(struct entry *entry)
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

static void link_entry(struct entry *entry)
{
	struct mrmr_reader *reader = entry->reader;

	entry->next = reader->first;
	if (entry->next != NULL) {
		entry->next->previous = entry;
	}
	reader->first = entry;
}

static void use_entry(struct entry *entry)
{
	entry->used = ++all.uses;
	if (entry->reader->first != entry) {
		unlink_entry(entry);
		link_entry(entry);
	}
}

static void unqueue(struct entry *entry)
{
	struct entry **at = &all.queue;

	while (*at != entry) {
		at = &(*at)->next_queued;
	}
	*at = entry->next_queued;
	if (all.queue_end == &entry->next_queued) {
		all.queue_end = at;
	}
	entry->next_queued = NULL;
}

static void enqueue(struct entry *entry)
{
	entry->state = ENTRY_QUEUED;
	entry->next_queued = NULL;
	*all.queue_end = entry;
	all.queue_end = &entry->next_queued;
}

/* The bytes of an entry, for another one. */
static uint8_t *take_bytes(struct entry *entry)
{
	uint8_t *bytes = entry->bytes;

	entry->bytes = NULL;
	all.cached_bytes -= entry->len_bytes;
	return bytes;
}

/* The ready entry that was not used for longest, and that nobody reads. */
static struct entry *find_oldest(void)
{
	struct mrmr_reader *reader = NULL;
	struct entry *oldest = NULL;

	for (reader = all.readers; reader != NULL; reader = reader->next) {
		struct entry *entry = NULL;

		for (entry = reader->first; entry != NULL;
		     entry = entry->next) {
			if (entry->bytes != NULL && entry->readers == 0 &&
			    entry->state == ENTRY_READY &&
			    (oldest == NULL || entry->used < oldest->used)) {
				oldest = entry;
			}
		}
	}
	return oldest;
}

/*
 * A buffer for an entry, of what others have to give up if there is no room.
 * What is forgotten stays as an entry without bytes until the catalogue's thread
 * frees it. NULL with ENOMEM.
 */
static uint8_t *make_room(size_t len)
{
	uint8_t *bytes = NULL;

	while (all.cached_bytes + len > all.limit_bytes) {
		struct entry *oldest = find_oldest();

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
		all.cached_bytes += len;
	}
	return bytes;
}

/* Compute an entry that nobody has begun. The lock is given away meanwhile. */
static void run_entry(struct entry *entry)
{
	int ret = -1;

	entry->state = ENTRY_RUNNING;
	entry->bytes = make_room(entry->len_bytes);
	if (entry->bytes != NULL) {
		pthread_mutex_unlock(&all.lock);
		ret = mrmr_decode_run(entry->job, entry->bytes);
		pthread_mutex_lock(&all.lock);
	}
	if (ret == -1 && entry->bytes != NULL) {
		free(take_bytes(entry));
	}
	entry->state = ret == 0 ? ENTRY_READY : ENTRY_FAILED;
	entry->used = ++all.uses;
	pthread_cond_broadcast(&all.done);
}

/* --- threads ------------------------------------------------------------------- */

static bool wait_for_work(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += IDLE_SECONDS;
	all.num_idle++;
	while (all.queue == NULL) {
		if (pthread_cond_timedwait(&all.work, &all.lock, &until) ==
		    ETIMEDOUT) {
			break;
		}
	}
	all.num_idle--;
	return all.queue != NULL;
}

static void *work(void *unused)
{
	pthread_mutex_lock(&all.lock);
	while (all.queue != NULL || wait_for_work()) {
		struct entry *entry = all.queue;

		unqueue(entry);
		run_entry(entry);
	}
	all.num_threads--;
	pthread_mutex_unlock(&all.lock);
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
		all.num_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
}

static void wake_threads(void)
{
	if (all.num_idle == 0 && all.num_threads < all.limit_threads) {
		start_thread();
	}
	pthread_cond_signal(&all.work);
}

/* --- for the catalogue's thread --------------------------------------------------- */

/* The entry is in no list any more. */
static void free_entry(struct entry *entry)
{
	if (entry->bytes != NULL) {
		free(take_bytes(entry));
	}
	talloc_free(entry->job);
	free(entry);
}

static void drop_entry(struct entry *entry)
{
	if (entry->state == ENTRY_QUEUED) {
		unqueue(entry);
	}
	unlink_entry(entry);
	free_entry(entry);
}

static bool is_busy(const struct entry *entry)
{
	return entry->state == ENTRY_RUNNING || entry->readers > 0;
}

/* Jobs that were run, with their descriptors, and entries that were forgotten. */
static void clean_up(struct mrmr_reader *reader)
{
	struct entry *entry = reader->first;

	while (entry != NULL) {
		struct entry *next = entry->next;
		bool is_done = entry->state == ENTRY_READY ||
			       entry->state == ENTRY_FAILED;

		if (is_done && entry->job != NULL) {
			mrmr_decode_report(entry->job, reader->engine);
			TALLOC_FREE(entry->job);
		}
		if (is_done && entry->bytes == NULL && !is_busy(entry)) {
			drop_entry(entry);
		}
		entry = next;
	}
}

/* Whoever waits for it, or reads it, is done soon. */
static void drop_when_idle(struct entry *entry)
{
	while (is_busy(entry)) {
		pthread_cond_wait(&all.done, &all.lock);
	}
	drop_entry(entry);
}

static void drop_all(struct mrmr_reader *reader)
{
	while (reader->first != NULL) {
		drop_when_idle(reader->first);
	}
}

static int close_reader(struct mrmr_reader *reader)
{
	pthread_mutex_lock(&all.lock);
	clean_up(reader);
	drop_all(reader);
	if (reader->previous != NULL) {
		reader->previous->next = reader->next;
	} else {
		all.readers = reader->next;
	}
	if (reader->next != NULL) {
		reader->next->previous = reader->previous;
	}
	pthread_mutex_unlock(&all.lock);
	return 0;
}

static int look_up(struct mrmr_reader *reader, uint64_t id,
		   struct mrmr_node **node, struct mrmr_error *err)
{
	if (mrmr_catalog_get(reader->engine->catalog, reader, id, node) == -1) {
		return mrmr_error_set(err, EIO,
				      "the catalogue does not know the file "
				      "any more");
	}
	if ((*node)->kind != MRMR_NODE_FILE ||
	    ((*node)->size_bytes > 0 && (*node)->grid_bytes == 0)) {
		return mrmr_error_set(err, EIO, "%s was never protected",
				      (*node)->name);
	}
	return 0;
}

struct mrmr_reader *mrmr_reader_open(void *mem_ctx, struct mrmr_engine *engine,
				     const struct mrmr_node *node,
				     struct mrmr_error *err)
{
	struct mrmr_reader *reader = talloc_zero(mem_ctx, struct mrmr_reader);

	if (reader == NULL) {
		mrmr_error_set(err, ENOMEM, "not enough memory");
		return NULL;
	}
	reader->engine = engine;
	reader->last_index = UINT32_MAX; /* the first one is the next */
	if (look_up(reader, node->id, &reader->node, err) == -1) {
		int saved_errno = errno;

		talloc_free(reader);
		errno = saved_errno;
		return NULL;
	}
	pthread_mutex_lock(&all.lock);
	reader->next = all.readers;
	if (reader->next != NULL) {
		reader->next->previous = reader;
	}
	all.readers = reader;
	pthread_mutex_unlock(&all.lock);
	talloc_set_destructor(reader, close_reader);
	return reader;
}

/* Was the file protected anew? Then what is known is of another version. */
static int refresh(struct mrmr_reader *reader, struct mrmr_error *err)
{
	struct mrmr_node *now = NULL;

	if (look_up(reader, reader->node->id, &now, err) == -1) {
		talloc_free(now);
		return -1;
	}
	if (now->generation != reader->node->generation ||
	    now->size_bytes != reader->node->size_bytes) {
		drop_all(reader);
	}
	talloc_free(reader->node);
	reader->node = now;
	return 0;
}

static struct entry *make_entry(struct mrmr_reader *reader, uint32_t index,
				struct mrmr_error *err)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL) {
		mrmr_error_set(err, ENOMEM, "not enough memory");
		return NULL;
	}
	entry->job = mrmr_decode_extent(reader, reader->engine, reader->node,
					index, err);
	if (entry->job == NULL) {
		int saved_errno = errno;

		free(entry);
		errno = saved_errno;
		return NULL;
	}
	entry->reader = reader;
	entry->index = index;
	entry->len_bytes = (uint32_t)mrmr_decode_len(entry->job);
	link_entry(entry);
	use_entry(entry);
	return entry;
}

/* One that is there, or will be; another one instead of one that failed. */
static struct entry *get_entry(struct mrmr_reader *reader, uint32_t index,
			       struct mrmr_error *err)
{
	struct entry *entry = find_entry(reader, index);

	if (entry != NULL &&
	    (entry->state == ENTRY_FAILED ||
	     (entry->state == ENTRY_READY && entry->bytes == NULL))) {
		drop_when_idle(entry);
		entry = NULL;
	}
	if (entry != NULL) {
		use_entry(entry);
		return entry;
	}
	return make_entry(reader, index, err);
}

/* As much as may be kept, with room for what others are at. */
static uint32_t most_at_once(const struct mrmr_reader *reader)
{
	size_t num = all.limit_bytes / 2 / reader->node->grid_bytes;

	return num > 0 ? (uint32_t)num : 1;
}

/* A prepared entry that was never read keeps files open. */
static void forget_prepared(struct mrmr_reader *reader, uint32_t first,
			    uint32_t last)
{
	struct entry *entry = reader->first;

	while (entry != NULL) {
		struct entry *next = entry->next;

		if (entry->state == ENTRY_PREPARED &&
		    (entry->index < first || entry->index > last)) {
			drop_entry(entry);
		}
		entry = next;
	}
}

static void read_ahead(struct mrmr_reader *reader, uint32_t next)
{
	uint32_t most = most_at_once(reader);
	uint32_t num = all.limit_threads + 1;
	uint32_t i;

	if (num > most) {
		num = most;
	}
	for (i = 0; i < num && next + i < reader->node->num_extents; i++) {
		struct entry *entry = get_entry(reader, next + i, NULL);

		if (entry == NULL) {
			return;
		}
		if (entry->state == ENTRY_PREPARED) {
			enqueue(entry);
			wake_threads();
		}
	}
}

static int prepare(struct mrmr_reader *reader, uint32_t first, uint32_t last,
		   struct mrmr_error *err)
{
	uint32_t most = most_at_once(reader);
	uint32_t i;

	if (first == reader->last_index + 1) {
		reader->in_order++;
	} else if (first != reader->last_index) {
		reader->in_order = 0;
	}
	if (last - first >= most) {
		last = first + most - 1;
	}
	forget_prepared(reader, first, last);
	for (i = first; i <= last; i++) {
		if (get_entry(reader, i, err) == NULL && i == first) {
			return -1;
		}
	}
	reader->in_order += last - first;
	reader->last_index = last;
	if (reader->in_order >= SEQUENTIAL_MIN) {
		read_ahead(reader, last + 1);
	}
	return 0;
}

static bool is_at_hand(const struct mrmr_reader *reader, uint32_t first,
		       uint32_t last)
{
	const struct entry *entry = find_entry(reader, first);

	return first == last && first == reader->last_index && entry != NULL &&
	       entry->state != ENTRY_FAILED &&
	       (entry->state != ENTRY_READY || entry->bytes != NULL);
}

int mrmr_reader_prepare(struct mrmr_reader *reader, uint64_t offset, size_t len,
			struct mrmr_error *err)
{
	uint64_t size = reader->node->size_bytes;
	uint32_t grid = reader->node->grid_bytes;
	uint32_t first;
	uint32_t last;
	int ret = 0;

	if (offset >= size || len == 0) {
		return 0;
	}
	if (len > size - offset) {
		len = (size_t)(size - offset);
	}
	first = (uint32_t)(offset / grid);
	last = (uint32_t)((offset + len - 1) / grid);
	pthread_mutex_lock(&all.lock);
	if (!is_at_hand(reader, first, last)) {
		clean_up(reader);
		ret = refresh(reader, err);
		if (ret == 0) {
			ret = prepare(reader, first, last, err);
		}
	}
	pthread_mutex_unlock(&all.lock);
	return ret;
}

/* --- reading ------------------------------------------------------------------------- */

/* Bytes of one extent. 0: it was not prepared. */
static ssize_t read_entry(struct mrmr_reader *reader, uint32_t index,
			  uint32_t at, uint8_t *buf, size_t len)
{
	struct entry *entry = find_entry(reader, index);

	if (entry != NULL) {
		/* not to be dropped while it is waited for */
		entry->readers++;
		if (entry->state == ENTRY_QUEUED) {
			unqueue(entry);
			entry->state = ENTRY_PREPARED;
		}
		if (entry->state == ENTRY_PREPARED) {
			run_entry(entry);
		}
		while (entry->state == ENTRY_RUNNING) {
			pthread_cond_wait(&all.done, &all.lock);
		}
	}
	if (entry == NULL || entry->bytes == NULL || at >= entry->len_bytes) {
		bool has_failed = entry != NULL && entry->state == ENTRY_FAILED;

		if (entry != NULL) {
			entry->readers--;
			pthread_cond_broadcast(&all.done);
		}
		errno = has_failed ? EIO : EAGAIN;
		return has_failed ? -1 : 0;
	}
	if (len > entry->len_bytes - at) {
		len = entry->len_bytes - at;
	}
	use_entry(entry);
	pthread_mutex_unlock(&all.lock);
	memcpy(buf, entry->bytes + at, len);
	pthread_mutex_lock(&all.lock);
	entry->readers--;
	pthread_cond_broadcast(&all.done);
	return (ssize_t)len;
}

ssize_t mrmr_reader_read(struct mrmr_reader *reader, void *buf, size_t len,
			 uint64_t offset)
{
	uint64_t size;
	uint32_t grid;
	size_t done = 0;
	ssize_t got = 0;

	pthread_mutex_lock(&all.lock);
	size = reader->node->size_bytes;
	grid = reader->node->grid_bytes;
	if (offset >= size) {
		len = 0;
	} else if (len > size - offset) {
		len = (size_t)(size - offset);
	}
	while (done < len) {
		uint64_t at = offset + done;

		got = read_entry(reader, (uint32_t)(at / grid),
				 (uint32_t)(at % grid), (uint8_t *)buf + done,
				 len - done);
		if (got <= 0) {
			break;
		}
		done += (size_t)got;
	}
	pthread_mutex_unlock(&all.lock);
	if (done == 0 && len > 0) {
		return -1; /* EIO or EAGAIN */
	}
	return (ssize_t)done;
}
