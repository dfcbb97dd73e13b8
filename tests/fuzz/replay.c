/*
 * In libFuzzer's place, for any compiler: the files that are named are given to the
 * target, one after the other, as libFuzzer does. Nothing is searched for.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

/* Some targets have nothing to prepare. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

struct input {
	const char *path;
	uint8_t *data; /* as long as the input is: reading beyond it is seen */
	size_t len;
};

static void give_up(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(70);
}

static struct input read_input(const char *path)
{
	struct input input = {.path = path};
	struct stat st = {0};
	FILE *file = fopen(path, "re");

	if (file == NULL || fstat(fileno(file), &st) == -1) {
		give_up(path);
	}
	input.len = (size_t)st.st_size;
	input.data = malloc(input.len);
	if ((input.data == NULL && input.len > 0) ||
	    fread(input.data, 1, input.len, file) != input.len) {
		give_up(path);
	}
	fclose(file);
	return input;
}

int main(int argc, char **argv)
{
	int num = argc - 1;
	struct input *inputs = calloc((size_t)num + 1, sizeof(inputs[0]));
	int i;

	if (inputs == NULL) {
		give_up("memory");
	}
	/* all beforehand: a target may have another root afterwards */
	for (i = 0; i < num; i++) {
		inputs[i] = read_input(argv[i + 1]);
	}
	if (LLVMFuzzerInitialize != NULL) {
		LLVMFuzzerInitialize(&argc, &argv);
	}
	for (i = 0; i < num; i++) {
		fprintf(stderr, "Running: %s\n", inputs[i].path);
		LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].len);
		free(inputs[i].data);
	}
	free(inputs);
	return 0;
}
