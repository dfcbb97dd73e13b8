/*
 * MRMR: paths as strings (see mrmr/path.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/path.h>

char *mrmr_path_clean(void *mem_ctx, const char *path, const char **why)
{
	char *clean = NULL;
	char *to = NULL;
	const char *from = path;

	if (path[0] == '\0') {
		*why = "is empty";
		return NULL;
	}
	if (path[0] != '/') {
		*why = "is relative; write it from the root, beginning with /";
		return NULL;
	}
	if (strlen(path) >= PATH_MAX) {
		*why = "is longer than the system allows";
		return NULL;
	}
	clean = talloc_strdup(mem_ctx, path);
	if (clean == NULL) {
		*why = "does not fit in memory";
		return NULL;
	}
	to = clean;
	while (*from != '\0') {
		size_t len;

		from += strspn(from, "/");
		len = strcspn(from, "/");
		if (len == 2 && from[0] == '.' && from[1] == '.') {
			*why = "has \"..\" in it; write where it leads to";
			talloc_free(clean);
			return NULL;
		}
		if (len > 0 && !(len == 1 && from[0] == '.')) {
			*to++ = '/';
			memmove(to, from, len);
			to += len;
		}
		from += len;
	}
	if (to == clean) {
		*to++ = '/';
	}
	*to = '\0';
	return clean;
}

bool mrmr_path_is_within(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (len == 1) {
		return true; /* everything is below "/" */
	}
	return strncmp(path, dir, len) == 0 &&
	       (path[len] == '\0' || path[len] == '/');
}

char *mrmr_path_absolute(void *mem_ctx, const char *path, const char **why)
{
	char cwd[PATH_MAX];
	char *joined = NULL;
	char *clean = NULL;

	if (path[0] == '/' || path[0] == '\0') {
		return mrmr_path_clean(mem_ctx, path, why);
	}
	if (getcwd(cwd, sizeof(cwd)) == NULL) {
		*why = "is relative, and the working directory is not known";
		return NULL;
	}
	joined = talloc_asprintf(NULL, "%s/%s", cwd, path);
	if (joined == NULL) {
		*why = "does not fit in memory";
		return NULL;
	}
	clean = mrmr_path_clean(mem_ctx, joined, why);
	talloc_free(joined);
	return clean;
}
