/*
 * Unit tests: what stands behind each block of a file.
 *
 * Is it what the check of all says, and what happens when members go?
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>

#include <cmocka.h>
#include <talloc.h>

#include "checked.h"

struct tally {
	uint64_t bytes[MRMR_CHECK_LOST + 1];
	uint64_t there_bytes;
	uint32_t num;
};

static int add_block(const struct mrmr_check_block *block, void *private_data)
{
	struct tally *tally = private_data;

	assert_int_equal(block->index, tally->num);
	tally->num++;
	tally->bytes[block->state] += block->len_bytes;
	tally->there_bytes += block->is_there ? block->len_bytes : 0;
	return 0;
}

static struct tally tally_blocks(struct checked *k, const struct pfile *file)
{
	struct mrmr_node *node = protected_node(k->p, file);
	struct tally tally = {0};

	assert_return_code(mrmr_check_blocks(k->p->engine, node, add_block,
					     &tally),
			   errno);
	talloc_free(node);
	return tally;
}

/* File by file it is what the check of all says, for every set of members; and
   who is at risk would be lost with one of the others. */
static void test_blocks_of_every_set(void **state)
{
	struct checked k;
	unsigned int members;
	size_t i;

	checked_make(&k);
	for (members = 0; members < 32; members++) {
		struct mrmr_check_result *now = NULL;
		struct tally all = {0};

		protected_hide(k.p, members);
		now = checked_check(&k, NULL);
		for (i = 0; i < NUM_FILES; i++) {
			struct tally one = tally_blocks(&k, k.files[i]);
			const struct mrmr_check_file *file =
				checked_find(now, k.files[i]);
			size_t state_number;

			assert_int_equal(one.num, 1);
			assert_int_equal(one.bytes[MRMR_CHECK_LOST],
					 file != NULL ? file->lost_bytes : 0);
			assert_true(one.bytes[MRMR_CHECK_AT_RISK] >=
				    (file != NULL ? file->risk_bytes : 0));
			for (state_number = 0; state_number <= MRMR_CHECK_LOST;
			     state_number++) {
				all.bytes[state_number] +=
					one.bytes[state_number];
			}
			all.there_bytes += one.there_bytes;
		}
		assert_int_equal(all.bytes[MRMR_CHECK_LOST],
				 now->now.lost_bytes);
		assert_int_equal(all.there_bytes, now->now.there_bytes);
		assert_int_equal(all.bytes[MRMR_CHECK_WHOLE] +
					 all.bytes[MRMR_CHECK_REDUCED] +
					 all.bytes[MRMR_CHECK_AT_RISK],
				 now->now.there_bytes +
					 now->now.computed_bytes);
		talloc_free(now);
	}
	checked_free(&k);
}

static bool would_be_lost(struct checked *k, const struct pfile *file,
			  unsigned int members)
{
	size_t i;

	for (i = 0; i < 5; i++) {
		struct tally tally;

		protected_hide(k->p, members | 1u << i);
		tally = tally_blocks(k, file);
		if (tally.bytes[MRMR_CHECK_LOST] > 0) {
			return true;
		}
	}
	return false;
}

static void test_blocks_at_risk(void **state)
{
	struct checked k;
	unsigned int members;
	size_t i;

	checked_make(&k);
	for (members = 0; members < 32; members++) {
		for (i = 0; i < NUM_FILES; i++) {
			struct tally tally;

			protected_hide(k.p, members);
			tally = tally_blocks(&k, k.files[i]);
			if (tally.bytes[MRMR_CHECK_LOST] == 0) {
				assert_int_equal(
					tally.bytes[MRMR_CHECK_AT_RISK] > 0,
					would_be_lost(&k, k.files[i], members));
			}
		}
	}
	checked_free(&k);
}

struct seen_block {
	uint8_t slot;
	uint32_t slot_offset;
	uint32_t num_others;
	bool slot_is_gone[3];
	bool row_is_there[2];
};

static int see_block(const struct mrmr_check_block *block, void *private_data)
{
	struct seen_block *seen = private_data;
	uint32_t i;

	seen->slot = block->stripe->slots[block->slot_index].slot;
	seen->slot_offset = block->slot_offset;
	seen->num_others = block->num_others;
	for (i = 0; i < block->stripe->num_slots; i++) {
		seen->slot_is_gone[i] = block->slot_is_gone[i];
	}
	for (i = 0; i < block->stripe->num_rows; i++) {
		seen->row_is_there[i] = block->row_is_there[i];
	}
	return 7;
}

/* Where it is, and what stands behind it: of other slots only what has something
   in its range. */
static void test_where_a_block_is(void **state)
{
	struct checked k;
	struct mrmr_node *node = NULL;
	struct seen_block seen;

	checked_make(&k);
	protected_hide(k.p, 1u << 1 | 1u << 2);
	node = protected_node(k.p, k.files[4]);
	seen = (struct seen_block){0};
	assert_int_equal(mrmr_check_blocks(k.p->engine, node, see_block, &seen),
			 7);
	assert_int_equal(seen.slot, 0);
	assert_int_equal(seen.slot_offset, 1500);
	assert_int_equal(seen.num_others, 1);
	assert_false(seen.slot_is_gone[0]);
	assert_true(seen.slot_is_gone[1]); /* f[5], up to 3000 */
	assert_false(seen.slot_is_gone[2]);
	assert_false(seen.row_is_there[0]);
	talloc_free(node);
	protected_hide(k.p, 1u << 0);
	node = protected_node(k.p, k.files[6]); /* from 3000 on */
	seen = (struct seen_block){0};
	mrmr_check_blocks(k.p->engine, node, see_block, &seen);
	assert_int_equal(seen.slot_offset, 3000);
	assert_false(seen.slot_is_gone[0]);
	assert_true(seen.row_is_there[0]);
	talloc_free(node);
	checked_free(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks_of_every_set),
		cmocka_unit_test(test_blocks_at_risk),
		cmocka_unit_test(test_where_a_block_is),
	};

	return WORLD_MAIN("check_blocks", tests);
}
