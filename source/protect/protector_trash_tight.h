/*
 * MRMR: the protector: emptying the trash stripe by stripe: what its files share. The
 * theory is in protector_trash_tight.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PROTECTOR_TRASH_TIGHT_H
#define PROTECTOR_TRASH_TIGHT_H

#include "protector_trash.h"

struct tight_file {
	uint64_t id;
	struct trashed *file;
	uint32_t num_left; /* pieces in stripes */
	uint32_t num_leaving;
};

struct tight_stripe {
	uint64_t id;
	uint64_t need_bytes; /* of parity, once they have left */
};

struct tight {
	struct protector *p;
	struct tight_file *files; /* talloc; by id */
	size_t num_files;
	struct tight_stripe *stripes; /* talloc; what needs least first */
	size_t num_stripes;
	bool any; /* has left */
};

/* NULL: it is none of those that are to leave. */
struct tight_file *tight_find(const struct tight *t, uint64_t id);
bool tight_must_stop(struct tight *t);

/* A transaction. */
struct step {
	struct tight *t;
	struct moving moving;
	struct mrmr_stripes *work;
	struct tight_file **gone; /* talloc; files that are in no stripe then */
	size_t num_gone;
};

/* 0, or -1 with *err; tight_end_step() comes after either. */
int tight_begin_step(struct step *step, struct tight *t,
		     struct mrmr_error *err);
int tight_begin_work(struct step *step, struct mrmr_error *err);
void tight_end_step(struct step *step);
/* What is to leave a stripe; or with_all, all that is in it. 1; 0 if its bytes are
   not there. -1 with errno. */
int tight_add_pieces(struct step *step, uint64_t stripe, bool with_all);
/* Within the transaction. 1: done; 0: what stays would lose by it; -1. */
int tight_leave(struct step *step, struct mrmr_error *err);
/* ret is how it went until now: 1 is committed, else all is taken back. 1, or what
   ret was, or -1. */
int tight_finish(struct step *step, int ret, struct mrmr_error *err);
/* Those that are in no stripe any more, after that. */
void tight_remove_files(struct step *step);

/* All of that, for so many stripes of the list. 1; 0: not all of them can be left;
   -1. */
int tight_leave_some(struct tight *t, size_t first, size_t num,
		     struct mrmr_error *err);
/* If somebody waits for it: one stripe, though there is no room (t->any tells).
   0, -1 (protector_trash_force.c). */
int tight_leave_by_force(struct tight *t, struct mrmr_error *err);

#endif
