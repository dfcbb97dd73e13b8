/*
 * MRMR: bytes as hexadecimal digits (see mrmr/hex.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <mrmr/hex.h>

void mrmr_hex_encode(const uint8_t *bytes, size_t len, char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < len; i++) {
		*text++ = digits[bytes[i] >> 4];
		*text++ = digits[bytes[i] & 0xf];
	}
	*text = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

bool mrmr_hex_decode(const char *text, uint8_t *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		int high = digit_value(text[2 * i]);
		int low = high < 0 ? -1 : digit_value(text[2 * i + 1]);

		if (low < 0) {
			return false;
		}
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
