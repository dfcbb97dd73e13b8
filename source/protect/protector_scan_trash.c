/*
 * MRMR: the protector: a scan of the trash.
 *
 * A file in it that the catalogue knows under a name has lost that; and of a file
 * of several names, one in the trash that is not there any more is forgotten: it
 * was purged before the protector had heard of it, say. If it was the last one, it
 * was removed by hand: it is to leave its stripes, which lack it
 * (protector_target.c). One that has not got what is protected of it, as somebody
 * had changed it by hand before it was deleted, is protected as it is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include <mrmr/marker.h>
#include <mrmr/staging.h>

#include "protector_private.h"
#include "trash_private.h"

/* --- what is there ------------------------------------------------------------- */

#define EXTENTS_AT_ONCE 64

/* By sizes, times and names, as mrmr_live_has(). 1, 0, or -1 with errno. */
static int lacks_bytes(struct protector *p, const struct mrmr_node *node,
		       struct mrmr_live *live)
{
	struct mrmr_extent extents[EXTENTS_AT_ONCE];
	uint32_t first = 0;
	uint32_t got = EXTENTS_AT_ONCE;
	uint32_t i;

	while (got == EXTENTS_AT_ONCE) {
		if (mrmr_catalog_get_extents(p->catalog, node->id, first,
					     extents, EXTENTS_AT_ONCE,
					     &got) == -1) {
			return errno == ENOENT ? 0 : -1;
		}
		for (i = 0; i < got; i++) {
			uint64_t offset =
				(uint64_t)(first + i) * node->grid_bytes;

			if (extents[i].state == MRMR_EXTENT_IN_STRIPE &&
			    !mrmr_live_has(live, extents[i].len_bytes,
					   offset)) {
				return 1;
			}
		}
		first += got;
	}
	return 0;
}

/* One that is known to be there. */
static int see_bytes(struct protector *p, void *frame, uint64_t id,
		     const char *path, const struct stat *st)
{
	struct mrmr_live_member *member = NULL;
	struct mrmr_live *live = NULL;
	struct mrmr_node *node = NULL;
	int ret;

	if (mrmr_catalog_get(p->catalog, frame, id, &node) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (node->size_bytes == (uint64_t)st->st_size &&
	    node->mtime_ns == look_mtime_ns(st)) {
		return 0;
	}
	member = mrmr_live_member_open(frame, p->engine, node->member);
	path = talloc_asprintf(frame, MRMR_DIR "/" MRMR_TRASH "/%s", path);
	if (path == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (member == NULL ||
	    mrmr_live_at(frame, member, node, path, &live) == -1) {
		return errno == ENOMEM ? -1 : 0;
	}
	ret = lacks_bytes(p, node, live);
	talloc_free(live);
	return ret == 1 ? pending_add(p->pending, id, node->member,
				      (uint64_t)st->st_size, PENDING_LOST)
			: ret;
}

/* A file in the trash that is known under a name has lost that. */
static int see_trashed(struct protector *p, void *frame, uint16_t number,
		       const char *path, const struct stat *st)
{
	char *name = talloc_asprintf(frame, "%u/%s", number, path);
	struct mrmr_link *links = NULL;
	size_t num = 0;
	uint64_t id;
	size_t i;

	if (name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (mrmr_catalog_find_inode(p->catalog, number, (uint64_t)st->st_ino,
				    &id) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (mrmr_catalog_links(p->catalog, frame, id, &links, &num) == -1) {
		return -1;
	}
	/* First of all, for one of its other names may be outdated, too. */
	for (i = 0; i < num; i++) {
		if (links[i].dir_id == MRMR_ID_TRASH &&
		    strcmp(links[i].name, name) == 0) {
			return see_bytes(p, frame, id, path, st);
		}
	}
	for (i = 0; i < num; i++) {
		char *known = NULL;

		if (links[i].dir_id == MRMR_ID_TRASH) {
			if (names_is_gone(links[i].name)) {
				break;
			}
			continue;
		}
		known = names_path(p, frame, links[i].dir_id, links[i].name);
		if (known == NULL) {
			return -1;
		}
		if (!look_has_inode(p, number, false, known,
				    (uint64_t)st->st_ino)) {
			break;
		}
	}
	if (i == num) {
		/* each name leads to it, so this one is a further one */
		return mrmr_catalog_link(p->catalog, id, MRMR_ID_TRASH, name);
	}
	return names_trash(p, &links[i], id, num, name);
}

struct seeing {
	struct protector *p;
	uint16_t number; /* of the member */
	size_t num;
};

static int see(const char *path, const struct stat *st, void *private_data)
{
	struct seeing *seeing = private_data;
	void *frame = NULL;
	int saved_errno;
	int ret;

	if (!S_ISREG(st->st_mode)) {
		return 0;
	}
	seeing->num++;
	frame = talloc_new(seeing->p);
	ret = see_trashed(seeing->p, frame, seeing->number, path, st);
	saved_errno = errno;
	talloc_free(frame);
	errno = saved_errno;
	return ret;
}

/* --- what is not --------------------------------------------------------------- */

struct missing {
	struct protector *p;
	void *frame;
	uint64_t *ids;
	char **names;
	uint16_t *members;
	size_t num;
};

static int find_missing(const struct mrmr_node *node, void *private_data)
{
	struct missing *missing = private_data;
	struct protector *p = missing->p;
	const char *slash = strchr(node->name, '/');

	if (slash == NULL || names_is_gone(node->name) ||
	    !look_is_not_in_trash(p, node, slash + 1)) {
		return 0;
	}
	missing->ids = talloc_realloc(missing->frame, missing->ids, uint64_t,
				      missing->num + 1);
	missing->names = talloc_realloc(missing->frame, missing->names, char *,
					missing->num + 1);
	missing->members = talloc_realloc(missing->frame, missing->members,
					  uint16_t, missing->num + 1);
	if (missing->ids == NULL || missing->names == NULL ||
	    missing->members == NULL) {
		errno = ENOMEM;
		return -1;
	}
	missing->ids[missing->num] = node->id;
	missing->members[missing->num] = node->member;
	missing->names[missing->num] =
		talloc_strdup(missing->frame, node->name);
	if (missing->names[missing->num] == NULL) {
		errno = ENOMEM;
		return -1;
	}
	missing->num++;
	return 0;
}

static int forget(struct missing *missing, size_t i)
{
	struct mrmr_link *links = NULL;
	size_t num = 0;

	if (mrmr_catalog_links(missing->p->catalog, missing->frame,
			       missing->ids[i], &links, &num) == -1) {
		return -1;
	}
	return num > 1 ? mrmr_catalog_remove(missing->p->catalog, MRMR_ID_TRASH,
					     missing->names[i])
		       : pending_add(missing->p->pending, missing->ids[i],
				     missing->members[i], 0, 0);
}

static int forget_missing(struct protector *p)
{
	struct missing missing = {.p = p, .frame = talloc_new(p)};
	int saved_errno;
	size_t i;
	int ret = -1;

	if (missing.frame != NULL) {
		ret = mrmr_catalog_list(p->catalog, MRMR_ID_TRASH, find_missing,
					&missing);
	}
	for (i = 0; ret == 0 && i < missing.num; i++) {
		ret = forget(&missing, i);
	}
	saved_errno = errno;
	talloc_free(missing.frame);
	errno = saved_errno;
	return ret;
}

int scan_trash(struct protector *p, size_t *num_seen)
{
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		const struct mrmr_member *member = &p->pool->members[i];
		struct seeing seeing = {p, p->engine->number[i], 0};

		if (member->state == MRMR_MEMBER_ONLINE &&
		    trash_walk(member, see, &seeing) == -1) {
			return -1;
		}
		*num_seen += seeing.num;
	}
	return forget_missing(p);
}
