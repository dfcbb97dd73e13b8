/*
 * MRMR: amounts of bytes as people write and read them (see mrmr/size.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <mrmr/size.h>

static const char unit_letters[] = "KMGTPE";

/* The power of two that a unit stands for, or -1: "", "B", "M", "MB", "MiB". */
static int unit_shift(const char *unit)
{
	const char *letter = NULL;
	int shift;

	if (unit[0] == '\0' || strcasecmp(unit, "B") == 0) {
		return 0;
	}
	letter = strchr(unit_letters, unit[0] & ~0x20);
	if (letter == NULL || *letter == '\0') {
		return -1;
	}
	shift = 10 * (int)(letter - unit_letters + 1);
	if (unit[1] == '\0' || strcasecmp(unit + 1, "B") == 0 ||
	    strcasecmp(unit + 1, "iB") == 0) {
		return shift;
	}
	return -1;
}

/* Digits at *text to *value; their count, or -1 if they do not fit. */
static int read_digits(const char **text, uint64_t *value)
{
	int count = 0;

	*value = 0;
	while (**text >= '0' && **text <= '9') {
		uint64_t digit = (uint64_t)(**text - '0');

		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, digit, value)) {
			return -1;
		}
		(*text)++;
		count++;
	}
	return count;
}

bool mrmr_size_parse(const char *text, uint64_t *bytes)
{
	unsigned __int128 total;
	uint64_t whole = 0;
	uint64_t fraction = 0;
	uint64_t scale = 1;
	int shift;

	if (read_digits(&text, &whole) <= 0) {
		return false;
	}
	if (*text == '.') {
		int digits;
		int i;

		text++;
		digits = read_digits(&text, &fraction);
		if (digits <= 0 || digits > 18) {
			return false;
		}
		for (i = 0; i < digits; i++) {
			scale *= 10;
		}
	}
	if (*text == ' ') {
		text++;
		if (*text == '\0') {
			return false;
		}
	}
	shift = unit_shift(text);
	if (shift < 0 || (shift == 0 && scale > 1)) {
		/* there is no part of a byte */
		return false;
	}
	/* 60 bits of unit, 60 of fraction, 64 of whole: 128 are enough */
	total = (unsigned __int128)whole << shift;
	total += ((unsigned __int128)fraction << shift) / scale;
	if (total > UINT64_MAX) {
		return false;
	}
	*bytes = (uint64_t)total;
	return true;
}

const char *mrmr_size_format(uint64_t bytes, char text[MRMR_SIZE_LEN])
{
	uint64_t hundredths;
	int unit = -1;
	int shift;

	if (bytes < 1024) {
		snprintf(text, MRMR_SIZE_LEN, "%" PRIu64 " B", bytes);
		return text;
	}
	for (shift = 0; shift < 60 && bytes >> shift >= 1024; shift += 10) {
		unit++;
	}
	hundredths = (uint64_t)(((unsigned __int128)bytes * 100) >> shift);
	if (hundredths < 1000) {
		snprintf(text, MRMR_SIZE_LEN, "%u.%02u %ciB",
			 (unsigned int)(hundredths / 100),
			 (unsigned int)(hundredths % 100), unit_letters[unit]);
	} else if (hundredths < 10000) {
		snprintf(text, MRMR_SIZE_LEN, "%u.%u %ciB",
			 (unsigned int)(hundredths / 100),
			 (unsigned int)(hundredths % 100 / 10),
			 unit_letters[unit]);
	} else {
		snprintf(text, MRMR_SIZE_LEN, "%u %ciB",
			 (unsigned int)(hundredths / 100), unit_letters[unit]);
	}
	return text;
}

const char *mrmr_size_format_exact(uint64_t bytes, char text[MRMR_SIZE_LEN])
{
	int unit = -1;

	while (bytes != 0 && bytes % 1024 == 0 && unit < 5) {
		bytes /= 1024;
		unit++;
	}
	if (unit < 0) {
		snprintf(text, MRMR_SIZE_LEN, "%" PRIu64, bytes);
	} else {
		snprintf(text, MRMR_SIZE_LEN, "%" PRIu64 "%c", bytes,
			 unit_letters[unit]);
	}
	return text;
}
