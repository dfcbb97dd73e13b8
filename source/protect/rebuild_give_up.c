/*
 * MRMR: rebuilding: files that are given up.
 *
 * What cannot be brought back stays in the catalogue, and with it the lost member
 * in the pool: another member may return, with which it can be computed after
 * all. Only when somebody accepts the loss does it go, and only what this run has
 * told of, if it still cannot be computed then: a drive may have failed for a moment
 * only. Each file leaves its stripes, and the catalogue, in a transaction. The rest
 * of a stripe is encoded anew without it (invariant 2); what is on another member
 * that is away too, and was as little to be computed, is in no stripe then, until
 * that member is back and the protector finds it.
 *
 * Nobody is asked about remnants: what a client has deleted, and of which only a part
 * was ever protected (the pool was full), nobody can have again, whoever returns.
 *
 *	killed			then
 *	before a commit		nothing has happened: the next run tells of the
 *				same files, and asks again
 *	after it		the files of the batch are gone; their ghosts go
 *				with the member
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/names.h>
#include <mrmr/shortage.h>
#include <mrmr/stripes.h>

#include "protector_private.h"
#include "rebuild_private.h"
#include "was.h"

#define BATCH_NODES 256
#define BATCH_CHANGES 4096

struct giving {
	struct rebuild *r;
	void *mem_ctx; /* of the batch */
	struct rebuild_file *files[BATCH_NODES];
	size_t num;
	uint64_t bytes; /* that were told to be lost, */
	size_t num_lost;
	struct mrmr_change *changes; /* talloc */
	size_t num_changes;
	struct mrmr_stripes *work;
	struct pending *pending;
};

static int fail_catalog(struct mrmr_error *err)
{
	int error = errno;

	return mrmr_error_set(err, error, "the catalogue cannot be changed: %s",
			      mrmr_catalog_why(error));
}

/* --- what this run has told of ------------------------------------------------- */

void rebuild_note_lost(struct rebuild *r, const struct rebuild_file *file,
		       bool is_remnant)
{
	size_t size = talloc_array_length(r->lost);

	if (r->num_lost == size) {
		struct rebuild_lost *larger =
			talloc_realloc(r, r->lost, struct rebuild_lost,
				       2 * size + 64);

		if (larger == NULL) {
			return; /* it stays: that is the safe side */
		}
		r->lost = larger;
	}
	r->lost[r->num_lost++] = (struct rebuild_lost){
		.id = file->node->id,
		.piece = file->lost_piece,
		.is_remnant = is_remnant,
	};
}

/* With a member that has returned meanwhile, it may be there to be had. */
static bool has_returned(const struct rebuild *r)
{
	size_t i;

	for (i = 0; i < r->pool->num_members; i++) {
		if (r->pool->members[i].state == MRMR_MEMBER_ONLINE &&
		    !r->was_online[i]) {
			return true;
		}
	}
	return false;
}

void rebuild_note_online(struct rebuild *r)
{
	size_t i;

	for (i = 0; i < r->pool->num_members; i++) {
		r->was_online[i] =
			r->pool->members[i].state == MRMR_MEMBER_ONLINE;
	}
}

/* --- a batch --------------------------------------------------------------------- */

struct adding {
	struct giving *g;
	const struct mrmr_node *node;
};

static int add_change(const struct mrmr_extent *extent, uint32_t index,
		      void *private_data)
{
	const struct adding *adding = private_data;
	struct giving *g = adding->g;

	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		return 0;
	}
	g->changes[g->num_changes++] = (struct mrmr_change){
		.file = adding->node->id,
		.member = adding->node->member,
		.index = index,
		.offset = (uint64_t)index * adding->node->grid_bytes,
		.old = *extent,
		.has_old = true,
	};
	return 0;
}

static int add_changes(struct giving *g, const struct mrmr_node *node)
{
	struct adding adding = {.g = g, .node = node};

	g->changes = talloc_realloc(g->mem_ctx, g->changes, struct mrmr_change,
				    g->num_changes + node->num_extents + 1);
	if (g->changes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return mrmr_catalog_each_extent(g->r->engine->catalog, node, add_change,
					&adding);
}

/* Where we are short of what it takes to find out, it stays. */
static bool can_be_computed(struct rebuild *r, const struct rebuild_file *file,
			    uint32_t piece)
{
	const struct mrmr_node *node = rebuild_version(file);
	struct mrmr_error err = {0};
	uint8_t *buf = NULL;
	bool can;

	if (file->was == NULL &&
	    (!rebuild_is_covered(r, node) || !rebuild_is_protected(r, node))) {
		return false;
	}
	if (node->size_bytes == 0) {
		return true;
	}
	buf = malloc(node->grid_bytes);
	can = buf == NULL ||
	      rebuild_compute(r, node, piece, buf, node->grid_bytes, &err) ==
		      0 ||
	      mrmr_is_shortage(err.code);
	free(buf);
	return can;
}

/* One that came back, or went, since it was told stays as it is. So does one of
   which the piece that failed can be computed by now: the next run brings it
   back, or finds another piece. */
static int add_node(struct giving *g, const struct rebuild_lost *lost)
{
	struct rebuild *r = g->r;
	struct rebuild_file *file = NULL;
	struct mrmr_node *node = NULL;

	if (mrmr_catalog_get(r->engine->catalog, g->mem_ctx, lost->id, &node) ==
	    -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (node->member != r->number || node->kind != MRMR_NODE_FILE) {
		return 0;
	}
	file = rebuild_look(r, g->mem_ctx, node);
	if (file == NULL || file->is_adopted) {
		return 0;
	}
	if (can_be_computed(r, file, lost->piece)) {
		r->result->spared_files++;
		return 0;
	}
	file->target = MRMR_IN_SPINE;
	g->files[g->num++] = file;
	if (!lost->is_remnant) {
		g->num_lost++;
		g->bytes += node->size_bytes;
	}
	return add_changes(g, node);
}

static int leave_stripes(struct giving *g, struct mrmr_error *err)
{
	size_t i;

	g->work = mrmr_stripes_new(g->mem_ctx, g->r->engine, NULL);
	if (g->work == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	if (mrmr_stripes_apply(g->work, g->changes, g->num_changes, err) ==
	    -1) {
		return -1;
	}
	for (i = 0; i < g->num_changes; i++) {
		/* then a stripe still depends on it */
		if (g->changes[i].error != 0) {
			return mrmr_error_set(err, g->changes[i].error,
					      "a file that is given up cannot "
					      "leave its stripes: %s",
					      strerror(g->changes[i].error));
		}
	}
	return mrmr_stripes_sync(g->work, err);
}

static int leave_catalog(struct giving *g, const struct rebuild_file *file)
{
	struct mrmr_catalog *catalog = g->r->engine->catalog;
	struct mrmr_link *links = NULL;
	uint64_t id = file->node->id;
	size_t num = 0;
	size_t i;

	if (mrmr_catalog_links(catalog, g->mem_ctx, id, &links, &num) == -1 ||
	    mrmr_catalog_cut_extents(catalog, id, 0) == -1) {
		return -1;
	}
	pending_remove(g->pending, id);
	if (was_forget(catalog, id) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (mrmr_catalog_remove(catalog, links[i].dir_id,
					links[i].name) == -1) {
			return -1;
		}
	}
	return 0;
}

static int change_catalog(struct giving *g, struct mrmr_error *err)
{
	size_t i;

	if (leave_stripes(g, err) == -1) {
		return -1;
	}
	g->pending = pending_load(g->mem_ctx, g->r->engine->catalog, err);
	if (g->pending == NULL) {
		return -1;
	}
	for (i = 0; i < g->num; i++) {
		if (leave_catalog(g, g->files[i]) == -1) {
			return fail_catalog(err);
		}
	}
	if (pending_save(g->pending) == -1 ||
	    mrmr_fault("rebuild-give-up") != 0) {
		return fail_catalog(err);
	}
	return 0;
}

static void let_go(struct giving *g)
{
	struct rebuild *r = g->r;
	const struct mrmr_uuid *id =
		&r->pool->members[r->options->lost].config->id;
	size_t i;

	for (i = 0; i < g->num; i++) {
		if (g->files[i]->node->inode != 0) {
			mrmr_guard_forget(r->engine->guard, id,
					  g->files[i]->node->inode);
		}
		rebuild_drop_ghosts(r, g->files[i]);
	}
	r->result->given_up_files += g->num_lost;
	r->result->given_up_bytes += g->bytes;
}

static int give_up_some(struct giving *g, struct mrmr_error *err)
{
	int ret;

	if (mrmr_catalog_begin(g->r->engine->catalog) == -1) {
		return fail_catalog(err);
	}
	ret = change_catalog(g, err);
	return rebuild_end_change(g->r, g->work, ret, err);
}

/* --- all of them ------------------------------------------------------------------- */

static int give_up_batch(struct rebuild *r, size_t *at, bool remnants,
			 struct mrmr_error *err)
{
	struct giving g = {.r = r, .mem_ctx = talloc_new(r)};
	int saved_errno;
	int ret = 0;

	while (ret == 0 && *at < r->num_lost && g.num < BATCH_NODES &&
	       g.num_changes < BATCH_CHANGES) {
		const struct rebuild_lost *lost = &r->lost[(*at)++];

		if (lost->is_remnant == remnants) {
			ret = add_node(&g, lost);
		}
	}
	if (ret == -1) {
		fail_catalog(err);
	} else if (g.num > 0) {
		ret = give_up_some(&g, err);
	}
	if (ret == 0) {
		let_go(&g);
	}
	saved_errno = errno;
	talloc_free(g.mem_ctx);
	errno = saved_errno;
	return ret;
}

static bool has_any(const struct rebuild *r, bool remnants)
{
	size_t i;

	for (i = 0; i < r->num_lost; i++) {
		if (r->lost[i].is_remnant == remnants) {
			return true;
		}
	}
	return false;
}

int rebuild_give_up(struct rebuild *r, struct mrmr_error *err)
{
	const struct mrmr_rebuild_options *options = r->options;
	size_t at = 0;

	if (!has_any(r, false) || options->accept_loss == NULL ||
	    !options->accept_loss(r->result, options->private_data)) {
		return 0;
	}
	while (at < r->num_lost && !rebuild_should_stop(r)) {
		/* the answer may have taken long */
		r->pool->checked_ns = 0;
		if (rebuild_between(r, err) == -1) {
			return -1;
		}
		if (has_returned(r)) {
			r->result->has_returned = true;
			return 0;
		}
		if (give_up_batch(r, &at, false, err) == -1) {
			return -1;
		}
	}
	return 0;
}

int rebuild_drop_remnants(struct rebuild *r, struct mrmr_error *err)
{
	size_t at = 0;

	while (has_any(r, true) && at < r->num_lost &&
	       !rebuild_should_stop(r)) {
		if (rebuild_between(r, err) == -1) {
			return -1;
		}
		if (give_up_batch(r, &at, true, err) == -1) {
			rebuild_tell(r, MRMR_REBUILD_FAILED,
				     "what is left of deleted files", 0,
				     err->text);
			*err = (struct mrmr_error){0};
			return 0;
		}
	}
	return 0;
}
