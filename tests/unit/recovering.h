/*
 * Unit tests: losing a catalogue, and making it anew.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef RECOVERING_H
#define RECOVERING_H

#include <mrmr/recover.h>

#include "world.h"

/* Five members, of which four have three files each: d/f0 and so on, which are
   protected. */
struct world *recover_busy_world(void);

/* While the pool is closed. guard_too: all that the state directory has. */
void lose_catalogue(struct world *w, bool guard_too);

int try_recover(struct world *w, bool replace,
		struct mrmr_recover_result *result, struct mrmr_error *err);
/* Opens the pool, in which a recover may have been broken off: it is done if there is
   no sound catalogue, and what was protected is so. */
void recover_check(struct world *w);
/* Fails the test if it fails. */
struct mrmr_recover_result recover_well(struct world *w);

#endif
