/*
 * MRMR: stripes being made and changed: small pieces share slots.
 *
 * In order of arrival, up to a block, so that files that came together lie
 * together. A slot that is not full goes on being filled: which stripes have one
 * for a member is remembered in the catalogue, in a note of a few numbers, as
 * finding it by looking at all stripes would take longer the more there are.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "stripes_private.h"

/* --- slots with room -------------------------------------------------------------- */

static void note_name(struct mrmr_stripes *work,
		      const struct stripes_member *member, char name[32])
{
	snprintf(name, 32, "open-slots.%u",
		 work->engine->number[member - work->members]);
}

/* Eight bytes a stripe, the lowest first. */
static void load(struct mrmr_stripes *work, struct stripes_member *member)
{
	char name[32];
	uint8_t *value = NULL;
	size_t len = 0;
	size_t i;

	if (member->open_slots_known) {
		return;
	}
	member->open_slots_known = true;
	note_name(work, member, name);
	value = mrmr_catalog_get_note(work->engine->catalog, work, name, &len);
	for (i = 0; value != NULL && i < len / 8 && i < OPEN_SLOTS_MAX; i++) {
		uint64_t id = 0;
		int byte;

		for (byte = 7; byte >= 0; byte--) {
			id = id << 8 | value[8 * i + byte];
		}
		member->open_slots[member->num_open_slots++] = id;
	}
	talloc_free(value);
}

int open_slots_save(struct mrmr_stripes *work)
{
	size_t m;

	for (m = 0; m < work->num_members; m++) {
		struct stripes_member *member = &work->members[m];
		uint8_t value[8 * OPEN_SLOTS_MAX];
		char name[32];
		size_t i;

		if (!member->open_slots_changed) {
			continue;
		}
		for (i = 0; i < 8 * member->num_open_slots; i++) {
			value[i] = (uint8_t)(member->open_slots[i / 8] >>
					     (8 * (i % 8)));
		}
		note_name(work, member, name);
		if (mrmr_catalog_put_note(work->engine->catalog, name,
					  member->num_open_slots > 0 ? value
								     : NULL,
					  8 * member->num_open_slots) == -1 &&
		    errno != ENOENT) {
			return -1;
		}
		member->open_slots_changed = false;
	}
	return 0;
}

static void forget(struct stripes_member *member, uint64_t stripe)
{
	size_t to = 0;
	size_t i;

	for (i = 0; i < member->num_open_slots; i++) {
		if (member->open_slots[i] != stripe) {
			member->open_slots[to++] = member->open_slots[i];
		}
	}
	member->open_slots_changed =
		member->open_slots_changed || to != member->num_open_slots;
	member->num_open_slots = to;
}

static void remember(struct stripes_member *member, uint64_t stripe)
{
	if (member->num_open_slots > 0 && member->open_slots[0] == stripe) {
		return;
	}
	forget(member, stripe);
	if (member->num_open_slots == OPEN_SLOTS_MAX) {
		member->num_open_slots--;
	}
	memmove(&member->open_slots[1], &member->open_slots[0],
		member->num_open_slots * sizeof(member->open_slots[0]));
	member->open_slots[0] = stripe;
	member->num_open_slots++;
	member->open_slots_changed = true;
}

int open_slots_note(struct mrmr_stripes *work, const struct layout *layout,
		    uint64_t stripe)
{
	uint32_t i;

	for (i = 0; i < layout->num_slots; i++) {
		const struct layout_slot *slot = &layout->slots[i];
		struct stripes_member *member =
			stripes_member(work, slot->member);

		if (member == NULL) {
			continue;
		}
		load(work, member);
		if (layout_room(slot, work->block_bytes) >=
		    work->block_bytes / 16) {
			remember(member, stripe);
		} else {
			forget(member, stripe);
		}
	}
	return 0;
}

/* --- packing ------------------------------------------------------------------------ */

struct packing {
	struct mrmr_stripes *work;
	void *mem_ctx;
	struct block *blocks; /* talloc */
	size_t num;
	size_t open[MRMR_MEMBERS_MAX]; /* of each member; SIZE_MAX: none */
};

static int begin_block(struct packing *p, uint16_t number, size_t member)
{
	struct block *blocks = p->blocks;

	if (p->num == talloc_array_length(blocks)) {
		blocks = talloc_realloc(p->mem_ctx, blocks, struct block,
					2 * p->num + 16);
		if (blocks == NULL) {
			errno = ENOMEM;
			return -1;
		}
		p->blocks = blocks;
	}
	blocks[p->num] = (struct block){
		.slot.member = number,
		.slot.pieces = talloc_array(p->mem_ctx, struct layout_piece, 1),
		.unit = p->work->members[member].unit,
	};
	if (blocks[p->num].slot.pieces == NULL) {
		errno = ENOMEM;
		return -1;
	}
	p->num++;
	return 0;
}

static int add_to_block(struct packing *p, size_t i, struct item *item,
			uint32_t max_bytes)
{
	struct layout_piece piece = {
		.file = item->change->file,
		.index = item->change->index,
		.len_bytes = item->change->len_bytes,
		.item = item,
	};

	return layout_add(&p->blocks[i].slot, piece, max_bytes, &item->offset);
}

static int pack_item(struct packing *p, struct item *item)
{
	const struct mrmr_change *change = item->change;
	uint32_t max_bytes = p->work->block_bytes;
	size_t member = mrmr_engine_member(p->work->engine, change->member);
	int ret;

	if (change->len_bytes >= max_bytes) {
		if (begin_block(p, change->member, member) == -1 ||
		    add_to_block(p, p->num - 1, item, change->len_bytes) ==
			    -1) {
			return -1;
		}
		return 0;
	}
	if (p->open[member] != SIZE_MAX) {
		ret = add_to_block(p, p->open[member], item, max_bytes);
		if (ret != 0) {
			return ret == -1 ? -1 : 0;
		}
	}
	if (begin_block(p, change->member, member) == -1 ||
	    add_to_block(p, p->num - 1, item, max_bytes) == -1) {
		return -1;
	}
	p->open[member] = p->num - 1;
	return 0;
}

/* Move what fits from a block into a slot of a stripe. */
static int fill_slot(struct packing *p, struct job *job,
		     struct layout_slot *slot, struct block *block)
{
	struct layout_slot rest = block->slot;
	uint32_t i;

	rest.num_pieces = 0;
	rest.len_bytes = 0;
	for (i = 0; i < block->slot.num_pieces; i++) {
		struct layout_piece piece = block->slot.pieces[i];
		struct item *item = piece.item;
		uint32_t offset = 0;
		int ret =
			layout_add(slot, piece, p->work->block_bytes, &offset);

		if (ret == -1) {
			return -1;
		}
		if (ret == 1) {
			item->offset = offset;
			item->slot = slot->slot;
			if (job_add_item(job, item) == -1) {
				return -1;
			}
			continue;
		}
		item->offset = rest.len_bytes;
		rest.len_bytes += piece.len_bytes;
		rest.pieces[rest.num_pieces++] = piece;
	}
	block->slot = rest;
	return 0;
}

static int fill_open_slots(struct packing *p, struct jobs *jobs,
			   struct stripes_member *member, struct block *block)
{
	uint64_t ids[OPEN_SLOTS_MAX];
	size_t num;
	size_t i;

	load(p->work, member);
	num = member->num_open_slots;
	memcpy(ids, member->open_slots, sizeof(ids));
	for (i = 0; i < num && block->slot.num_pieces > 0; i++) {
		struct job *job = jobs_get(p->work, jobs, ids[i]);
		uint32_t j;

		if (job == NULL && errno != ENOENT) {
			return -1;
		}
		if (job == NULL) {
			forget(member, ids[i]);
			continue;
		}
		if (!job_can_take(p->work, job) ||
		    !job_has_room(p->work, job, p->work->block_bytes)) {
			continue;
		}
		for (j = 0; j < job->layout.num_slots; j++) {
			struct layout_slot *slot = &job->layout.slots[j];

			if (slot->member == block->slot.member &&
			    fill_slot(p, job, slot, block) == -1) {
				return -1;
			}
		}
		job_plan_rows(p->work, job);
	}
	return 0;
}

int pack_items(struct mrmr_stripes *work, struct jobs *jobs,
	       struct item **items, size_t num, bool may_join, void *mem_ctx,
	       struct block **blocks, size_t *num_blocks)
{
	struct packing p = {.work = work, .mem_ctx = mem_ctx};
	size_t to = 0;
	size_t i;

	for (i = 0; i < work->num_members; i++) {
		p.open[i] = SIZE_MAX;
	}
	for (i = 0; i < num; i++) {
		if (pack_item(&p, items[i]) == -1) {
			return -1;
		}
	}
	for (i = 0; may_join && i < work->num_members; i++) {
		if (p.open[i] != SIZE_MAX &&
		    p.blocks[p.open[i]].slot.len_bytes <
			    work->block_bytes / 4 * 3 &&
		    fill_open_slots(&p, jobs, &work->members[i],
				    &p.blocks[p.open[i]]) == -1) {
			return -1;
		}
	}
	for (i = 0; i < p.num; i++) {
		if (p.blocks[i].slot.num_pieces > 0) {
			p.blocks[to++] = p.blocks[i];
		}
	}
	*blocks = p.blocks;
	*num_blocks = to;
	return 0;
}
