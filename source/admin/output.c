/*
 * mrmr-admin: what it says, to people and to programs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "admin.h"

void *admin_need(void *pointer)
{
	if (pointer == NULL) {
		fputs("mrmr-admin: not enough memory\n", stderr);
		exit(ADMIN_FAILED);
	}
	return pointer;
}

char *admin_printable(void *mem_ctx, const char *text)
{
	char *copy = admin_need(talloc_strdup(mem_ctx, text));

	mrmr_blank_controls(copy);
	return copy;
}

/* --- JSON ----------------------------------------------------------------- */

void admin_set(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, admin_need(value)) == -1) {
		admin_need(NULL);
	}
}

void admin_append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, admin_need(value)) == -1) {
		admin_need(NULL);
	}
}

json_t *admin_json_text(const char *text)
{
	json_t *string = json_string(text);
	char *copy = NULL;
	char *c = NULL;

	if (string != NULL) {
		return string;
	}
	copy = admin_need(strdup(text));
	for (c = copy; *c != '\0'; c++) {
		if ((unsigned char)*c >= 0x80) {
			*c = '?';
		}
	}
	string = json_string(copy);
	free(copy);
	return admin_need(string);
}

json_t *admin_json_uuid(const struct mrmr_uuid *uuid)
{
	char text[MRMR_UUID_LEN + 1];

	mrmr_uuid_format(uuid, text);
	return admin_need(json_string(text));
}

/* U+0080 to U+009F in UTF-8, which steer some terminals too. */
static bool is_c1(const unsigned char *c)
{
	return c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
}

/*
 * Prints a dumped value. jansson escapes what JSON says must be; DEL and the C1
 * controls, which a name may hold and a terminal may obey, are escaped here.
 */
static void print_json(const char *text)
{
	const unsigned char *c = NULL;

	for (c = (const unsigned char *)text; *c != '\0'; c++) {
		if (*c == 0x7f) {
			printf("\\u%04x", *c);
		} else if (is_c1(c)) {
			printf("\\u%04x", *++c);
		} else {
			putchar(*c);
		}
	}
	putchar('\n');
}

static void append_to(struct admin *admin, const char *key, const char *text)
{
	json_t *array = json_object_get(admin->result, key);

	if (array == NULL) {
		array = admin_need(json_array());
		admin_set(admin->result, key, array);
	}
	admin_append(array, admin_json_text(text));
}

/* --- lines ---------------------------------------------------------------- */

static char *format_line(const char *fmt, va_list ap)
	__attribute__((format(printf, 1, 0)));

static char *format_line(const char *fmt, va_list ap)
{
	return admin_need(talloc_vasprintf(NULL, fmt, ap));
}

void admin_say(const struct admin *admin, const char *fmt, ...)
{
	va_list ap;

	if (admin->quiet || admin->json) {
		return;
	}
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void admin_note(struct admin *admin, const char *fmt, ...)
{
	char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	line = format_line(fmt, ap);
	va_end(ap);
	append_to(admin, "notes", line);
	if (!admin->quiet && !admin->json) {
		fprintf(stderr, "mrmr-admin: note: %s\n",
			admin_printable(line, line));
	}
	talloc_free(line);
}

bool admin_step(struct admin *admin, const char *fmt, ...)
{
	char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	line = format_line(fmt, ap);
	va_end(ap);
	append_to(admin, "actions", line);
	if (admin->dry_run) {
		admin_say(admin, "would %s", line);
	}
	talloc_free(line);
	return !admin->dry_run;
}

int admin_fail(struct admin *admin, int status, const char *fmt, ...)
{
	char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	line = format_line(fmt, ap);
	va_end(ap);
	admin_set(admin->result, "error", admin_json_text(line));
	fflush(stdout);
	fprintf(stderr, "mrmr-admin: %s\n", admin_printable(line, line));
	talloc_free(line);
	return status;
}

int admin_finish(struct admin *admin, int status)
{
	char *text = NULL;

	if (admin->json) {
		admin_set(admin->result, "exit_status", json_integer(status));
		text = admin_need(json_dumps(admin->result, JSON_INDENT(2)));
		print_json(text);
		free(text);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("mrmr-admin: standard output");
		return ADMIN_FAILED;
	}
	return status;
}
