/*
 * MRMR: errors of this process, not of what it works on.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SHORTAGE_H
#define MRMR_SHORTAGE_H

#include <stdbool.h>

/* Is it (errno) short of something: memory, or descriptors? That says nothing of a
   member, or of a file. */
bool mrmr_is_shortage(int error);

#endif
