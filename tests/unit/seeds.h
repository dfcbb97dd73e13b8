/*
 * Unit tests: what happens is drawn, each time from another seed.
 *
 * MRMR_TEST_SECONDS says how long (default 6), MRMR_TEST_SEED with which seed
 * first (default 1).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef SEEDS_H
#define SEEDS_H

/* From 0 on, below that. */
unsigned int draw(unsigned int below);

/* Call live for a seed after the other, the first at least, which draw() begins
   with. */
void for_each_seed(void (*live)(void));

/* What happens is told when a seed is looked at (MRMR_TEST_SEED is set). */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#endif
