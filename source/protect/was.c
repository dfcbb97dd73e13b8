/*
 * MRMR: files of which an earlier version is protected, under another id (see
 * was.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>

#include "was.h"

#define WAS "was"
#define IS "is"

static void note_name(const char *what, uint64_t id, char name[32])
{
	snprintf(name, 32, "%s.%" PRIx64, what, id);
}

bool was_is_empty(const struct mrmr_node *node)
{
	return node->num_extents == 0 && node->size_bytes == 0 &&
	       node->generation != 0;
}

static int is_bare(const struct mrmr_extent *extent, uint32_t index,
		   void *private_data)
{
	return extent->state != MRMR_EXTENT_ZERO &&
	       extent->state != MRMR_EXTENT_IN_STRIPE;
}

int was_is_protected(struct mrmr_catalog *catalog, const struct mrmr_node *node)
{
	int ret;

	if (node->num_extents == 0 ||
	    (uint64_t)node->num_extents * node->grid_bytes < node->size_bytes) {
		return was_is_empty(node);
	}
	ret = mrmr_catalog_each_extent(catalog, node, is_bare, NULL);
	return ret == -1 ? -1 : ret == 0;
}

/* MRMR_ID_NONE: there is no note. -1 with errno. */
static int get(struct mrmr_catalog *catalog, const char *what, uint64_t id,
	       uint64_t *was)
{
	uint8_t *value = NULL;
	char name[32];
	size_t len = 0;

	*was = MRMR_ID_NONE;
	note_name(what, id, name);
	value = mrmr_catalog_get_note(catalog, NULL, name, &len);
	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == sizeof(*was)) {
		memcpy(was, value, sizeof(*was));
		*was = le64toh(*was);
	}
	talloc_free(value);
	return 0;
}

static int put(struct mrmr_catalog *catalog, const char *what, uint64_t id,
	       uint64_t other)
{
	uint64_t value = htole64(other);
	char name[32];

	note_name(what, id, name);
	return mrmr_catalog_put_note(catalog, name, (const uint8_t *)&value,
				     sizeof(value));
}

static int drop(struct mrmr_catalog *catalog, const char *what, uint64_t id)
{
	char name[32];

	note_name(what, id, name);
	return mrmr_catalog_put_note(catalog, name, NULL, 0);
}

int was_find(struct mrmr_catalog *catalog, void *mem_ctx,
	     struct mrmr_node **node)
{
	struct mrmr_node *found = NULL;
	uint64_t was;
	int is_protected;

	if ((*node)->kind != MRMR_NODE_FILE) {
		return 0;
	}
	if (get(catalog, WAS, (*node)->id, &was) == -1) {
		return -1;
	}
	if (was == MRMR_ID_NONE) {
		return 0;
	}
	is_protected = was_is_protected(catalog, *node);
	if (is_protected != 0) {
		return is_protected == 1 ? 0 : -1;
	}
	if (mrmr_catalog_get(catalog, mem_ctx, was, &found) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	*node = found;
	return 0;
}

int was_note(struct mrmr_catalog *catalog, uint64_t id, uint64_t was)
{
	struct mrmr_node *node = NULL;
	uint64_t before = MRMR_ID_NONE;
	int is_protected = 0;

	if (mrmr_catalog_get(catalog, NULL, was, &node) == 0) {
		is_protected = was_is_protected(catalog, node);
		talloc_free(node);
	} else if (errno != ENOENT) {
		return -1;
	}
	if (is_protected == -1) {
		return -1;
	}
	/* it was not protected itself, but perhaps what it has been */
	if (is_protected == 0) {
		if (get(catalog, WAS, was, &before) == -1 ||
		    was_forget(catalog, was) == -1) {
			return -1;
		}
		was = before;
	}
	if (was == MRMR_ID_NONE || was == id) {
		return 0;
	}
	if (put(catalog, WAS, id, was) == -1 || mrmr_fault("was-noted") != 0) {
		return -1;
	}
	return put(catalog, IS, was, id);
}

int was_forget(struct mrmr_catalog *catalog, uint64_t id)
{
	uint64_t was;
	uint64_t is;

	if (get(catalog, WAS, id, &was) == -1) {
		return -1;
	}
	if (was == MRMR_ID_NONE) {
		return 0;
	}
	if (get(catalog, IS, was, &is) == -1 ||
	    (is == id && drop(catalog, IS, was) == -1) ||
	    mrmr_fault("was-forgotten") != 0) {
		return -1;
	}
	return drop(catalog, WAS, id);
}

/* The notes of a file that has gone may be left. */
int was_is_needed(struct mrmr_catalog *catalog, uint64_t was)
{
	struct mrmr_node *node = NULL;
	struct mrmr_node *found = NULL;
	int saved_errno;
	uint64_t is;
	int ret;

	if (get(catalog, IS, was, &is) == -1) {
		return -1;
	}
	if (is == MRMR_ID_NONE) {
		return 0;
	}
	if (mrmr_fault("was-needed") != 0) {
		return -1;
	}
	if (mrmr_catalog_get(catalog, NULL, is, &node) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	found = node;
	ret = was_find(catalog, node, &found);
	if (ret == 0) {
		ret = node->dir_id != MRMR_ID_TRASH && found->id == was;
	}
	saved_errno = errno;
	talloc_free(node);
	errno = saved_errno;
	return ret;
}
