/*
 * MRMR: named points at which a test can make things go wrong.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <mrmr/fault.h>
#include <mrmr/fault_bytes.h>

#ifdef MRMR_WITH_FAULTS

static const struct {
	const char *name;
	int error;
} actions[] = {
	{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EROFS", EROFS},
	{"EACCES", EACCES}, {"EPERM", EPERM},   {"EILSEQ", EILSEQ},
};

/* What happens to bytes; no error numbers. */
#define BYTES_SHORT (-1)
#define BYTES_FLIP (-2)

#define NUM_COUNTS 256

/* Since the variable was set to what it is. */
static struct {
	const char *point; /* a literal */
	unsigned long times;
} counts[NUM_COUNTS];

static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

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

/* more: 1 for this time, else 0 */
static unsigned long count(const char *list, const char *point,
			   unsigned long more)
{
	unsigned long times;

	pthread_mutex_lock(&counting);
	times = *count_of(list, point) += more;
	pthread_mutex_unlock(&counting);
	return times;
}

unsigned long mrmr_fault_times(const char *point)
{
	return count(fault_list(), point, 0);
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

/* --- the file that processes share ------------------------------------------ */

static char *shared_list; /* NULL: there is no file */
static struct mrmr_fault_count *shared;
static size_t num_shared;

/* Once, as whoever this thread is then: the file is one that all may write. */
static void map_shared(void)
{
	const char *path = getenv("MRMR_FAULT_FILE");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	struct stat st = {0};
	char *map = MAP_FAILED;

	if (fd == -1) {
		return;
	}
	if (fstat(fd, &st) == 0 && st.st_size > MRMR_FAULT_LIST) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
			   MAP_SHARED, fd, 0);
	}
	close(fd);
	if (map != MAP_FAILED) {
		shared = (struct mrmr_fault_count *)(map + MRMR_FAULT_LIST);
		num_shared = ((size_t)st.st_size - MRMR_FAULT_LIST) /
			     sizeof(*shared);
		shared_list = map;
	}
}

static struct mrmr_fault_count *shared_count(const char *point)
{
	size_t i;

	for (i = 0; i < num_shared; i++) {
		if (strncmp(shared[i].point, point, sizeof(shared[i].point)) ==
		    0) {
			return &shared[i];
		}
	}
	return NULL;
}

/* --- what happens ------------------------------------------------------------ */

static int act(const char *action, size_t len)
{
	struct timespec while_ns = {.tv_nsec = 200 * 1000 * 1000};
	size_t i;

	if (len == 4 && strncmp(action, "kill", len) == 0) {
		kill(getpid(), SIGKILL);
		pause();
	}
	if (len == 5 && strncmp(action, "delay", len) == 0) {
		nanosleep(&while_ns, NULL);
	}
	if (len == 5 && strncmp(action, "short", len) == 0) {
		return BYTES_SHORT;
	}
	if (len == 4 && strncmp(action, "flip", len) == 0) {
		return BYTES_FLIP;
	}
	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strlen(actions[i].name) == len &&
		    strncmp(action, actions[i].name, len) == 0) {
			errno = actions[i].error;
			return actions[i].error;
		}
	}
	return 0;
}

/* What the first item for this point and this time says; fired counts it. once:
   the item is obeyed by who clears this byte, if it is not NULL. */
static int obey(const char *list, const char *point, unsigned long times,
		uint64_t *fired, char *once)
{
	const char *item = NULL;

	for (item = list; *item != '\0';) {
		const char *end = strchrnul(item, ',');
		const char *action = action_of(item, point, times);

		if (action != NULL) {
			char is_set = MRMR_FAULT_ONCE;

			if (once != NULL &&
			    !__atomic_compare_exchange_n(once, &is_set, '\0',
							 false,
							 __ATOMIC_SEQ_CST,
							 __ATOMIC_SEQ_CST)) {
				return 0;
			}
			if (fired != NULL) {
				__atomic_add_fetch(fired, 1, __ATOMIC_RELAXED);
			}
			return act(action, (size_t)(end - action));
		}
		item = (*end == ',') ? end + 1 : end;
	}
	return 0;
}

static int obey_shared(const char *point)
{
	struct mrmr_fault_count *counted = shared_count(point);
	char list[MRMR_FAULT_LIST];
	unsigned long times = 0;
	bool is_once;

	if (counted == NULL) {
		return 0;
	}
	times = __atomic_add_fetch(&counted->reached, 1, __ATOMIC_RELAXED);
	/* somebody may write it meanwhile */
	memcpy(list, shared_list, sizeof(list));
	list[sizeof(list) - 1] = '\0';
	is_once = list[0] == MRMR_FAULT_ONCE;
	return obey(list + is_once, point, times, &counted->fired,
		    is_once ? shared_list : NULL);
}

static int reach(const char *point)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const char *list = fault_list();
	unsigned long times = count(list, point, 1);
	int error = obey(list, point, times, NULL, NULL);

	pthread_once(&once, map_shared);
	return error != 0 || shared_list == NULL ? error : obey_shared(point);
}

int mrmr_fault(const char *point)
{
	int what = reach(point);

	return what > 0 ? what : 0;
}

size_t mrmr_fault_length(const char *point, size_t len)
{
	return reach(point) == BYTES_SHORT ? (len + 1) / 2 : len;
}

void mrmr_fault_flip(const char *point, void *data, size_t len)
{
	uint8_t *bytes = data;

	if (reach(point) == BYTES_FLIP && len > 0) {
		bytes[len / 2] ^= 0x10;
	}
}

#endif
