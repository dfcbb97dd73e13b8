/*
 * The marker of a member: any file. What is accepted can be written, and says
 * the same then.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/marker.h>

#include "fuzz.h"

static int root_fd = -1;
static int other_fd = -1;

static int make_root(const char *name)
{
	FUZZ_MUST(mkdir(name, 0755) == 0);
	return open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_enter_tmpfs();
	root_fd = make_root("member");
	other_fd = make_root("other");
	FUZZ_MUST(mkdir("member/" MRMR_DIR, 0700) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct mrmr_marker marker = {0};
	struct mrmr_marker again = {0};
	struct mrmr_error err = {0};

	fuzz_write_file("member/" MRMR_DIR "/" MRMR_MARKER_NAME, data, len);
	if (mrmr_marker_read(root_fd, "member", &marker, &err) == -1) {
		FUZZ_MUST(err.code != 0 && err.text[0] != '\0');
		return 0;
	}
	FUZZ_MUST(mrmr_marker_write(other_fd, "other", &marker, &err) == 0);
	FUZZ_MUST(mrmr_marker_read(other_fd, "other", &again, &err) == 0);
	FUZZ_MUST(mrmr_marker_equal(&marker, &again));
	FUZZ_MUST(mrmr_marker_remove(other_fd, "other", &marker, &err) == 0);
	return 0;
}
