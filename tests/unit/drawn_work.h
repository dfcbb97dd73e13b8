/*
 * Unit tests: what clients do, drawn.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef DRAWN_WORK_H
#define DRAWN_WORK_H

#include "world.h"

/* One thing, with names that are drawn, for blocks of 64 KiB. Most of these fail, as
   what they need is not there, or is in the way. */
void do_something(struct world *w);

#endif
