/*
 * MRMR: are the files on the members those that the catalogue knows? (See
 * mrmr/scan.h.)
 *
 * First by names, which is one look at each file that is known, on all members at
 * the same time. Only for a member of which most seems to be gone, all of its
 * files are gone through: those that were moved to other names are known by their
 * inodes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include <mrmr/marker.h>
#include <mrmr/scan.h>

#include "scan_looker.h"

struct looking {
	struct mrmr_engine *engine;
	const struct mrmr_scan_options *options;
	struct mrmr_scan_member *members;
	struct looker *lookers[MRMR_MEMBERS_MAX]; /* NULL: it is not seen */
	struct mrmr_error *err;
};

static bool should_stop(const struct looking *l)
{
	return l->options->should_stop != NULL &&
	       l->options->should_stop(l->options->private_data);
}

static int fail(const struct looking *l, const struct mrmr_member *member,
		int error)
{
	return mrmr_error_set(l->err, error, "member %s cannot be read: %s",
			      mrmr_member_name(member), strerror(error));
}

static int fail_catalog(const struct looking *l)
{
	int error = errno;

	return mrmr_error_set(l->err, error, "the catalogue cannot be read: %s",
			      mrmr_catalog_why(error));
}

/* --- by name -------------------------------------------------------------------- */

static int look_at_node(struct looking *l, void *frame,
			const struct mrmr_node *node)
{
	size_t index = mrmr_engine_member(l->engine, node->member);
	bool in_trash = false;
	char *path = NULL;

	if (node->kind != MRMR_NODE_FILE || index == SIZE_MAX ||
	    l->lookers[index] == NULL) {
		return 0;
	}
	path = mrmr_catalog_path(l->engine->catalog, frame, node->id,
				 &in_trash);
	if (path == NULL) {
		return fail_catalog(l);
	}
	if (!in_trash && looker_add(l->lookers[index], node->id, path,
				    node->size_bytes, node->mtime_ns) == -1) {
		return fail(l, &l->engine->pool->members[index], errno);
	}
	return 0;
}

static int look_at_nodes(struct looking *l)
{
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	for (;;) {
		void *frame = talloc_new(l->engine);
		int ret;

		if (should_stop(l)) {
			talloc_free(frame);
			return mrmr_error_set(l->err, ECANCELED, "interrupted");
		}
		if (mrmr_catalog_next(l->engine->catalog, frame, id, &node) ==
		    -1) {
			ret = errno == ENOENT ? 0 : fail_catalog(l);
			talloc_free(frame);
			return ret;
		}
		id = node->id;
		ret = look_at_node(l, frame, node);
		talloc_free(frame);
		if (ret == -1) {
			return -1;
		}
	}
}

static int start_lookers(struct looking *l)
{
	size_t i;

	for (i = 0; i < l->engine->pool->num_members; i++) {
		const struct mrmr_member *member = &l->engine->pool->members[i];

		if (!l->members[i].is_seen) {
			continue;
		}
		l->lookers[i] = looker_start(member->root_fd);
		if (l->lookers[i] == NULL) {
			return fail(l, member, errno);
		}
	}
	return 0;
}

/* Of what differs, what is known to. */
static void count_expected(struct looking *l, size_t index,
			   const uint64_t *different, size_t num)
{
	size_t i;

	for (i = 0; i < num && l->options->is_expected != NULL; i++) {
		l->members[index].num_expected +=
			l->options->is_expected(different[i],
						l->options->private_data);
	}
}

/* The first error is the one that is told. */
static int end_lookers(struct looking *l, int ret)
{
	size_t i;

	for (i = 0; i < l->engine->pool->num_members; i++) {
		uint64_t *different = NULL;
		size_t num = 0;

		if (l->lookers[i] == NULL) {
			continue;
		}
		if (looker_end(l->lookers[i], ret == -1, &l->members[i],
			       &different, &num) == -1 &&
		    ret == 0) {
			ret = fail(l, &l->engine->pool->members[i], errno);
		}
		count_expected(l, i, different, num);
		free(different);
	}
	return ret;
}

static int look_at_names(struct looking *l)
{
	int ret = start_lookers(l);
	int saved_errno;

	if (ret == 0) {
		ret = look_at_nodes(l);
	}
	saved_errno = errno;
	ret = end_lookers(l, ret);
	if (ret == -1 && l->err->code != 0) {
		saved_errno = l->err->code;
	}
	errno = saved_errno;
	return ret;
}

/* --- by inode --------------------------------------------------------------------- */

/* Known, as it was, and not where it was. */
static int look_at_file(struct looking *l, size_t index, const char *path,
			const struct stat *st)
{
	struct mrmr_catalog *catalog = l->engine->catalog;
	void *frame = NULL;
	struct mrmr_node *node = NULL;
	bool in_trash = false;
	char *known = NULL;
	uint64_t id;
	int ret = 0;

	if (mrmr_catalog_find_inode(catalog, l->engine->number[index],
				    st->st_ino, &id) == -1) {
		return errno == ENOENT ? 0 : fail_catalog(l);
	}
	frame = talloc_new(l->engine);
	if (mrmr_catalog_get(catalog, frame, id, &node) == 0) {
		known = mrmr_catalog_path(catalog, frame, id, &in_trash);
	}
	if (known == NULL) {
		ret = fail_catalog(l);
	} else if (look_is_same(node->size_bytes, node->mtime_ns, st) &&
		   !in_trash && strcmp(known, path) != 0) {
		struct stat other;

		/* a further name is no other place */
		l->members[index].num_moved +=
			look_beneath(l->engine->pool->members[index].root_fd,
				     known, &other) != 1;
	}
	talloc_free(frame);
	return ret;
}

static int walk(struct looking *l, size_t index, FTS *fts, size_t root_len)
{
	const struct mrmr_member *member = &l->engine->pool->members[index];
	FTSENT *entry = NULL;
	int ret = 0;

	while (ret == 0 && (errno = 0, entry = fts_read(fts)) != NULL) {
		if (should_stop(l)) {
			return mrmr_error_set(l->err, ECANCELED, "interrupted");
		}
		switch (entry->fts_info) {
		case FTS_D:
			if (entry->fts_level == 0 &&
			    entry->fts_statp->st_dev != member->dev) {
				return fail(l, member, ENODEV);
			}
			if (entry->fts_level == 1 &&
			    mrmr_is_private_name(entry->fts_name)) {
				fts_set(fts, entry, FTS_SKIP);
			}
			break;
		case FTS_F:
			ret = look_at_file(l, index, entry->fts_path + root_len,
					   entry->fts_statp);
			break;
		default:
			break; /* what cannot be read is not found */
		}
	}
	return ret;
}

static int look_for_moved(struct looking *l, size_t index)
{
	char *root = l->engine->pool->members[index].config->mount_point;
	char *const roots[] = {root, NULL};
	size_t len = strlen(root);
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	int ret;

	if (fts == NULL) {
		return fail(l, &l->engine->pool->members[index], errno);
	}
	ret = walk(l, index, fts, len + (root[len - 1] != '/'));
	fts_close(fts);
	return ret;
}

/* --- the interface ------------------------------------------------------------------ */

bool mrmr_scan_is_doubtful(const struct mrmr_scan_member *member)
{
	uint64_t num = member->num_changed + member->num_gone;
	uint64_t known = member->num_expected + member->num_moved;

	num = num > known ? num - known : 0;
	return num >= MRMR_SCAN_DOUBT_MIN && 2 * num >= member->num_files;
}

int mrmr_scan_look(struct mrmr_engine *engine,
		   const struct mrmr_scan_options *options,
		   struct mrmr_scan_member *members, struct mrmr_error *err)
{
	struct looking l = {
		.engine = engine,
		.options = options,
		.members = members,
		.err = err,
	};
	size_t i;

	for (i = 0; i < engine->pool->num_members; i++) {
		members[i] = (struct mrmr_scan_member){
			.is_seen = engine->pool->members[i].state ==
				   MRMR_MEMBER_ONLINE,
		};
	}
	if (look_at_names(&l) == -1) {
		return -1;
	}
	for (i = 0; i < engine->pool->num_members; i++) {
		if (mrmr_scan_is_doubtful(&members[i]) &&
		    look_for_moved(&l, i) == -1) {
			return -1;
		}
	}
	return 0;
}
