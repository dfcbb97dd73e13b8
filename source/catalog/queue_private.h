/*
 * MRMR: the queue's files, for its own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_QUEUE_PRIVATE_H
#define MRMR_QUEUE_PRIVATE_H

#include <stdatomic.h>
#include <stdint.h>

#include <mrmr/queue.h>

#define QUEUE_LOG "log"
#define QUEUE_TAKEN "taken." /* and a number */
#define QUEUE_PAGE "page"

/* Shared by all that have the queue open. What it says is of one boot. */
struct queue_page {
	uint64_t magic;
	uint64_t boot;
	_Atomic uint32_t rotation; /* see queue.c */
	_Atomic uint32_t changes;  /* what was in the files before is gone */
	_Atomic uint32_t scan;     /* an event could not be written */
	_Atomic uint32_t has_taken;
	_Atomic uint64_t log_bytes; /* about */
};

/* What was written last, so as not to repeat it. */
struct queue_last {
	enum mrmr_event_kind kind;
	struct mrmr_uuid member;
	uint64_t inode;
	char path[4096];
	int64_t time_ns;
	uint64_t mark;
};

struct queue_names; /* queue_resolve.c */

struct mrmr_queue {
	int dir_fd;
	struct queue_page *page;
	int log_fd; /* for appending, -1: to be opened */
	bool is_verified;
	uint32_t rotation; /* even, if it is verified */
	struct queue_last last;
	/* what this process has taken */
	bool has_listed;
	uint64_t next_number;
	uint64_t *taken;
	size_t num_taken;
	struct queue_names *names;
	mrmr_queue_applied_fn applied; /* NULL: nobody knows */
	void *applied_data;
};

/* Numbers of the files taken.N, ascending; a talloc child of mem_ctx. */
int queue_list_taken(struct mrmr_queue *queue, void *mem_ctx,
		     uint64_t **numbers, size_t *num);

int queue_add_number(void *mem_ctx, uint64_t **numbers, size_t *num,
		     uint64_t number);

void queue_taken_name(uint64_t number, char name[32]);

/*
 * The bytes of one of the files from an offset on, a talloc child of mem_ctx.
 * NULL with errno.
 */
char *queue_read_file(struct mrmr_queue *queue, void *mem_ctx, const char *name,
		      uint64_t offset, size_t *len);

/* An event as a record, into buffer; its length, 0 if the names are too long. */
#define QUEUE_STRING_MAX 8192
#define QUEUE_RECORD_MAX (48 + 2 * (QUEUE_STRING_MAX + 1) + 8)
uint32_t queue_format(const struct mrmr_event *event, int64_t time_ns,
		      char *buffer);

/*
 * The event at data + *offset, which is moved past it; its strings lie in data.
 * 1; 0 at the end; -1 if what is there is none (*offset stays).
 */
int queue_parse(const char *data, size_t len, size_t *offset,
		struct mrmr_event *event);

int queue_lock(int fd, int how);
void queue_close(int fd); /* keeps errno */

/* As root. The log, open and locked: LOCK_SH or LOCK_EX. */
int queue_open_locked(struct mrmr_queue *queue, int how);

/* Ask for a scan, with the log locked. */
int queue_write_scan(struct mrmr_queue *queue);

/* --- names (queue_resolve.c) -------------------------------------------------------- */

struct name_event {
	enum mrmr_event_kind kind;
	struct mrmr_uuid member;
	uint64_t inode;
	uint64_t fingerprint;
	const char *path;
	const char *to;
};

/* Any event, of names or not. */
struct seen_event {
	uint64_t fingerprint;
	size_t num_names; /* how many events of names there are up to it */
};

struct queue_names {
	uint64_t mark;   /* of the queue, when they were read */
	uint64_t offset; /* in the log */
	struct name_event *events;
	size_t num;
	size_t first; /* that the catalogue does not have */
	struct seen_event *seen;
	size_t num_seen;
	uint64_t applied;    /* the fingerprint that was looked for, */
	size_t num_searched; /* among so many of those seen */
};

/* Bring queue->names up to date. As anybody. */
int queue_look(struct mrmr_queue *queue);

/* After it, a file has the names that it had. */
bool queue_leaves_names(const struct name_event *event);

/* What of path is left after a directory's, with its slash; "" if it is that
   very path; NULL if it is elsewhere. */
const char *queue_below(const char *path, const char *dir);

/* As a child of mem_ctx, in place of *path, which goes. False: no memory. */
bool queue_replace(void *mem_ctx, char **path, const char *dir,
		   const char *rest);

#endif
