/*
 * Unit tests: names that are drawn, few enough to meet again.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "drawn.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "seeds.h"

#define NUM_NAMES 6

const char *any_path(void)
{
	static const char *const dirs[] = {
		"", "", "", "a/", "b/", "a/c/", "b/d/",
	};
	static char paths[4][64];
	static unsigned int next;
	char *path = paths[next++ % 4];
	const char *dir = dirs[draw(7)];

	snprintf(path, sizeof(paths[0]), "%sn%u", dir, draw(NUM_NAMES));
	return path;
}

const char *any_dir(void)
{
	static const char *const names[] = {"a", "b", "a/c", "b/d", "a/e"};

	return names[draw(5)];
}

mode_t kind_of(struct world *w, const char *path)
{
	struct stat st;
	size_t member;

	return do_stat(w, path, &member, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

bool has_place(struct world *w, const char *path)
{
	const char *slash = strrchr(path, '/');
	char parent[64];

	if (slash == NULL) {
		return true;
	}
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	return kind_of(w, parent) == S_IFDIR;
}
