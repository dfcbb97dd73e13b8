/*
 * MRMR: the protector: what there would be to do, without doing it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/dir.h>
#include <mrmr/listing.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>

#include "protector_private.h"

struct preview {
	struct mrmr_pool *pool;
	struct mrmr_engine *engine; /* NULL: nothing was ever protected */
	struct mrmr_protect_preview *result;
	void (*file)(const char *path, uint64_t bytes, void *private_data);
	void *private_data;
};

/* Does the catalogue have this file as it is? Names may be behind. */
static bool is_protected(struct preview *preview, size_t member,
			 const struct stat *st)
{
	struct mrmr_engine *engine = preview->engine;
	struct look look = {.st = *st};
	struct mrmr_node *node = NULL;
	bool ret = false;
	uint64_t id;

	/* nothing is done for these */
	if (st->st_size == 0 ||
	    preview->pool->members[member].unlasting != NULL ||
	    mrmr_is_in_subvolume(&preview->pool->members[member], st)) {
		return true;
	}
	if (engine != NULL &&
	    mrmr_catalog_find_inode(engine->catalog, engine->number[member],
				    (uint64_t)st->st_ino, &id) == 0 &&
	    mrmr_catalog_get(engine->catalog, preview->pool, id, &node) == 0) {
		ret = node->kind == MRMR_NODE_FILE &&
		      !names_differ(node, &look);
	}
	talloc_free(node);
	return ret;
}

static void see(struct preview *preview, struct mrmr_dir *dir, const char *path,
		const char *name)
{
	struct stat st = {0};
	char *full = NULL;
	size_t member;

	if (mrmr_name_find(dir, name, &member, &st) == -1 ||
	    !S_ISREG(st.st_mode) || member == MRMR_IN_SPINE) {
		return;
	}
	preview->result->num_files++;
	preview->result->num_bytes += (uint64_t)st.st_size;
	if (is_protected(preview, member, &st)) {
		return;
	}
	preview->result->todo_files++;
	preview->result->todo_bytes += (uint64_t)st.st_size;
	if (preview->file != NULL) {
		full = talloc_asprintf(preview->pool, "%s%s%s", path,
				       path[0] != '\0' ? "/" : "", name);
		if (full != NULL) {
			preview->file(full, (uint64_t)st.st_size,
				      preview->private_data);
		}
		talloc_free(full);
	}
}

static int walk(struct preview *preview, int dir_fd, const char *path);

static int walk_below(struct preview *preview, int dir_fd, const char *path,
		      const char *name)
{
	char *below = talloc_asprintf(preview->pool, "%s%s%s", path,
				      path[0] != '\0' ? "/" : "", name);
	int fd = openat(dir_fd, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int ret = 0;

	if (below == NULL) {
		errno = ENOMEM;
		ret = -1;
	} else if (fd != -1) {
		ret = walk(preview, fd, below);
	}
	if (fd != -1) {
		close(fd);
	}
	talloc_free(below);
	return ret;
}

static int walk(struct preview *preview, int dir_fd, const char *path)
{
	struct mrmr_listing *listing = NULL;
	struct mrmr_dir *dir = NULL;
	size_t num;
	size_t i;
	int ret = 0;

	mrmr_pool_use(preview->pool);
	dir = mrmr_dir_get(preview->pool, dir_fd);
	if (dir == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	dir->pins++;
	listing = mrmr_listing_new(preview->pool, dir);
	num = listing != NULL ? mrmr_listing_count(listing) : 0;
	for (i = 2; i < num; i++) { /* after . and .. */
		struct mrmr_listing_entry entry = mrmr_listing_get(listing, i);

		if (entry.type != DT_DIR) {
			see(preview, dir, path, entry.name);
		}
	}
	dir->pins--;
	for (i = 2; i < num && ret == 0; i++) {
		struct mrmr_listing_entry entry = mrmr_listing_get(listing, i);

		if (entry.type == DT_DIR) {
			ret = walk_below(preview, dir_fd, path, entry.name);
		}
	}
	talloc_free(listing);
	return listing != NULL ? ret : -1;
}

int mrmr_protect_preview(struct mrmr_pool *pool, struct mrmr_engine *engine,
			 void (*file)(const char *path, uint64_t bytes,
				      void *private_data),
			 void *private_data,
			 struct mrmr_protect_preview *result,
			 struct mrmr_error *err)
{
	struct preview preview = {
		.pool = pool,
		.engine = engine,
		.result = result,
		.file = file,
		.private_data = private_data,
	};

	*result = (struct mrmr_protect_preview){0};
	if (walk(&preview, pool->spine_fd, "") == -1) {
		return mrmr_error_set(err, errno,
				      "the pool cannot be gone through: %s",
				      strerror(errno));
	}
	return 0;
}
