/*
 * mrmr-admin where: the blocks of a file (see where_blocks.h).
 *
 * A large file has very many: people get sums, and a program the first ones,
 * unless they ask for all.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <talloc.h>

#include <mrmr/size.h>

#include "nodes.h"
#include "where_blocks.h"

#define BLOCKS_TOLD 1000

static const char *const state_names[] = {
	[MRMR_CHECK_BARE] = "unprotected", [MRMR_CHECK_WHOLE] = "protected",
	[MRMR_CHECK_REDUCED] = "reduced",  [MRMR_CHECK_AT_RISK] = "at_risk",
	[MRMR_CHECK_LOST] = "lost",
};

static bool is_there(const struct where_blocks *b, uint16_t number)
{
	return mrmr_engine_online(b->engine, number) != NULL;
}

static const char *away_text(const struct where_blocks *b, uint16_t number)
{
	return is_there(b, number) ? "" : " (away)";
}

/* --- sums ------------------------------------------------------------------------ */

static struct where_blocks_member *find_member(struct where_blocks *b,
					       uint16_t number)
{
	struct where_blocks_member *member = NULL;
	size_t i;

	for (i = 0; i < b->num_members; i++) {
		if (b->members[i].number == number) {
			return &b->members[i];
		}
	}
	b->members = admin_need(talloc_realloc(b, b->members,
					       struct where_blocks_member,
					       (unsigned int)(i + 1)));
	member = &b->members[b->num_members++];
	*member = (struct where_blocks_member){.number = number};
	return member;
}

static void note_stripe(struct where_blocks *b, uint64_t id)
{
	size_t room = talloc_array_length(b->stripes);

	if (b->num_stripes == room) {
		b->stripes = admin_need(
			talloc_realloc(b, b->stripes, uint64_t,
				       (unsigned int)(room + room / 2 + 64)));
	}
	b->stripes[b->num_stripes++] = id;
}

static void count_stripe(struct where_blocks *b,
			 const struct mrmr_check_block *block)
{
	const struct mrmr_stripe *stripe = block->stripe;
	uint32_t i;

	note_stripe(b, stripe->id);
	b->num_packed += block->num_others > 0;
	if (stripe->num_rows < b->min_rows) {
		b->min_rows = stripe->num_rows;
	}
	if (stripe->num_rows > b->max_rows) {
		b->max_rows = stripe->num_rows;
	}
	for (i = 0; i < stripe->num_rows; i++) {
		find_member(b, stripe->rows[i].member)->parity_blocks++;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		if (i != block->slot_index) {
			find_member(b, stripe->slots[i].member)->data_blocks++;
		}
	}
}

static int compare_ids(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Of small blocks, several may be in one stripe. */
static void count_stripes_once(struct where_blocks *b)
{
	uint64_t num = 0;
	uint64_t i;

	if (b->num_stripes > 0) {
		qsort(b->stripes, b->num_stripes, sizeof(*b->stripes),
		      compare_ids);
	}
	for (i = 0; i < b->num_stripes; i++) {
		num += i == 0 || b->stripes[i] != b->stripes[i - 1];
	}
	b->num_stripes = num;
}

/* --- each block -------------------------------------------------------------------- */

static json_t *unit_json(const struct where_blocks *b, const char *place,
			 uint8_t number_there, uint16_t member, bool is_right)
{
	json_t *object = admin_need(json_object());
	struct mrmr_uuid uuid;

	admin_set(object, place, json_integer(number_there));
	admin_set(object, "name",
		  admin_json_text(admin_number_name(b->engine, member)));
	if (mrmr_catalog_member_id(b->engine->catalog, member, &uuid) == 0) {
		admin_set(object, "mount_id", admin_json_uuid(&uuid));
	}
	admin_set(object, "is_there", json_boolean(is_right));
	return object;
}

static void put_stripe(const struct where_blocks *b, json_t *object,
		       const struct mrmr_check_block *block)
{
	const struct mrmr_stripe *stripe = block->stripe;
	json_t *parity = admin_need(json_array());
	json_t *beside = admin_need(json_array());
	uint32_t i;

	for (i = 0; i < stripe->num_rows; i++) {
		const struct mrmr_row *row = &stripe->rows[i];

		admin_append(parity, unit_json(b, "row", row->row, row->member,
					       block->row_is_there[i]));
	}
	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		if (i != block->slot_index) {
			admin_append(beside,
				     unit_json(b, "slot", slot->slot,
					       slot->member,
					       !block->slot_is_gone[i]));
		}
	}
	admin_set(object, "stripe", json_integer((json_int_t)stripe->id));
	admin_set(object, "slot",
		  json_integer(stripe->slots[block->slot_index].slot));
	admin_set(object, "slot_offset", json_integer(block->slot_offset));
	admin_set(object, "packed_with", json_integer(block->num_others));
	admin_set(object, "is_there", json_boolean(block->is_there));
	admin_set(object, "parity", parity);
	admin_set(object, "beside", beside);
}

static void put_block(struct where_blocks *b,
		      const struct mrmr_check_block *block)
{
	json_t *object = admin_need(json_object());

	admin_set(object, "index", json_integer(block->index));
	admin_set(object, "offset", json_integer((json_int_t)block->offset));
	admin_set(object, "size_bytes", json_integer(block->len_bytes));
	admin_set(object, "state", json_string(state_names[block->state]));
	admin_set(object, "is_zero", json_boolean(block->is_zero));
	if (block->stripe != NULL) {
		put_stripe(b, object, block);
	}
	admin_append(b->blocks, object);
}

static char *stripe_text(const struct where_blocks *b, void *mem_ctx,
			 const struct mrmr_check_block *block)
{
	const struct mrmr_stripe *stripe = block->stripe;
	const struct mrmr_slot *own = &stripe->slots[block->slot_index];
	const char *comma = "";
	char *text = admin_need(talloc_asprintf(mem_ctx, "stripe %llu, slot %u",
						(unsigned long long)stripe->id,
						own->slot));
	uint32_t i;

	if (block->num_others > 0) {
		text = admin_need(talloc_asprintf_append(text,
							 " (with %u others)",
							 block->num_others));
	}
	text = admin_need(talloc_strdup_append(text, "; parity on "));
	for (i = 0; i < stripe->num_rows; i++, comma = ", ") {
		uint16_t number = stripe->rows[i].member;

		text = admin_need(
			talloc_asprintf_append(text, "%s%s%s", comma,
					       admin_number_name(b->engine,
								 number),
					       block->row_is_there[i] ? ""
					       : is_there(b, number)
						       ? " (missing)"
						       : " (away)"));
	}
	comma = "; beside ";
	for (i = 0; i < stripe->num_slots; i++) {
		uint16_t number = stripe->slots[i].member;

		if (i == block->slot_index) {
			continue;
		}
		text = admin_need(
			talloc_asprintf_append(text, "%s%s%s", comma,
					       admin_number_name(b->engine,
								 number),
					       !block->slot_is_gone[i] ? ""
					       : is_there(b, number)
						       ? " (missing)"
						       : " (away)"));
		comma = ", ";
	}
	return text;
}

static void say_block(const struct where_blocks *b,
		      const struct mrmr_check_block *block)
{
	void *frame = admin_need(talloc_new(NULL));
	char size[MRMR_SIZE_LEN];
	const char *text = "in no stripe";

	if (block->is_zero) {
		text = "zeros, which need no stripe";
	} else if (block->stripe != NULL) {
		text = stripe_text(b, frame, block);
	}
	admin_say(b->admin, "  block %u, %s, %s: %s", block->index,
		  mrmr_size_format(block->len_bytes, size),
		  block->state == MRMR_CHECK_AT_RISK
			  ? "at risk"
			  : state_names[block->state],
		  text);
	talloc_free(frame);
}

static int take_block(const struct mrmr_check_block *block, void *private_data)
{
	struct where_blocks *b = private_data;

	b->num++;
	b->num_bytes += block->len_bytes;
	b->bytes[block->state] += block->len_bytes;
	if (block->stripe != NULL) {
		count_stripe(b, block);
	}
	if (b->admin->json && (b->wants_all || b->num <= BLOCKS_TOLD)) {
		put_block(b, block);
	}
	return 0;
}

static int say_each(const struct mrmr_check_block *block, void *private_data)
{
	say_block(private_data, block);
	return 0;
}

int where_blocks_say_each(const struct where_blocks *b,
			  const struct mrmr_node *node)
{
	struct where_blocks say = *b;

	return mrmr_check_blocks(b->engine, node, say_each, &say);
}

static int free_blocks(struct where_blocks *b)
{
	json_decref(b->blocks);
	return 0;
}

struct where_blocks *where_blocks_look(struct admin *admin,
				       struct mrmr_engine *engine,
				       const struct mrmr_node *node,
				       bool wants_all)
{
	struct where_blocks *b =
		admin_need(talloc_zero(admin, struct where_blocks));

	b->admin = admin;
	b->engine = engine;
	b->wants_all = wants_all;
	b->blocks = admin_need(json_array());
	b->min_rows = UINT32_MAX;
	talloc_set_destructor(b, free_blocks);
	if (mrmr_check_blocks(engine, node, take_block, b) == -1) {
		int saved_errno = errno;

		talloc_free(b);
		errno = saved_errno;
		return NULL;
	}
	count_stripes_once(b);
	return b;
}

/* --- the report ---------------------------------------------------------------------- */

static void say_members(const struct where_blocks *b, const char *what,
			bool of_parity)
{
	char *text = admin_need(talloc_strdup(NULL, ""));
	size_t i;

	for (i = 0; i < b->num_members; i++) {
		const struct where_blocks_member *member = &b->members[i];
		uint64_t num =
			of_parity ? member->parity_blocks : member->data_blocks;

		if (num == 0) {
			continue;
		}
		text = admin_need(talloc_asprintf_append(
			text, "%s%s%s (%llu)", text[0] != '\0' ? ", " : "",
			admin_number_name(b->engine, member->number),
			away_text(b, member->number), (unsigned long long)num));
	}
	if (text[0] != '\0') {
		admin_say(b->admin, "  %s %s", what, text);
	}
	talloc_free(text);
}

static json_t *members_json(const struct where_blocks *b)
{
	json_t *array = admin_need(json_array());
	size_t i;

	for (i = 0; i < b->num_members; i++) {
		const struct where_blocks_member *member = &b->members[i];
		json_t *object = admin_need(json_object());
		struct mrmr_uuid uuid;

		if (mrmr_catalog_member_id(b->engine->catalog, member->number,
					   &uuid) == 0) {
			admin_set(object, "mount_id", admin_json_uuid(&uuid));
		}
		admin_set(object, "name",
			  admin_json_text(admin_number_name(b->engine,
							    member->number)));
		admin_set(object, "is_online",
			  json_boolean(is_there(b, member->number)));
		admin_set(object, "parity_blocks",
			  json_integer((json_int_t)member->parity_blocks));
		admin_set(object, "data_blocks",
			  json_integer((json_int_t)member->data_blocks));
		admin_append(array, object);
	}
	return array;
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
	admin_set(object, key, json_integer((json_int_t)number));
}

void where_blocks_report(const struct where_blocks *b, json_t *object)
{
	char rows[64];

	set_number(object, "num_blocks", b->num);
	set_number(object, "num_stripes", b->num_stripes);
	set_number(object, "reduced_bytes", b->bytes[MRMR_CHECK_REDUCED]);
	set_number(object, "at_risk_bytes", b->bytes[MRMR_CHECK_AT_RISK]);
	set_number(object, "lost_bytes", b->bytes[MRMR_CHECK_LOST]);
	admin_set(object, "members", members_json(b));
	admin_set(object, "blocks", json_incref(b->blocks));
	admin_set(object, "blocks_are_complete",
		  json_boolean(json_array_size(b->blocks) == b->num));
	if (b->num_stripes == 0) {
		return;
	}
	snprintf(rows, sizeof(rows),
		 b->min_rows == b->max_rows ? "%u" : "%u to %u", b->min_rows,
		 b->max_rows);
	admin_say(b->admin, "  %llu %s in %llu %s, with %s parity %s each",
		  (unsigned long long)b->num, b->num == 1 ? "block" : "blocks",
		  (unsigned long long)b->num_stripes,
		  b->num_stripes == 1 ? "stripe" : "stripes", rows,
		  b->max_rows == 1 ? "block" : "blocks");
	if (b->num_packed > 0) {
		admin_say(b->admin, "  %llu packed with small ones of others",
			  (unsigned long long)b->num_packed);
	}
	say_members(b, "parity on", true);
	say_members(b, "stripes shared with blocks on", false);
}
