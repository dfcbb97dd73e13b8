/*
 * Unit tests: what the catalogue knows is what the share has.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef KNOWN_H
#define KNOWN_H

#include "world.h"

/* When all is protected, and all members are there: the catalogue has all names of the
   share and no others, and each file can be computed without its member, as it is. */
void verify_known(struct world *w);

#endif
