/*
 * MRMR: the catalogue: sets of numbers, for walks that skip what is not there.
 *
 * A record has the bits of 4096 numbers as bytes, low bits first, without the
 * zeros at its end; a record without bits is not there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include "catalog_private.h"

#define PER_RECORD 4096
#define RECORD_BYTES (PER_RECORD / 8)

/* All zero if there is no such record. */
static int load(struct mrmr_catalog *cat, const struct key *key,
		uint8_t bytes[RECORD_BYTES])
{
	const uint8_t *value = NULL;
	size_t len = 0;

	memset(bytes, 0, RECORD_BYTES);
	if (record_get(cat, key, &value, &len) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len > RECORD_BYTES) {
		return damaged_record(cat, "a set of numbers");
	}
	memcpy(bytes, value, len);
	return 0;
}

int bits_set(struct mrmr_catalog *cat, enum bits bits, uint64_t n, bool value)
{
	struct key key = key_of_numbers(RECORD_BITS, bits, n / PER_RECORD);
	uint8_t bytes[RECORD_BYTES];
	size_t at = n % PER_RECORD;
	uint8_t bit = (uint8_t)(1 << (at % 8));
	size_t len = RECORD_BYTES;

	if (load(cat, &key, bytes) == -1) {
		return -1;
	}
	if (((bytes[at / 8] & bit) != 0) == value) {
		return 0;
	}
	bytes[at / 8] ^= bit;
	while (len > 0 && bytes[len - 1] == 0) {
		len--;
	}
	if (len == 0) {
		return record_delete(cat, &key);
	}
	return record_put(cat, &key, bytes, len);
}

int bits_check_none(struct mrmr_catalog *cat, enum bits bits, uint64_t n,
		    const char *what)
{
	struct key key = key_of_numbers(RECORD_BITS, bits, n / PER_RECORD);
	uint8_t bytes[RECORD_BYTES];
	size_t at = n % PER_RECORD;

	if (cat->is_part) {
		return 0;
	}
	if (load(cat, &key, bytes) == -1) {
		return -1;
	}
	return (bytes[at / 8] & (1 << (at % 8))) == 0
		       ? 0
		       : damaged_record(cat, what);
}

int bits_next(struct mrmr_catalog *cat, enum bits bits, uint64_t *n,
	      uint64_t end)
{
	while (*n < end) {
		struct key key =
			key_of_numbers(RECORD_BITS, bits, *n / PER_RECORD);
		uint8_t bytes[RECORD_BYTES];
		size_t at;

		if (load(cat, &key, bytes) == -1) {
			return -1;
		}
		for (at = *n % PER_RECORD; at < PER_RECORD; at++) {
			if ((bytes[at / 8] & (1 << (at % 8))) != 0) {
				*n = *n / PER_RECORD * PER_RECORD + at;
				if (*n < end) {
					return 0;
				}
				break;
			}
		}
		*n = (*n / PER_RECORD + 1) * PER_RECORD;
		records_trim(cat);
	}
	errno = ENOENT;
	return -1;
}
