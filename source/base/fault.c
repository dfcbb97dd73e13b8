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
	{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EROFS", EROFS},
	{"EACCES", EACCES}, {"EPERM", EPERM},
};

#define NUM_COUNTS 64

/* Since the variable was set to what it is. */
static struct {
	const char *point; /* a literal */
	unsigned long times;
} counts[NUM_COUNTS];

static unsigned long *count_of(const char *list, const char *point)
{
	static unsigned long too_many;
	static char counted[512];
	size_t i;

	if (strncmp(list, counted, sizeof(counted) - 1) != 0) {
		memset(counts, 0, sizeof(counts));
		memset(counted, 0, sizeof(counted));
		strncpy(counted, list, sizeof(counted) - 1);
	}
	for (i = 0; i < NUM_COUNTS; i++) {
		if (counts[i].point == NULL) {
			counts[i].point = point;
		}
		if (strcmp(counts[i].point, point) == 0) {
			return &counts[i].times;
		}
	}
	return &too_many;
}

static const char *fault_list(void)
{
	const char *list = getenv("MRMR_FAULT");

	return list != NULL ? list : "";
}

unsigned long mrmr_fault_times(const char *point)
{
	return *count_of(fault_list(), point);
}

/* What stands behind "=" in an item for this point and this time, or NULL. */
static const char *action_of(const char *item, const char *point,
			     unsigned long times)
{
	size_t len = strlen(point);
	char *end = NULL;

	if (strncmp(item, point, len) != 0) {
		return NULL;
	}
	if (item[len] == '#') {
		unsigned long nth = strtoul(item + len + 1, &end, 10);

		return *end == '=' && nth == times ? end + 1 : NULL;
	}
	return item[len] == '=' ? item + len + 1 : NULL;
}

int mrmr_fault(const char *point)
{
	const char *list = fault_list();
	unsigned long times = ++*count_of(list, point);
	const char *item = NULL;
	size_t i;

	for (item = list; *item != '\0';) {
		const char *end = strchrnul(item, ',');
		const char *action = action_of(item, point, times);

		if (action != NULL) {
			size_t len = end - action;

			if (len == 4 && strncmp(action, "kill", len) == 0) {
				kill(getpid(), SIGKILL);
				pause();
			}
			for (i = 0; i < sizeof(actions) / sizeof(actions[0]);
			     i++) {
				if (strlen(actions[i].name) == len &&
				    strncmp(action, actions[i].name, len) ==
					    0) {
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
