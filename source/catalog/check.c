/*
 * MRMR: the catalogue: is a store sound?
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

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
