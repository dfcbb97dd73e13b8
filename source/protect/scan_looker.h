/*
 * MRMR: are the files of one member those that are known? A thread for each
 * member (see scan_look.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SCAN_LOOKER_H
#define MRMR_SCAN_LOOKER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <mrmr/scan.h>

struct looker;

/* 1 with *st, 0 if it is surely not there, -1. */
int look_beneath(int root_fd, const char *path, struct stat *st);
bool look_is_same(uint64_t size_bytes, int64_t mtime_ns, const struct stat *st);

/* root_fd must stay until looker_end(). NULL with errno. */
struct looker *looker_start(int root_fd);

/* A file that is known. Waits while too many are on their way. -1 with errno: one
   before could not be looked at. */
int looker_add(struct looker *looker, uint64_t id, const char *path,
	       uint64_t size_bytes, int64_t mtime_ns);

/*
 * Wait until all are looked at, or (is_cancelled) not any more. Adds to *counts.
 * *different are the ids of those that are gone or changed, to be freed with
 * free(). -1 with errno: one could not be looked at. Frees the looker.
 */
int looker_end(struct looker *looker, bool is_cancelled,
	       struct mrmr_scan_member *counts, uint64_t **different,
	       size_t *num_different);

#endif
