/*
 * mrmr-admin: progress of long work, and how it is interrupted.
 *
 *	admin_stop_on_signals();
 *	progress = admin_progress_begin(admin, "Checking", ADMIN_PROGRESS_BYTES);
 *	... admin_progress_set(progress, done, todo), as often as one likes;
 *	... admin_should_stop(NULL), wherever work can be left and taken up again
 *	admin_progress_end(progress);
 *
 * On a terminal it is a bar with rate and time left; elsewhere (a log, a mail of
 * cron) a line every few seconds, and none at all if it took no longer. On
 * standard error, as standard output is for results. Nothing with --quiet or
 * --json.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_PROGRESS_H
#define MRMR_ADMIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "admin.h"

enum admin_progress_unit {
	ADMIN_PROGRESS_BYTES,
	ADMIN_PROGRESS_COUNT,
};

struct admin_progress;

/* A talloc child of admin; freeing it is admin_progress_end(). */
struct admin_progress *admin_progress_begin(struct admin *admin,
					    const char *what,
					    enum admin_progress_unit unit);

/*
 * How far it is; todo is the whole, 0: not known, and may change. Costs a look at
 * a clock. Of one thread, as the rest. NULL for progress is fine.
 */
void admin_progress_set(struct admin_progress *progress, uint64_t done,
			uint64_t todo);

/* Take the bar away, before other lines are printed: the next set draws it
   again. */
void admin_progress_hide(struct admin_progress *progress);

/* Takes the bar away. What was done is for the verb to say. */
void admin_progress_end(struct admin_progress *progress);

/*
 * From now on SIGINT and SIGTERM (and SIGHUP) are remembered, for work to be left
 * in good order; the second one ends the process at once, which does no harm
 * either.
 */
void admin_stop_on_signals(void);

/* Was there one? For any thread; fits the should_stop of the core's options. */
bool admin_should_stop(void *unused);

#endif
