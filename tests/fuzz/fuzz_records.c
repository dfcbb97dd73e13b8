/*
 * The records of the catalogue, and of the part of it that a member carries: any
 * keys, any values.
 *
 * The first byte says what is done with them: bit 0, they are a part; bit 1, it
 * is changed; a part that is not is recovered from.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <fcntl.h>
#include <sys/stat.h>

#include <talloc.h>

#include "catalog_walk.h"
#include "fuzz.h"
#include "memory_store.h"

static int state_fd = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_enter_tmpfs();
	FUZZ_MUST(mkdir(MRMR_CATALOG_FOLDER, 0700) == 0);
	state_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static struct mrmr_catalog *open_one(void *mem_ctx, bool is_part,
				     bool is_changed)
{
	enum mrmr_catalog_mode mode =
		is_changed ? MRMR_CATALOG_WRITE : MRMR_CATALOG_READ;
	struct mrmr_error err = {0};

	return is_part ? mrmr_catalog_open_part(mem_ctx, state_fd,
						&fuzz_pool_id, mode, &err)
		       : mrmr_catalog_open(mem_ctx, state_fd, &fuzz_pool_id,
					   mode, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_input input = {.at = data, .left = len};
	void *frame = talloc_new(NULL);
	uint8_t what = fuzz_byte(&input);
	bool is_part = (what & 1) != 0;
	bool is_changed = (what & 2) != 0;
	struct mrmr_catalog *cat = NULL;
	struct mrmr_catalog *other = NULL;

	memory_store_fill(is_part ? MRMR_CATALOG_PART : "0.tdb", &input);
	cat = open_one(frame, is_part, is_changed);
	if (cat != NULL) {
		catalog_walk_read(cat);
		/* a part that goes with it, or a catalogue to be */
		other = open_one(frame, !is_part, true);
		FUZZ_MUST(other != NULL);
		if (is_part) {
			catalog_walk_import(cat, other);
		} else if (is_changed) {
			catalog_walk_change(cat, other);
			catalog_walk_read(cat);
			catalog_walk_read(other);
		}
		if (is_part && is_changed) {
			catalog_walk_change(other, cat);
			catalog_walk_read(cat);
		}
	}
	talloc_free(frame);
	memory_store_forget();
	return 0;
}
