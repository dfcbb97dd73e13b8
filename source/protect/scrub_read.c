/*
 * MRMR: scrubbing: reading (see scrub_private.h).
 *
 * One thread a member: a drive is read by one, in the order in which stripes
 * come, which is that of the files as they were protected; and drives are read at
 * the same time. It compares what it reads chunk by chunk, while it is in a near
 * cache, so nothing is handed over, and the memory is a chunk for each member.
 *
 * Files are found and opened by the catalogue's thread, a little ahead, and closed
 * by it when they were read.
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
#include <mrmr/file.h>

#include "scrub_private.h"

/* A multiple of a pre-image's piece, as that is looked for in each. */
#define CHUNK_BYTES ((size_t)1024 * 1024)

/* Open files, over all members. */
#define AHEAD_ALL 512
#define AHEAD_MAX 128
#define AHEAD_MIN 8

struct reader {
	struct scrub_readers *all;
	pthread_t thread;
	bool is_started;
	pthread_cond_t work;
	struct scrub_block *first;
	struct scrub_block **end;
	size_t num; /* waiting, and the one that is read */

	/* the thread's own */
	uint8_t *chunk;
	struct mrmr_checksum *checksum;
	struct mrmr_digest *digest;
};

struct scrub_readers {
	bool deep;
	bool is_ending;
	size_t num;
	size_t ahead; /* of each */
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct scrub_block *read; /* to be freed by the catalogue's thread */
	size_t num_open;          /* blocks that were not read yet */
	uint64_t bytes;
	struct reader *readers;
};

/* --- blocks -------------------------------------------------------------------- */

struct scrub_block *scrub_block_new(struct scrub_stripe *stripe)
{
	struct scrub_block *block = calloc(1, sizeof(*block));

	if (block != NULL) {
		block->stripe = stripe;
		block->fd = -1;
	}
	return block;
}

static void free_block(struct scrub_block *block)
{
	if (block->fd != -1) {
		close(block->fd);
	}
	talloc_free(block->live);
	free(block);
}

/* With the lock held, which is given away meanwhile. */
static void free_read(struct scrub_readers *all)
{
	struct scrub_block *block = all->read;

	all->read = NULL;
	pthread_mutex_unlock(&all->lock);
	while (block != NULL) {
		struct scrub_block *next = block->next;

		free_block(block);
		block = next;
	}
	pthread_mutex_lock(&all->lock);
}

/* --- reading ------------------------------------------------------------------ */

/* The drive is to be asked, and not the memory. */
static void forget_cached(const struct scrub_block *block)
{
	int fd = block->live != NULL ? mrmr_live_fd(block->live) : block->fd;

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

static void *read_blocks(void *private_data)
{
	struct reader *reader = private_data;
	struct scrub_readers *all = reader->all;

	pthread_mutex_lock(&all->lock);
	while (true) {
		struct scrub_block *block = reader->first;
		bool right;

		if (block == NULL && all->is_ending) {
			break;
		}
		if (block == NULL) {
			pthread_cond_wait(&reader->work, &all->lock);
			continue;
		}
		reader->first = block->next;
		if (reader->first == NULL) {
			reader->end = &reader->first;
		}
		pthread_mutex_unlock(&all->lock);
		right = is_right(reader, block);
		pthread_mutex_lock(&all->lock);
		all->bytes += block->len_bytes;
		if (!right) {
			block->stripe->is_suspect = true;
		}
		block->next = all->read;
		all->read = block;
		reader->num--;
		all->num_open--;
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
	all->ahead = AHEAD_ALL / num_members;
	all->ahead = all->ahead > AHEAD_MAX   ? AHEAD_MAX
		     : all->ahead < AHEAD_MIN ? AHEAD_MIN
					      : all->ahead;
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->done, NULL);
	for (i = 0; i < num_members; i++) {
		all->readers[i].all = all;
		all->readers[i].end = &all->readers[i].first;
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

void scrub_readers_add(struct scrub_readers *all, size_t member,
		       struct scrub_block *block)
{
	struct reader *reader = &all->readers[member];

	pthread_mutex_lock(&all->lock);
	while (reader->num >= all->ahead) {
		pthread_cond_wait(&all->done, &all->lock);
	}
	block->next = NULL;
	*reader->end = block;
	reader->end = &block->next;
	reader->num++;
	all->num_open++;
	pthread_cond_signal(&reader->work);
	free_read(all);
	pthread_mutex_unlock(&all->lock);
}

void scrub_readers_drain(struct scrub_readers *all)
{
	pthread_mutex_lock(&all->lock);
	while (all->num_open > 0) {
		pthread_cond_wait(&all->done, &all->lock);
	}
	free_read(all);
	pthread_mutex_unlock(&all->lock);
}

uint64_t scrub_readers_bytes(struct scrub_readers *all)
{
	uint64_t bytes;

	pthread_mutex_lock(&all->lock);
	bytes = all->bytes;
	pthread_mutex_unlock(&all->lock);
	return bytes;
}
