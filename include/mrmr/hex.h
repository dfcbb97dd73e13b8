/*
 * MRMR: bytes as hexadecimal digits.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_HEX_H
#define MRMR_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Write 2 * len lower-case digits and a NUL to text. */
void mrmr_hex_encode(const uint8_t *bytes, size_t len, char *text);

/*
 * Read exactly 2 * len digits, either case, from text; what follows them is
 * not looked at. False if one of them is no digit; a NUL among them ends it.
 */
bool mrmr_hex_decode(const char *text, uint8_t *bytes, size_t len);

#endif
