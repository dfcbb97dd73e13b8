/*
 * Unit tests: computing blocks from the rest of their stripe.
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

#include <mrmr/decode.h>
#include <mrmr/trouble.h>
#include <mrmr/digest.h>
#include <mrmr/parity.h>

#include "protected.h"

static uint32_t extent_len(const struct pfile *file, uint32_t index)
{
	size_t left = file->len - (size_t)index * file->grid;

	return left < file->grid ? (uint32_t)left : file->grid;
}

/* What was counted of all members. */
static struct mrmr_trouble troubles(const struct protected *p)
{
	const struct mrmr_pool *pool = p->engine->pool;
	struct mrmr_trouble all = {0};
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		struct mrmr_trouble one =
			mrmr_trouble_of(pool->shared,
					&pool->members[i].config->id);

		all.refused_reads += one.refused_reads;
		all.wrong_blocks += one.wrong_blocks;
	}
	return all;
}

/*
 * Compute an extent; what comes is right, or it is an error. Returns 0 or an
 * errno value. *num_wrong (may be NULL) is how many blocks were found wrong.
 */
static int compute(struct protected *p, const struct pfile *file,
		   uint32_t index, size_t *num_wrong)
{
	struct mrmr_node *node = protected_node(p, file);
	uint32_t len = extent_len(file, index);
	uint8_t *out = malloc(len);
	struct mrmr_error err = {0};
	struct mrmr_decode *decode = NULL;
	int ret = 0;

	if (num_wrong != NULL) {
		*num_wrong = 0;
	}
	decode = mrmr_decode_extent(p->engine, p->engine, node, index, &err);
	if (decode == NULL) {
		assert_int_equal(err.code, errno);
		ret = errno;
	} else {
		assert_int_equal(mrmr_decode_len(decode), len);
		if (mrmr_decode_run(decode, out) == -1) {
			ret = errno;
		} else {
			assert_memory_equal(out,
					    file->bytes +
						    (size_t)index * file->grid,
					    len);
		}
		if (num_wrong != NULL) {
			mrmr_decode_wrong(decode, num_wrong);
		}
		mrmr_decode_report(decode, p->engine);
	}
	talloc_free(decode);
	talloc_free(node);
	free(out);
	return ret;
}

static int compute_row(struct protected *p, uint64_t id, size_t row)
{
	struct mrmr_stripe *stripe = protected_get_stripe(p, id);
	struct mrmr_error err = {0};
	struct mrmr_decode *decode =
		mrmr_decode_row(p->engine, p->engine, stripe,
				stripe->rows[row].row, &err);
	uint8_t sha256[32];
	uint8_t *out = NULL;
	int ret = 0;

	if (decode == NULL) {
		ret = errno;
	} else {
		out = malloc(mrmr_decode_len(decode));
		ret = mrmr_decode_run(decode, out) == 0 ? 0 : errno;
		if (ret == 0) {
			mrmr_sha256(out, mrmr_decode_len(decode), sha256);
			assert_memory_equal(sha256, stripe->rows[row].sha256,
					    32);
		}
	}
	talloc_free(decode);
	talloc_free(stripe);
	free(out);
	return ret;
}

/* --- members that are away -------------------------------------------------- */

#define NUM_SHAPES 3
#define FILES_MAX 8

struct stripe_shape {
	size_t num_data;
	size_t num_rows;
	size_t len[6];
};

/* Every pattern of members that are away, for stripes of whole extents of
   several shapes and lengths. */
static void test_every_pattern(void **state)
{
	static const struct stripe_shape shapes[NUM_SHAPES] = {
		{1, 2, {5000}},
		{3, 1, {70000, 1, 4096}},
		{4, 3, {200001, 65536, 30, 131072}},
	};
	size_t s;

	for (s = 0; s < NUM_SHAPES; s++) {
		const struct stripe_shape *shape = &shapes[s];
		size_t num = shape->num_data + shape->num_rows;
		struct world_shape ws = {.num_members = num};
		struct protected *p = protected_new(&ws);
		struct pfile *files[FILES_MAX];
		struct pslot slots[FILES_MAX] = {{0}};
		struct prow rows[MRMR_PARITY_ROWS] = {{0}};
		unsigned int step;
		uint64_t id;
		size_t i;

		for (i = 0; i < shape->num_data; i++) {
			char path[32];

			snprintf(path, sizeof(path), "d%zu/f", i);
			files[i] = protected_file(p, i, path,
						  (unsigned int)(i + 1),
						  shape->len[i], 1 << 18);
			slots[i].slot = (unsigned int)(7 * i);
			slots[i].pieces[0].file = files[i];
		}
		for (i = 0; i < shape->num_rows; i++) {
			rows[i].row = (unsigned int)i;
			rows[i].member = shape->num_data + i;
		}
		id = protected_stripe(p, slots, rows, shape->num_rows);
		for (step = 0; step < 1u << num; step++) {
			/* Gray's code: one comes or goes at a time */
			unsigned int away = step ^ step >> 1;
			unsigned int lost =
				away & ((1u << shape->num_data) - 1);
			size_t rows_left = shape->num_rows -
					   (size_t)__builtin_popcount(
						   away >> shape->num_data);

			protected_hide(p, away);
			for (i = 0; i < shape->num_data; i++) {
				/* Shorter ones that are away do not count
				   beyond their end, but the wanted range
				   begins with all of them. */
				unsigned int all = lost | 1u << i;
				size_t n = (size_t)__builtin_popcount(all);

				assert_int_equal(compute(p, files[i], 0, NULL),
						 n <= rows_left ? 0 : EIO);
			}
			for (i = 0; i < shape->num_rows; i++) {
				size_t left = rows_left;
				size_t n = (size_t)__builtin_popcount(lost);

				if ((away >> (shape->num_data + i) & 1) == 0) {
					left--;
				}
				assert_int_equal(compute_row(p, id, i),
						 n <= left ? 0 : EIO);
			}
		}
		protected_hide(p, 0);
		protected_free(p);
	}
}

/* --- packed slots ------------------------------------------------------------ */

/*
 * Member 0: a large extent. Member 1: small files, with a gap. Member 2: small
 * ones and the last extent of a larger file. Rows on 3 and 4.
 */
struct packed {
	struct protected *p;
	struct pfile *large;
	struct pfile *small[4];
	struct pfile *tail;
	uint64_t id;
};

static void make_packed(struct packed *k)
{
	static const struct world_shape shape = {.num_members = 5};
	static const struct prow rows[] = {{0, 3}, {1, 4}};
	struct protected *p = protected_new(&shape);

	k->p = p;
	k->large = protected_file(p, 0, "large", 1, 300000, 1 << 20);
	k->small[0] = protected_file(p, 1, "small/0", 2, 100000, 1 << 20);
	k->small[1] = protected_file(p, 1, "small/1", 3, 50000, 1 << 20);
	k->small[2] = protected_file(p, 1, "small/2", 4, 33, 1 << 20);
	k->small[3] = protected_file(p, 2, "other/3", 5, 70000, 1 << 20);
	k->tail = protected_file(p, 2, "other/tail", 6, 200000, 150000);
	k->id = protected_stripe(p,
				 (struct pslot[]){
					 {3, {{k->large, 0, 0}}},
					 {5,
					  {{k->small[0], 0, 0},
					   {NULL, 0, 20000},
					   {k->small[1], 0, 0},
					   {k->small[2], 0, 0}}},
					 {200,
					  {{k->small[3], 0, 0},
					   {k->tail, 1, 0}}},
					 {0},
				 },
				 rows, 2);
}

static void check_packed(struct packed *k, unsigned int away)
{
	size_t i;

	protected_unplug(k->p, away);
	for (i = 0; i < 4; i++) {
		assert_int_equal(compute(k->p, k->small[i], 0, NULL), 0);
	}
	assert_int_equal(compute(k->p, k->large, 0, NULL), 0);
	assert_int_equal(compute(k->p, k->tail, 1, NULL), 0);
	/* the first extent is in no stripe */
	assert_int_equal(compute(k->p, k->tail, 0, NULL), EIO);
}

static void test_packed(void **state)
{
	struct packed k;
	size_t i;

	make_packed(&k);
	check_packed(&k, 0);
	for (i = 0; i < 5; i++) {
		check_packed(&k, 1u << i);
	}
	protected_unplug(k.p, 1u << 3);
	assert_int_equal(compute_row(k.p, k.id, 0), 0);
	protected_unplug(k.p, 1u << 0);
	assert_int_equal(compute_row(k.p, k.id, 1), 0);
	protected_unplug(k.p, 0);
	protected_free(k.p);
}

/* A slot that ends before the range, or has a gap there, takes no part. */
static void test_range_of_its_own(void **state)
{
	struct packed k;

	make_packed(&k);
	/* with two rows, three members away are too many ... */
	protected_unplug(k.p, 1u << 0 | 1u << 1 | 1u << 2);
	assert_int_equal(compute(k.p, k.large, 0, NULL), EIO);
	assert_int_equal(compute(k.p, k.small[0], 0, NULL), EIO);
	/* ... except behind the end of one of them: slot 200 has 120000 bytes,
	   small[2] begins at 170000 */
	assert_int_equal(compute(k.p, k.small[2], 0, NULL), 0);
	protected_unplug(k.p, 0);
	protected_free(k.p);
}

/* Single files of packed slots are gone, more of them than there are rows, but
   never too many at the same place. */
static void test_losses_side_by_side(void **state)
{
	struct packed k;

	make_packed(&k);
	protected_unplug(k.p, 1u << 0);
	/* at 120000..170000, and at 70000..120000 */
	assert_return_code(unlink(protected_where(k.p, k.small[1])), errno);
	assert_return_code(unlink(protected_where(k.p, k.tail)), errno);
	assert_int_equal(compute(k.p, k.large, 0, NULL), 0);
	/* now two at 0..70000, with large three */
	assert_return_code(unlink(protected_where(k.p, k.small[0])), errno);
	assert_return_code(unlink(protected_where(k.p, k.small[3])), errno);
	assert_int_equal(compute(k.p, k.large, 0, NULL), EIO);
	assert_int_equal(compute(k.p, k.small[1], 0, NULL), 0);
	protected_unplug(k.p, 0);
	protected_free(k.p);
}

static void test_zero_extents(void **state)
{
	static const struct world_shape shape = {.num_members = 3};
	struct protected *p = protected_new(&shape);
	struct pfile *zero = protected_file(p, 0, "zero", 0, 100000, 65536);

	protected_unplug(p, 1);
	assert_int_equal(compute(p, zero, 0, NULL), 0);
	assert_int_equal(compute(p, zero, 1, NULL), 0);
	protected_unplug(p, 0);
	protected_free(p);
}

/* --- wrong bytes --------------------------------------------------------------- */

/* Each single input is wrong, in turn; then each two; with two rows. */
static void test_wrong_inputs(void **state)
{
	struct packed k;
	struct mrmr_stripe *stripe = NULL;
	char *paths[4];
	size_t wrong;
	size_t i;
	size_t j;
	uint64_t before = mrmr_decode_wrong_count();

	make_packed(&k);
	stripe = protected_get_stripe(k.p, k.id);
	paths[0] = strdup(protected_where(k.p, k.small[0]));
	paths[1] = strdup(protected_where(k.p, k.small[3]));
	paths[2] = strdup(protected_blob(k.p, stripe, 0));
	paths[3] = strdup(protected_blob(k.p, stripe, 1));
	for (i = 0; i < 4; i++) {
		protected_flip(paths[i], 777, 3);
		assert_int_equal(compute(k.p, k.large, 0, &wrong), 0);
		/* the second row is not needed, and not looked at */
		assert_int_equal(wrong, i == 3 ? 0 : 1);
		assert_int_equal(compute(k.p, k.small[2], 0, &wrong), 0);
		for (j = i + 1; j < 4; j++) {
			protected_flip(paths[j], 60000, 0);
			/* large is lost, and two of what is left of two */
			assert_int_equal(compute(k.p, k.large, 0, &wrong), EIO);
			assert_int_equal(wrong, 2);
			protected_flip(paths[j], 60000, 0);
		}
		protected_flip(paths[i], 777, 3);
	}
	assert_int_equal(compute(k.p, k.large, 0, &wrong), 0);
	assert_int_equal(wrong, 0);
	assert_true(mrmr_decode_wrong_count() > before);
	assert_int_equal(troubles(k.p).wrong_blocks,
			 mrmr_decode_wrong_count() - before);
	assert_int_equal(troubles(k.p).refused_reads, 0);
	for (i = 0; i < 4; i++) {
		free(paths[i]);
	}
	protected_free(k.p);
}

/* Two are away, and a third is wrong: three rows are just enough. */
#ifdef MRMR_WITH_FAULTS
/* A drive that is there refuses to read: that is made up for, told and counted. */
static void test_refused_inputs(void **state)
{
	static const char *const points[] = {"decode-blob#1=EIO",
					     "live-read#1=EIO"};
	struct packed k;
	size_t wrong;
	size_t i;

	make_packed(&k);
	for (i = 0; i < 2; i++) {
		setenv("MRMR_FAULT", points[i], 1);
		assert_int_equal(compute(k.p, k.large, 0, &wrong), 0);
		unsetenv("MRMR_FAULT");
		assert_int_equal(wrong, 1);
		assert_int_equal(troubles(k.p).refused_reads, i + 1);
		assert_int_equal(troubles(k.p).wrong_blocks, 0);
	}
	protected_free(k.p);
}
#endif

static void test_wrong_and_away(void **state)
{
	static const struct world_shape shape = {.num_members = 6};
	static const struct prow rows[] = {{2, 3}, {4, 4}, {7, 5}};
	struct protected *p = protected_new(&shape);
	struct pfile *files[3];
	struct mrmr_stripe *stripe = NULL;
	size_t wrong;
	uint64_t id;
	size_t i;

	for (i = 0; i < 3; i++) {
		char path[8];

		snprintf(path, sizeof(path), "f%zu", i);
		files[i] = protected_file(p, i, path, (unsigned int)(i + 1),
					  100000 + i, 1 << 18);
	}
	id = protected_stripe(p,
			      (struct pslot[]){{0, {{files[0], 0, 0}}},
					       {1, {{files[1], 0, 0}}},
					       {2, {{files[2], 0, 0}}},
					       {0}},
			      rows, 3);
	protected_flip(protected_where(p, files[1]), 99999, 7);
	protected_unplug(p, 1u << 0 | 1u << 2);
	assert_int_equal(compute(p, files[0], 0, &wrong), 0);
	assert_int_equal(wrong, 1);
	/* a row that is wrong as well is one too many */
	stripe = protected_get_stripe(p, id);
	protected_flip(protected_blob(p, stripe, 1), 0, 0);
	assert_int_equal(compute(p, files[0], 0, &wrong), EIO);
	protected_flip(protected_where(p, files[1]), 99999, 7);
	assert_int_equal(compute(p, files[0], 0, &wrong), 0);
	assert_int_equal(wrong, 1);
	protected_unplug(p, 0);
	protected_free(p);
}

/* A block that is shorter or longer than it should be, or not a file. */
static void test_strange_blobs(void **state)
{
	struct packed k;
	struct mrmr_stripe *stripe = NULL;
	const char *path = NULL;

	make_packed(&k);
	protected_unplug(k.p, 1u << 0);
	stripe = protected_get_stripe(k.p, k.id);
	path = protected_blob(k.p, stripe, 0);
	assert_return_code(truncate(path, 299999), errno);
	assert_int_equal(compute(k.p, k.large, 0, NULL), 0);
	assert_return_code(truncate(path, 300001), errno);
	assert_int_equal(compute(k.p, k.large, 0, NULL), 0);
	assert_return_code(unlink(path), errno);
	assert_int_equal(compute(k.p, k.large, 0, NULL), 0);
	assert_return_code(symlink("/dev/zero", path), errno);
	assert_int_equal(compute(k.p, k.large, 0, NULL), 0);
	protected_unplug(k.p, 0);
	protected_free(k.p);
}

/*
 * The records say something of the stripe that is not so, and every block is
 * what it should be by itself: row 0 was encoded without slot 5.
 */
static void test_contradiction(void **state)
{
	struct packed k;
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_stripe *other = NULL;
	struct mrmr_error err = {0};
	static const struct prow rows[] = {{0, 3}};
	size_t wrong;
	uint64_t id;

	make_packed(&k);
	id = protected_stripe(k.p, (struct pslot[]){{9, {{k.tail, 0, 0}}}, {0}},
			      rows, 1);
	other = protected_get_stripe(k.p, id);
	stripe = protected_get_stripe(k.p, k.id);
	memcpy(stripe->rows[0].sha256, other->rows[0].sha256, 32);
	stripe->rows[0].len_bytes = other->rows[0].len_bytes;
	assert_return_code(mrmr_catalog_begin(k.p->engine->catalog), errno);
	assert_return_code(mrmr_catalog_put_stripe(k.p->engine->catalog, stripe,
						   NULL),
			   errno);
	assert_return_code(mrmr_catalog_commit(k.p->engine->catalog, &err),
			   errno);
	protected_unplug(k.p, 1u << 0);
	assert_int_equal(compute(k.p, k.large, 0, &wrong), 0);
	assert_int_equal(wrong, 1);
	protected_unplug(k.p, 0);
	protected_free(k.p);
}

/* --- where the bytes are ------------------------------------------------------- */

static void test_preimages(void **state)
{
	static const struct world_shape shape = {.num_members = 4};
	static const struct prow rows[] = {{0, 2}};
	struct protected *p = protected_new(&shape);
	struct pfile *a = protected_file(p, 0, "a", 1, 3 << 20, 4 << 20);
	struct pfile *b = protected_file(p, 1, "b", 2, 2500000, 4 << 20);

	protected_stripe(p,
			 (struct pslot[]){{0, {{a, 0, 0}}},
					  {1, {{b, 0, 0}}},
					  {0}},
			 rows, 1);
	protected_overwrite(p, b, 1000, 5000, 9);
	protected_overwrite(p, b, 2400000, 100000, 10);
	protected_unplug(p, 1u << 0);
	assert_int_equal(compute(p, a, 0, NULL), 0);
	/* renamed, and nobody has told */
	assert_return_code(rename(world_drive(p->w, 1, "b"),
				  world_drive(p->w, 1, "elsewhere")),
			   errno);
	assert_int_equal(compute(p, a, 0, NULL), EIO);
	protected_unplug(p, 0);
	protected_free(p);
}

/* Invariant 4, and no false alarm: what is overwritten or cut off after the job was
   made has its pre-image by then. */
static void test_preimages_meanwhile(void **state)
{
	static const struct world_shape shape = {.num_members = 4};
	static const struct prow rows[] = {{0, 2}};
	struct protected *p = protected_new(&shape);
	struct pfile *a = protected_file(p, 0, "a", 1, 3 << 20, 4 << 20);
	struct pfile *b = protected_file(p, 1, "b", 2, 2500000, 4 << 20);
	struct mrmr_error err = {0};
	struct mrmr_decode *decode = NULL;
	struct mrmr_node *node = NULL;
	uint8_t *out = malloc(a->len);
	size_t wrong = 1;
	int i;

	protected_stripe(p,
			 (struct pslot[]){{0, {{a, 0, 0}}},
					  {1, {{b, 0, 0}}},
					  {0}},
			 rows, 1);
	protected_unplug(p, 1u << 0);
	node = protected_node(p, a);
	for (i = 0; i < 2; i++) {
		decode =
			mrmr_decode_extent(p->engine, p->engine, node, 0, &err);
		assert_non_null(decode);
		if (i == 0) {
			protected_overwrite(p, b, 1000, 5000, 9);
		} else {
			protected_overwrite(p, b, 1 << 20, 1500000, 10);
			assert_return_code(truncate(protected_where(p, b),
						    (1 << 20) + 5),
					   errno);
		}
		assert_int_equal(mrmr_decode_run(decode, out), 0);
		assert_memory_equal(out, a->bytes, a->len);
		mrmr_decode_wrong(decode, &wrong);
		assert_int_equal(wrong, 0);
		talloc_free(decode);
	}
	assert_int_equal(troubles(p).wrong_blocks, 0);
	assert_int_equal(troubles(p).refused_reads, 0);
	talloc_free(node);
	free(out);
	protected_unplug(p, 0);
	protected_free(p);
}

/* Through the share: renamed, then deleted, with the protector not having been
   there. */
static void test_renamed_and_trashed(void **state)
{
	static const struct world_shape shape = {.num_members = 4};
	static const struct prow rows[] = {{0, 2}};
	struct protected *p = protected_new(&shape);
	struct pfile *a = NULL;
	struct pfile *b = NULL;

	assert_int_equal(do_mkdir(p->w, "dir", 0755), 0);
	a = protected_file(p, 0, "a", 1, 70000, 1 << 20);
	b = protected_file(p, 1, "dir/b", 2, 60000, 1 << 20);
	protected_stripe(p,
			 (struct pslot[]){{0, {{a, 0, 0}}},
					  {1, {{b, 0, 0}}},
					  {0}},
			 rows, 1);
	assert_int_equal(do_rename(p->w, "dir", "folder"), 0);
	protected_unplug(p, 1u << 0);
	assert_int_equal(compute(p, a, 0, NULL), 0);
	assert_int_equal(do_rename(p->w, "folder/b", "c"), 0);
	assert_int_equal(compute(p, a, 0, NULL), 0);
	assert_int_equal(do_unlink(p->w, "c"), 0);
	assert_int_equal(compute(p, a, 0, NULL), 0);
	protected_unplug(p, 0);
	protected_free(p);
}

/* Copied back by hand: another inode, the same bytes and time. */
static void test_another_inode(void **state)
{
	static const struct world_shape shape = {.num_members = 4};
	static const struct prow rows[] = {{0, 2}};
	struct protected *p = protected_new(&shape);
	struct pfile *a = protected_file(p, 0, "a", 1, 70000, 1 << 20);
	struct pfile *b = protected_file(p, 1, "b", 2, 60000, 1 << 20);
	char command[1024];
	size_t wrong;

	protected_stripe(p,
			 (struct pslot[]){{0, {{a, 0, 0}}},
					  {1, {{b, 0, 0}}},
					  {0}},
			 rows, 1);
	snprintf(command, sizeof(command), "cp -p %s %s && mv %s %s",
		 world_drive(p->w, 1, "b"), world_drive(p->w, 1, "b2"),
		 world_drive(p->w, 1, "b2"), world_drive(p->w, 1, "b"));
	assert_int_equal(system(command), 0);
	protected_unplug(p, 1u << 0);
	assert_int_equal(compute(p, a, 0, NULL), 0);
	/* with other bytes, it is noticed */
	protected_flip(world_drive(p->w, 1, "b"), 0, 0);
	assert_int_equal(compute(p, a, 0, &wrong), EIO);
	assert_int_equal(wrong, 1);
	protected_unplug(p, 0);
	protected_free(p);
}

static void test_preimages_of_a_deleted_file(void **state)
{
	static const struct world_shape shape = {.num_members = 4};
	static const struct prow rows[] = {{0, 2}};
	struct protected *p = protected_new(&shape);
	struct pfile *a = protected_file(p, 0, "a", 1, 70000, 1 << 20);
	struct pfile *b = protected_file(p, 1, "b", 2, 60000, 1 << 20);

	protected_stripe(p,
			 (struct pslot[]){{0, {{a, 0, 0}}},
					  {1, {{b, 0, 0}}},
					  {0}},
			 rows, 1);
	protected_overwrite(p, b, 0, 60000, 3);
	assert_return_code(unlink(world_drive(p->w, 1, "b")), errno);
	protected_unplug(p, 1u << 0);
	assert_int_equal(compute(p, a, 0, NULL), 0);
	protected_unplug(p, 0);
	protected_free(p);
}

/* More files than a job keeps open. */
static void test_very_many_pieces(void **state)
{
	static const struct world_shape shape = {.num_members = 15};
	struct protected *p = protected_new(&shape);
	struct pslot slots[15] = {{0}};
	struct pfile *first = NULL;
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_error err = {0};
	struct mrmr_decode *decode = NULL;
	unsigned int fds;
	uint64_t id;
	size_t i;
	size_t j;

	for (i = 0; i < 14; i++) {
		slots[i].slot = (unsigned int)i;
		for (j = 0; j < 15; j++) {
			char path[32];

			snprintf(path, sizeof(path), "%zu.%zu", i, j);
			slots[i].pieces[j].file =
				protected_file(p, i, path,
					       (unsigned int)(i * 20 + j + 1),
					       100 + i + j, 1 << 20);
		}
	}
	first = (struct pfile *)(uintptr_t)slots[0].pieces[0].file;
	id = protected_stripe(p, slots, (struct prow[]){{0, 14}}, 1);
	stripe = protected_get_stripe(p, id);
	fds = world_count_fds();
	decode = mrmr_decode_row(p->engine, p->engine, stripe, 0, &err);
	assert_non_null(decode);
	assert_true(world_count_fds() <= fds + 64 + 2 * 14);
	talloc_free(decode);
	assert_int_equal(world_count_fds(), fds);
	assert_int_equal(compute_row(p, id, 0), 0);
	protected_unplug(p, 1);
	assert_int_equal(compute(p, first, 0, NULL), 0);
	assert_int_equal(compute_row(p, id, 0), EIO);
	protected_unplug(p, 0);
	protected_free(p);
}

/* --- all of a block at once --------------------------------------------------- */

#define AT_ONCE_PIECES 10
#define AT_ONCE_LEN 3000

struct at_once {
	struct protected *p;
	struct pfile *lost[AT_ONCE_PIECES];  /* packed on 0 */
	struct pfile *small[AT_ONCE_PIECES]; /* packed on 1 */
	struct pfile *large;                 /* on 2 */
	uint64_t stripe;                     /* rows on 3 and 4 */
};

static void make_at_once(struct at_once *a)
{
	const struct world_shape shape = {.num_members = 5};
	const struct prow rows[] = {{0, 3}, {1, 4}};
	struct pslot slots[4] = {{.slot = 0}, {.slot = 1}, {.slot = 2}};
	char path[32];
	size_t i;

	a->p = protected_new(&shape);
	for (i = 0; i < AT_ONCE_PIECES; i++) {
		snprintf(path, sizeof(path), "lost%zu", i);
		a->lost[i] = protected_file(a->p, 0, path, 1 + (unsigned int)i,
					    AT_ONCE_LEN, 1 << 16);
		slots[0].pieces[i].file = a->lost[i];
		snprintf(path, sizeof(path), "small%zu", i);
		a->small[i] =
			protected_file(a->p, 1, path, 50 + (unsigned int)i,
				       AT_ONCE_LEN + 100, 1 << 16);
		slots[1].pieces[i].file = a->small[i];
	}
	a->large = protected_file(a->p, 2, "large", 99, 30000, 1 << 16);
	slots[2].pieces[0].file = a->large;
	a->stripe = protected_stripe(a->p, slots, rows, 2);
}

/* Which pieces of slot 0 come out right; those that do have the files' bytes. */
static unsigned int right_pieces(struct at_once *a)
{
	struct mrmr_stripe *stripe = protected_get_stripe(a->p, a->stripe);
	struct mrmr_error err = {0};
	struct mrmr_decode *decode =
		mrmr_decode_slot(a->p->engine, a->p->engine, stripe,
				 &stripe->slots[0], &err);
	size_t fds = world_count_fds();
	unsigned int right = 0;
	uint8_t *out = NULL;
	size_t i;

	assert_non_null(decode);
	assert_int_equal(mrmr_decode_num_pieces(decode), AT_ONCE_PIECES);
	out = malloc(mrmr_decode_len(decode));
	assert_int_equal(mrmr_decode_run(decode, out), 0);
	for (i = 0; i < AT_ONCE_PIECES; i++) {
		const struct mrmr_decode_piece *piece =
			mrmr_decode_piece(decode, i);

		assert_int_equal(piece->file, a->lost[i]->id);
		assert_int_equal(piece->len_bytes, AT_ONCE_LEN);
		if (piece->is_right) {
			assert_memory_equal(out + piece->at, a->lost[i]->bytes,
					    AT_ONCE_LEN);
			right |= 1u << i;
		}
	}
	assert_true(world_count_fds() <= fds + 1);
	talloc_free(decode);
	talloc_free(stripe);
	free(out);
	return right;
}

static bool is_row_right(struct at_once *a, size_t row)
{
	struct mrmr_stripe *stripe = protected_get_stripe(a->p, a->stripe);
	struct mrmr_error err = {0};
	struct mrmr_decode *decode =
		mrmr_decode_row_at_once(a->p->engine, a->p->engine, stripe,
					&stripe->rows[row], &err);
	uint8_t *out = NULL;
	uint8_t sha256[32];
	bool is_right;

	assert_non_null(decode);
	out = malloc(mrmr_decode_len(decode));
	is_right = mrmr_decode_run(decode, out) == 0;
	if (is_right) {
		mrmr_sha256(out, mrmr_decode_len(decode), sha256);
		assert_memory_equal(sha256, stripe->rows[row].sha256, 32);
	}
	talloc_free(decode);
	talloc_free(stripe);
	free(out);
	return is_right;
}

/* The second row stands in for the slot of many files: none of them is read. */
static void test_at_once(void **state)
{
	const unsigned int all = (1u << AT_ONCE_PIECES) - 1;
	struct at_once a;
	size_t i;

	make_at_once(&a);
	protected_unplug(a.p, 1);
	assert_int_equal(right_pieces(&a), all);
	for (i = 0; i < AT_ONCE_PIECES; i++) {
		assert_int_equal(unlink(protected_where(a.p, a.small[i])), 0);
	}
	assert_int_equal(right_pieces(&a), all);
	/* what is wrong in an input is wrong in the pieces above it, and there
	   is no other way then */
	protected_flip(protected_where(a.p, a.large), AT_ONCE_LEN + 5, 3);
	assert_int_equal(right_pieces(&a), all & ~2u);
	assert_int_equal(compute(a.p, a.lost[1], 0, NULL), EIO);
	assert_int_equal(compute(a.p, a.lost[2], 0, NULL), 0);
	protected_unplug(a.p, 0);
	protected_free(a.p);
}

/* Without it all of them are read, and one that is not there takes its stretch
   with it only. */
static void test_at_once_reads(void **state)
{
	const unsigned int all = (1u << AT_ONCE_PIECES) - 1;
	struct at_once a;

	make_at_once(&a);
	protected_unplug(a.p, 1 | 16);
	assert_int_equal(right_pieces(&a), all);
	protected_overwrite(a.p, a.small[3], 100, 1000, 7);
	protected_overwrite(a.p, a.large, 0, 30000, 8);
	assert_int_equal(right_pieces(&a), all);
	assert_int_equal(unlink(protected_where(a.p, a.small[9])), 0);
	/* small[9] lies at 27900, above the last of those that are lost */
	assert_int_equal(right_pieces(&a), all & ~(1u << 9));
	protected_unplug(a.p, 0);
	protected_free(a.p);
}

static void test_row_at_once(void **state)
{
	struct at_once a;

	make_at_once(&a);
	protected_unplug(a.p, 8);
	assert_true(is_row_right(&a, 0));
	protected_flip(protected_where(a.p, a.large), 5, 3);
	assert_false(is_row_right(&a, 0));
	protected_unplug(a.p, 0);
	protected_free(a.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_pattern),
		cmocka_unit_test(test_packed),
		cmocka_unit_test(test_range_of_its_own),
		cmocka_unit_test(test_losses_side_by_side),
		cmocka_unit_test(test_zero_extents),
		cmocka_unit_test(test_wrong_inputs),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(test_refused_inputs),
#endif
		cmocka_unit_test(test_wrong_and_away),
		cmocka_unit_test(test_strange_blobs),
		cmocka_unit_test(test_contradiction),
		cmocka_unit_test(test_preimages),
		cmocka_unit_test(test_preimages_meanwhile),
		cmocka_unit_test(test_renamed_and_trashed),
		cmocka_unit_test(test_another_inode),
		cmocka_unit_test(test_preimages_of_a_deleted_file),
		cmocka_unit_test(test_very_many_pieces),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_at_once_reads),
		cmocka_unit_test(test_row_at_once),
	};

	return WORLD_MAIN("decode", tests);
}
