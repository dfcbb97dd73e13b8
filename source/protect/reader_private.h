/*
 * MRMR: files read as if they were there: what is shared by their readers
 * (reader.c has the theory).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef READER_PRIVATE_H
#define READER_PRIVATE_H

#include <pthread.h>

#include <mrmr/decode.h>

enum reader_state {
	READER_PREPARED,
	READER_QUEUED,
	READER_RUNNING,
	READER_READY,
	READER_FAILED,
};

/* An extent of a file. */
struct reader_entry {
	struct mrmr_reader *reader;
	uint32_t index;
	uint32_t len_bytes;
	enum reader_state state;
	struct mrmr_decode *job; /* the catalogue's thread frees it */
	uint8_t *bytes;
	uint8_t *direct;      /* the buffer of a read that wants it whole: it is
			    computed there, and that read takes it */
	bool is_wanted;       /* by others than that, who need a copy */
	unsigned int readers; /* that copy from it at the moment */
	struct reader_entry *previous; /* of the same reader, last used first */
	struct reader_entry *next;
	struct reader_entry *next_queued;
	uint64_t used; /* when, by the count of uses */
	bool is_spent; /* a sequential reader has had all of it */
};

struct mrmr_reader {
	struct mrmr_engine *engine;
	struct mrmr_node *node; /* as it was when the entries were made */
	struct reader_entry *first;
	uint32_t last_index;   /* of the last prepare, */
	uint32_t in_order;     /* so many extents in their order */
	unsigned int reading;  /* reads that are under way */
	unsigned int overlaps; /* see reads_ahead_itself() */
	struct mrmr_reader *previous;
	struct mrmr_reader *next;
};

/* Of the process. */
struct readers {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t done;
	struct mrmr_reader *first;
	struct reader_entry *queue;
	struct reader_entry **queue_end;
	size_t cached_bytes;
	uint64_t uses;
	unsigned int num_threads;
	unsigned int num_idle;
	size_t limit_bytes;
	unsigned int limit_threads;
};

extern struct readers readers;

/* What follows is called with the lock held. */

/* reader_entries.c */
void reader_set_default_limit(void); /* if none is set */
struct reader_entry *reader_find(const struct mrmr_reader *reader,
				 uint32_t index);
void reader_link(struct reader_entry *entry);
void reader_use(struct reader_entry *entry); /* it is the last used now */

/*
 * A buffer for an entry, of what others have to give up if there is no room.
 * What is forgotten stays as an entry without bytes until the catalogue's thread
 * frees it. NULL with ENOMEM.
 */
uint8_t *reader_make_room(size_t len);
void reader_forget_bytes(struct reader_entry *entry);

/*
 * Memory that was malloced a moment ago is to be of large pages, where it spans
 * any: giving a buffer of 8 MiB its pages of 4 KiB takes a tenth of the time that
 * computing its bytes takes. Without the lock, too.
 */
void reader_use_large_pages(void *buf, size_t len);

/* The entry is gone, with its job: by the catalogue's thread. Nobody computes
   or reads it. */
void reader_drop(struct reader_entry *entry);

/* reader_threads.c */
void reader_enqueue(struct reader_entry *entry);
void reader_unqueue(struct reader_entry *entry);
void reader_wake_threads(void);

/*
 * Compute an entry that nobody has begun: into entry->direct, if somebody has put
 * his buffer there, and then it is only kept if others want it. The lock is given
 * away meanwhile.
 */
void reader_run(struct reader_entry *entry);

#endif
