/*
 * MRMR: errors that explain themselves (see mrmr/error.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <mrmr/error.h>

void mrmr_blank_controls(char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f) {
			*text = '?';
		} else if (c == 0xc2 && (text[1] & 0xe0) == 0x80) {
			*text = text[1] = '?'; /* U+0080 to U+009F */
		}
	}
}

/* The end of the buffer may have cut a UTF-8 character in two. */
static void drop_last_character(char *text)
{
	size_t start = strlen(text);

	while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) {
		start--;
	}
	if (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0xc0) {
		text[start - 1] = '\0';
	}
}

int mrmr_error_set(struct mrmr_error *err, int code, const char *fmt, ...)
{
	va_list ap;
	int len;

	if (err == NULL) {
		errno = code;
		return -1;
	}
	va_start(ap, fmt);
	len = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	if (len < 0) {
		snprintf(err->text, sizeof(err->text), "error %d", code);
	} else if ((size_t)len >= sizeof(err->text)) {
		drop_last_character(err->text);
	}
	mrmr_blank_controls(err->text);
	err->code = code;
	errno = code;
	return -1;
}
