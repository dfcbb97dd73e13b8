/*
 * mrmr-admin where: a file of a member that is away.
 *
 * Asked as a client asks, of the pool itself: so what was renamed, or made,
 * while the member is away is found where the share has it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/decode.h>
#include <mrmr/names.h>
#include <mrmr/serve.h>

#include "where_away.h"

struct asking {
	struct admin *admin;
	struct mrmr_pool *pool;
	struct mrmr_engine *engine;
	struct where_away *found;
};

static void note(struct asking *a, const char *why)
{
	admin_note(a->admin, "files of members that are away are not known: %s",
		   why);
}

/* Symlinks and the like are whole as they are shown. */
static int find_node(struct asking *a, struct mrmr_dir *dir, const char *name,
		     struct mrmr_node **node)
{
	int folder_fd = mrmr_absent_peek(dir, a->found->member);
	struct mrmr_ghost ghost;
	int ret = -1;
	int fd = -1;

	if (folder_fd != -1) {
		fd = openat(folder_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		close(folder_fd);
	}
	if (fd != -1) {
		ret = mrmr_ghost_read(fd, &ghost);
		close(fd);
	}
	return ret == 0 ? mrmr_catalog_get(a->engine->catalog, a->admin,
					   ghost.node, node)
			: -1;
}

static void judge(struct asking *a, struct mrmr_dir *dir, const char *name)
{
	struct where_away *found = a->found;
	struct mrmr_error err = {0};

	if (!S_ISREG(found->st.st_mode)) {
		found->is_served = true;
		return;
	}
	if (find_node(a, dir, name, &found->node) == -1) {
		found->node = NULL;
		mrmr_error_set(&err, errno, "the catalogue cannot be read: %s",
			       mrmr_catalog_why(errno));
	} else if (mrmr_decode_can(a->engine, found->node, &err) == 0) {
		found->is_served = true;
	}
	found->why = admin_need(talloc_strdup(a->admin, err.text));
}

static bool ask(struct asking *a, const char *path)
{
	struct where_away *found = a->found;
	struct mrmr_place place;

	if (mrmr_serve_start(a->pool, a->engine) == -1) {
		note(a, strerror(errno));
		return false;
	}
	mrmr_pool_use(a->pool);
	if (mrmr_place_find(a->pool, a->pool->spine_fd, path, &place) == -1 ||
	    mrmr_name_find(place.dir, place.name, &found->member, &found->st) ==
		    -1) {
		if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
			note(a, strerror(errno));
		}
		return false;
	}
	if (found->member == MRMR_IN_SPINE ||
	    !mrmr_is_absent(a->pool, found->member)) {
		return false;
	}
	judge(a, place.dir, place.name);
	return true;
}

bool where_away(struct admin *admin, struct mrmr_engine *engine,
		const char *path, struct where_away *found)
{
	struct asking a = {
		.admin = admin,
		.pool = engine->pool,
		.engine = engine,
		.found = found,
	};
	bool is_found;

	*found = (struct where_away){0};
	is_found = ask(&a, path);
	mrmr_serve_stop(a.pool);
	return is_found;
}
