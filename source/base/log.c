/*
 * MRMR: what happened, for the log.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <mrmr/log.h>

static mrmr_log_fn *log_fn;

void mrmr_log_to(mrmr_log_fn *fn)
{
	log_fn = fn;
}

void mrmr_log(enum mrmr_log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char text[2048];
	va_list ap;

	if (log_fn == NULL) {
		return;
	}

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	log_fn(level, text);
	errno = saved_errno;
}
