/*
 * MRMR: the protector: the files that are to be looked at.
 *
 * A file becomes pending in the transaction that has brought the catalogue in
 * step with an event, and ends to be in the one that has put it into stripes:
 * whoever is killed in between leaves it on the list, and the queue need not
 * remember it.
 *
 * On disk, the list is cut into notes of PER_NOTE places each, so that a batch
 * writes what it has changed and not the list:
 *
 *     pending          the number of notes, of files, and their bytes
 *     pending.N        for each place: the id of the node (0: free), flags
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "protector_private.h"

#define PER_NOTE 256
#define PLACE_BYTES 9 /* id, flags */
#define HEAD_BYTES 24
#define HEAD_NAME "pending"

struct pending {
	struct mrmr_catalog *catalog;
	struct pending_entry *entries; /* talloc; num_notes * PER_NOTE */
	bool *is_dirty;                /* talloc; of each note */
	uint32_t num_notes;
	uint32_t num_notes_on_disk;
	uint32_t *table; /* talloc; node -> index + 1, open addressing */
	uint32_t table_size;
	uint32_t first_free; /* no place before it is free */
	uint32_t serial;
	uint64_t num;
	uint64_t bytes;
};

/* --- finding one by its node ----------------------------------------------- */

static uint32_t start_of(const struct pending *pending, uint64_t node)
{
	uint64_t hash = node * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(hash >> 32) & (pending->table_size - 1);
}

static void table_enter(struct pending *pending, uint32_t index)
{
	uint32_t at = start_of(pending, pending->entries[index].node);

	while (pending->table[at] != 0) {
		at = (at + 1) & (pending->table_size - 1);
	}
	pending->table[at] = index + 1;
}

static int table_grow(struct pending *pending, uint32_t size)
{
	uint32_t i;

	talloc_free(pending->table);
	pending->table = talloc_zero_array(pending, uint32_t, size);
	if (pending->table == NULL) {
		errno = ENOMEM;
		return -1;
	}
	pending->table_size = size;
	for (i = 0; i < pending_end(pending); i++) {
		if (pending->entries[i].node != 0) {
			table_enter(pending, i);
		}
	}
	return 0;
}

uint32_t pending_find(const struct pending *pending, uint64_t node)
{
	uint32_t at = start_of(pending, node);

	while (pending->table[at] != 0) {
		uint32_t index = pending->table[at] - 1;

		if (pending->entries[index].node == node) {
			return index;
		}
		at = (at + 1) & (pending->table_size - 1);
	}
	return PENDING_NONE;
}

/* Those behind it in the same run move up. */
static void table_remove(struct pending *pending, uint32_t index)
{
	const uint32_t mask = pending->table_size - 1;
	uint32_t at = start_of(pending, pending->entries[index].node);
	uint32_t next;

	while (pending->table[at] != index + 1) {
		at = (at + 1) & mask;
	}
	pending->table[at] = 0;
	for (next = (at + 1) & mask; pending->table[next] != 0;
	     next = (next + 1) & mask) {
		uint32_t moved = pending->table[next] - 1;

		pending->table[next] = 0;
		table_enter(pending, moved);
	}
}

/* --- adding and removing ------------------------------------------------------ */

static int add_note(struct pending *pending)
{
	uint32_t num = pending->num_notes + 1;
	uint32_t places = num * PER_NOTE;
	struct pending_entry *entries = NULL;
	bool *is_dirty = NULL;

	/* by an eighth, as lists may be long */
	if (talloc_array_length(pending->entries) < places) {
		uint32_t more = num + num / 8;

		entries = talloc_realloc(pending, pending->entries,
					 struct pending_entry, more * PER_NOTE);
		if (entries == NULL) {
			errno = ENOMEM;
			return -1;
		}
		pending->entries = entries;
		is_dirty =
			talloc_realloc(pending, pending->is_dirty, bool, more);
		if (is_dirty == NULL) {
			errno = ENOMEM;
			return -1;
		}
		pending->is_dirty = is_dirty;
	}
	memset(pending->entries + places - PER_NOTE, 0,
	       PER_NOTE * sizeof(pending->entries[0]));
	pending->is_dirty[num - 1] = false;
	pending->num_notes = num;
	/* at most two thirds full */
	if (pending->table_size < places + places / 2) {
		return table_grow(pending, 2 * pending->table_size);
	}
	return 0;
}

static void dirty(struct pending *pending, uint32_t index)
{
	pending->is_dirty[index / PER_NOTE] = true;
}

int pending_add(struct pending *pending, uint64_t node, uint16_t member,
		uint64_t bytes, uint8_t flags)
{
	uint32_t index = pending_find(pending, node);
	struct pending_entry *entry = NULL;

	if (index == PENDING_NONE) {
		for (index = pending->first_free;
		     index < pending_end(pending) &&
		     pending->entries[index].node != 0;
		     index++) {
		}
		if (index == pending_end(pending) && add_note(pending) == -1) {
			return -1;
		}
		pending->first_free = index + 1;
		pending->entries[index] = (struct pending_entry){.node = node};
		table_enter(pending, index);
		pending->num++;
		dirty(pending, index);
	}
	entry = &pending->entries[index];
	if (entry->flags != flags) {
		dirty(pending, index);
	}
	pending->bytes += bytes - entry->bytes;
	/* what hindered it may be over */
	*entry = (struct pending_entry){
		.node = node,
		.bytes = bytes,
		.member = member,
		.flags = flags,
		.serial = ++pending->serial,
	};
	return 0;
}

void pending_remove(struct pending *pending, uint32_t index)
{
	pending->num--;
	pending->bytes -= pending->entries[index].bytes;
	table_remove(pending, index);
	pending->entries[index] = (struct pending_entry){.node = 0};
	if (index < pending->first_free) {
		pending->first_free = index;
	}
	dirty(pending, index);
}

void pending_set_flags(struct pending *pending, uint32_t index, uint8_t flags)
{
	if (pending->entries[index].flags != flags) {
		pending->entries[index].flags = flags;
		dirty(pending, index);
	}
}

struct pending_entry *pending_get(struct pending *pending, uint32_t index)
{
	return &pending->entries[index];
}

uint32_t pending_end(const struct pending *pending)
{
	return pending->num_notes * PER_NOTE;
}

uint64_t pending_num(const struct pending *pending)
{
	return pending->num;
}

uint64_t pending_bytes(const struct pending *pending)
{
	return pending->bytes;
}

/* --- notes ------------------------------------------------------------------------ */

static void note_name(uint32_t note, char name[32])
{
	snprintf(name, 32, HEAD_NAME ".%x", note);
}

static int save_note(struct pending *pending, uint32_t note)
{
	uint8_t value[PER_NOTE * PLACE_BYTES];
	uint8_t *at = value;
	char name[32];
	uint32_t i;

	for (i = 0; i < PER_NOTE; i++) {
		const struct pending_entry *entry =
			&pending->entries[note * PER_NOTE + i];
		uint64_t id = htole64(entry->node);

		memcpy(at, &id, sizeof(id));
		at[8] = entry->flags;
		at += PLACE_BYTES;
	}
	note_name(note, name);
	return mrmr_catalog_put_note(pending->catalog, name, value,
				     sizeof(value));
}

/* Those at the end that nothing is in any more go. */
static int save_head(struct pending *pending)
{
	uint64_t head[3] = {htole64(pending->num_notes), htole64(pending->num),
			    htole64(pending->bytes)};
	uint32_t note;
	char name[32];

	for (note = pending->num_notes; note < pending->num_notes_on_disk;
	     note++) {
		note_name(note, name);
		if (mrmr_catalog_put_note(pending->catalog, name, NULL, 0) ==
		    -1) {
			return -1;
		}
	}
	return mrmr_catalog_put_note(pending->catalog, HEAD_NAME,
				     (const uint8_t *)head, sizeof(head));
}

static void shorten(struct pending *pending)
{
	while (pending->num_notes > 0) {
		uint32_t first = (pending->num_notes - 1) * PER_NOTE;
		uint32_t i;

		for (i = first; i < first + PER_NOTE; i++) {
			if (pending->entries[i].node != 0) {
				return;
			}
		}
		pending->num_notes--;
	}
}

int pending_save(struct pending *pending)
{
	bool any = false;
	uint32_t note;

	for (note = 0; note < pending->num_notes; note++) {
		any = any || pending->is_dirty[note];
	}
	if (!any) {
		return 0;
	}
	shorten(pending);
	for (note = 0; note < pending->num_notes; note++) {
		if (pending->is_dirty[note] && save_note(pending, note) == -1) {
			return -1;
		}
		pending->is_dirty[note] = false;
	}
	if (save_head(pending) == -1) {
		return -1;
	}
	pending->num_notes_on_disk = pending->num_notes;
	if (pending->first_free > pending_end(pending)) {
		pending->first_free = pending_end(pending);
	}
	return 0;
}

/* What of an entry is not in the note. False: there is no such node. */
static bool complete(struct pending *pending, struct pending_entry *entry)
{
	struct mrmr_node *node = NULL;

	if (mrmr_catalog_get(pending->catalog, pending, entry->node, &node) ==
	    -1) {
		return false;
	}
	entry->member = node->member;
	entry->bytes = node->size_bytes;
	entry->serial = ++pending->serial;
	talloc_free(node);
	return true;
}

static int load_note(struct pending *pending, uint32_t note)
{
	uint8_t *value = NULL;
	char name[32];
	size_t len = 0;
	uint32_t i;

	note_name(note, name);
	value = mrmr_catalog_get_note(pending->catalog, pending, name, &len);
	if (value == NULL || len != PER_NOTE * PLACE_BYTES) {
		errno = value != NULL || errno == ENOENT ? EILSEQ : errno;
		talloc_free(value);
		return -1;
	}
	for (i = 0; i < PER_NOTE; i++) {
		const uint8_t *at = value + i * PLACE_BYTES;
		struct pending_entry entry = {.flags = at[8]};
		uint64_t id;

		memcpy(&id, at, sizeof(id));
		entry.node = le64toh(id);
		if (entry.node == 0) {
			continue;
		}
		if (!complete(pending, &entry)) {
			if (errno != ENOENT) {
				talloc_free(value);
				return -1;
			}
			pending->is_dirty[note] = true;
			continue;
		}
		pending->entries[note * PER_NOTE + i] = entry;
		table_enter(pending, note * PER_NOTE + i);
		pending->num++;
		pending->bytes += entry.bytes;
	}
	talloc_free(value);
	return 0;
}

static int load(struct pending *pending)
{
	uint64_t head[3] = {0};
	uint8_t *value = NULL;
	uint32_t note;
	size_t len = 0;

	value = mrmr_catalog_get_note(pending->catalog, pending, HEAD_NAME,
				      &len);
	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len != HEAD_BYTES) {
		errno = EILSEQ;
		return -1;
	}
	memcpy(head, value, sizeof(head));
	talloc_free(value);
	pending->num_notes_on_disk = (uint32_t)le64toh(head[0]);
	for (note = 0; note < pending->num_notes_on_disk; note++) {
		if (add_note(pending) == -1 || load_note(pending, note) == -1) {
			return -1;
		}
	}
	return 0;
}

struct pending *pending_load(void *mem_ctx, struct mrmr_engine *engine,
			     struct mrmr_error *err)
{
	struct pending *pending = talloc_zero(mem_ctx, struct pending);

	if (pending == NULL) {
		protector_no_memory(err);
		return NULL;
	}
	pending->catalog = engine->catalog;
	if (table_grow(pending, 1024) == -1 || load(pending) == -1) {
		mrmr_error_set(err, errno,
			       "the list of files to be protected, in the "
			       "catalogue, cannot be read: %s",
			       strerror(errno));
		TALLOC_FREE(pending);
	}
	return pending;
}

/* --- for those who only look ---------------------------------------------------- */

int pending_each_saved(struct mrmr_catalog *catalog, pending_saved_fn *fn,
		       void *private_data)
{
	uint32_t note = 0;
	int ret = 0;
	size_t i;

	while (ret == 0) {
		char name[32];
		size_t len = 0;
		uint8_t *value = NULL;

		note_name(note++, name);
		value = mrmr_catalog_get_note(catalog, NULL, name, &len);
		if (value == NULL) {
			return errno == ENOENT ? 0 : -1;
		}
		for (i = 0; i + PLACE_BYTES <= len && ret == 0;
		     i += PLACE_BYTES) {
			uint64_t id;

			memcpy(&id, value + i, sizeof(id));
			if (id != 0) {
				ret = fn(le64toh(id), value[i + 8],
					 private_data);
			}
		}
		talloc_free(value);
	}
	return ret;
}

int mrmr_protector_pending(struct mrmr_catalog *catalog, uint64_t *num_files,
			   uint64_t *num_bytes, bool *needs_scan)
{
	uint64_t head[3] = {0};
	uint8_t *value = NULL;
	size_t len = 0;

	*num_files = 0;
	*num_bytes = 0;
	value = mrmr_catalog_get_note(catalog, NULL, HEAD_NAME, &len);
	if (value == NULL && errno != ENOENT) {
		return -1;
	}
	if (value != NULL && len == HEAD_BYTES) {
		memcpy(head, value, sizeof(head));
		*num_files = le64toh(head[1]);
		*num_bytes = le64toh(head[2]);
	}
	talloc_free(value);
	value = mrmr_catalog_get_note(catalog, NULL, MRMR_SCAN_NOTE, &len);
	if (value == NULL && errno != ENOENT) {
		return -1;
	}
	*needs_scan = value != NULL;
	talloc_free(value);
	return 0;
}
