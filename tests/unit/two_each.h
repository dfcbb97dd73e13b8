/*
 * Unit tests: a pool with two protected files on each of its four members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef TWO_EACH_H
#define TWO_EACH_H

#include "protecting.h"

#define K 1024
#define BLOCK (64 * K)

/* Four members, blocks of BLOCK bytes; config: what else there is, behind a comma. */
struct world *two_each_new(const char *parity, const char *config);

/* f0 to f7, of two blocks each, f0 and f4 on member 0 and so on; the number is the
   seed. */
void two_each_make(struct world *w);

/* These, from the first one on, as verify() does. */
void two_each_verify(struct world *w, unsigned int first, unsigned int lose);

#endif
