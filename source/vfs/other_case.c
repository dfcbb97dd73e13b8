/*
 * MRMR: the Samba module: names in another case than the client's.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "vfs_mrmr.h"

#include <mrmr/listing.h>

struct search {
	const char *name;
	char found[NAME_MAX + 1];
};

static char upper(char c)
{
	return (c >= 'a' && c <= 'z') ? (char)(c - 'a' + 'A') : c;
}

/*
 * Samba's own comparison converts both strings. Most names differ in an ASCII
 * letter near the start, and then no conversion can make them equal: letters
 * outside of ASCII are the only ones whose case is not plain.
 */
static bool is_same_name(const struct search *search, const char *name)
{
	const char *a = search->name;
	const char *b = name;

	for (; *a != '\0' && *b != '\0'; a++, b++) {
		if ((unsigned char)*a >= 0x80 || (unsigned char)*b >= 0x80) {
			return strequal(search->name, name);
		}
		if (upper(*a) != upper(*b)) {
			return false;
		}
	}
	return *a == *b;
}

/* The same for all names that strequal() takes for one. */
uint32_t mrmr_fold(const char *name)
{
	uint32_t hash = UINT32_C(2166136261);

	while (*name != '\0') {
		codepoint_t c = (unsigned char)*name;
		size_t len = 1;

		if (c >= 0x80) {
			c = next_codepoint(name, &len);
			if (c == INVALID_CODEPOINT) {
				/* There, strequal() begins to compare bytes of
				   one name with others of the other. */
				return 0;
			}
			c = toupper_m(c);
		} else {
			c = (unsigned char)upper((char)c);
		}
		hash = (hash ^ c) * UINT32_C(16777619);
		name += len;
	}
	hash ^= hash >> 15;
	return hash != 0 ? hash : 1;
}

static bool compare(const char *name, void *private_data)
{
	struct search *search = private_data;

	if (!is_same_name(search, name) ||
	    strlen(name) >= sizeof(search->found)) {
		return false;
	}
	strlcpy(search->found, name, sizeof(search->found));
	return true;
}

/*
 * A name in another case. The default reads the directory through smbd's own
 * listing, once for each name that is not there: the most expensive part of
 * creating a file in a large directory.
 */
NTSTATUS mrmr_get_real_filename_at(struct vfs_handle_struct *handle,
				   struct files_struct *dirfsp,
				   const char *name, TALLOC_CTX *mem_ctx,
				   char **found_name)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct search search = {.name = name};
	struct mrmr_dir *dir = NULL;
	int ret;

	if (pool == NULL) {
		return SMB_VFS_NEXT_GET_REAL_FILENAME_AT(handle, dirfsp, name,
							 mem_ctx, found_name);
	}
	if (handle->conn->case_sensitive) {
		return NT_STATUS_OBJECT_NAME_NOT_FOUND;
	}
	dir = mrmr_dir_of_fsp(pool, dirfsp);
	if (dir == NULL) {
		return map_nt_error_from_unix(errno);
	}
	/* Searching is reading: the user must be allowed to. */
	if (faccessat(dir->spine_fd, ".", R_OK, AT_EACCESS) == -1) {
		return map_nt_error_from_unix(errno);
	}
	ret = mrmr_dir_search(dir, name, compare, &search);
	if (ret == -1) {
		return map_nt_error_from_unix(errno);
	}
	if (ret == 0) {
		return NT_STATUS_OBJECT_NAME_NOT_FOUND;
	}
	*found_name = talloc_strdup(mem_ctx, search.found);
	return *found_name != NULL ? NT_STATUS_OK : NT_STATUS_NO_MEMORY;
}
