/*
 * MRMR: which events of the queue the catalogue has.
 *
 * Each transaction that applies events keeps a mark: the fingerprint of the last one.
 * What was taken from the queue, and not done with, is taken again by the next
 * process, which skips those up to it; who reads the catalogue and the queue skips
 * them, too.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef APPLIED_H
#define APPLIED_H

#include <stdint.h>

#include <mrmr/catalog.h>
#include <mrmr/queue.h>

/* *mark is 0 if there is none. 0, or -1 with errno. */
int applied_get(struct mrmr_catalog *catalog, uint64_t *mark);

/* Within a transaction. */
int applied_put(struct mrmr_catalog *catalog, const struct mrmr_event *event);

#endif
