/*
 * Unit tests: bringing files into stripes and out of them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "striped.h"

#define K ((size_t)1024)
#define M ((size_t)1 << 20)

static void protect(struct striped *s)
{
	assert_return_code(striped_protect(s, NULL, 0), errno);
}

static void check(struct striped *s, unsigned int rows)
{
	striped_check(s, true);
	striped_check_losses(s, rows);
}

/* From two units to eight, one row to three: all is protected, and stripes are
   as wide as can be. */
static void test_every_shape(void **state)
{
	size_t units;
	unsigned int rows;

	for (units = 2; units <= 8; units++) {
		for (rows = 1; rows <= 3 && rows < units; rows++) {
			char parity[8];
			struct world_shape shape = {.num_members = units,
						    .parity = parity};
			struct striped *s = NULL;
			size_t i;

			snprintf(parity, sizeof(parity), "%u", rows);
			s = striped_new(&shape);
			for (i = 0; i < units; i++) {
				striped_file(s, i, (unsigned int)i + 1,
					     2 * M + 1000 * i + 1);
			}
			protect(s);
			assert_int_equal(s->num_errors, 0);
			for (i = 0; i < s->num; i++) {
				assert_int_equal(striped_count(s, s->files[i]),
						 3);
			}
			assert_int_equal(striped_sums(s).widest, units - rows);
			assert_int_equal(striped_sums(s).num_rows,
					 striped_sums(s).num_stripes * rows);
			check(s, rows);
			striped_free(s);
		}
	}
}

/* A unit of two members has one block in a stripe, and can be lost as one. */
static void test_stacks(void **state)
{
	static const struct world_shape shape = {
		.num_members = 6,
		.parity = "1",
		.members = {", \"stack\": \"x\"", ", \"stack\": \"x\"", NULL,
			    ", \"stack\": \"y\"", ", \"stack\": \"y\"", NULL},
	};
	struct striped *s = striped_new(&shape);
	size_t i;

	for (i = 0; i < 6; i++) {
		striped_file(s, i, (unsigned int)i + 1, 3 * M);
	}
	protect(s);
	assert_int_equal(striped_sums(s).widest, 3);
	check(s, 1);
	striped_free(s);
}

/* Full stripes: the parity of equal files is rows/slots. */
static void test_full_stripes(void **state)
{
	static const struct world_shape shape = {.num_members = 6,
						 .parity = "2"};
	struct striped *s = striped_new(&shape);
	size_t i;

	for (i = 0; i < 6; i++) {
		striped_file(s, i, (unsigned int)i + 1, 4 * M);
	}
	protect(s);
	assert_int_equal(striped_sums(s).num_stripes, 6);
	assert_int_equal(striped_sums(s).parity_bytes, 12 * M);
	check(s, 2);
	striped_free(s);
}

/* Roles: never on "data", on "parity" if that can be. */
static void test_roles(void **state)
{
	static const struct world_shape shape = {
		.num_members = 4,
		.parity = "1",
		.members = {", \"role\": \"data\"", NULL,
			    ", \"role\": \"parity\"", ", \"role\": \"data\""},
	};
	struct striped *s = striped_new(&shape);
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;
	size_t i;

	for (i = 0; i < 4; i++) {
		if (i != 2) {
			striped_file(s, i, (unsigned int)i + 1, 2 * M);
		}
	}
	protect(s);
	while (mrmr_catalog_next_stripe(s->p->engine->catalog, s->p->engine, id,
					&stripe) == 0) {
		id = stripe->id;
		assert_int_equal(stripe->num_slots, 3);
		assert_int_equal(mrmr_engine_member(s->p->engine,
						    stripe->rows[0].member),
				 2);
		talloc_free(stripe);
	}
	check(s, 1);
	striped_free(s);
}

/* --- small files ---------------------------------------------------------------- */

/* Parity of small files is that of large ones, within a tenth. */
static void test_packing(void **state)
{
	static const struct world_shape shape = {.num_members = 5,
						 .parity = "2"};
	struct striped *s = striped_new(&shape);
	struct striped_sums sums;
	size_t i;

	for (i = 0; i < 1500; i++) {
		striped_file(s, i % 5, (unsigned int)i + 1, 10 * K);
	}
	protect(s);
	sums = striped_sums(s);
	assert_int_equal(sums.data_bytes, 1500 * 10 * K);
	assert_true(sums.parity_bytes * 3 <= sums.data_bytes * 2 * 11 / 10);
	check(s, 2);
	striped_free(s);
}

/* The same when they come one by one. */
static void test_trickle(void **state)
{
	static const struct world_shape shape = {.num_members = 4,
						 .parity = "1"};
	struct striped *s = striped_new(&shape);
	struct striped_sums sums;
	size_t i;

	for (i = 0; i < 1200; i++) {
		struct sfile *file =
			striped_file(s, i % 4, (unsigned int)i + 1, 10 * K);

		assert_return_code(striped_protect(s, &file, 1), errno);
		assert_int_equal(striped_count(s, file), 1);
	}
	sums = striped_sums(s);
	assert_int_equal(sums.data_bytes, 1200 * 10 * K);
	/* 33 % would be ideal */
	assert_true(sums.parity_bytes <= sums.data_bytes * 40 / 100);
	check(s, 1);
	striped_free(s);
}

/* At most a thousand pieces in a slot. */
static void test_many_tiny(void **state)
{
	static const struct world_shape shape = {.num_members = 3,
						 .parity = "1"};
	struct striped *s = striped_new(&shape);
	size_t i;

	for (i = 0; i < 2500; i++) {
		striped_file(s, 0, (unsigned int)i + 1, 7 + i % 50);
	}
	protect(s);
	for (i = 0; i < 100; i++) {
		striped_file(s, 0, (unsigned int)i + 5000, 7 + i % 50);
	}
	protect(s);
	striped_check(s, true);
	assert_in_range(striped_sums(s).num_stripes, 3, 4);
	striped_check_losses(s, 1);
	striped_free(s);
}

/* Large blocks that come one by one join stripes until these are full. */
static void test_joins(void **state)
{
	static const struct world_shape shape = {.num_members = 5,
						 .parity = "1"};
	struct striped *s = striped_new(&shape);
	size_t i;

	for (i = 0; i < 15; i++) {
		struct sfile *file =
			striped_file(s, i % 5, (unsigned int)i + 1, 3 * M);

		assert_return_code(striped_protect(s, &file, 1), errno);
	}
	striped_check(s, true);
	/* 45 blocks, of which four make a full stripe */
	assert_in_range(striped_sums(s).num_stripes, 12, 15);
	striped_check_losses(s, 1);
	striped_free(s);
}

/* --- what changes ----------------------------------------------------------------- */

static struct striped *some_files(const struct world_shape *shape)
{
	struct striped *s = striped_new(shape);
	size_t i;

	for (i = 0; i < shape->num_members; i++) {
		striped_file(s, i, (unsigned int)(10 * i + 1), 2 * M + 5000);
		striped_file(s, i, (unsigned int)(10 * i + 2), 30 * K);
		striped_file(s, i, (unsigned int)(10 * i + 3), 20 * K);
	}
	protect(s);
	return s;
}

static const struct world_shape shape_5_2 = {.num_members = 5, .parity = "2"};

static void test_overwrite(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	struct mrmr_extent before = striped_extent(s, s->files[0], 1);
	struct mrmr_extent after;

	striped_overwrite(s, s->files[0], M + 100, 1000, 99);
	/* until then, the pre-images are what is protected */
	striped_check_losses(s, 2);
	protect(s);
	after = striped_extent(s, s->files[0], 1);
	assert_memory_not_equal(before.sha256, after.sha256, 32);
	assert_int_equal(before.stripe, after.stripe);
	assert_int_equal(before.slot_offset, after.slot_offset);
	check(s, 2);
	striped_free(s);
}

static uint64_t num_writes(struct striped *s)
{
	struct stat st;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < s->p->w->pool->num_members; i++) {
		char path[64];
		unsigned int xx;

		for (xx = 0; xx < 256; xx++) {
			snprintf(path, sizeof(path), ".mrmr/parity/%02x", xx);
			if (stat(world_drive(s->p->w, i, path), &st) == 0) {
				sum += (uint64_t)st.st_mtim.tv_nsec;
			}
		}
	}
	return sum;
}

/* What did not change is read, and nothing else. */
static void test_unchanged(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	uint64_t before = num_writes(s);

	protect(s);
	assert_int_equal(num_writes(s), before);
	check(s, 2);
	striped_free(s);
}

static void test_grow_and_shrink(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	size_t i;

	for (i = 0; i < s->num; i++) {
		if (i % 3 == 0) {
			striped_append(s, s->files[i], 700 * K + i, 1000);
		} else if (i % 3 == 1) {
			striped_truncate(s, s->files[i], 10 * K + i);
		}
	}
	striped_check_losses(s, 2);
	protect(s);
	check(s, 2);
	for (i = 0; i < s->num; i++) {
		if (i % 3 == 0) {
			striped_truncate(s, s->files[i], i % 2 * 100);
		} else {
			striped_append(s, s->files[i], 20 * K + i, 1001);
		}
	}
	protect(s);
	check(s, 2);
	striped_free(s);
}

static void test_delete(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	struct striped_sums before = striped_sums(s);
	size_t i;

	for (i = 0; i < s->num; i += 2) {
		s->files[i]->is_gone = true;
	}
	protect(s);
	assert_true(striped_sums(s).data_bytes < before.data_bytes);
	check(s, 2);
	for (i = 0; i < s->num; i++) {
		s->files[i]->is_gone = true;
	}
	protect(s);
	assert_int_equal(striped_sums(s).num_stripes, 0);
	check(s, 2);
	striped_free(s);
}

/* Gaps that others left are filled. */
static void test_gaps(void **state)
{
	struct striped *s = striped_new(&shape_5_2);
	struct striped_sums before;
	size_t i;

	for (i = 0; i < 40; i++) {
		striped_file(s, 0, (unsigned int)i + 1, 20 * K);
	}
	protect(s);
	before = striped_sums(s);
	for (i = 0; i < 39; i += 2) {
		s->files[i]->is_gone = true;
	}
	protect(s);
	check(s, 2);
	for (i = 0; i < 20; i++) {
		striped_file(s, 0, (unsigned int)i + 100, 19 * K);
	}
	protect(s);
	assert_int_equal(striped_sums(s).num_stripes, before.num_stripes);
	assert_int_equal(striped_sums(s).parity_bytes, before.parity_bytes);
	check(s, 2);
	striped_free(s);
}

static void test_zeros(void **state)
{
	struct striped *s = striped_new(&shape_5_2);
	struct sfile *zero = striped_file(s, 0, 0, 2 * M + 10);
	struct sfile *file = striped_file(s, 1, 1, M);

	protect(s);
	assert_int_equal(striped_extent(s, zero, 2).state, MRMR_EXTENT_ZERO);
	assert_int_equal(striped_sums(s).num_stripes, 1);
	check(s, 2);
	/* to and fro */
	striped_overwrite(s, file, 0, M, 0);
	striped_overwrite(s, zero, M + 5, 100, 7);
	protect(s);
	assert_int_equal(striped_extent(s, file, 0).state, MRMR_EXTENT_ZERO);
	assert_int_equal(striped_extent(s, zero, 1).state,
			 MRMR_EXTENT_IN_STRIPE);
	check(s, 2);
	striped_free(s);
}

/* Equal bytes have equal parity: two stripes name one block. */
static void test_equal_content(void **state)
{
	static const struct world_shape shape = {.num_members = 2,
						 .parity = "1"};
	struct striped *s = striped_new(&shape);
	struct sfile *a = striped_file(s, 0, 7, M);
	struct sfile *b = striped_file(s, 0, 7, M);

	protect(s);
	check(s, 1);
	a->is_gone = true;
	assert_return_code(striped_protect(s, &a, 1), errno);
	check(s, 1);
	striped_overwrite(s, b, 0, 10, 3);
	protect(s);
	check(s, 1);
	striped_free(s);
}

/* --- what is not as it should be ----------------------------------------------------- */

/* The old bytes were changed behind our back: parity must not be computed from
   them. */
static void test_wrong_old_bytes(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	struct sfile *file = s->files[0];
	int fd = open(world_drive(s->p->w, 0, file->path), O_WRONLY);

	assert_return_code(fd, errno);
	assert_int_equal(pwrite(fd, "changed", 7, 123), 7);
	close(fd);
	memcpy(file->bytes + 123, "changed", 7);
	protect(s);
	check(s, 2);
	/* and all of it, of several at once */
	fd = open(world_drive(s->p->w, 0, file->path), O_WRONLY);
	memset(file->bytes, 'x', 3 * 1000);
	assert_int_equal(pwrite(fd, file->bytes, 3000, 0), 3000);
	close(fd);
	fd = open(world_drive(s->p->w, 1, s->files[4]->path), O_WRONLY);
	assert_int_equal(pwrite(fd, "yyy", 3, 0), 3);
	memcpy(s->files[4]->bytes, "yyy", 3);
	close(fd);
	protect(s);
	check(s, 2);
	striped_free(s);
}

/* Old bytes wrong, another member away: what is missing is computed. */
static void test_wrong_and_away(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	struct sfile *file = s->files[0];
	int fd = open(world_drive(s->p->w, 0, file->path), O_WRONLY);

	assert_return_code(fd, errno);
	assert_int_equal(pwrite(fd, "changed", 7, 123), 7);
	close(fd);
	memcpy(file->bytes + 123, "changed", 7);
	protected_hide(s->p, 1u << 3);
	assert_return_code(striped_protect(s, &file, 1), errno);
	protected_hide(s->p, 0);
	striped_check(s, false);
	striped_mend_all(s);
	striped_check_losses(s, 2);
	striped_free(s);
}

/* A parity block is wrong, or gone, while its stripe changes. */
static void test_wrong_parity(void **state)
{
	int what;

	for (what = 0; what < 2; what++) {
		struct striped *s = some_files(&shape_5_2);
		struct mrmr_extent extent = striped_extent(s, s->files[0], 0);
		struct mrmr_stripe *stripe =
			protected_get_stripe(s->p, extent.stripe);
		size_t i;

		if (what == 0) {
			protected_flip(protected_blob(s->p, stripe, 0), 55, 1);
			protected_flip(protected_blob(s->p, stripe, 1), 56, 2);
		} else {
			for (i = 0; i < 2; i++) {
				unlink(protected_blob(s->p, stripe, i));
			}
		}
		striped_overwrite(s, s->files[0], 7, 1000, 42);
		protect(s);
		check(s, 2);
		striped_free(s);
	}
}

static void test_members_away(void **state)
{
	unsigned int away;

	for (away = 0; away < 5; away++) {
		struct striped *s = some_files(&shape_5_2);
		struct sfile *files[16];
		size_t num = 0;
		size_t i;

		protected_hide(s->p, 1u << away);
		for (i = 0; i < s->num; i++) {
			if (s->files[i]->member != away) {
				striped_overwrite(s, s->files[i], 10, 500,
						  (unsigned int)(70 + i));
				files[num++] = s->files[i];
			}
		}
		assert_return_code(striped_protect(s, files, num), errno);
		assert_int_equal(s->num_errors, 0);
		for (i = 0; i < num; i++) {
			files[i]->is_gone = i % 3 == 1;
		}
		assert_return_code(striped_protect(s, files, num), errno);
		protected_hide(s->p, 0);
		striped_check(s, false);
		striped_mend_all(s);
		striped_check(s, false);
		striped_check_losses(s, 2);
		striped_free(s);
	}
}

/* With few units, what rows there can be; then what is missing is mended. */
static void test_few_units(void **state)
{
	struct striped *s = striped_new(&shape_5_2);
	struct sfile *file = NULL;

	protected_hide(s->p, 1u << 1 | 1u << 2 | 1u << 3);
	file = striped_file(s, 0, 1, 2 * M);
	protect(s);
	assert_int_equal(s->num_errors, 0);
	assert_int_equal(striped_sums(s).num_rows, striped_sums(s).num_stripes);
	striped_check(s, true);
	protected_hide(s->p, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4);
	striped_append(s, file, 3 * M, 9);
	protect(s);
	/* what is on the member that is away can't be changed; what is new has
	   nothing at all */
	assert_int_equal(s->error, ENOSPC);
	protected_hide(s->p, 0);
	striped_check(s, false);
	protect(s);
	assert_int_equal(s->num_errors, 0);
	striped_mend_all(s);
	check(s, 2);
	striped_free(s);
}

/* --- members that are full, and errors --------------------------------------------------- */

static void test_no_room(void **state)
{
	static const struct world_shape shape = {
		.num_members = 3,
		.parity = "1",
		.sizes = {"24m", "9m", "6m"},
	};
	struct striped *s = striped_new(&shape);
	struct sfile *file = striped_file(s, 0, 1, 18 * M);
	size_t num;

	protect(s);
	/* some have parity, the rest says that it has none */
	num = striped_count(s, file);
	assert_in_range(num, 6, 15);
	assert_int_equal(s->num_errors, 18 - num);
	assert_int_equal(s->error, ENOSPC);
	striped_check(s, true);
	striped_check_losses(s, 1);
	striped_free(s);
}

/* Room is short when the pool believes there is plenty. */
static void test_no_room_unexpected(void **state)
{
	static const struct world_shape shape = {
		.num_members = 4,
		.parity = "1",
		.sizes = {"16m", "4m", "4m", "16m"},
	};
	struct striped *s = striped_new(&shape);
	size_t i;

	mrmr_pool_look_at_space(s->p->w->pool);
	for (i = 1; i < 3; i++) {
		uint8_t *bytes = protected_bytes(5, 3 * M + 512 * K);
		int fd = open(world_drive(s->p->w, i, "filler"),
			      O_WRONLY | O_CREAT, 0600);

		assert_return_code(fd, errno);
		assert_true(write(fd, bytes, 3 * M + 512 * K) > 0);
		close(fd);
		free(bytes);
	}
	striped_file(s, 0, 1, 5 * M);
	protect(s);
	/* the next best unit has them */
	assert_int_equal(s->num_errors, 0);
	check(s, 1);
	striped_free(s);
}

static struct sfile *victim;

static void cut_victim(struct striped *s)
{
	assert_return_code(truncate(world_drive(s->p->w, victim->member,
						victim->path),
				    (off_t)(M + 600 * K)),
			   errno);
}

/* Files that are shorter than they were when they were looked at, and whose
   pre-images nobody kept: a new one, then one that is protected. They end in the
   middle of a block, when part of it has been added to the parity. */
static void test_unreadable(void **state)
{
	struct striped *s = some_files(&shape_5_2);

	victim = striped_file(s, 2, 77, 3 * M);
	s->meanwhile = cut_victim;
	protect(s);
	assert_int_equal(s->error, EIO);
	assert_int_equal(s->num_errors, 2);
	assert_int_equal(striped_count(s, victim), 1);
	check(s, 2);
	victim = s->files[0];
	protect(s);
	assert_int_equal(s->error, EIO);
	/* the second and the third block of both */
	assert_int_equal(s->num_errors, 4);
	assert_int_equal(striped_count(s, victim), 1);
	check(s, 2);
	striped_free(s);
}

static bool stop(void *private_data)
{
	int *left = private_data;

	return (*left)-- <= 0;
}

/* Interrupted: nothing has happened. */
static void test_stopped(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	int left;
	size_t i;

	for (i = 0; i < s->num; i++) {
		striped_overwrite(s, s->files[i], 0, 100, 50);
	}
	striped_file(s, 0, 60, 3 * M);
	s->options.should_stop = stop;
	s->options.private_data = &left;
	for (left = 0; left < 4; left++) {
		int n = left;

		assert_int_equal(striped_protect(s, NULL, 0), -1);
		assert_int_equal(errno, ECANCELED);
		check(s, 2);
		left = n;
	}
	s->options.should_stop = NULL;
	protect(s);
	check(s, 2);
	striped_free(s);
}

/* --- mending ------------------------------------------------------------------------------ */

static void test_mend_nothing(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	uint64_t before = num_writes(s);

	assert_int_equal(striped_mend_all(s), 0);
	assert_int_equal(num_writes(s), before);
	assert_false(striped_mend(s, 4711));
	striped_free(s);
}

static void test_mend_rows(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	struct mrmr_extent extent = striped_extent(s, s->files[0], 0);
	struct mrmr_stripe *stripe = protected_get_stripe(s->p, extent.stripe);

	/* wrong, missing */
	protected_flip(protected_blob(s->p, stripe, 0), 55, 1);
	assert_true(striped_mend(s, stripe->id));
	check(s, 2);
	assert_return_code(unlink(protected_blob(s->p, stripe, 1)), errno);
	assert_true(striped_mend(s, stripe->id));
	check(s, 2);
	/* on a member that is away: another one has it then */
	protected_hide(s->p, 1u << mrmr_engine_member(s->p->engine,
						      stripe->rows[0].member));
	striped_mend(s, stripe->id);
	striped_check(s, false);
	protected_hide(s->p, 0);
	striped_check(s, false);
	striped_check_losses(s, 2);
	striped_free(s);
}

/* A row that is wrong, while its slots can't all be read. */
static void test_mend_by_computing(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	struct mrmr_extent extent = striped_extent(s, s->files[0], 0);
	struct mrmr_stripe *stripe = protected_get_stripe(s->p, extent.stripe);

	protected_flip(protected_blob(s->p, stripe, 0), 55, 1);
	protected_hide(s->p, 1u << mrmr_engine_member(s->p->engine,
						      stripe->slots[0].member));
	assert_true(striped_mend(s, stripe->id));
	protected_hide(s->p, 0);
	check(s, 2);
	striped_free(s);
}

/* What is nowhere leaves; what can be computed stays. */
static void test_mend_lost_pieces(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	struct mrmr_extent extent = striped_extent(s, s->files[0], 0);
	struct mrmr_stripe *stripe = protected_get_stripe(s->p, extent.stripe);
	struct sfile *lost[3] = {0};
	size_t num = 0;
	size_t i;
	uint32_t j;

	assert_int_equal(stripe->num_slots, 3);
	for (j = 0; j < 3; j++) {
		for (i = 0; i < s->num; i++) {
			if (s->files[i]->id ==
			    stripe->slots[j].pieces[0].file) {
				lost[num++] = s->files[i];
			}
		}
	}
	assert_int_equal(num, 3);
	for (i = 0; i < 2; i++) {
		lost[i]->is_wrong = true;
		assert_return_code(unlink(world_drive(s->p->w, lost[i]->member,
						      lost[i]->path)),
				   errno);
	}
	/* two rows bring two back */
	assert_false(striped_mend(s, stripe->id));
	striped_check(s, true);
	lost[2]->is_wrong = true;
	assert_return_code(unlink(world_drive(s->p->w, lost[2]->member,
					      lost[2]->path)),
			   errno);
	/* not three; but a member that is away may have what it takes */
	protected_hide(s->p, 1u << mrmr_engine_member(s->p->engine,
						      stripe->rows[0].member));
	assert_false(striped_mend(s, stripe->id));
	protected_hide(s->p, 0);
	assert_true(striped_mend(s, stripe->id));
	assert_int_equal(striped_extent(s, lost[0], 0).state, MRMR_EXTENT_BARE);
	assert_int_equal(striped_extent(s, lost[2], 0).state, MRMR_EXTENT_BARE);
	for (i = 0; i < 3; i++) {
		s->p->w->pool->members[0].state = MRMR_MEMBER_ONLINE;
	}
	striped_check(s, true);
	striped_free(s);
}

/* More rows are wanted than there are, then fewer. */
static void test_mend_number_of_rows(void **state)
{
	struct striped *s = some_files(&shape_5_2);
	size_t i;

	/* a full stripe of two rows has no unit for a third one */
	for (i = 0; i < s->num; i++) {
		s->files[i]->is_gone = s->files[i]->member < 2;
	}
	protect(s);
	s->p->w->pool->rows = 3;
	assert_true(striped_mend_all(s) > 0);
	striped_check(s, true);
	assert_true(striped_sums(s).num_rows > 2 * striped_sums(s).num_stripes);
	s->p->w->pool->rows = 1;
	assert_int_equal(striped_mend_all(s), striped_sums(s).num_stripes);
	assert_int_equal(striped_sums(s).num_rows, striped_sums(s).num_stripes);
	check(s, 1);
	s->p->w->pool->rows = 2;
	striped_mend_all(s);
	check(s, 2);
	striped_free(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_shape),
		cmocka_unit_test(test_stacks),
		cmocka_unit_test(test_full_stripes),
		cmocka_unit_test(test_roles),
		cmocka_unit_test(test_packing),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_many_tiny),
		cmocka_unit_test(test_joins),
		cmocka_unit_test(test_overwrite),
		cmocka_unit_test(test_unchanged),
		cmocka_unit_test(test_grow_and_shrink),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_zeros),
		cmocka_unit_test(test_equal_content),
		cmocka_unit_test(test_wrong_old_bytes),
		cmocka_unit_test(test_wrong_and_away),
		cmocka_unit_test(test_wrong_parity),
		cmocka_unit_test(test_members_away),
		cmocka_unit_test(test_few_units),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_no_room_unexpected),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_mend_nothing),
		cmocka_unit_test(test_mend_rows),
		cmocka_unit_test(test_mend_by_computing),
		cmocka_unit_test(test_mend_lost_pieces),
		cmocka_unit_test(test_mend_number_of_rows),
	};

	return WORLD_MAIN("stripes", tests);
}
