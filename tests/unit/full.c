/*
 * Unit tests: drives that are full (see full.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "full.h"

void leave_room(struct world *w, uint64_t bytes)
{
	size_t i;

	for (i = 0; i < w->pool->num_members; i++) {
		struct statvfs st;
		uint64_t room;
		int fd = open(world_drive(w, i, ".mrmr/others"),
			      O_RDWR | O_CREAT | O_TRUNC, 0600);

		assert_return_code(fd, errno);
		assert_return_code(fstatvfs(fd, &st), errno);
		room = (uint64_t)st.f_bavail * st.f_bsize;
		if (room > bytes) {
			assert_int_equal(posix_fallocate(fd, 0,
							 (off_t)(room - bytes)),
					 0);
		}
		close(fd);
	}
	mrmr_pool_look_at_space(w->pool);
}

unsigned int fewest_rows(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_stripe *stripe = NULL;
	unsigned int fewest = MRMR_PARITY_MAX;
	uint64_t id = 0;

	while (mrmr_catalog_next_stripe(engine->catalog, engine, id, &stripe) ==
	       0) {
		id = stripe->id;
		fewest = stripe->num_rows < fewest ? stripe->num_rows : fewest;
		talloc_free(stripe);
	}
	talloc_free(engine);
	return fewest;
}
