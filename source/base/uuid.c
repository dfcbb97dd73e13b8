/*
 * MRMR: the UUIDs that name pools and members (see mrmr/uuid.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <mrmr/hex.h>
#include <mrmr/uuid.h>

/* Bytes of each of the five groups of 8-4-4-4-12 digits. */
static const uint8_t group_bytes[] = {4, 2, 2, 2, 6};
#define NUM_GROUPS (sizeof(group_bytes) / sizeof(group_bytes[0]))

bool mrmr_uuid_parse(const char *text, struct mrmr_uuid *uuid)
{
	struct mrmr_uuid result = {{0}};
	uint8_t *byte = result.byte;
	size_t group;

	for (group = 0; group < NUM_GROUPS; group++) {
		if (group > 0 && *text++ != '-') {
			return false;
		}
		if (!mrmr_hex_decode(text, byte, group_bytes[group])) {
			return false;
		}
		text += 2 * group_bytes[group];
		byte += group_bytes[group];
	}
	if (*text != '\0') {
		return false;
	}
	*uuid = result;
	return true;
}

void mrmr_uuid_format(const struct mrmr_uuid *uuid,
		      char text[MRMR_UUID_LEN + 1])
{
	const uint8_t *byte = uuid->byte;
	size_t group;

	for (group = 0; group < NUM_GROUPS; group++) {
		if (group > 0) {
			*text++ = '-';
		}
		mrmr_hex_encode(byte, group_bytes[group], text);
		text += 2 * group_bytes[group];
		byte += group_bytes[group];
	}
}

int mrmr_uuid_generate(struct mrmr_uuid *uuid)
{
	ssize_t got;

	do {
		got = getrandom(uuid->byte, sizeof(uuid->byte), 0);
	} while (got == -1 && errno == EINTR);
	if (got != (ssize_t)sizeof(uuid->byte)) {
		/* 16 bytes come whole or not at all */
		return -1;
	}
	uuid->byte[6] = (uuid->byte[6] & 0x0f) | 0x40; /* version 4 */
	uuid->byte[8] = (uuid->byte[8] & 0x3f) | 0x80; /* RFC 4122 */
	return 0;
}

bool mrmr_uuid_equal(const struct mrmr_uuid *a, const struct mrmr_uuid *b)
{
	return memcmp(a->byte, b->byte, sizeof(a->byte)) == 0;
}

bool mrmr_uuid_is_nil(const struct mrmr_uuid *uuid)
{
	static const struct mrmr_uuid nil;

	return mrmr_uuid_equal(uuid, &nil);
}

/*
 * FNV-1a, 64 bits, byte by byte: the same on every machine. Clients keep file
 * ids that are made from it, so this function never changes.
 */
uint64_t mrmr_uuid_hash(const struct mrmr_uuid *uuid)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t i;

	for (i = 0; i < sizeof(uuid->byte); i++) {
		hash ^= uuid->byte[i];
		hash *= UINT64_C(0x100000001b3);
	}
	return hash != 0 ? hash : 1;
}
