/*
 * Asks a catalogue for everything it may say, and changes it in all ways: for
 * targets that fill one with nonsense. What comes out may be an error of any
 * kind; what is given out must be usable.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CATALOG_WALK_H
#define CATALOG_WALK_H

#include <mrmr/catalog.h>

void catalog_walk_read(struct mrmr_catalog *cat);
/* It is open for writing; part may be NULL. Both may be half changed then. */
void catalog_walk_change(struct mrmr_catalog *cat, struct mrmr_catalog *part);
/* As recover does, from a part into a new catalogue. */
void catalog_walk_import(struct mrmr_catalog *from, struct mrmr_catalog *to);

#endif
