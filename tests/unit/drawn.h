/*
 * Unit tests: names that are drawn, few enough to meet again.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef DRAWN_H
#define DRAWN_H

#include "world.h"

/* Of a file, in the root or a directory; the next call but three overwrites it. */
const char *any_path(void);
/* Of a directory. */
const char *any_dir(void);

/* The type bits of its mode; 0: it is not there. */
mode_t kind_of(struct world *w, const char *path);
/* May there be a file of this name, as the directory that it is in is there? */
bool has_place(struct world *w, const char *path);

#endif
