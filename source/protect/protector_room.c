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
#define PER_TRANSACTION 16384

int room_note(struct protector *p)
{
	uint64_t bytes = htole64(mrmr_pool_sum_room(p->pool));

	if (p->has_noted_room) {
		return 0;
	}
	p->has_noted_room = true;
	return mrmr_catalog_put_note(p->catalog, NOTE, (const uint8_t *)&bytes,
				     sizeof(bytes));
}

/* Has the pool more room than it had when they found none? */
static int has_more_room(struct protector *p, bool *has_more)
{
	uint64_t then = 0;
	uint8_t *note = NULL;
	size_t len = 0;

	*has_more = false;
	note = mrmr_catalog_get_note(p->catalog, p, NOTE, &len);
	if (note == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == sizeof(then)) {
		memcpy(&then, note, sizeof(then));
		then = le64toh(then);
	}
	talloc_free(note);
	*has_more = mrmr_pool_has_more_room(p->pool, then);
	return 0;
}

int room_begin(struct protector *p, struct mrmr_error *err)
{
	/* a person may have put right what hindered them */
	if (!p->options->background && !p->options->names_only) {
		return room_retry(p, PENDING_NO_ROOM | PENDING_UNREADABLE, err);
	}
	return room_look(p, err);
}

int room_look(struct protector *p, struct mrmr_error *err)
{
	bool has_more;

	if (has_more_room(p, &has_more) == -1) {
		return protector_fail_catalog(p, err);
	}
	return has_more ? room_retry(p, PENDING_NO_ROOM, err) : 0;
}

/* Some of them, from *node on. *more: there may be others. */
static int retry_some(struct protector *p, uint8_t flags, uint64_t *node,
		      bool *more, struct mrmr_error *err)
{
	struct pending_place place;
	size_t num = 0;

	if (protector_begin(p, err) == -1) {
		return -1;
	}
	while (num < PER_TRANSACTION &&
	       pending_next(p->pending, *node, &place)) {
		*node = place.node + 1;
		if ((place.flags & flags) != 0) {
			pending_set_flags(p->pending, place.node,
					  place.flags & (uint8_t)~flags);
			num++;
		}
	}
	*more = num == PER_TRANSACTION;
	return protector_commit(p, err);
}

static bool is_any(struct protector *p, uint8_t flags, uint64_t *node)
{
	struct pending_place place;

	while (pending_next(p->pending, *node, &place)) {
		*node = place.node;
		if ((place.flags & flags) != 0) {
			return true;
		}
		*node = place.node + 1;
	}
	return false;
}

int room_retry(struct protector *p, uint8_t flags, struct mrmr_error *err)
{
	uint64_t node = 0;
	bool more = is_any(p, flags, &node);

	while (more) {
		p->round->has_more = true;
		if (retry_some(p, flags, &node, &more, err) == -1) {
			return -1;
		}
	}
	return pending_error(p->pending) == -1 ? protector_fail_catalog(p, err)
					       : 0;
}
