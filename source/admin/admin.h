/*
 * mrmr-admin: what its verbs share.
 *
 * A verb is one file, verb_<name>.c, that defines one struct admin_verb, and
 * one line in the table of main.c. It gets its own arguments, reads its own
 * options together with the global ones (admin_parse), does its work, and
 * returns the exit status. What a person should know goes through admin_say,
 * admin_note and admin_fail; what a program should know goes into
 * admin->result, the one JSON object that --json prints at the end. Neither
 * has to ask which of the two is wanted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_H
#define MRMR_ADMIN_H

#include <stdbool.h>

#include <jansson.h>
#include <popt.h>

#include <mrmr/config.h>
#include <mrmr/error.h>

enum admin_exit {
	ADMIN_OK = 0,
	ADMIN_DEGRADED = 1, /* works, but degraded or with work left to do */
	ADMIN_LOST = 2,     /* data lost, or at risk beyond the redundancy */
	ADMIN_USAGE = 64,
	ADMIN_CONFIG = 65,
	ADMIN_FAILED = 70,
};

/* One run of the command. Everything it allocates is a talloc child of it. */
struct admin {
	char *config_path;
	int json; /* flags are int, as popt writes them */
	int dry_run;
	int yes;
	int quiet;
	json_t *result;
};

struct admin_verb {
	const char *name;
	const char *arguments; /* for the usage line: "MEMBER..." */
	const char *summary;   /* one line, for the list of verbs */
	const char *help;      /* paragraphs, lines below 80 columns */
	bool needs_root;
	int (*run)(struct admin *admin, const struct admin_verb *verb, int argc,
		   const char **argv);
};

extern const struct admin_verb admin_verb_init;
extern const struct admin_verb admin_verb_add;
extern const struct admin_verb admin_verb_status;
extern const struct admin_verb admin_verb_sync;
extern const struct admin_verb admin_verb_where;
extern const struct admin_verb admin_verb_eject;
extern const struct admin_verb admin_verb_attach;
extern const struct admin_verb admin_verb_check;
extern const struct admin_verb admin_verb_what_if;
extern const struct admin_verb admin_verb_scrub;
extern const struct admin_verb admin_verb_scan;
extern const struct admin_verb admin_verb_rebuild;
extern const struct admin_verb admin_verb_recover;
extern const struct admin_verb admin_verb_trash;
extern const struct admin_verb admin_verb_config;

/* --- options.c ------------------------------------------------------------ */

#define ADMIN_GO_ON (-1)

/*
 * Read options up to the first argument that is none. *rest is what is left,
 * ends with NULL, and belongs to admin. ADMIN_GO_ON, or the status to exit
 * with (--help, --version, a wrong option).
 */
int admin_parse_global(struct admin *admin, int argc, const char **argv,
		       const char ***rest);

/*
 * Read a verb's own options (may be NULL) and the global ones, in any order
 * with its arguments. argv[0] is the verb. There must be from min to max
 * arguments, and the user must be root if the verb needs that. Texts are children
 * of admin; of an option that is given twice, the last counts.
 */
int admin_parse(struct admin *admin, const struct admin_verb *verb,
		const struct poptOption *options, int argc, const char **argv,
		int min, int max, const char ***arguments);

/* The text of the general help, with the list of verbs (main.c). */
void admin_print_verbs(void);
const struct admin_verb *admin_find_verb(const char *name);

/* --- output.c ------------------------------------------------------------- */

/* A line on standard output, unless --quiet or --json. */
void admin_say(const struct admin *admin, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Something that a person should know but that is no failure: a line on
 * standard error (unless --quiet), and in "notes" of the result.
 */
void admin_note(struct admin *admin, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * What is about to be done, or with --dry-run would be: "make /x". In
 * "actions" of the result; printed with --dry-run only. True if it is to be
 * done.
 */
bool admin_step(struct admin *admin, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Say on standard error why the command fails, whatever the options, and put
 * it into "error" of the result. Returns status.
 */
int admin_fail(struct admin *admin, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Print the result if --json. Returns status. */
int admin_finish(struct admin *admin, int status);

/*
 * Ask before something that cannot be undone: the sentence says what would be
 * done. ADMIN_GO_ON (also with --yes, and with --dry-run); or, after the failure
 * was said, the status: nobody is there to ask, or the answer was no. (ask.c)
 */
int admin_confirm(struct admin *admin, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Set a key of an object; a value that could not be made ends the program. */
void admin_set(json_t *object, const char *key, json_t *value);
void admin_append(json_t *array, json_t *value);

/* A string, for any bytes: what is not UTF-8 becomes "?". */
json_t *admin_json_text(const char *text);
json_t *admin_json_uuid(const struct mrmr_uuid *uuid);

/* A file name for a terminal: control characters become "?". A talloc child of
   mem_ctx. */
char *admin_printable(void *mem_ctx, const char *text);

/* For allocations that can't be done without: ends the program. */
void *admin_need(void *pointer);

/* --- pool_config.c ---------------------------------------------------------- */

/*
 * For verbs that change the config, before they read it: two at once would
 * lose one of the changes. Held until the process ends. ADMIN_GO_ON, or the
 * status after the failure was said.
 */
int admin_lock_config(struct admin *admin);

/* The config, or NULL after the failure was said: then exit ADMIN_CONFIG. */
struct mrmr_config *admin_config(struct admin *admin);

/*
 * Would this config, written to path, be valid? ADMIN_GO_ON, or the status
 * after the failure was said.
 */
int admin_check_config(struct admin *admin, const struct mrmr_config *config,
		       const char *path);

/* The member that a word means, or -1 after the failure was said. */
int admin_config_member(struct admin *admin, const struct mrmr_config *config,
			const char *word);

/* Take a member out of a config. In rules, another one takes its place, or
   (SIZE_MAX) none. */
void admin_config_remove(struct mrmr_config *config, size_t index, size_t heir);

/* Make a member the last one: of a name that several have, the share shows that of
   the first. Where a member is then that was at index i: */
void admin_config_put_last(struct mrmr_config *config, size_t index);
size_t admin_config_after_put_last(const struct mrmr_config *config,
				   size_t index, size_t i);

/* What is to be said of such a member: its name, its file system's. */
#define ADMIN_UNLASTING_TEXT                                            \
	"%s: inode numbers of %s do not last, so files there are not "  \
	"protected: if it is lost, so are they; it may have parity of " \
	"others: role \"parity\""

/* A member's name and the beginning of its id. A talloc child of mem_ctx. */
char *admin_member_label(void *mem_ctx,
			 const struct mrmr_member_config *member);

#endif
