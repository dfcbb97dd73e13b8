/*
 * mrmr-admin: asking before what cannot be undone.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include "admin.h"

int admin_confirm(struct admin *admin, const char *fmt, ...)
{
	char answer[16] = "";
	char *text = NULL;
	int status = ADMIN_GO_ON;
	va_list ap;

	if (admin->yes || admin->dry_run) {
		return ADMIN_GO_ON;
	}
	va_start(ap, fmt);
	text = admin_need(talloc_vasprintf(admin, fmt, ap));
	va_end(ap);
	if (isatty(STDIN_FILENO) != 1 || admin->json) {
		status = admin_fail(admin, ADMIN_FAILED,
				    "%s; give --yes if that is what you want",
				    text);
	} else {
		fprintf(stderr, "%s.\nGo on? [y/N] ", text);
		fflush(stderr);
		if (fgets(answer, sizeof(answer), stdin) == NULL ||
		    (strcmp(answer, "y\n") != 0 &&
		     strcmp(answer, "yes\n") != 0)) {
			status = admin_fail(admin, ADMIN_FAILED,
					    "nothing was done");
		}
	}
	talloc_free(text);
	return status;
}
