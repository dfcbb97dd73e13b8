/*
 * MRMR: the protector: what an event says of the catalogue.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PROTECTOR_APPLY_H
#define PROTECTOR_APPLY_H

#include "protector_private.h"

struct event {
	const struct mrmr_event *of;
	void *frame;     /* for what is needed until it is applied */
	uint16_t number; /* of the member, MRMR_MEMBER_NONE */
	uint64_t inode;  /* 0: not known, or it does not last */
};

/* Bring the catalogue in step with what an event says, in a transaction. -1 with errno:
   also if it does not fit to what is known. */
int apply_event(struct protector *p, const struct event *e);

#endif
