/*
 * MRMR: errors that explain themselves.
 *
 * Core functions return -1 and set errno, as system calls do. Those that know
 * more fill a struct mrmr_error with one sentence for a person: what failed,
 * on which member or path, and what to do next.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ERROR_H
#define MRMR_ERROR_H

struct mrmr_error {
	int code;        /* an errno value, 0 if nothing failed */
	char text[1024]; /* one sentence, without a newline at its end */
};

/* Put a question mark for each byte of a control character (C0, DEL, C1 in UTF-8):
   a file name may hold any, and none may break a line or steer a terminal. */
void mrmr_blank_controls(char *text);

/*
 * Fill *err with code and a sentence, set errno to code, and return -1, so
 * that "return mrmr_error_set(err, EINVAL, ...)" reads as one step. err may
 * be NULL: then only errno is set. A sentence that is too long is cut.
 */
int mrmr_error_set(struct mrmr_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
