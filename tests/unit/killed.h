/*
 * Unit tests: something that is done in a process of its own, and is killed there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef KILLED_H
#define KILLED_H

#include "world.h"

/*
 * Call fn in a process of its own, which opens the pool, and has MRMR_FAULT set to
 * fault. True if it was killed at that point, false if it came to its end; what fn
 * returns tells nothing.
 */
typedef void killed_fn(struct world *w, void *private_data);
bool killed_at(struct world *w, const char *fault, killed_fn *fn,
	       void *private_data);

#endif
