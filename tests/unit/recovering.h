/*
 * Unit tests: losing a catalogue, and making it anew.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef RECOVERING_H
#define RECOVERING_H

#include <mrmr/recover.h>

#include "world.h"

/* While the pool is closed. guard_too: all that the state directory has. */
void lose_catalogue(struct world *w, bool guard_too);

int try_recover(struct world *w, bool replace,
		struct mrmr_recover_result *result, struct mrmr_error *err);
/* Fails the test if it fails. */
struct mrmr_recover_result recover_well(struct world *w);

#endif
