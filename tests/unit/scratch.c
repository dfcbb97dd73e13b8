/*
 * Unit tests: a directory to write into (see scratch.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ftw.h>

#include <cmocka.h>

#include "scratch.h"

#define NUM_BUFFERS 4

int scratch_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char *path = NULL;

	if (asprintf(&path, "%s/mrmr-unit-XXXXXX",
		     tmp != NULL ? tmp : "/tmp") == -1) {
		return -1;
	}
	if (mkdtemp(path) == NULL) {
		free(path);
		return -1;
	}
	*state = path;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type,
			struct FTW *ftw)
{
	return remove(path);
}

int scratch_teardown(void **state)
{
	int result = nftw(*state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

	free(*state);
	return result;
}

const char *scratch_path(void **state, const char *name)
{
	static char buffers[NUM_BUFFERS][4096];
	static unsigned int next;
	char *buffer = buffers[next++ % NUM_BUFFERS];

	snprintf(buffer, sizeof(buffers[0]), "%s/%s", (const char *)*state,
		 name);
	return buffer;
}

void scratch_write(void **state, const char *name, const char *text)
{
	FILE *file = fopen(scratch_path(state, name), "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
}

const char *scratch_read(void **state, const char *name)
{
	static char buffer[65536];
	FILE *file = fopen(scratch_path(state, name), "r");
	size_t len;

	if (file == NULL) {
		return NULL;
	}
	len = fread(buffer, 1, sizeof(buffer) - 1, file);
	fclose(file);
	buffer[len] = '\0';
	return buffer;
}
