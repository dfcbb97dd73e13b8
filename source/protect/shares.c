/*
 * MRMR: what is in no stripe is known to enough members (see shares.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "shares.h"

#define DONE_NOTE "shares"
#define DOING_NOTE "sharing"

#define HEAD_BYTES 1
#define MEMBER_BYTES 2

size_t shares_per_transaction = 8192;

struct wanted {
	uint64_t after; /* how far it has come */
	uint8_t shares[HEAD_BYTES + MEMBER_BYTES * MRMR_MEMBERS_MAX];
	size_t len; /* of shares, which is as in the notes */
};

static int compare(const void *a_void, const void *b_void)
{
	const uint16_t *a = a_void;
	const uint16_t *b = b_void;

	return *a - *b;
}

static void find_wanted(const struct mrmr_engine *engine, size_t without,
			struct wanted *wanted)
{
	uint16_t members[MRMR_MEMBERS_MAX];
	size_t num = 0;
	size_t i;

	for (i = 0; i < engine->pool->num_members; i++) {
		if (i != without && engine->number[i] != MRMR_MEMBER_NONE) {
			members[num++] = engine->number[i];
		}
	}
	qsort(members, num, sizeof(members[0]), compare);
	*wanted = (struct wanted){.len = HEAD_BYTES + num * MEMBER_BYTES};
	wanted->shares[0] = (uint8_t)mrmr_catalog_copies(engine->catalog);
	for (i = 0; i < num; i++) {
		uint16_t member = htole16(members[i]);

		memcpy(wanted->shares + HEAD_BYTES + i * MEMBER_BYTES, &member,
		       MEMBER_BYTES);
	}
}

static bool has_member(const uint8_t *shares, size_t len, const uint8_t *member)
{
	size_t at;

	for (at = HEAD_BYTES; at + MEMBER_BYTES <= len; at += MEMBER_BYTES) {
		if (memcmp(shares + at, member, MEMBER_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* As many copies, and of these members all are there. */
static bool is_enough(const uint8_t *done, size_t len,
		      const struct wanted *wanted)
{
	size_t at;

	if (len < HEAD_BYTES || done[0] < wanted->shares[0]) {
		return false;
	}
	for (at = HEAD_BYTES; at + MEMBER_BYTES <= len; at += MEMBER_BYTES) {
		if (!has_member(wanted->shares, wanted->len, done + at)) {
			return false;
		}
	}
	return true;
}

/* 2: nothing is to be done; 1: but for the note; 0: all; -1 with errno. */
static int look_at_note(struct mrmr_catalog *catalog,
			const struct wanted *wanted)
{
	size_t len = 0;
	uint8_t *done = mrmr_catalog_get_note(catalog, NULL, DONE_NOTE, &len);
	int ret = 0;

	if (done == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == wanted->len && memcmp(done, wanted->shares, len) == 0) {
		ret = 2;
	} else if (is_enough(done, len, wanted)) {
		ret = 1;
	}
	talloc_free(done);
	return ret;
}

/* If it was begun for the same, it goes on where it was. */
static int resume(struct mrmr_catalog *catalog, struct wanted *wanted)
{
	size_t len = 0;
	uint8_t *doing = mrmr_catalog_get_note(catalog, NULL, DOING_NOTE, &len);
	uint64_t after;

	if (doing == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == sizeof(after) + wanted->len &&
	    memcmp(doing + sizeof(after), wanted->shares, wanted->len) == 0) {
		memcpy(&after, doing, sizeof(after));
		wanted->after = le64toh(after);
	}
	talloc_free(doing);
	return 0;
}

static int note_done(struct mrmr_catalog *catalog, const struct wanted *wanted)
{
	return mrmr_catalog_put_note(catalog, DOING_NOTE, NULL, 0) == -1
		       ? -1
		       : mrmr_catalog_put_note(catalog, DONE_NOTE,
					       wanted->shares, wanted->len);
}

static int note_doing(struct mrmr_catalog *catalog, const struct wanted *wanted)
{
	uint8_t value[sizeof(uint64_t) + sizeof(wanted->shares)];
	uint64_t after = htole64(wanted->after);

	memcpy(value, &after, sizeof(after));
	memcpy(value + sizeof(after), wanted->shares, wanted->len);
	return mrmr_catalog_put_note(catalog, DOING_NOTE, value,
				     sizeof(after) + wanted->len);
}

/* One transaction: 1: there is more to be done. */
static int share_some(struct mrmr_catalog *catalog, struct wanted *wanted,
		      bool only_note, struct mrmr_error *err)
{
	int ret;

	if (mrmr_catalog_begin(catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(errno));
	}
	ret = only_note ? 0
			: mrmr_catalog_share_again(catalog, &wanted->after,
						   shares_per_transaction);
	if (ret == -1 || (ret == 1 ? note_doing(catalog, wanted)
				   : note_done(catalog, wanted)) == -1) {
		mrmr_error_set(err, errno,
			       "the catalogue cannot be changed: %s",
			       mrmr_catalog_why(errno));
		mrmr_catalog_cancel(catalog);
		return -1;
	}
	return mrmr_catalog_commit(catalog, err) == -1 ? -1 : ret;
}

int shares_look(struct mrmr_engine *engine, size_t without,
		bool (*should_stop)(void *private_data), void *private_data,
		struct mrmr_error *err)
{
	struct mrmr_catalog *catalog = engine->catalog;
	struct wanted wanted;
	int found;
	int ret = 1;

	find_wanted(engine, without, &wanted);
	found = look_at_note(catalog, &wanted);
	if (found == 2) {
		return 0;
	}
	if (found == -1 || resume(catalog, &wanted) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be read: %s",
				      mrmr_catalog_why(errno));
	}
	while (ret == 1 && !should_stop(private_data)) {
		ret = share_some(catalog, &wanted, found == 1, err);
	}
	return ret == -1 ? -1 : 0;
}
