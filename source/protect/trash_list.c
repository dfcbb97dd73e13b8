/*
 * MRMR: what is in the trash (see mrmr/undelete.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/trash.h>
#include <mrmr/undelete.h>

#include "trash_private.h"

struct listing {
	void *mem_ctx;
	size_t member;
	struct mrmr_trashed *items;
	size_t num;
};

static int add_item(const char *trash_path, const struct stat *st,
		    void *private_data)
{
	struct listing *l = private_data;
	size_t size = talloc_array_length(l->items);
	struct mrmr_trashed *item = NULL;

	if (l->num == size) {
		l->items = talloc_realloc(l->mem_ctx, l->items,
					  struct mrmr_trashed,
					  size > 0 ? 2 * size : 256);
		if (l->items == NULL) {
			errno = ENOMEM;
			return -1;
		}
	}
	item = &l->items[l->num];
	*item = (struct mrmr_trashed){
		.member = l->member,
		.trash_path = talloc_strdup(l->items, trash_path),
		.time_s = trash_time_s(trash_path, st),
		.st = *st,
	};
	if (item->trash_path == NULL) {
		errno = ENOMEM;
		return -1;
	}
	item->path = item->trash_path +
		     (mrmr_trash_origin(item->trash_path) - item->trash_path);
	l->num++;
	return 0;
}

static int compare_times(const void *a, const void *b)
{
	const struct mrmr_trashed *x = a;
	const struct mrmr_trashed *y = b;

	if (x->time_s != y->time_s) {
		return x->time_s > y->time_s ? -1 : 1;
	}
	return strcmp(x->path, y->path);
}

int mrmr_trash_list(void *mem_ctx, struct mrmr_pool *pool,
		    struct mrmr_trashed **items, size_t *num,
		    struct mrmr_error *err)
{
	struct listing l = {.mem_ctx = mem_ctx};

	for (l.member = 0; l.member < pool->num_members; l.member++) {
		const struct mrmr_member *member = &pool->members[l.member];

		if (member->state == MRMR_MEMBER_ONLINE &&
		    trash_walk(member, add_item, &l) == -1) {
			mrmr_error_set(err, errno,
				       "member %s: its trash cannot be read: "
				       "%s",
				       mrmr_member_name(member),
				       strerror(errno));
			talloc_free(l.items);
			return -1;
		}
	}
	if (l.num > 0) {
		qsort(l.items, l.num, sizeof(*l.items), compare_times);
	}
	*items = l.items;
	*num = l.num;
	return 0;
}
