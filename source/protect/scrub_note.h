/*
 * MRMR: scrubbing: the note of how it stands.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef SCRUB_NOTE_H
#define SCRUB_NOTE_H

#include <mrmr/scrub.h>

/* Within a transaction. */
int scrub_note_put(struct mrmr_catalog *catalog,
		   const struct mrmr_scrub_state *state);

#endif
