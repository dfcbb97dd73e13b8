/*
 * Unit tests: drives that are full.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef FULL_H
#define FULL_H

#include "protecting.h"

/* Somebody else has the rest of each drive but so much; the next call takes the
   place of it. */
void leave_room(struct world *w, uint64_t bytes);

/* How many rows the stripe has that has fewest. */
unsigned int fewest_rows(struct world *w);

#endif
