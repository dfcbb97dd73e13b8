/*
 * MRMR: amounts of bytes as people write and read them.
 *
 * Powers of 1024 throughout: K, M, G, T, P, E, with or without "B" or "iB".
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SIZE_H
#define MRMR_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#define MRMR_SIZE_LEN 24 /* room for any formatted size and its NUL */

/*
 * "4M", "1.5T", "4096", "10 GiB" -> bytes, rounded down. False, and *bytes
 * untouched, if it is anything else or does not fit.
 */
bool mrmr_size_parse(const char *text, uint64_t *bytes);

/* For people, rounded to three digits: "512 B", "1.50 GiB", "14.6 TiB". */
const char *mrmr_size_format(uint64_t bytes, char text[MRMR_SIZE_LEN]);

/* Exact, and understood by mrmr_size_parse: "4M", "10G", "4097". */
const char *mrmr_size_format_exact(uint64_t bytes, char text[MRMR_SIZE_LEN]);

#endif
