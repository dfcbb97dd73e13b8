/*
 * Unit tests: a protected file of a member that is away is written to by a client,
 * and so lies on another one from then on, anew; and that one is lost as well. What
 * is protected of it is the version of the first: a rebuild of the second brings
 * that back into the share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef ANEW_H
#define ANEW_H

#include <mrmr/rebuild.h>

#include "protecting.h"

/* d/old is what seed 1 makes, and of this length, on member 0, which is away. What
   was written of it since is what seed 5 makes, and 5 bytes longer. */
#define ANEW_LEN 30000

/* Nobody but the client knows: *second is the member that it was made anew on. */
struct world *anew_write(const struct world_shape *shape, size_t *second);
/* And that one is away as well, and the protector knows. */
struct world *anew_of(const struct world_shape *shape, size_t *second);

/* What a rebuild tells of. */
struct anew_outcome {
	size_t older;
	size_t lost; /* nothing is protected of these, or all is lost */
	size_t taken;
	size_t failed;
	struct mrmr_rebuild_result result;
};

/* As mrmr_rebuild, or mrmr_rebuild_plan, onto all that are there. */
int anew_rebuild(struct world *w, size_t lost, bool is_plan,
		 struct anew_outcome *outcome);
/* The same, planned and done: one file comes back older, and nothing is lost. */
void anew_rebuild_older(struct world *w, size_t lost);

/* A member is back, and the protector knows. */
void anew_come_back(struct world *w, size_t member);

/* The file is in the share, as it was protected, on another one than the second,
   and is so again. */
void anew_check_older(struct world *w, size_t second);
/* And it is to be had without its member and others, `lose` in all; nothing is left
   to be done. Frees the world. */
void anew_check_end(struct world *w, unsigned int lose);

#endif
