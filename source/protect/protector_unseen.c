/*
 * MRMR: the protector: members that a scan has not seen.
 *
 * A scan is asked for where something may have happened that nobody has written
 * down: after a power cut, which takes the queue and the last writes with it. A
 * member that is away then may have been there when the power went. So a note in
 * the catalogue tells of it (the UUIDs of those that the last scan of everything
 * has not seen, one after another), and when one of them is back, a scan is asked
 * for again.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "protector_private.h"

#define UNSEEN_NOTE "unseen"
#define UUID_BYTES sizeof(((struct mrmr_uuid *)NULL)->byte)

bool *unseen_begin(struct protector *p)
{
	bool *seen = talloc_array(p, bool, p->pool->num_members);
	size_t i;

	if (seen == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	for (i = 0; i < p->pool->num_members; i++) {
		seen[i] = p->pool->members[i].state == MRMR_MEMBER_ONLINE;
	}
	return seen;
}

int unseen_note(struct protector *p, const bool *seen)
{
	uint8_t *value =
		talloc_array(p, uint8_t, p->pool->num_members * UUID_BYTES);
	size_t len = 0;
	size_t i;
	int ret;

	if (value == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < p->pool->num_members; i++) {
		const struct mrmr_member *member = &p->pool->members[i];

		/* it may have left in the middle */
		if (!seen[i] || member->state != MRMR_MEMBER_ONLINE) {
			memcpy(value + len, member->config->id.byte,
			       UUID_BYTES);
			len += UUID_BYTES;
		}
	}
	ret = mrmr_catalog_put_note(p->catalog, UNSEEN_NOTE,
				    len > 0 ? value : NULL, len);
	talloc_free(value);
	return ret;
}

static bool is_online(const struct mrmr_pool *pool, const uint8_t *id)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (memcmp(pool->members[i].config->id.byte, id, UUID_BYTES) ==
		    0) {
			return pool->members[i].state == MRMR_MEMBER_ONLINE;
		}
	}
	return false; /* no member any more */
}

int unseen_look(struct protector *p, struct mrmr_error *err)
{
	size_t len = 0;
	uint8_t *value = NULL;
	bool is_back = false;
	size_t at;

	if (p->scan_path != NULL && p->scan_path[0] == '\0') {
		return 0; /* it is going to be seen */
	}
	value = mrmr_catalog_get_note(p->catalog, p, UNSEEN_NOTE, &len);
	if (value == NULL) {
		return errno == ENOENT ? 0 : protector_fail_catalog(p, err);
	}
	for (at = 0; at + UUID_BYTES <= len && !is_back; at += UUID_BYTES) {
		is_back = is_online(p->pool, value + at);
	}
	talloc_free(value);
	return is_back ? protector_ask_scan(p, err) : 0;
}
