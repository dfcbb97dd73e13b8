/*
 * MRMR: scrubbing: reading (see scrub_private.h).
 *
 * One thread a member: a drive is read by one, in the order in which stripes
 * come, which is that of the files as they were protected; and drives are read at
 * the same time. It compares what it reads chunk by chunk, while it is in a near
 * cache, so nothing is handed over, and the memory is a chunk for each member.
 *
 * The catalogue's thread says where files are, a little ahead, and threads open
 * them under these names (mrmr_live_expect). What is not there, or not right, is
 * given back to it, to be looked for in all places before it counts as suspect.
 * Small files are many: they go from thread to thread by the dozen.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/digest.h>
#include <mrmr/fault.h>
#include <mrmr/fault_bytes.h>
#include <mrmr/file.h>

#include "scrub_private.h"

/* A multiple of a pre-image's piece, as that is looked for in each. */
#define CHUNK_BYTES ((size_t)1024 * 1024)

/* Blocks that wait, for each member; parity blocks among them are open. */
#define AHEAD_MAX 256

/* Handed over at once, at most. */
#define TOGETHER 32

struct reader {
	struct scrub_readers *all;
	pthread_t thread;
	bool is_started;
	pthread_cond_t work;
	struct scrub_block *first;
	struct scrub_block **end;
	size_t num; /* waiting, and those that are read */

	/* The catalogue thread's: to be handed over. */
	struct scrub_block *gathered;
	struct scrub_block **gathered_end;
	size_t num_gathered;

	/* the thread's own */
	uint8_t *chunk;
	struct mrmr_checksum *checksum;
	struct mrmr_digest *digest;
};

struct scrub_readers {
	bool deep;
	bool is_ending;
	size_t num;
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct scrub_block *read;   /* to be freed by the catalogue's thread */
	size_t num_open;            /* blocks that were not read yet */
	struct scrub_block *missed; /* the catalogue thread's */
	uint64_t bytes;
	struct reader *readers;
};

/* --- blocks -------------------------------------------------------------------- */

struct scrub_block *scrub_block_new(struct scrub_stripe *stripe, size_t member)
{
	struct scrub_block *block = calloc(1, sizeof(*block));

	if (block != NULL) {
		block->stripe = stripe;
		block->member = member;
		block->fd = -1;
	}
	return block;
}

void scrub_block_free(struct scrub_block *block)
{
	if (block->fd != -1) {
		close(block->fd);
	}
	talloc_free(block->live);
	free(block);
}

static void free_chain(struct scrub_block *block)
{
	while (block != NULL) {
		struct scrub_block *next = block->next;

		scrub_block_free(block);
		block = next;
	}
}

/* With the lock held, which is given away meanwhile. For the catalogue's
   thread. */
static void free_read(struct scrub_readers *all)
{
	struct scrub_block *block = all->read;

	all->read = NULL;
	pthread_mutex_unlock(&all->lock);
	while (block != NULL) {
		struct scrub_block *next = block->next;

		if (block->is_missed) {
			block->next = all->missed;
			all->missed = block;
		} else {
			scrub_block_free(block);
		}
		block = next;
	}
	pthread_mutex_lock(&all->lock);
}

/* --- reading ------------------------------------------------------------------ */

/* The drive is to be asked, and not the memory. */
static void forget_cached(const struct scrub_block *block)
{
	int fd = block->live != NULL ? mrmr_live_expected_fd(block->live)
				     : block->fd;

	if (fd != -1) {
		posix_fadvise(fd, (off_t)block->offset, block->len_bytes,
			      POSIX_FADV_DONTNEED);
	}
}

static bool is_right(struct reader *reader, const struct scrub_block *block)
{
	bool deep = reader->all->deep;
	uint8_t sha256[MRMR_SHA256_LEN];
	uint32_t at = 0;

	if (deep) {
		forget_cached(block);
		mrmr_digest_start(reader->digest);
	} else {
		mrmr_checksum_start(reader->checksum);
	}
	while (at < block->len_bytes) {
		size_t len = block->len_bytes - at < CHUNK_BYTES
				     ? block->len_bytes - at
				     : CHUNK_BYTES;
		int ret = mrmr_fault("scrub-read") != 0 ? -1
			  : block->live != NULL
				  ? mrmr_live_read(block->live, reader->chunk,
						   len, block->offset + at)
				  : mrmr_read_fully(block->fd, reader->chunk,
						    len, block->offset + at);

		if (ret == -1) {
			return false;
		}
		mrmr_fault_flip("scrub-bytes", reader->chunk, len);
		if (deep) {
			mrmr_digest_add(reader->digest, reader->chunk, len);
		} else {
			mrmr_checksum_add(reader->checksum, reader->chunk, len);
		}
		at += (uint32_t)len;
	}
	if (!deep) {
		return mrmr_checksum_end(reader->checksum) == block->checksum;
	}
	mrmr_digest_end(reader->digest, sha256);
	return memcmp(sha256, block->sha256, sizeof(sha256)) == 0;
}

static void read_one(struct reader *reader, struct scrub_block *block)
{
	bool right = is_right(reader, block);

	if (block->is_expected) {
		mrmr_live_let_go(block->live);
	}
	block->is_missed = !right && block->is_expected;
	if (!right && !block->is_expected) {
		block->is_wrong = true;
	}
}

/* All that was handed over, one after another. *last is its end. */
static void read_chain(struct reader *reader, struct scrub_block *first,
		       struct scrub_block **last, size_t *num, uint64_t *bytes)
{
	struct scrub_block *block = NULL;

	for (block = first; block != NULL; block = block->next) {
		read_one(reader, block);
		*last = block;
		(*num)++;
		*bytes += block->is_missed ? 0 : block->len_bytes;
	}
}

/* With the lock. */
static void give_back(struct scrub_readers *all, struct scrub_block *first,
		      struct scrub_block *last)
{
	struct scrub_block *block = NULL;

	for (block = first; block != NULL; block = block->next) {
		if (block->is_wrong) {
			block->stripe->is_suspect = true;
		}
	}
	last->next = all->read;
	all->read = first;
}

static void *read_blocks(void *private_data)
{
	struct reader *reader = private_data;
	struct scrub_readers *all = reader->all;

	pthread_mutex_lock(&all->lock);
	while (true) {
		struct scrub_block *first = reader->first;
		struct scrub_block *last = NULL;
		uint64_t bytes = 0;
		size_t num = 0;

		if (first == NULL && all->is_ending) {
			break;
		}
		if (first == NULL) {
			pthread_cond_wait(&reader->work, &all->lock);
			continue;
		}
		reader->first = NULL;
		reader->end = &reader->first;
		pthread_mutex_unlock(&all->lock);
		read_chain(reader, first, &last, &num, &bytes);
		pthread_mutex_lock(&all->lock);
		give_back(all, first, last);
		all->bytes += bytes;
		reader->num -= num;
		all->num_open -= num;
		pthread_cond_signal(&all->done);
	}
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

/* --- threads ---------------------------------------------------------------------- */

static int end_readers(struct scrub_readers *all)
{
	size_t i;

	pthread_mutex_lock(&all->lock);
	all->is_ending = true;
	for (i = 0; i < all->num; i++) {
		pthread_cond_signal(&all->readers[i].work);
	}
	pthread_mutex_unlock(&all->lock);
	for (i = 0; i < all->num; i++) {
		struct reader *reader = &all->readers[i];

		if (reader->is_started) {
			pthread_join(reader->thread, NULL);
		}
		free(reader->chunk);
		mrmr_checksum_free(reader->checksum);
		mrmr_digest_free(reader->digest);
		pthread_cond_destroy(&reader->work);
	}
	pthread_mutex_lock(&all->lock);
	free_read(all);
	pthread_mutex_unlock(&all->lock);
	free_chain(all->missed);
	for (i = 0; i < all->num; i++) {
		free_chain(all->readers[i].gathered);
	}
	pthread_mutex_destroy(&all->lock);
	pthread_cond_destroy(&all->done);
	return 0;
}

/* Signals are for the thread that expects them. */
static int start(struct reader *reader)
{
	sigset_t every;
	sigset_t before;
	int ret;

	reader->chunk = aligned_alloc(4096, CHUNK_BYTES);
	reader->checksum = mrmr_checksum_new();
	reader->digest = mrmr_digest_new();
	if (reader->chunk == NULL) {
		errno = ENOMEM;
		return -1;
	}
	sigfillset(&every);
	pthread_sigmask(SIG_BLOCK, &every, &before);
	ret = pthread_create(&reader->thread, NULL, read_blocks, reader);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	reader->is_started = ret == 0;
	errno = ret;
	return ret == 0 ? 0 : -1;
}

struct scrub_readers *scrub_readers_new(void *mem_ctx, size_t num_members,
					bool deep)
{
	struct scrub_readers *all = talloc_zero(mem_ctx, struct scrub_readers);
	size_t i;

	if (all == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	all->readers = talloc_zero_array(all, struct reader, num_members);
	if (all->readers == NULL) {
		talloc_free(all);
		errno = ENOMEM;
		return NULL;
	}
	all->deep = deep;
	all->num = num_members;
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->done, NULL);
	for (i = 0; i < num_members; i++) {
		all->readers[i].all = all;
		all->readers[i].end = &all->readers[i].first;
		all->readers[i].gathered_end = &all->readers[i].gathered;
		pthread_cond_init(&all->readers[i].work, NULL);
	}
	talloc_set_destructor(all, end_readers);
	for (i = 0; i < num_members; i++) {
		if (start(&all->readers[i]) == -1) {
			int saved_errno = errno;

			talloc_free(all);
			errno = saved_errno;
			return NULL;
		}
	}
	return all;
}

static void hand_over(struct scrub_readers *all, struct reader *reader)
{
	if (reader->num_gathered == 0) {
		return;
	}
	pthread_mutex_lock(&all->lock);
	while (reader->num >= AHEAD_MAX) {
		pthread_cond_wait(&all->done, &all->lock);
	}
	*reader->end = reader->gathered;
	reader->end = reader->gathered_end;
	reader->num += reader->num_gathered;
	all->num_open += reader->num_gathered;
	pthread_cond_signal(&reader->work);
	free_read(all);
	pthread_mutex_unlock(&all->lock);
	reader->gathered = NULL;
	reader->gathered_end = &reader->gathered;
	reader->num_gathered = 0;
}

void scrub_readers_add(struct scrub_readers *all, struct scrub_block *block)
{
	struct reader *reader = &all->readers[block->member];

	block->next = NULL;
	*reader->gathered_end = block;
	reader->gathered_end = &block->next;
	reader->num_gathered++;
	if (reader->num_gathered >= TOGETHER ||
	    block->len_bytes >= CHUNK_BYTES) {
		hand_over(all, reader);
	}
}

void scrub_readers_flush(struct scrub_readers *all)
{
	size_t i;

	for (i = 0; i < all->num; i++) {
		hand_over(all, &all->readers[i]);
	}
}

struct scrub_block *scrub_readers_missed(struct scrub_readers *all, bool wait)
{
	struct scrub_block *block = NULL;

	if (wait) {
		scrub_readers_flush(all);
		pthread_mutex_lock(&all->lock);
		while (all->num_open > 0) {
			pthread_cond_wait(&all->done, &all->lock);
		}
		free_read(all);
		pthread_mutex_unlock(&all->lock);
	}
	block = all->missed;
	if (block != NULL) {
		all->missed = block->next;
	}
	return block;
}

uint64_t scrub_readers_bytes(struct scrub_readers *all)
{
	uint64_t bytes;

	pthread_mutex_lock(&all->lock);
	bytes = all->bytes;
	pthread_mutex_unlock(&all->lock);
	return bytes;
}
