/*
 * Unit tests: a directory to write into, gone after the test.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>

/* cmocka fixtures: *state becomes the path of a new, empty directory. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* "DIR/NAME", in a buffer that the next call but three overwrites. */
const char *scratch_path(void **state, const char *name);

/* Write a whole file below the directory; fails the test if it can't. */
void scratch_write(void **state, const char *name, const char *text);

/* Its content in a buffer that the next call overwrites; NULL if missing. */
const char *scratch_read(void **state, const char *name);

#endif
