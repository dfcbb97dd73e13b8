/*
 * The file .mrmr/mrmr.db of a member: any bytes, read as a stick that somebody
 * brings is, then opened for writing, which repairs what was not closed well.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/staging.h>

#include "catalog_walk.h"
#include "fuzz.h"
#include "store.h"

static int private_fd = -1;

/* A small store, as the corpus has them, for those who make one. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_enter_tmpfs();
	store_limits.hash_size = 7;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	void *frame = talloc_new(NULL);
	struct mrmr_error err = {0};
	struct mrmr_catalog *part = NULL;

	FUZZ_MUST(mkdir("private", 0700) == 0);
	fuzz_write_file("private/" MRMR_CATALOG_PART, data, len);
	private_fd = open("private", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_MUST(private_fd != -1);
	part = mrmr_catalog_open_part(frame, private_fd, &fuzz_pool_id,
				      MRMR_CATALOG_READ, &err);
	if (part != NULL) {
		catalog_walk_read(part);
		TALLOC_FREE(part);
	} else {
		FUZZ_MUST(err.code != 0 && err.text[0] != '\0');
	}
	part = mrmr_catalog_open_part(frame, private_fd, &fuzz_pool_id,
				      MRMR_CATALOG_WRITE, &err);
	if (part != NULL) {
		catalog_walk_read(part);
	}
	talloc_free(frame);
	close(private_fd);
	FUZZ_MUST(mrmr_remove_tree(AT_FDCWD, "private") == 0);
	return 0;
}
