/*
 * The command line of mrmr-admin: words, each ended by a byte 0, over a pool of
 * three members, with all that is reachable by them: the root of the file system
 * is an empty tmpfs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define ARGUMENTS_MAX 12

int mrmr_admin_main(int argc, const char **argv);

static int run(int argc, const char **argv)
{
	int status = mrmr_admin_main(argc, argv);

	FUZZ_MUST(status == 0 || status == 1 || status == 2 || status == 64 ||
		  status == 65 || status == 70);
	return status;
}

static void make_pool(void)
{
	const char *const words[] = {"mrmr-admin",  "--quiet",  "--yes",
				     "init",        "--parity", "1",
				     "--state-dir", "/state",   "/m1",
				     "/m2",         "/m3",      NULL};
	const char *arguments[12];

	memcpy(arguments, words, sizeof(arguments));
	mkdir("/m1", 0755);
	mkdir("/m2", 0755);
	mkdir("/m3", 0755);
	fuzz_write_file("/m1/a", "one", 3);
	fuzz_write_file("/m2/b", "two", 3);
	FUZZ_MUST(run(11, arguments) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_enter_root();
	FUZZ_MUST(mkdir("/etc", 0755) == 0 && mkdir("/etc/mrmr", 0755) == 0);
	unsetenv("MRMR_CONFIG");
	/* nobody answers a question */
	FUZZ_MUST(freopen("/etc/nothing", "w+", stdin) != NULL);
	make_pool();
	fuzz_leave_root();
	return 0;
}

/* It would wait for files to be quiet. */
static bool waits(const char *word)
{
	return strncmp(word, "--back", 6) == 0 ||
	       strncmp(word, "--settle", 8) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_input input = {.at = data, .left = len};
	char *words[ARGUMENTS_MAX + 2] = {NULL};
	const char *arguments[ARGUMENTS_MAX + 2] = {NULL};
	bool is_wanted = true;
	int num = 1;
	int i;

	words[0] = strdup("mrmr-admin");
	while (num <= ARGUMENTS_MAX && input.left > 0) {
		words[num] = fuzz_text(&input);
		is_wanted = is_wanted && !waits(words[num]);
		num++;
	}
	memcpy(arguments, words, sizeof(words));
	if (is_wanted) {
		fuzz_enter_root();
		run(num, arguments);
		fuzz_leave_root();
	}
	for (i = 0; i < num; i++) {
		free(words[i]);
	}
	return 0;
}
