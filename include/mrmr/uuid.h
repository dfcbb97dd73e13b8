/*
 * MRMR: the UUIDs that name pools and members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_UUID_H
#define MRMR_UUID_H

#include <stdbool.h>
#include <stdint.h>

#define MRMR_UUID_LEN 36 /* characters, without the terminating NUL */

struct mrmr_uuid {
	uint8_t byte[16];
};

/* Parse the 8-4-4-4-12 form, either case. False if text is anything else. */
bool mrmr_uuid_parse(const char *text, struct mrmr_uuid *uuid);

/* Write the lower-case form with its NUL. */
void mrmr_uuid_format(const struct mrmr_uuid *uuid,
		      char text[MRMR_UUID_LEN + 1]);

/* A random UUID (version 4) from getrandom(2). 0, or -1 with errno. */
int mrmr_uuid_generate(struct mrmr_uuid *uuid);

bool mrmr_uuid_equal(const struct mrmr_uuid *a, const struct mrmr_uuid *b);
bool mrmr_uuid_is_nil(const struct mrmr_uuid *uuid);

/* 64 bits of the UUID that serve as a device id. Never 0. */
uint64_t mrmr_uuid_hash(const struct mrmr_uuid *uuid);

#endif
