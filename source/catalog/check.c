/*
 * MRMR: the catalogue: is a store sound?
 *
 * A record may be lost by a bit that turns where a file of records leads from one to
 * the next. Nobody notices that by asking for it: it is as if there was none. What is
 * found to make no sense stops all changes (open.c); before something is done that
 * cannot be undone because of what is not there, all of a store is looked at.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include "catalog_private.h"

int mrmr_catalog_check(struct mrmr_catalog *cat, struct mrmr_error *err)
{
	int ret;

	if (read_begin(cat) == -1) {
		return mrmr_error_set(err, EIO, "cannot read");
	}
	ret = store_check(cat->store, NULL, NULL, err);
	return read_end(cat, ret);
}

bool mrmr_catalog_is_damaged(const struct mrmr_catalog *cat)
{
	return cat->is_damaged;
}

const char *mrmr_catalog_why(int error)
{
	return error == EILSEQ ? "it is damaged; run 'mrmr-admin recover'"
			       : strerror(error);
}

int catalog_check_once(struct mrmr_catalog *cat)
{
	struct mrmr_error err = {0};

	if (cat->is_damaged) {
		errno = EILSEQ;
		return -1;
	}
	if (!cat->was_checked &&
	    store_check(cat->store, NULL, NULL, &err) == -1) {
		cat->is_damaged = err.code == EILSEQ;
		errno = err.code;
		return -1;
	}
	cat->was_checked = true;
	return 0;
}
