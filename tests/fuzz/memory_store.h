/*
 * The store of source/catalog/store.h in memory, in place of the one on libtdb:
 * whatever records a target likes, without checksums that would have to be
 * right, and without a file system.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MEMORY_STORE_H
#define MEMORY_STORE_H

#include "fuzz.h"
#include "store.h"

/*
 * What a store of this name has from now on, for all that open it: a byte with
 * the length of the key, the key, two bytes (low one first) with the length of
 * the value, the value; and so on.
 */
void memory_store_fill(const char *name, struct fuzz_input *records);

/* All stores have nothing. None may be open. */
void memory_store_forget(void);

#endif
