/*
 * Unit tests: a pool that serves files of members that are away.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef SERVED_H
#define SERVED_H

#include "protected.h"

/* Two rows of parity. */
struct protected *served_new(size_t num_members);
void served_free(struct protected *p);

/* Another process: nothing is remembered but what is on disk. */
void served_reopen(struct protected *p);

/* Has a member names that are shown while it is away? */
bool served_has_ghosts(struct protected *p, size_t member);

/* Member 0 is back, and all others are there: in the same process, or in another
   one. It has no ghosts then. */
void served_come_back(struct protected *p, bool reopen);

/* Another process, which knows what we know, does this and dies at that fault
   point. */
void served_die_at(struct protected *p, const char *point,
		   int (*change)(struct world *w));

#endif
