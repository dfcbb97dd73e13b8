/*
 * MRMR: paths as strings. Nothing here looks at a file system.
 *
 * A clean path is absolute, without "//", "/./" and trailing slashes; "/" is
 * the only one that ends in a slash. Clean paths are compared byte by byte.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_PATH_H
#define MRMR_PATH_H

#include <stdbool.h>

/*
 * The clean form of an absolute path, a talloc child of mem_ctx. NULL, and
 * *why a phrase that fits "the path ...", if it is relative, empty, too long
 * for the system, or has ".." in it. ".." is refused, not resolved: where it
 * leads depends on the symlinks before it.
 */
char *mrmr_path_clean(void *mem_ctx, const char *path, const char **why);

/* For two clean paths: is path the directory dir itself, or below it? */
bool mrmr_path_is_within(const char *path, const char *dir);

/*
 * An absolute form of a path given on a command line: relative ones are taken
 * from the working directory, then cleaned as above. NULL with *why.
 */
char *mrmr_path_absolute(void *mem_ctx, const char *path, const char **why);

#endif
