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
 * What a read wants whole, and nobody has begun, is computed into its own buffer
 * and not kept; if it wants several, the threads take the others meanwhile. A
 * client that has several such reads under way keeps the processors busy without
 * anything being read ahead, which would have to be copied.
 *
 * What is shared by all readers of the process: one lock, the queue, the threads
 * (which end when there has been nothing to do for a while), and one limit for
 * the bytes kept, by which those that were not read for longest are forgotten.
 * Before it is reached, the buffers that a sequential reader is done with go round:
 * they are near, and new memory would have to be cleared by the kernel.
 *
 * talloc is for one thread. So the jobs of finished entries are freed when the
 * catalogue's thread comes by the next time; buffers are malloc's.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "reader_private.h"

/* Access is sequential after so many extents in their order. */
#define SEQUENTIAL_MIN 2

/* A read that came while another one was under way counts for so many. */
#define OVERLAPS 4

/* --- opening ------------------------------------------------------------------- */

static bool is_busy(const struct reader_entry *entry)
{
	return entry->state == READER_RUNNING || entry->readers > 0 ||
	       entry->direct != NULL;
}

/* Jobs that were run, with their descriptors, and entries that were forgotten. */
static void clean_up(struct mrmr_reader *reader)
{
	struct reader_entry *entry = reader->first;

	while (entry != NULL) {
		struct reader_entry *next = entry->next;
		bool is_done = entry->state == READER_READY ||
			       entry->state == READER_FAILED;

		if (is_done && entry->job != NULL) {
			mrmr_decode_report(entry->job, reader->engine);
			TALLOC_FREE(entry->job);
		}
		if (is_done && entry->bytes == NULL && !is_busy(entry)) {
			reader_drop(entry);
		}
		entry = next;
	}
}

/* Whoever waits for it, or reads it, is done soon. */
static void drop_when_idle(struct reader_entry *entry)
{
	while (is_busy(entry)) {
		pthread_cond_wait(&readers.done, &readers.lock);
	}
	reader_drop(entry);
}

static void drop_all(struct mrmr_reader *reader)
{
	while (reader->first != NULL) {
		drop_when_idle(reader->first);
	}
}

static int close_reader(struct mrmr_reader *reader)
{
	pthread_mutex_lock(&readers.lock);
	clean_up(reader);
	drop_all(reader);
	if (reader->previous != NULL) {
		reader->previous->next = reader->next;
	} else {
		readers.first = reader->next;
	}
	if (reader->next != NULL) {
		reader->next->previous = reader->previous;
	}
	pthread_mutex_unlock(&readers.lock);
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
	pthread_mutex_lock(&readers.lock);
	reader_set_default_limit();
	reader->next = readers.first;
	if (reader->next != NULL) {
		reader->next->previous = reader;
	}
	readers.first = reader;
	pthread_mutex_unlock(&readers.lock);
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

static struct reader_entry *make_entry(struct mrmr_reader *reader,
				       uint32_t index, struct mrmr_error *err)
{
	struct reader_entry *entry = calloc(1, sizeof(*entry));

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
	reader_link(entry);
	reader_use(entry);
	return entry;
}

/* One that is there, or will be; another one instead of one that failed. */
static struct reader_entry *get_entry(struct mrmr_reader *reader,
				      uint32_t index, struct mrmr_error *err)
{
	struct reader_entry *entry = reader_find(reader, index);

	if (entry != NULL &&
	    (entry->state == READER_FAILED ||
	     (entry->state == READER_READY && entry->bytes == NULL))) {
		drop_when_idle(entry);
		entry = NULL;
	}
	if (entry != NULL) {
		entry->is_spent = false;
		reader_use(entry);
		return entry;
	}
	return make_entry(reader, index, err);
}

/* As much as may be kept, with room for what others are at. */
static uint32_t most_at_once(const struct mrmr_reader *reader)
{
	size_t num = readers.limit_bytes / 2 / reader->node->grid_bytes;

	return num > 0 ? (uint32_t)num : 1;
}

/* A prepared entry that was never read keeps files open. */
static void forget_prepared(struct mrmr_reader *reader, uint32_t first,
			    uint32_t last)
{
	struct reader_entry *entry = reader->first;

	while (entry != NULL) {
		struct reader_entry *next = entry->next;

		if (entry->state == READER_PREPARED &&
		    (entry->index < first || entry->index > last)) {
			reader_drop(entry);
		}
		entry = next;
	}
}

static void read_ahead(struct mrmr_reader *reader, uint32_t next)
{
	uint32_t most = most_at_once(reader);
	uint32_t num = readers.limit_threads + 1;
	uint32_t i;

	if (num > most) {
		num = most;
	}
	for (i = 0; i < num && next + i < reader->node->num_extents; i++) {
		struct reader_entry *entry = get_entry(reader, next + i, NULL);

		if (entry == NULL) {
			return;
		}
		if (entry->state == READER_PREPARED) {
			reader_enqueue(entry);
			reader_wake_threads();
		}
	}
}

/* Has the client several reads of more than one extent under way? */
static bool reads_ahead_itself(struct mrmr_reader *reader, uint32_t first,
			       uint32_t last)
{
	if (first == last) {
		reader->overlaps = 0;
	} else if (reader->reading > 0) {
		reader->overlaps = OVERLAPS;
	} else if (reader->overlaps > 0) {
		reader->overlaps--;
	}
	return reader->overlaps > 0;
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
	if (!reads_ahead_itself(reader, first, last) &&
	    reader->in_order >= SEQUENTIAL_MIN) {
		read_ahead(reader, last + 1);
	}
	return 0;
}

static bool is_at_hand(const struct mrmr_reader *reader, uint32_t first,
		       uint32_t last)
{
	const struct reader_entry *entry = reader_find(reader, first);

	return first == last && first == reader->last_index && entry != NULL &&
	       entry->state != READER_FAILED &&
	       (entry->state != READER_READY || entry->bytes != NULL);
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
	pthread_mutex_lock(&readers.lock);
	if (!is_at_hand(reader, first, last)) {
		clean_up(reader);
		ret = refresh(reader, err);
		if (ret == 0) {
			ret = prepare(reader, first, last, err);
		}
	}
	pthread_mutex_unlock(&readers.lock);
	return ret;
}

/* --- reading ------------------------------------------------------------------------- */

/* What a read wants whole, behind its first bytes, is for the threads while it
   computes these. */
static void share_out(struct mrmr_reader *reader, uint8_t *buf, size_t len,
		      uint64_t offset)
{
	uint32_t grid = reader->node->grid_bytes;
	uint32_t index = (uint32_t)(offset / grid) + 1;
	uint64_t at = (uint64_t)index * grid - offset;

	for (; at < len; index++, at += grid) {
		struct reader_entry *entry = reader_find(reader, index);

		if (entry == NULL || entry->direct != NULL ||
		    len - at < entry->len_bytes) {
			continue;
		}
		if (entry->state == READER_PREPARED) {
			entry->direct = buf + at;
			reader_enqueue(entry);
			reader_wake_threads();
		} else if (entry->state == READER_QUEUED) {
			entry->direct = buf + at;
		}
	}
}

static bool is_within(const uint8_t *at, const uint8_t *buf, size_t len)
{
	return at != NULL && at >= buf && at < buf + len;
}

/* Nobody may be at the buffer of a read that ends. Who waits until its owner has
   come by need not wait any longer. */
static void take_back(struct mrmr_reader *reader, const uint8_t *buf,
		      size_t len)
{
	struct reader_entry *entry = reader->first;

	while (entry != NULL) {
		if (!is_within(entry->direct, buf, len)) {
			entry = entry->next;
			continue;
		}
		if (entry->state == READER_RUNNING) {
			pthread_cond_wait(&readers.done, &readers.lock);
			entry = reader->first; /* they may have changed */
			continue;
		}
		if (entry->state == READER_QUEUED) {
			reader_unqueue(entry);
			entry->state = READER_PREPARED;
		}
		entry->direct = NULL;
		pthread_cond_broadcast(&readers.done);
	}
}

/*
 * See to it that an entry is computed. True if that was done into buf, of len
 * bytes.
 */
static bool have_computed(struct reader_entry *entry, uint32_t at, uint8_t *buf,
			  size_t len)
{
	bool is_whole = at == 0 && len >= entry->len_bytes;
	bool is_ours;

	if (entry->state == READER_QUEUED) {
		reader_unqueue(entry);
		entry->state = READER_PREPARED;
	}
	if (entry->state == READER_PREPARED && entry->direct == NULL &&
	    is_whole) {
		entry->direct = buf;
	}
	is_ours = is_whole && entry->direct == buf;
	if (!is_ours) {
		entry->is_wanted = true;
	}
	if (entry->state == READER_PREPARED) {
		reader_run(entry);
	}
	while (entry->state == READER_RUNNING) {
		pthread_cond_wait(&readers.done, &readers.lock);
	}
	if (!is_ours) {
		return false;
	}
	entry->direct = NULL;
	return entry->state == READER_READY;
}

/* Without the lock meanwhile. */
static void copy_bytes(struct reader_entry *entry, uint32_t at, uint8_t *buf,
		       size_t len)
{
	reader_use(entry);
	pthread_mutex_unlock(&readers.lock);
	memcpy(buf, entry->bytes + at, len);
	pthread_mutex_lock(&readers.lock);
	if (at + len == entry->len_bytes &&
	    entry->reader->in_order >= SEQUENTIAL_MIN) {
		entry->is_spent = true;
	}
}

/* Bytes of one extent. 0: it was not prepared. */
static ssize_t read_entry(struct mrmr_reader *reader, uint32_t index,
			  uint32_t at, uint8_t *buf, size_t len)
{
	struct reader_entry *entry = reader_find(reader, index);
	ssize_t ret = 0;

	errno = EAGAIN;
	if (entry == NULL || at >= entry->len_bytes) {
		return 0;
	}
	if (len > entry->len_bytes - at) {
		len = entry->len_bytes - at;
	}
	entry->readers++; /* not to be dropped while it is waited for */
	if (have_computed(entry, at, buf, len)) {
		ret = (ssize_t)len;
	} else if (entry->bytes != NULL) {
		copy_bytes(entry, at, buf, len);
		ret = (ssize_t)len;
	} else if (entry->state == READER_FAILED) {
		errno = EIO;
		ret = -1;
	} else {
		errno = EAGAIN; /* forgotten since */
	}
	entry->readers--;
	pthread_cond_broadcast(&readers.done);
	return ret;
}

ssize_t mrmr_reader_read(struct mrmr_reader *reader, void *buf, size_t len,
			 uint64_t offset)
{
	uint64_t size;
	uint32_t grid;
	size_t done = 0;
	ssize_t got = 0;

	reader_use_large_pages(buf, len);
	pthread_mutex_lock(&readers.lock);
	reader->reading++;
	size = reader->node->size_bytes;
	grid = reader->node->grid_bytes;
	if (offset >= size) {
		len = 0;
	} else if (len > size - offset) {
		len = (size_t)(size - offset);
	}
	if (len > 0) {
		share_out(reader, buf, len, offset);
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
	take_back(reader, buf, len);
	reader->reading--;
	pthread_mutex_unlock(&readers.lock);
	if (done == 0 && len > 0) {
		return -1; /* EIO or EAGAIN */
	}
	return (ssize_t)done;
}
