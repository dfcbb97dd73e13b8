/*
 * MRMR: what happened, for the log.
 *
 * The core does not know where it runs. The module points this at Samba's
 * log, mrmr-admin at standard error.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_LOG_H
#define MRMR_LOG_H

enum mrmr_log_level {
	MRMR_LOG_ERROR,   /* redundancy or a promise is lost */
	MRMR_LOG_WARNING, /* a member went away, a name is there twice */
	MRMR_LOG_INFO,    /* a member came back, something was mended */
	MRMR_LOG_DEBUG,
};

typedef void mrmr_log_fn(enum mrmr_log_level level, const char *text);

/* Send every later line to fn; NULL drops them, which is how it starts. */
void mrmr_log_to(mrmr_log_fn *fn);

/* One line without its newline. Keeps errno. */
void mrmr_log(enum mrmr_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
