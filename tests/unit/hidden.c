/*
 * Unit tests: a catalogue of which bits have turned (see hidden.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "../../source/catalog/catalog_private.h"
#include "hidden.h"

/* tdb_private.h: a header of 168 bytes, with the number of chains at 36; then, 4 bytes
   each, where the free list and the chains begin. */
#define AT_NUM_CHAINS 36
#define AT_CHAINS (168 + 4)

static uint32_t number_at(int fd, off_t at)
{
	uint32_t number = 0;

	assert_int_equal(pread(fd, &number, sizeof(number), at),
			 sizeof(number));
	return number;
}

static bool hide(const char *path, uint32_t *at)
{
	const uint32_t none = 0;
	uint32_t num_chains;
	bool found = false;
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_return_code(fd, errno);
	num_chains = number_at(fd, AT_NUM_CHAINS);
	for (; !found && *at < num_chains; (*at)++) {
		off_t chain = AT_CHAINS + 4 * (off_t)*at;

		found = number_at(fd, chain) != 0;
		if (found) {
			assert_int_equal(pwrite(fd, &none, sizeof(none), chain),
					 sizeof(none));
		}
	}
	close(fd);
	return found;
}

bool hide_chain(struct world *w, uint32_t *at)
{
	return hide(world_path(w, "state/catalogue/0.tdb"), at);
}

bool hide_chain_of_part(struct world *w, size_t member, uint32_t *at)
{
	return hide(world_drive(w, member, ".mrmr/mrmr.db"), at);
}

void remove_record(struct world *w, size_t member, const char *key_bytes,
		   size_t len)
{
	struct mrmr_catalog *part = NULL;
	struct key key = {.len = (uint8_t)len};
	struct mrmr_error err = {0};
	int fd = open(world_member(w, member, ".mrmr"), O_RDONLY);

	assert_return_code(fd, errno);
	part = mrmr_catalog_open_part(NULL, fd, &w->pool->config->pool_id,
				      MRMR_CATALOG_WRITE, &err);
	if (part == NULL) {
		fail_msg("%s", err.text);
	}
	memcpy(key.byte, key_bytes, len);
	assert_return_code(mrmr_catalog_begin(part), errno);
	assert_return_code(record_delete(part, &key), errno);
	if (mrmr_catalog_commit(part, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(part);
	close(fd);
}
