/*
 * MRMR: recovering the catalogue: does it fit together?
 *
 * Blocks of files and pieces of stripes point at each other. A block whose stripe
 * does not know it is in none: it is protected again. A piece whose file does not
 * know it stays, as its bytes are in the parity: it counts as lost, and when the
 * stripe is mended, it leaves. So nothing is believed that is not so, and what
 * is, is not given up.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/guard.h>
#include <mrmr/stripes.h>
#include <mrmr/undo.h>

#include "recover_private.h"

#define EXTENTS_AT_ONCE 64

/* Generations that members which are away may have seen. */
#define GENERATION_MARGIN (1u << 24)

/* --- blocks of files ------------------------------------------------------------ */

struct verifying {
	struct recover *rc;
	struct mrmr_stripe *stripe; /* the last one, or NULL */
};

static const struct mrmr_stripe *get_stripe(struct verifying *v, uint64_t id)
{
	if (v->stripe == NULL || v->stripe->id != id) {
		TALLOC_FREE(v->stripe);
		if (mrmr_catalog_get_stripe(v->rc->catalog, v->rc, id,
					    &v->stripe) == -1) {
			v->stripe = NULL;
		}
	}
	return v->stripe;
}

static bool has_piece(const struct mrmr_slot *slot,
		      const struct mrmr_node *node, uint32_t index,
		      const struct mrmr_extent *extent)
{
	uint32_t at = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces && at < extent->slot_offset; i++) {
		at += slot->pieces[i].len_bytes;
	}
	return i < slot->num_pieces && at == extent->slot_offset &&
	       slot->pieces[i].file == node->id &&
	       slot->pieces[i].index == index &&
	       slot->pieces[i].len_bytes == extent->len_bytes &&
	       slot->member == node->member;
}

static bool is_right(struct verifying *v, const struct mrmr_node *node,
		     uint32_t index, const struct mrmr_extent *extent)
{
	const struct mrmr_stripe *stripe = NULL;
	uint32_t i;

	if (extent->state == MRMR_EXTENT_UNKNOWN) {
		return false;
	}
	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		return true;
	}
	stripe = get_stripe(v, extent->stripe);
	for (i = 0; stripe != NULL && i < stripe->num_slots; i++) {
		if (stripe->slots[i].slot == extent->slot) {
			return has_piece(&stripe->slots[i], node, index,
					 extent) &&
			       recover_is_of_one_time(v->rc, node->id, index,
						      extent, stripe);
		}
	}
	return false;
}

/* With no hash that anything could have. */
static struct mrmr_extent bare_extent(const struct mrmr_node *node,
				      uint32_t index)
{
	uint64_t begin = (uint64_t)index * node->grid_bytes;
	uint64_t left = node->size_bytes > begin ? node->size_bytes - begin : 0;

	return (struct mrmr_extent){
		.len_bytes = left < node->grid_bytes ? (uint32_t)left
						     : node->grid_bytes,
		.state = MRMR_EXTENT_BARE,
	};
}

static int verify_extents(struct verifying *v, const struct mrmr_node *node)
{
	struct mrmr_catalog *catalog = v->rc->catalog;
	struct mrmr_extent extents[EXTENTS_AT_ONCE];
	uint32_t first = 0;
	uint32_t got = 1;
	uint32_t i;

	while (first < node->num_extents && got > 0) {
		bool is_changed = false;

		if (mrmr_catalog_get_extents(catalog, node->id, first, extents,
					     EXTENTS_AT_ONCE, &got) == -1) {
			return -1;
		}
		for (i = 0; i < got; i++) {
			if (!is_right(v, node, first + i, &extents[i])) {
				recover_note_bare(v->rc, node->id, first + i,
						  &extents[i]);
				extents[i] = bare_extent(node, first + i);
				v->rc->result->bare_extents++;
				is_changed = true;
			}
		}
		if (is_changed &&
		    mrmr_catalog_put_extents(catalog, node->id, first, extents,
					     got) == -1) {
			return -1;
		}
		first += got;
	}
	return 0;
}

/* --- names ---------------------------------------------------------------------- */

/* A part has all directories above its nodes. One that is missing all the same
   gets a name that the scan, which finds files by their inodes, need not keep. */
static int verify_directory(struct verifying *v, const struct mrmr_node *node)
{
	struct mrmr_catalog *catalog = v->rc->catalog;
	struct mrmr_node *dir = NULL;
	char name[64];
	struct mrmr_node made = {
		.id = node->dir_id,
		.dir_id = MRMR_ID_ROOT,
		.name = name,
		.kind = MRMR_NODE_DIRECTORY,
		.member = MRMR_MEMBER_NONE,
		.mode = S_IFDIR | 0700,
	};

	if (node->id == MRMR_ID_ROOT || node->dir_id == MRMR_ID_TRASH ||
	    mrmr_catalog_get(catalog, v->rc, node->dir_id, &dir) == 0) {
		talloc_free(dir);
		return 0;
	}
	if (errno != ENOENT) {
		return -1;
	}
	snprintf(name, sizeof(name), ".recovered.%" PRIx64, node->dir_id);
	v->rc->result->conflicts++;
	return mrmr_catalog_import_node(catalog, &made);
}

static int verify_nodes(struct verifying *v)
{
	struct recover *rc = v->rc;
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	while (mrmr_catalog_next(rc->catalog, rc, id, &node) == 0) {
		id = node->id;
		rc->result->nodes++;
		if (verify_directory(v, node) == -1 ||
		    (node->kind == MRMR_NODE_FILE &&
		     verify_extents(v, node) == -1)) {
			return recover_fail(rc);
		}
		TALLOC_FREE(node);
		if (recover_step(rc) == -1) {
			return -1;
		}
	}
	return errno == ENOENT ? 0 : recover_fail(rc);
}

/* --- stripes -------------------------------------------------------------------------- */

/* How many of its pieces are known. */
static uint64_t verify_stripe(struct recover *rc,
			      const struct mrmr_stripe *stripe)
{
	uint64_t num = 0;
	uint32_t i, j;

	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];
		uint32_t at = 0;

		for (j = 0; j < slot->num_pieces; j++) {
			const struct mrmr_piece *piece = &slot->pieces[j];
			struct mrmr_extent extent;

			if (piece->file == MRMR_ID_NONE) {
				at += piece->len_bytes;
				continue;
			}
			if (mrmr_catalog_piece_extent(rc->catalog, stripe->id,
						      slot->slot, piece, at,
						      &extent)) {
				num++;
			} else {
				rc->result->lost_pieces++;
			}
			at += piece->len_bytes;
		}
	}
	return num;
}

/* One of which nothing is known any more protects nothing. */
static int verify_stripes(struct recover *rc)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;

	while (mrmr_catalog_next_stripe(rc->catalog, rc, id, &stripe) == 0) {
		uint64_t lost = rc->result->lost_pieces;

		id = stripe->id;
		recover_look_at_rows(rc, stripe);
		if (verify_stripe(rc, stripe) == 0) {
			rc->result->lost_pieces = lost;
			if (mrmr_catalog_remove_stripe(rc->catalog, id) == -1) {
				return recover_fail(rc);
			}
		} else {
			rc->result->stripes++;
			recover_note_lost(rc, stripe,
					  rc->result->lost_pieces - lost);
		}
		TALLOC_FREE(stripe);
		if (recover_step(rc) == -1) {
			return -1;
		}
	}
	return errno == ENOENT ? 0 : recover_fail(rc);
}

int recover_verify(struct recover *rc)
{
	struct verifying v = {.rc = rc};
	int ret = verify_nodes(&v);

	talloc_free(v.stripe);
	if (ret == 0) {
		ret = verify_stripes(rc);
	}
	if (ret == 0 && rc->result->lost_pieces > 0 &&
	    mrmr_stripes_note_unknown(rc->catalog) == -1) {
		return recover_fail(rc);
	}
	return ret;
}

/* --- the guard ------------------------------------------------------------------------ */

/* Generations are given one by one, so it takes years to get to half of this. A
   higher one, of what a member says of itself, is none that we gave: believed, it
   would leave none to be given. */
#define GENERATION_MAX UINT32_C(0xc0000000)

struct guarding {
	struct recover *rc;
	struct mrmr_guard *guard;
	uint32_t highest;
};

static int guard_add(struct guarding *g, const struct mrmr_uuid *member,
		     uint64_t inode, uint32_t generation)
{
	if (generation > GENERATION_MAX) {
		generation = GENERATION_MAX;
	}
	if (generation > g->highest) {
		g->highest = generation;
	}
	return mrmr_guard_rebuild_add(g->guard, member, inode, generation);
}

static int guard_nodes(struct guarding *g)
{
	struct mrmr_catalog *catalog = g->rc->catalog;
	struct mrmr_node *node = NULL;
	struct mrmr_uuid member;
	uint64_t id = 0;
	int ret = 0;

	while (ret == 0 && mrmr_catalog_next(catalog, g->rc, id, &node) == 0) {
		id = node->id;
		if (node->kind == MRMR_NODE_FILE && node->num_extents > 0 &&
		    node->inode != 0 &&
		    mrmr_catalog_member_id(catalog, node->member, &member) ==
			    0) {
			ret = guard_add(g, &member, node->inode,
					node->generation);
		}
		TALLOC_FREE(node);
	}
	return ret == -1 || errno != ENOENT ? -1 : 0;
}

/* The highest generation among the names of the pieces: <piece>.<generation>,
   lost.<piece>.<generation>. */
static uint32_t highest_in(int at_fd, const char *folder)
{
	int fd = openat(at_fd, folder,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd != -1 ? fdopendir(fd) : NULL;
	struct dirent *entry = NULL;
	uint32_t highest = 0;

	if (dir == NULL) {
		if (fd != -1) {
			close(fd);
		}
		return 0;
	}
	while ((entry = readdir(dir)) != NULL) {
		const char *dot = strrchr(entry->d_name, '.');
		unsigned long generation =
			dot != NULL ? strtoul(dot + 1, NULL, 16) : 0;

		if (generation <= GENERATION_MAX && generation > highest) {
			highest = (uint32_t)generation;
		}
	}
	closedir(dir);
	return highest;
}

/* The generation of the version that is protected; 0: there is none. */
static uint32_t protected_generation(struct guarding *g, uint16_t number,
				     uint64_t inode)
{
	struct mrmr_catalog *catalog = g->rc->catalog;
	struct mrmr_node *node = NULL;
	uint32_t generation = 0;
	uint64_t id;

	if (mrmr_catalog_find_inode(catalog, number, inode, &id) == 0 &&
	    mrmr_catalog_get(catalog, g->rc, id, &node) == 0) {
		generation = node->num_extents > 0 ? node->generation : 0;
		talloc_free(node);
	}
	return generation;
}

/*
 * Pre-images were taken under generations that may be later than the ones of the
 * records: what is declared from now on must come after them. They may be earlier,
 * too, as those of the version before are removed after a commit, and not durably.
 * What is kept under such a number would not count.
 */
static int guard_preimages(struct guarding *g, const struct mrmr_member *member,
			   uint16_t number)
{
	int fd = openat(member->private_fd, MRMR_UNDO,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd != -1 ? fdopendir(fd) : NULL;
	struct dirent *entry = NULL;
	int ret = 0;

	if (dir == NULL) {
		if (fd != -1) {
			close(fd);
		}
		return fd == -1 && errno == ENOENT ? 0 : -1;
	}
	while (ret == 0 && (entry = readdir(dir)) != NULL) {
		uint64_t inode = strtoull(entry->d_name, NULL, 16);
		uint32_t highest = entry->d_name[0] == '.'
					   ? 0
					   : highest_in(fd, entry->d_name);

		if (inode != 0 && highest != 0 &&
		    highest > protected_generation(g, number, inode)) {
			ret = guard_add(g, &member->config->id, inode, highest);
		}
	}
	closedir(dir);
	return ret;
}

static int fill_guard(struct guarding *g)
{
	struct mrmr_pool *pool = g->rc->pool;
	uint32_t margin;
	size_t i;

	if (mrmr_guard_rebuild_begin(g->guard) == -1 || guard_nodes(g) == -1) {
		return -1;
	}
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		uint16_t number = mrmr_catalog_member(g->rc->catalog,
						      &member->config->id);

		if (member->state == MRMR_MEMBER_ONLINE &&
		    guard_preimages(g, member, number) == -1) {
			return -1;
		}
	}
	/* an inode that no file has */
	margin = g->highest < UINT32_MAX - GENERATION_MARGIN
			 ? g->highest + GENERATION_MARGIN
			 : g->highest;
	if (margin > 0 &&
	    mrmr_guard_rebuild_add(g->guard, &pool->members[0].config->id,
				   UINT64_MAX, margin) == -1) {
		return -1;
	}
	return mrmr_guard_rebuild_end(g->guard);
}

int recover_guard(struct recover *rc)
{
	struct guarding g = {.rc = rc};

	g.guard = mrmr_guard_open(rc, rc->pool->state_fd, rc->err);
	if (g.guard == NULL) {
		return -1;
	}
	/* One that lived through it knows more. */
	if (!mrmr_guard_is_ready(g.guard) && fill_guard(&g) == -1) {
		recover_fail(rc);
		talloc_free(g.guard);
		return -1;
	}
	talloc_free(g.guard);
	return 0;
}
