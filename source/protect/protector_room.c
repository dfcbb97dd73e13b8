/*
 * MRMR: the protector: files for whose parity there was no room.
 *
 * To try them costs reading them. So a protector that was started by an event
 * leaves them, until the pool has more room than it had when they found none: a
 * note has how much that was. Whoever says sync has them tried.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "protector_private.h"

#define NOTE "no_room"
#define MORE_BYTES (UINT64_C(64) << 20)

static uint64_t sum_room(const struct protector *p)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		bytes += mrmr_member_room(&p->pool->members[i]);
	}
	return bytes;
}

int room_note(struct protector *p)
{
	uint64_t bytes = htole64(sum_room(p));

	if (p->has_noted_room) {
		return 0;
	}
	p->has_noted_room = true;
	return mrmr_catalog_put_note(p->catalog, NOTE, (const uint8_t *)&bytes,
				     sizeof(bytes));
}

int room_begin(struct protector *p)
{
	uint64_t then = 0;
	uint8_t *note = NULL;
	size_t len = 0;

	note = mrmr_catalog_get_note(p->catalog, p, NOTE, &len);
	if (note == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == sizeof(then)) {
		memcpy(&then, note, sizeof(then));
		then = le64toh(then);
	}
	talloc_free(note);
	if (sum_room(p) >= then + MORE_BYTES) {
		room_retry(p);
	}
	return 0;
}

void room_retry(struct protector *p)
{
	uint32_t i;

	for (i = 0; i < pending_end(p->pending); i++) {
		const struct pending_entry *entry = pending_get(p->pending, i);

		if (entry->node != 0) {
			pending_set_flags(p->pending, i,
					  entry->flags &
						  (uint8_t)~PENDING_NO_ROOM);
		}
	}
}
