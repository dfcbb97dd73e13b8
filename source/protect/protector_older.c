/*
 * MRMR: the protector: a list of pending files as older versions kept it.
 *
 *     pending          8 bytes each: number of notes, of files, and their bytes
 *     pending.N        256 places: 8 bytes id (0: free), 1 byte flags
 *
 * What is in it comes into the list as it is now, note by note: whoever is killed in
 * between leaves the rest of the notes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "protector_private.h"

#define HEAD_NAME "pending"
#define HEAD_BYTES 24
#define PLACE_BYTES 9

static int take_place(struct protector *p, const uint8_t *place)
{
	struct mrmr_node *node = NULL;
	uint64_t id;
	int ret;

	memcpy(&id, place, sizeof(id));
	id = le64toh(id);
	if (id == 0) {
		return 0;
	}
	if (mrmr_catalog_get(p->catalog, p, id, &node) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	ret = pending_add(p->pending, id, node->member, node->size_bytes,
			  place[8]);
	talloc_free(node);
	return ret;
}

static int take_note(struct protector *p, const char *name)
{
	size_t len = 0;
	uint8_t *value = mrmr_catalog_get_note(p->catalog, p, name, &len);
	int ret = 0;
	size_t i;

	if (value == NULL) {
		return errno == ENOENT ? 0 : -1; /* it was taken */
	}
	for (i = 0; i + PLACE_BYTES <= len && ret == 0; i += PLACE_BYTES) {
		ret = take_place(p, value + i);
	}
	talloc_free(value);
	return ret == 0 ? mrmr_catalog_put_note(p->catalog, name, NULL, 0) : -1;
}

static int take_alone(struct protector *p, const char *name,
		      struct mrmr_error *err)
{
	if (protector_begin(p, err) == -1) {
		return -1;
	}
	if (take_note(p, name) == -1) {
		protector_fail_catalog(p, err);
		protector_cancel(p);
		return -1;
	}
	return protector_commit(p, err);
}

int older_take(struct protector *p, struct mrmr_error *err)
{
	size_t len = 0;
	uint8_t *head = mrmr_catalog_get_note(p->catalog, p, HEAD_NAME, &len);
	uint64_t num_notes = 0;
	uint64_t i;

	if (head == NULL) {
		return errno == ENOENT ? 0 : protector_fail_catalog(p, err);
	}
	if (len == HEAD_BYTES) {
		memcpy(&num_notes, head, sizeof(num_notes));
	}
	talloc_free(head);
	for (i = 0; i < le64toh(num_notes); i++) {
		char name[32];

		snprintf(name, sizeof(name), HEAD_NAME ".%llx",
			 (unsigned long long)i);
		if (take_alone(p, name, err) == -1) {
			return -1;
		}
	}
	if (protector_begin(p, err) == -1) {
		return -1;
	}
	if (mrmr_catalog_put_note(p->catalog, HEAD_NAME, NULL, 0) == -1) {
		protector_fail_catalog(p, err);
		protector_cancel(p);
		return -1;
	}
	return protector_commit(p, err);
}
