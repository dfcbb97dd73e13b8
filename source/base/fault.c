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

/* How often a point was reached that has a #N, since the variable was set to
   what it is. The points are literals. */
static unsigned long times_reached(const char *list, const char *point)
{
	static struct {
		const char *point;
		unsigned long times;
	} counts[16];
	static char counted[512];
	size_t i;

	if (strncmp(list, counted, sizeof(counted) - 1) != 0) {
		memset(counts, 0, sizeof(counts));
		strncpy(counted, list, sizeof(counted) - 1);
	}
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (counts[i].point == NULL) {
			counts[i].point = point;
		}
		if (strcmp(counts[i].point, point) == 0) {
			return ++counts[i].times;
		}
	}
	return 0;
}

/* What stands behind "=" in an item for this point and this time, or NULL. */
static const char *action_of(const char *list, const char *item,
			     const char *point)
{
	size_t len = strlen(point);
	char *end = NULL;

	if (strncmp(item, point, len) != 0) {
		return NULL;
	}
	if (item[len] == '#') {
		unsigned long nth = strtoul(item + len + 1, &end, 10);

		if (*end != '=' || times_reached(list, point) != nth) {
			return NULL;
		}
		return end + 1;
	}
	return item[len] == '=' ? item + len + 1 : NULL;
}

int mrmr_fault(const char *point)
{
	const char *list = getenv("MRMR_FAULT");
	const char *item = NULL;
	size_t i;

	for (item = list; item != NULL && *item != '\0'; ) {
		const char *end = strchrnul(item, ',');
		const char *action = action_of(list, item, point);

		if (action != NULL) {
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
