/*
 * MRMR: named points at which a test can make things go wrong.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/fault.h>

#ifdef MRMR_WITH_FAULTS

static const struct {
	const char *name;
	int error;
} actions[] = {
	{ "EIO", EIO },
	{ "ENOSPC", ENOSPC },
	{ "EROFS", EROFS },
	{ "EACCES", EACCES },
};

int mrmr_fault(const char *point)
{
	const char *list = getenv("MRMR_FAULT");
	size_t point_len = strlen(point);
	const char *item = NULL;
	size_t i;

	for (item = list; item != NULL && *item != '\0'; ) {
		const char *end = strchrnul(item, ',');
		const char *action = item + point_len + 1;

		if (strncmp(item, point, point_len) == 0 &&
		    item[point_len] == '=') {
			size_t len = end - action;

			if (len == 4 && strncmp(action, "kill", len) == 0) {
				kill(getpid(), SIGKILL);
				pause();
			}
			for (i = 0; i < sizeof(actions) / sizeof(actions[0]);
			     i++) {
				if (strlen(actions[i].name) == len &&
				    strncmp(action, actions[i].name, len) == 0) {
					errno = actions[i].error;
					return actions[i].error;
				}
			}
		}
		item = (*end == ',') ? end + 1 : end;
	}
	return 0;
}

#endif
