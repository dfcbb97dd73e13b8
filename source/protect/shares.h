/*
 * MRMR: what is in no stripe is known to enough members.
 *
 * Directories, empty files and symlinks are in no stripe. So that their names outlive
 * lost members, each is in the parts of some others (mrmr_catalog_attach()), as many as
 * there are when something is changed about it. When a member has left the pool, or
 * more copies are wanted than before, that has to be made so again.
 *
 *     shares      1 byte: copies; 2 bytes each, ascending: members among which it is so
 *     sharing     8 bytes: the last node that was told; then what it is done for, as in
 *                 `shares`; all little-endian
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SHARES_H
#define MRMR_SHARES_H

#include <stdbool.h>
#include <stddef.h>

#include <mrmr/engine.h>

/* So many nodes are looked at; less in tests. */
extern size_t shares_per_transaction;

/* Make it so, among all members of the pool but `without` (SIZE_MAX: all), if it may
   not be; in transactions of its own. What is stopped goes on the next time. */
int shares_look(struct mrmr_engine *engine, size_t without,
		bool (*should_stop)(void *private_data), void *private_data,
		struct mrmr_error *err);

#endif
