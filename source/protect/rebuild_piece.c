/*
 * MRMR: rebuilding: a piece of a file on its own, in all ways that there are.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include <mrmr/decode.h>

#include "rebuild_private.h"

/* The stripe may have been read in a bad moment. */
#define TRIES 2

static int run(struct mrmr_decode *decode, uint8_t *buf, size_t size)
{
	if (mrmr_decode_len(decode) > size) {
		errno = EIO;
		return -1;
	}
	return mrmr_decode_run(decode, buf);
}

int rebuild_compute(struct rebuild *r, const struct mrmr_node *node,
		    uint32_t index, uint8_t *buf, size_t size,
		    struct mrmr_error *err)
{
	int error = 0;
	int tries;

	for (tries = 0; tries < TRIES; tries++) {
		struct mrmr_decode *decode =
			mrmr_decode_extent(r, r->engine, node, index, err);

		if (decode == NULL) {
			return -1;
		}
		error = run(decode, buf, size) == 0 ? 0 : errno;
		mrmr_decode_report(decode, r->engine);
		talloc_free(decode);
		if (error == 0) {
			return 0;
		}
	}
	return mrmr_error_set(err, error,
			      "its bytes cannot be computed from what is "
			      "there");
}
