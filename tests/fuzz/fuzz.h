/*
 * What the fuzz targets share. A target is a file fuzz_NAME.c with
 * LLVMFuzzerTestOneInput(); see tests/fuzz/run.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/uuid.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What must hold: ends the process, which libFuzzer takes for a crash. */
#define FUZZ_MUST(condition) \
	((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/*
 * For targets that need a file system: the working directory becomes an empty
 * tmpfs in a mount namespace of the process's own. Needs root; says so and ends
 * the process otherwise.
 */
void fuzz_enter_tmpfs(void);

/*
 * The same, and it is the root as well, with /proc, until fuzz_leave_root().
 * That is for what happens between inputs: libFuzzer reads and writes files then.
 * What it writes when something was found goes to $MRMR_FUZZ_KEEP, which is
 * seen in both.
 */
void fuzz_enter_root(void);
void fuzz_leave_root(void);

/* Data that is used up from its beginning; what is missing is zero. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};
uint8_t fuzz_byte(struct fuzz_input *input);
uint16_t fuzz_two_bytes(struct fuzz_input *input);
/* Up to len of them. */
const uint8_t *fuzz_bytes(struct fuzz_input *input, size_t len, size_t *got);
/* Up to the next byte 0 or the end: a copy, to be freed. */
char *fuzz_text(struct fuzz_input *input);

/* The pool and the members of all targets, as in the corpora. */
extern const struct mrmr_uuid fuzz_pool_id;
#define FUZZ_POOL "f0220000-0000-4000-8000-000000000000"
#define FUZZ_MEMBER "f0220000-0000-4000-8000-00000000000"

/* Overwrite a file, by its path. */
void fuzz_write_file(const char *path, const void *data, size_t len);

#endif
