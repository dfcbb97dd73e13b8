/*
 * Unit tests: what the catalogue knows is what the share has (see known.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/listing.h>

#include "known.h"
#include "protecting.h"

struct names {
	char *list[256];
	enum mrmr_node_kind kinds[256];
	size_t num;
};

static int take_name(const struct mrmr_node *node, void *private_data)
{
	struct names *names = private_data;

	assert_true(names->num < 256);
	names->kinds[names->num] = node->kind;
	names->list[names->num++] = strdup(node->name);
	return 0;
}

static enum mrmr_node_kind kind_of_entry(unsigned char type)
{
	return type == DT_DIR   ? MRMR_NODE_DIRECTORY
	       : type == DT_REG ? MRMR_NODE_FILE
	       : type == DT_LNK ? MRMR_NODE_SYMLINK
				: MRMR_NODE_SPECIAL;
}

static bool has_name(const struct names *names,
		     const struct mrmr_listing_entry *entry)
{
	size_t i;

	for (i = 0; i < names->num; i++) {
		if (strcmp(names->list[i], entry->name) == 0) {
			return names->kinds[i] == kind_of_entry(entry->type);
		}
	}
	return false;
}

static void compare_file(struct world *w, const char *path)
{
	struct stat st;
	uint8_t *bytes = NULL;
	int fd = do_open(w, path, O_RDONLY);

	assert_return_code(fd, errno);
	assert_return_code(fstat(fd, &st), errno);
	bytes = malloc((size_t)st.st_size + 1);
	assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	verify_bytes(w, path, bytes, (size_t)st.st_size, 1);
	free(bytes);
}

static void compare_directory(struct world *w, const char *path)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct names known = {.num = 0};
	struct mrmr_node *node = NULL;
	struct mrmr_listing *listing = NULL;
	size_t n, i;

	if (mrmr_catalog_find_path(engine->catalog, engine, path, &node) ==
	    -1) {
		fail_msg("directory '%s' is not known", path);
	}
	assert_int_equal(mrmr_catalog_list(engine->catalog, node->id, take_name,
					   &known),
			 0);
	talloc_free(engine);
	listing = mrmr_listing_new(NULL, do_dir(w, path));
	assert_non_null(listing);
	n = mrmr_listing_count(listing);
	for (i = 2; i < n; i++) {
		struct mrmr_listing_entry entry = mrmr_listing_get(listing, i);
		char below[256];

		snprintf(below, sizeof(below), "%s%s%s", path,
			 path[0] != '\0' ? "/" : "", entry.name);
		if (!has_name(&known, &entry)) {
			fail_msg("'%s' is not known", below);
		}
		if (entry.type == DT_DIR) {
			compare_directory(w, below);
		} else if (entry.type == DT_REG) {
			compare_file(w, below);
		}
	}
	if (known.num != n - 2) {
		for (i = 0; i < known.num; i++) {
			print_message("known in '%s': %s\n", path,
				      known.list[i]);
		}
		fail_msg("in '%s' %zu names are known, %zu are there", path,
			 known.num, n - 2);
	}
	for (i = 0; i < known.num; i++) {
		free(known.list[i]);
	}
	talloc_free(listing);
}

void verify_known(struct world *w)
{
	compare_directory(w, "");
}
