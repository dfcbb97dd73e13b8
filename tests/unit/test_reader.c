/*
 * Unit tests: a file read as if it were there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/decode.h>

#include "protected.h"

#define GRID 65536
#define NUM_EXTENTS 24
#define LEN ((size_t)GRID * (NUM_EXTENTS - 1) + 777)

/* A file on member 0, each extent in a stripe with one of member 1, rows on 2
   and 3; then member 0 is away. One extent is all zero. */
struct lost {
	struct protected *p;
	struct pfile *file;
	struct pfile *other;
	uint64_t stripes[NUM_EXTENTS];
	struct mrmr_reader *reader;
};

static void make_lost(struct lost *k, size_t cache_bytes)
{
	static const struct world_shape shape = {.num_members = 4};
	static const struct prow rows[] = {{0, 2}, {1, 3}};
	struct mrmr_node *node = NULL;
	struct mrmr_error err = {0};
	uint32_t i;

	memset(k, 0, sizeof(*k));
	k->p = protected_new(&shape);
	k->file = protected_file(k->p, 0, "lost", 1, LEN, GRID);
	k->other = protected_file(k->p, 1, "other", 2, LEN, GRID);
	for (i = 0; i < NUM_EXTENTS; i++) {
		k->stripes[i] =
			protected_stripe(k->p,
					 (struct pslot[]){{0,
							   {{k->file, i, 0}}},
							  {1,
							   {{k->other, i, 0}}},
							  {0}},
					 rows, 2);
	}
	protected_unplug(k->p, 1);
	mrmr_reader_limits(cache_bytes, 2);
	node = protected_node(k->p, k->file);
	k->reader = mrmr_reader_open(k->p->engine, k->p->engine, node, &err);
	assert_non_null(k->reader);
	talloc_free(node);
}

static void free_lost(struct lost *k)
{
	TALLOC_FREE(k->reader);
	mrmr_reader_limits(0, 0);
	protected_unplug(k->p, 0);
	protected_free(k->p);
}

static int read_at(struct lost *k, uint64_t offset, size_t len, uint8_t *buf,
		   ssize_t *got)
{
	struct mrmr_error err = {0};

	if (mrmr_reader_prepare(k->reader, offset, len, &err) == -1) {
		return errno;
	}
	*got = mrmr_reader_read(k->reader, buf, len, offset);
	return *got == -1 ? errno : 0;
}

static void check_read(struct lost *k, uint64_t offset, size_t len)
{
	uint8_t *buf = malloc(len);
	size_t done = 0;

	while (done < len && offset + done < LEN) {
		ssize_t got = 0;

		assert_int_equal(read_at(k, offset + done, len - done,
					 buf + done, &got),
				 0);
		assert_true(got > 0);
		done += (size_t)got;
	}
	assert_true(done == len || offset + done == LEN);
	assert_memory_equal(buf, k->file->bytes + offset, done);
	free(buf);
}

static void test_sequential(void **state)
{
	struct lost k;
	uint64_t at;

	make_lost(&k, 0);
	for (at = 0; at < LEN; at += 10000) {
		check_read(&k, at, 10000);
	}
	for (at = 0; at < LEN; at += 3 * GRID) {
		check_read(&k, at, 3 * GRID);
	}
	free_lost(&k);
}

static void test_edges(void **state)
{
	struct lost k;
	uint8_t buf[16];
	ssize_t got = -1;

	make_lost(&k, 0);
	check_read(&k, LEN - 1, 100);
	check_read(&k, GRID - 1, 2);
	check_read(&k, 0, LEN + 1000);
	assert_int_equal(read_at(&k, LEN, 16, buf, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(read_at(&k, LEN + 5 * GRID, 16, buf, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(read_at(&k, 7, 0, buf, &got), 0);
	assert_int_equal(got, 0);
	/* what is kept need not be prepared again */
	check_read(&k, 5 * GRID, 16);
	assert_int_equal(mrmr_reader_read(k.reader, buf, 16, 5 * GRID + 99),
			 16);
	assert_memory_equal(buf, k.file->bytes + 5 * GRID + 99, 16);
	TALLOC_FREE(k.reader);
	free_lost(&k);
}

/* What is wanted whole is computed into the buffer of whoever wants it. */
static void test_whole(void **state)
{
	struct lost k;
	uint8_t buf[16];

	make_lost(&k, 0);
	check_read(&k, 9 * GRID, GRID);
	assert_int_equal(mrmr_reader_read(k.reader, buf, 16, 9 * GRID), -1);
	assert_int_equal(errno, EAGAIN);
	check_read(&k, 9 * GRID, GRID - 1);
	assert_int_equal(mrmr_reader_read(k.reader, buf, 16, 9 * GRID), 16);
	assert_memory_equal(buf, k.file->bytes + 9 * GRID, 16);
	check_read(&k, 12 * GRID, 2 * GRID);
	free_lost(&k);
}

/* Several that are wanted whole are computed by several threads into the buffer,
   which is nobody's any more when the read has returned. */
static void test_several_whole(void **state)
{
	struct lost k;
	struct mrmr_stripe *stripe = NULL;
	uint8_t *buf = malloc(6 * GRID);
	uint64_t at;
	ssize_t got = 0;
	int i;

	make_lost(&k, 0);
	for (at = 0; at < LEN; at += 5 * GRID + 100) {
		check_read(&k, at, 6 * GRID);
	}
	free_lost(&k);
	make_lost(&k, 0);
	/* the second one cannot be had, those behind it are under way */
	stripe = protected_get_stripe(k.p, k.stripes[8]);
	assert_return_code(unlink(protected_blob(k.p, stripe, 0)), errno);
	assert_return_code(unlink(protected_blob(k.p, stripe, 1)), errno);
	for (i = 0; i < 20; i++) {
		assert_int_equal(read_at(&k, 7 * GRID, 6 * GRID, buf, &got), 0);
		assert_int_equal(got, GRID);
		assert_memory_equal(buf, k.file->bytes + 7 * GRID, GRID);
		memset(buf, 0xee, 6 * GRID);
		check_read(&k, 9 * GRID, 4 * GRID);
		for (at = 0; at < 6 * GRID; at++) {
			assert_int_equal(buf[at], 0xee);
		}
	}
	free(buf);
	free_lost(&k);
}

/* Room for three extents: all are computed again and again. */
static void test_small_cache(void **state)
{
	struct lost k;
	unsigned int seed = 1;
	int i;

	make_lost(&k, 3 * GRID);
	for (i = 0; i < 300; i++) {
		uint64_t at = (uint64_t)rand_r(&seed) % LEN;

		check_read(&k, at, (size_t)rand_r(&seed) % 100000 + 1);
	}
	check_read(&k, 0, LEN);
	free_lost(&k);
}

static void test_not_prepared(void **state)
{
	struct lost k;
	uint8_t buf[16];

	make_lost(&k, 0);
	assert_int_equal(mrmr_reader_read(k.reader, buf, 16, 5 * GRID), -1);
	assert_int_equal(errno, EAGAIN);
	free_lost(&k);
}

struct threads {
	struct lost *k;
	pthread_mutex_t catalog; /* its thread */
	unsigned int failures;
};

static void *read_in_thread(void *private_data)
{
	struct threads *t = private_data;
	uint8_t *buf = malloc(100000);
	unsigned int seed = (unsigned int)(uintptr_t)pthread_self();
	uint64_t at = 0;
	int i;

	for (i = 0; i < 400; i++) {
		size_t len = (size_t)rand_r(&seed) % 99999 + 1;
		ssize_t got;

		if (i % 20 == 0) {
			at = (uint64_t)rand_r(&seed) % LEN;
		}
		do {
			struct mrmr_error err = {0};

			pthread_mutex_lock(&t->catalog);
			got = mrmr_reader_prepare(t->k->reader, at, len, &err);
			pthread_mutex_unlock(&t->catalog);
			if (got == 0) {
				got = mrmr_reader_read(t->k->reader, buf, len,
						       at);
			}
		} while (got == -1 && errno == EAGAIN);
		if (got < 0 || (got == 0 && at < LEN) ||
		    memcmp(buf, t->k->file->bytes + at, (size_t)got) != 0) {
			__atomic_add_fetch(&t->failures, 1, __ATOMIC_SEQ_CST);
			break;
		}
		at = at + (size_t)got < LEN ? at + (size_t)got : 0;
	}
	free(buf);
	return NULL;
}

static bool read_all(struct threads *t, uint8_t *buf, size_t len, uint64_t at)
{
	unsigned int tries = 0;
	size_t done = 0;

	while (done < len && tries < 100) {
		struct mrmr_error err = {0};
		ssize_t got;

		pthread_mutex_lock(&t->catalog);
		got = mrmr_reader_prepare(t->k->reader, at + done, len - done,
					  &err);
		pthread_mutex_unlock(&t->catalog);
		if (got == 0) {
			got = mrmr_reader_read(t->k->reader, buf + done,
					       len - done, at + done);
		}
		if (got > 0) {
			done += (size_t)got;
		} else if (got == 0 || errno != EAGAIN) {
			return false;
		} else {
			tries++;
		}
	}
	return done == len && memcmp(buf, t->k->file->bytes + at, len) == 0;
}

/*
 * All want the same extents whole: one computes into its own buffer, and the
 * others, who wait for it, get it all the same, without being sent away again and
 * again.
 */
static void *read_whole_in_thread(void *private_data)
{
	struct threads *t = private_data;
	uint8_t *buf = malloc(GRID);
	unsigned int round;

	for (round = 0; round < 20 * (NUM_EXTENTS - 1); round++) {
		uint64_t at = (uint64_t)(round % (NUM_EXTENTS - 1)) * GRID;

		if (!read_all(t, buf, GRID, at)) {
			__atomic_add_fetch(&t->failures, 1, __ATOMIC_SEQ_CST);
			break;
		}
	}
	free(buf);
	return NULL;
}

/* Several at a time, with some of them wanted by others, too; so often that a wait
   for what nobody tells of shows. */
static void *read_several_in_thread(void *private_data)
{
	struct threads *t = private_data;
	uint8_t *buf = malloc(8 * GRID);
	unsigned int seed = (unsigned int)(uintptr_t)pthread_self();
	unsigned int round;

	for (round = 0; round < 1500; round++) {
		uint64_t first = (uint64_t)rand_r(&seed) % (NUM_EXTENTS - 9);
		size_t num = (size_t)rand_r(&seed) % 8 + 1;
		size_t less = round % 4 == 0 ? 100 : 0;

		if (!read_all(t, buf, num * GRID - less, first * GRID + less)) {
			__atomic_add_fetch(&t->failures, 1, __ATOMIC_SEQ_CST);
			break;
		}
	}
	free(buf);
	return NULL;
}

static void run_threads(size_t cache_bytes, void *(*one)(void *))
{
	struct lost k;
	struct threads t = {.k = &k, .catalog = PTHREAD_MUTEX_INITIALIZER};
	pthread_t threads[4];
	size_t i;

	make_lost(&k, cache_bytes);
	for (i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, one, &t), 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
	}
	assert_int_equal(t.failures, 0);
	free_lost(&k);
}

static void test_threads(void **state)
{
	run_threads(0, read_in_thread);
}

static void test_threads_small_cache(void **state)
{
	run_threads(5 * GRID, read_in_thread);
}

static void test_threads_whole(void **state)
{
	run_threads(0, read_whole_in_thread);
}

static void test_threads_several(void **state)
{
	run_threads(0, read_several_in_thread);
	run_threads(5 * GRID, read_several_in_thread);
}

/* More is lost than can be computed: an error, and the rest is read. */
static void test_too_much_lost(void **state)
{
	struct lost k;
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_error err = {0};
	uint8_t buf[100];
	ssize_t got = 0;

	make_lost(&k, 0);
	stripe = protected_get_stripe(k.p, k.stripes[7]);
	assert_return_code(unlink(protected_blob(k.p, stripe, 0)), errno);
	assert_return_code(unlink(protected_blob(k.p, stripe, 1)), errno);
	check_read(&k, 0, 7 * GRID);
	assert_int_equal(mrmr_reader_prepare(k.reader, 7 * GRID, 10, &err), -1);
	assert_int_equal(err.code, EIO);
	check_read(&k, 8 * GRID, 5 * GRID);
	assert_int_equal(read_at(&k, 6 * GRID + GRID - 10, 100, buf, &got), 0);
	assert_int_equal(got, 10);

	/* what shows only when it is read */
	stripe = protected_get_stripe(k.p, k.stripes[20]);
	assert_return_code(unlink(protected_blob(k.p, stripe, 0)), errno);
	protected_flip(protected_blob(k.p, stripe, 1), 17, 2);
	assert_int_equal(read_at(&k, 20 * GRID, 10, buf, &got), EIO);
	protected_flip(protected_blob(k.p, stripe, 1), 17, 2);
	check_read(&k, 20 * GRID, 10);
	free_lost(&k);
}

/* Two readers, one is closed while the other's are computed ahead. */
static void test_two_readers(void **state)
{
	struct lost k;
	struct mrmr_node *node = NULL;
	struct mrmr_reader *second = NULL;
	struct mrmr_error err = {0};
	uint8_t buf[100];
	int i;

	make_lost(&k, 0);
	node = protected_node(k.p, k.file);
	for (i = 0; i < 20; i++) {
		uint64_t at;

		second = mrmr_reader_open(k.p->engine, k.p->engine, node, &err);
		assert_non_null(second);
		for (at = 0; at < 5 * GRID; at += GRID) {
			assert_int_equal(mrmr_reader_prepare(second, at, 100,
							     &err),
					 0);
			assert_int_equal(mrmr_reader_read(second, buf, 100, at),
					 100);
			assert_memory_equal(buf, k.file->bytes + at, 100);
			check_read(&k, at, 100);
		}
		talloc_free(second);
	}
	talloc_free(node);
	free_lost(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequential),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_several_whole),
		cmocka_unit_test(test_small_cache),
		cmocka_unit_test(test_not_prepared),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_threads_small_cache),
		cmocka_unit_test(test_threads_whole),
		cmocka_unit_test(test_threads_several),
		cmocka_unit_test(test_too_much_lost),
		cmocka_unit_test(test_two_readers),
	};

	return WORLD_MAIN("reader", tests);
}
