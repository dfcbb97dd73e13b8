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

#endif
