/*
 * MRMR: rebuilding: trouble, told once a node and run.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdlib.h>

#include <talloc.h>

#include "rebuild_private.h"

static int compare_ids(const void *a_void, const void *b_void)
{
	uint64_t a = *(const uint64_t *)a_void;
	uint64_t b = *(const uint64_t *)b_void;

	return a < b ? -1 : a > b;
}

bool rebuild_is_settled(const struct rebuild *r, uint64_t id)
{
	return r->num_settled > 0 && bsearch(&id, r->settled, r->num_settled,
					     sizeof(id), compare_ids) != NULL;
}

/* Without memory, it is told again. */
static void settle(struct rebuild *r, uint64_t id)
{
	size_t size = talloc_array_length(r->settled);
	size_t at = r->num_settled;

	if (rebuild_is_settled(r, id)) {
		return;
	}
	if (r->num_settled == size) {
		uint64_t *larger =
			talloc_realloc(r, r->settled, uint64_t, 2 * size + 64);

		if (larger == NULL) {
			return;
		}
		r->settled = larger;
	}
	/* they come in the order of ids, as a rule */
	for (; at > 0 && r->settled[at - 1] > id; at--) {
		r->settled[at] = r->settled[at - 1];
	}
	r->settled[at] = id;
	r->num_settled++;
}

static void count_trouble(struct rebuild *r, enum mrmr_rebuild_trouble kind,
			  uint64_t size_bytes)
{
	switch (kind) {
	case MRMR_REBUILD_LOST:
	case MRMR_REBUILD_UNPROTECTED:
		r->result->lost_files++;
		r->result->lost_bytes += size_bytes;
		break;
	case MRMR_REBUILD_TAKEN:
		r->result->taken_files++;
		break;
	case MRMR_REBUILD_FAILED:
		r->result->failed_files++;
		break;
	case MRMR_REBUILD_OLDER:
		r->result->older_files++;
		break;
	}
}

void rebuild_tell(struct rebuild *r, enum mrmr_rebuild_trouble kind,
		  const char *path, uint64_t size_bytes, const char *why)
{
	count_trouble(r, kind, size_bytes);
	if (r->options->trouble != NULL) {
		r->options->trouble(kind, path, size_bytes, why,
				    r->options->private_data);
	}
}

void rebuild_trouble(struct rebuild *r, const struct mrmr_node *node,
		     enum mrmr_rebuild_trouble kind, const char *path,
		     const char *why)
{
	if (rebuild_is_settled(r, node->id)) {
		return;
	}
	settle(r, node->id);
	rebuild_tell(r, kind, path, node->size_bytes, why);
}

static bool is_deleted(const struct rebuild_file *file)
{
	size_t i;

	for (i = 0; i < file->num_names; i++) {
		if (!file->names[i].is_trash) {
			return false;
		}
	}
	return file->num_names > 0;
}

void rebuild_drop(struct rebuild *r, struct rebuild_file *file,
		  enum mrmr_rebuild_trouble kind, const char *why)
{
	bool is_remnant = kind == MRMR_REBUILD_UNPROTECTED && is_deleted(file);

	rebuild_unstage(r, file);
	file->state = REBUILD_DROPPED;
	if ((kind == MRMR_REBUILD_LOST || kind == MRMR_REBUILD_UNPROTECTED) &&
	    !rebuild_is_settled(r, file->node->id)) {
		rebuild_note_lost(r, file, is_remnant);
	}
	if (is_remnant) {
		settle(r, file->node->id);
		return;
	}
	rebuild_trouble(r, file->node, kind, rebuild_path(file), why);
}
