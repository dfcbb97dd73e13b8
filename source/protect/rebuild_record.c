/*
 * MRMR: rebuilding: what the catalogue gets to know.
 *
 * A file is on another member; its bytes are the same. So a slot becomes that
 * member's, when all files that have pieces in it have come there, and its unit
 * has nothing else in the stripe: parity is not touched. A slot of which some
 * files went elsewhere, or stayed, or that would be the second one of a unit, is
 * left by those that moved: their bytes come into other stripes, in the same
 * transaction, so they are protected all the time (invariant 2). So is what they
 * leave there: if its parity cannot be written, nothing is recorded; fewer files may
 * do (rebuild_batch.c), and the next run finds those that are not.
 *
 * One that comes back as an older version is there as if a client had written that:
 * what there is of the newer one leaves its stripes, and the file is pending. The
 * note of what it was stays until it is protected (was.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/live.h>
#include <mrmr/log.h>
#include <mrmr/stripes.h>

#include "protector_private.h"
#include "rebuild_private.h"
#include "relocated.h"

#define EXTENTS_AT_ONCE 64

/* An extent of a file that moved, by the slot that it is a piece of. */
struct reference {
	uint64_t stripe;
	uint8_t slot;
	struct rebuild_file *file;
	uint32_t index;
	bool leaves;
};

struct record {
	struct rebuild *r;
	void *mem_ctx;
	struct rebuild_file **files;
	size_t num_files;
	struct reference *references;
	size_t num;
	size_t num_leaving;
	struct mrmr_stripes *work; /* NULL: nothing leaves */
};

static int fail_catalog(struct mrmr_error *err)
{
	int error = errno;

	return mrmr_error_set(err, error, "the catalogue cannot be changed: %s",
			      mrmr_catalog_why(error));
}

static uint16_t target_number(const struct rebuild *r,
			      const struct rebuild_file *file)
{
	return r->engine->number[file->target];
}

/* --- nodes --------------------------------------------------------------------- */

/* In the trash, the member is in the entry. */
static int move_trash_name(struct record *rec, const struct rebuild_file *file,
			   const struct rebuild_name *name)
{
	char *entry = NULL;
	int ret;

	if (name->dir_id != MRMR_ID_TRASH) {
		return 0; /* it came there since: that is still in the queue */
	}
	entry = talloc_asprintf(rec->mem_ctx, "%u/%s",
				target_number(rec->r, file), name->path);
	if (entry == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = mrmr_catalog_rename(rec->r->engine->catalog, MRMR_ID_TRASH,
				  name->entry, MRMR_ID_TRASH, entry);
	talloc_free(entry);
	return ret;
}

static int put_node(struct record *rec, const struct rebuild_file *file)
{
	struct mrmr_node node = *file->node;
	size_t i;

	node.member = target_number(rec->r, file);
	node.inode = file->inode;
	node.mtime_ns = file->mtime_ns;
	if (file->generation != 0) {
		node.generation = file->generation;
	}
	if (mrmr_catalog_put(rec->r->engine->catalog, &node, NULL) == -1) {
		return -1;
	}
	for (i = 0; i < file->num_names; i++) {
		if (file->names[i].is_trash &&
		    move_trash_name(rec, file, &file->names[i]) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- references ----------------------------------------------------------------- */

static int add_reference(struct record *rec, const struct mrmr_extent *extent,
			 struct rebuild_file *file, uint32_t index)
{
	size_t size = talloc_array_length(rec->references);

	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		return 0;
	}
	if (rec->num == size) {
		struct reference *larger =
			talloc_realloc(rec->mem_ctx, rec->references,
				       struct reference, 2 * size + 64);

		if (larger == NULL) {
			errno = ENOMEM;
			return -1;
		}
		rec->references = larger;
	}
	rec->references[rec->num++] = (struct reference){
		.stripe = extent->stripe,
		.slot = extent->slot,
		.file = file,
		.index = index,
		.leaves = file->was != NULL,
	};
	rec->num_leaving += file->was != NULL;
	return 0;
}

static int add_references(struct record *rec, struct rebuild_file *file)
{
	struct mrmr_extent extents[EXTENTS_AT_ONCE];
	uint32_t first = 0;
	uint32_t got, i;

	while (first < file->node->num_extents) {
		if (mrmr_catalog_get_extents(rec->r->engine->catalog,
					     file->node->id, first, extents,
					     EXTENTS_AT_ONCE, &got) == -1) {
			return -1;
		}
		if (got == 0) {
			errno = EILSEQ;
			return -1;
		}
		for (i = 0; i < got; i++) {
			if (add_reference(rec, &extents[i], file, first + i) ==
			    -1) {
				return -1;
			}
		}
		first += got;
	}
	return 0;
}

static int compare_references(const void *a_void, const void *b_void)
{
	const struct reference *a = a_void;
	const struct reference *b = b_void;

	if (a->stripe != b->stripe) {
		return a->stripe < b->stripe ? -1 : 1;
	}
	return (int)a->slot - (int)b->slot;
}

/* --- slots ------------------------------------------------------------------------ */

static size_t unit_of(const struct rebuild *r, uint16_t number)
{
	size_t index = mrmr_engine_member(r->engine, number);

	return index == SIZE_MAX ? SIZE_MAX : r->pool->units.unit[index];
}

/* Has the unit of a member a block of the stripe, beside this slot? */
static bool is_in_stripe(const struct rebuild *r,
			 const struct mrmr_stripe *stripe, uint8_t but_slot,
			 uint16_t number)
{
	size_t unit = unit_of(r, number);
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		if (stripe->slots[i].slot != but_slot &&
		    unit_of(r, stripe->slots[i].member) == unit) {
			return true;
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		if (unit_of(r, stripe->rows[i].member) == unit) {
			return true;
		}
	}
	return false;
}

/* Are all files that have pieces in a slot on this member by now? */
static bool is_all_there(struct record *rec, const struct mrmr_slot *slot,
			 uint16_t number)
{
	struct mrmr_node *node = NULL;
	uint64_t last = MRMR_ID_NONE;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		uint64_t id = slot->pieces[i].file;
		bool is_there;

		if (id == MRMR_ID_NONE || id == last) {
			continue;
		}
		if (mrmr_catalog_get(rec->r->engine->catalog, rec->mem_ctx, id,
				     &node) == -1) {
			return false;
		}
		is_there = node->member == number;
		TALLOC_FREE(node);
		if (!is_there) {
			return false;
		}
		last = id;
	}
	return true;
}

static struct mrmr_slot *find_slot(struct mrmr_stripe *stripe, uint8_t number)
{
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		if (stripe->slots[i].slot == number) {
			return &stripe->slots[i];
		}
	}
	return NULL;
}

/* references[0..num) are those of one slot. */
static int move_slot(struct record *rec, struct reference *references,
		     size_t num)
{
	struct mrmr_catalog *catalog = rec->r->engine->catalog;
	uint16_t number = target_number(rec->r, references[0].file);
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_slot *slot = NULL;
	size_t i;
	int ret = 0;

	if (mrmr_catalog_get_stripe(catalog, rec->mem_ctx, references[0].stripe,
				    &stripe) == -1) {
		return -1;
	}
	slot = find_slot(stripe, references[0].slot);
	if (slot != NULL && slot->member == number) {
		talloc_free(stripe);
		return 0;
	}
	if (slot != NULL && is_all_there(rec, slot, number) &&
	    !is_in_stripe(rec->r, stripe, slot->slot, number)) {
		slot->member = number;
		ret = mrmr_catalog_put_stripe(catalog, stripe, NULL);
	} else {
		for (i = 0; i < num; i++) {
			rec->num_leaving += !references[i].leaves;
			references[i].leaves = true;
		}
	}
	talloc_free(stripe);
	return ret;
}

static int move_slots(struct record *rec)
{
	size_t i, j;

	if (rec->num > 1) {
		qsort(rec->references, rec->num, sizeof(rec->references[0]),
		      compare_references);
	}
	for (i = 0; i < rec->num; i = j) {
		for (j = i + 1; j < rec->num &&
				compare_references(&rec->references[i],
						   &rec->references[j]) == 0;
		     j++) {
		}
		if (move_slot(rec, &rec->references[i], j - i) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- leaving ---------------------------------------------------------------------- */

/* One for each file: they are sorted by stripe, not by file. */
struct lives {
	struct rebuild_file **files;
	struct mrmr_live **lives;
	size_t num;
};

/* The file that moved, as the catalogue has it in this transaction. */
static struct mrmr_live *open_live(struct record *rec, struct lives *lives,
				   struct rebuild_file *file)
{
	struct mrmr_live_member *member = NULL;
	struct mrmr_node *node = NULL;
	size_t i;

	for (i = 0; i < lives->num; i++) {
		if (lives->files[i] == file) {
			return lives->lives[i];
		}
	}
	lives->files[i] = file;
	member = mrmr_live_member_open(rec->mem_ctx, rec->r->engine,
				       target_number(rec->r, file));
	if (member == NULL ||
	    mrmr_catalog_get(rec->r->engine->catalog, rec->mem_ctx,
			     file->node->id, &node) == -1 ||
	    mrmr_live_open_on(rec->mem_ctx, rec->r->engine, member, node, true,
			      &lives->lives[i]) == -1) {
		return NULL;
	}
	talloc_free(node);
	return lives->lives[lives->num++];
}

static int fill_change(struct record *rec, struct lives *lives,
		       const struct reference *reference,
		       struct mrmr_change *change)
{
	struct rebuild_file *file = reference->file;
	uint32_t got = 0;

	*change = (struct mrmr_change){
		.file = file->node->id,
		.member = target_number(rec->r, file),
		.index = reference->index,
		.offset = (uint64_t)reference->index * file->node->grid_bytes,
		.has_old = true,
	};
	if (file->was != NULL) {
		change->member = file->node->member;
	}
	if (mrmr_catalog_get_extents(rec->r->engine->catalog, change->file,
				     change->index, &change->old, 1,
				     &got) == -1 ||
	    got != 1) {
		return -1;
	}
	if (file->was != NULL) {
		return 0;
	}
	change->len_bytes = change->old.len_bytes;
	change->was = open_live(rec, lives, file);
	change->now = change->was; /* the same bytes, elsewhere */
	change->only_moves = true;
	return change->was != NULL ? 0 : -1;
}

static int change_stripes(struct record *rec, struct mrmr_change *changes,
			  size_t num, struct mrmr_error *err)
{
	size_t i;

	if (mrmr_stripes_apply(rec->work, changes, num, err) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (changes[i].error == EILSEQ) {
			return mrmr_error_set(err, EIO,
					      "what was just rebuilt does not "
					      "have the bytes any more that "
					      "were written: the log names the "
					      "member");
		}
		rec->r->result->bare_extents += changes[i].error != 0;
	}
	return 0;
}

static int leave_slots(struct record *rec, struct mrmr_error *err)
{
	struct mrmr_change *changes = NULL;
	struct lives lives = {0};
	size_t num = 0;
	size_t i;

	if (rec->num_leaving == 0) {
		return 0;
	}
	changes = talloc_zero_array(rec->mem_ctx, struct mrmr_change,
				    rec->num_leaving);
	lives.files = talloc_zero_array(rec->mem_ctx, struct rebuild_file *,
					rec->r->num_files);
	lives.lives = talloc_zero_array(rec->mem_ctx, struct mrmr_live *,
					rec->r->num_files);
	rec->work = mrmr_stripes_new(rec->mem_ctx, rec->r->engine, NULL);
	if (changes == NULL || lives.files == NULL || lives.lives == NULL ||
	    rec->work == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	mrmr_stripes_keep_all(rec->work, true);
	for (i = 0; i < rec->num; i++) {
		if (rec->references[i].leaves &&
		    fill_change(rec, &lives, &rec->references[i],
				&changes[num++]) == -1) {
			return mrmr_error_set(err, errno,
					      "%s, which was just rebuilt, "
					      "cannot be read: %s",
					      rebuild_path(
						      rec->references[i].file),
					      strerror(errno));
		}
	}
	if (change_stripes(rec, changes, num, err) == -1) {
		return -1;
	}
	return mrmr_stripes_sync(rec->work, err);
}

/* --- older versions ----------------------------------------------------------------- */

static int put_older_one(struct rebuild *r, struct pending *pending,
			 const struct rebuild_file *file)
{
	struct mrmr_node node = *file->was;

	node.id = file->node->id;
	node.dir_id = file->node->dir_id;
	node.name = file->node->name;
	node.member = target_number(r, file);
	node.inode = file->inode;
	node.mtime_ns = file->mtime_ns;
	node.generation = 0;
	if (mrmr_catalog_cut_extents(r->engine->catalog, node.id, 0) == -1 ||
	    mrmr_catalog_put(r->engine->catalog, &node, NULL) == -1) {
		return -1;
	}
	return pending_add(pending, node.id, node.member, node.size_bytes, 0);
}

static int put_older(struct record *rec, struct mrmr_error *err)
{
	struct rebuild *r = rec->r;
	struct pending *pending = NULL;
	int ret = 0;
	size_t i;

	for (i = 0; i < rec->num_files && ret == 0; i++) {
		const struct rebuild_file *file = rec->files[i];

		if (file->state != REBUILD_PLACED || file->was == NULL) {
			continue;
		}
		if (pending == NULL) {
			pending = pending_load(r, r->engine->catalog, err);
			if (pending == NULL) {
				return -1;
			}
		}
		if (put_older_one(r, pending, file) == -1) {
			ret = fail_catalog(err);
		}
	}
	if (ret == 0 && pending != NULL && pending_save(pending) == -1) {
		ret = fail_catalog(err);
	}
	talloc_free(pending);
	return ret;
}

/* --- what is still to be heard of them ------------------------------------------------ */

static int note_relocated(struct record *rec)
{
	struct relocation *list = NULL;
	size_t num = 0;
	size_t i;
	int ret;

	/* What was done to a file before it was in its place has been told by now. */
	if (mrmr_queue_is_empty(rec->r->engine->queue)) {
		return 0;
	}
	list = talloc_array(rec->mem_ctx, struct relocation, rec->num_files);
	if (list == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < rec->num_files; i++) {
		const struct mrmr_node *node = rec->files[i]->node;

		if (rec->files[i]->state == REBUILD_PLACED &&
		    node->inode != 0) {
			list[num++] = (struct relocation){
				.member = node->member,
				.inode = node->inode,
				.node = node->id,
			};
		}
	}
	ret = relocated_note(rec->r->engine->catalog, list, num);
	talloc_free(list);
	return ret;
}

/* --- the transaction --------------------------------------------------------------- */

static int change_catalog(struct record *rec, struct mrmr_error *err)
{
	size_t i;

	for (i = 0; i < rec->num_files; i++) {
		struct rebuild_file *file = rec->files[i];

		if (file->state == REBUILD_PLACED &&
		    ((file->was == NULL && put_node(rec, file) == -1) ||
		     add_references(rec, file) == -1)) {
			return fail_catalog(err);
		}
	}
	if (note_relocated(rec) == -1 || move_slots(rec) == -1) {
		return fail_catalog(err);
	}
	return leave_slots(rec, err) == -1 ? -1 : put_older(rec, err);
}

/* What lay on the lost member is protected there no more. */
static void forget_inodes(const struct record *rec)
{
	const struct rebuild *r = rec->r;
	const struct mrmr_uuid *id =
		&r->pool->members[r->options->lost].config->id;
	size_t i;

	for (i = 0; i < rec->num_files; i++) {
		const struct rebuild_file *file = rec->files[i];

		if (file->state == REBUILD_PLACED && file->node->inode != 0 &&
		    file->node->num_extents > 0) {
			mrmr_guard_forget(r->engine->guard, id,
					  file->node->inode);
		}
	}
}

int rebuild_record(struct rebuild *r, struct rebuild_file **files, size_t num,
		   struct mrmr_error *err)
{
	struct record rec = {.r = r, .files = files, .num_files = num};
	int saved_errno;
	int ret;

	if (mrmr_catalog_begin(r->engine->catalog) == -1) {
		return fail_catalog(err);
	}
	rec.mem_ctx = talloc_new(r);
	ret = change_catalog(&rec, err);
	if (ret == 0 && mrmr_fault("rebuild-commit") != 0) {
		ret = fail_catalog(err);
	}
	ret = rebuild_end_change(r, rec.work, ret, err);
	saved_errno = errno;
	if (ret == -1 && rec.work != NULL && mrmr_stripes_kept(rec.work)) {
		ret = 1;
	}
	if (ret == 0) {
		forget_inodes(&rec);
	}
	talloc_free(rec.mem_ctx);
	errno = saved_errno;
	return ret;
}
