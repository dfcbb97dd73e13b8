/*
 * Unit tests: a catalogue of which bits have turned, so that it has lost records.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef HIDDEN_H
#define HIDDEN_H

#include <stdbool.h>
#include <stdint.h>

#include "world.h"

/*
 * While the pool is closed: all records of a hash chain of the catalogue are lost.
 * It is chain *at, or the first one after it that has any; *at becomes the next one.
 * False: there is none.
 */
bool hide_chain(struct world *w, uint32_t *at);
/* The same of a member's part of it. */
bool hide_chain_of_part(struct world *w, size_t member, uint32_t *at);

/* A record is removed from a member's part, by its key
   (docs/catalogue.md). All that is left is sound. */
void remove_record(struct world *w, size_t member, const char *key_bytes,
		   size_t len);

#endif
