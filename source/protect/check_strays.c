/*
 * MRMR: files on a member that are not protected as they are (see
 * mrmr/check.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fts.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/check.h>
#include <mrmr/marker.h>

#define NS_PER_S INT64_C(1000000000)

struct walk {
	struct mrmr_engine *engine;
	uint16_t number;
	void *seen; /* inodes with several names, for tsearch(3) */
};

static int compare_inodes(const void *a, const void *b)
{
	const ino_t *x = a;
	const ino_t *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* 1: another name of this file was seen before. -1 with ENOMEM. */
static int is_seen(struct walk *w, const struct stat *st)
{
	ino_t *key = NULL;
	void *found = NULL;

	if (st->st_nlink < 2) {
		return 0;
	}
	key = malloc(sizeof(*key));
	if (key != NULL) {
		*key = st->st_ino;
		found = tsearch(key, &w->seen, compare_inodes);
	}
	if (found == NULL) {
		free(key);
		errno = ENOMEM;
		return -1;
	}
	if (*(ino_t **)found != key) {
		free(key);
		return 1;
	}
	return 0;
}

static bool is_like(const struct mrmr_node *node, const struct stat *st)
{
	return node->size_bytes == (uint64_t)st->st_size &&
	       node->mtime_ns == (int64_t)st->st_mtim.tv_sec * NS_PER_S +
					 st->st_mtim.tv_nsec;
}

/* By its inode, or its name where inodes do not last. */
static int find_node(struct walk *w, const char *path, const struct stat *st,
		     struct mrmr_node **node)
{
	struct mrmr_catalog *catalog = w->engine->catalog;
	uint64_t id = 0;

	*node = NULL;
	if (mrmr_catalog_find_inode(catalog, w->number, st->st_ino, &id) == 0) {
		return mrmr_catalog_get(catalog, w->engine, id, node);
	}
	if (errno != ENOENT) {
		return -1;
	}
	if (mrmr_catalog_find_path(catalog, w->engine, path, node) == 0 &&
	    ((*node)->member != w->number || !is_like(*node, st))) {
		TALLOC_FREE(*node);
		errno = ENOENT;
	}
	return *node != NULL ? 0 : -1;
}

static int look_at(struct walk *w, const char *path, const struct stat *st,
		   int (*fn)(const struct mrmr_check_stray *stray,
			     void *private_data),
		   void *private_data)
{
	struct mrmr_check_stray stray = {
		.path = path,
		.size_bytes = (uint64_t)st->st_size,
	};
	struct mrmr_node *node = NULL;
	int seen = is_seen(w, st);
	bool is_known;

	if (seen != 0) {
		return seen == 1 ? 0 : -1;
	}
	if (find_node(w, path, st, &node) == -1 && errno != ENOENT) {
		return -1;
	}
	is_known = node != NULL && is_like(node, st);
	stray.id = node != NULL && node->num_extents > 0 ? node->id : 0;
	talloc_free(node);
	return is_known ? 0 : fn(&stray, private_data);
}

static int walk(struct walk *w, FTS *fts, size_t root_len, dev_t dev,
		int (*fn)(const struct mrmr_check_stray *stray,
			  void *private_data),
		void *private_data)
{
	FTSENT *entry = NULL;
	int ret = 0;

	while (ret == 0 && (errno = 0, entry = fts_read(fts)) != NULL) {
		switch (entry->fts_info) {
		case FTS_D:
			if (entry->fts_level == 0 &&
			    entry->fts_statp->st_dev != dev) {
				errno = ENODEV;
				return -1;
			}
			if (entry->fts_level == 1 &&
			    mrmr_is_private_name(entry->fts_name)) {
				fts_set(fts, entry, FTS_SKIP);
			}
			break;
		case FTS_DNR:
		case FTS_ERR:
		case FTS_NS:
			if (entry->fts_errno != ENOENT) {
				errno = entry->fts_errno;
				return -1;
			}
			break;
		case FTS_F:
			ret = look_at(w, entry->fts_path + root_len,
				      entry->fts_statp, fn, private_data);
			break;
		}
	}
	return ret != 0 ? ret : errno == 0 ? 0 : -1;
}

int mrmr_check_strays(struct mrmr_engine *engine, size_t member,
		      int (*fn)(const struct mrmr_check_stray *stray,
				void *private_data),
		      void *private_data, struct mrmr_error *err)
{
	const struct mrmr_member *from = &engine->pool->members[member];
	char *roots[] = {from->config->mount_point, NULL};
	struct walk w = {.engine = engine, .number = engine->number[member]};
	size_t len;
	FTS *fts = NULL;
	int saved_errno;
	int ret;

	if (from->state != MRMR_MEMBER_ONLINE) {
		return mrmr_error_set(err, ENODEV, "member %s is not online",
				      mrmr_member_name(from));
	}
	len = strlen(roots[0]);
	len += roots[0][len - 1] != '/';
	fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	ret = fts != NULL ? walk(&w, fts, len, from->dev, fn, private_data)
			  : -1;
	saved_errno = errno;
	if (fts != NULL) {
		fts_close(fts);
	}
	tdestroy(w.seen, free);
	if (ret == -1) {
		return mrmr_error_set(err, saved_errno,
				      "member %s cannot be read: %s",
				      mrmr_member_name(from),
				      strerror(saved_errno));
	}
	return ret;
}
