/*
 * mrmr-admin: options, by popt.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include "admin.h"

#ifndef MRMR_VERSION
#define MRMR_VERSION "unknown"
#endif

enum {
	OPTION_HELP = 1,
	OPTION_VERSION,
	OPTION_TEXT /* and its number in the table */
};

#define NUM_GLOBAL_OPTIONS 8

/* popt's tables point at what they fill, so each run makes its own. */
static void make_global_options(struct admin *admin,
				struct poptOption options[NUM_GLOBAL_OPTIONS])
{
	const struct poptOption global[NUM_GLOBAL_OPTIONS] = {
		{"config", 'c', POPT_ARG_STRING, &admin->config_path, 0,
		 "the pool's configuration", "FILE"},
		{"json", '\0', POPT_ARG_NONE, &admin->json, 0,
		 "print one JSON object", NULL},
		{"dry-run", '\0', POPT_ARG_NONE, &admin->dry_run, 0,
		 "change nothing, say what would be done", NULL},
		{"yes", '\0', POPT_ARG_NONE, &admin->yes, 0,
		 "do not ask before destructive steps", NULL},
		{"quiet", '\0', POPT_ARG_NONE, &admin->quiet, 0,
		 "print nothing but errors", NULL},
		{"help", '\0', POPT_ARG_NONE, NULL, OPTION_HELP,
		 "show this help", NULL},
		{"version", '\0', POPT_ARG_NONE, NULL, OPTION_VERSION,
		 "show the version", NULL},
		POPT_TABLEEND,
	};

	memcpy(options, global, sizeof(global));
}

/*
 * Where the texts of options go. popt would store them there, and lose the first
 * of an option that is given twice; so it hands them over one by one instead.
 */
struct texts {
	char ***places;
	int num;
};

/* A copy of a table, with numbers in texts instead of places. */
static struct poptOption *without_places(struct admin *admin,
					 struct texts *texts,
					 const struct poptOption *options)
{
	struct poptOption *copy = NULL;
	unsigned int num = 0;
	unsigned int i;

	while (options[num].longName != NULL) {
		num++;
	}
	copy = admin_need(talloc_zero_array(admin, struct poptOption, num + 1));
	texts->places =
		admin_need(talloc_realloc(admin, texts->places, char **,
					  (unsigned int)texts->num + num + 1));
	for (i = 0; i < num; i++) {
		copy[i] = options[i];
		if (copy[i].argInfo == POPT_ARG_STRING) {
			copy[i].arg = NULL;
			copy[i].val = OPTION_TEXT + texts->num;
			texts->places[texts->num++] = options[i].arg;
		}
	}
	return copy;
}

/* The last one counts. */
static void take_text(struct admin *admin, poptContext context, char **place)
{
	char *text = poptGetOptArg(context);

	talloc_free(*place);
	*place = admin_need(talloc_strdup(admin, text));
	free(text);
}

static void print_verb(const struct admin_verb *verb)
{
	printf("Usage: mrmr-admin [OPTION...] %s%s%s\n\n%s", verb->name,
	       verb->arguments[0] != '\0' ? " " : "", verb->arguments,
	       verb->help);
}

/* popt's list of options, without its usage line. */
static void print_options(poptContext context)
{
	char *text = NULL;
	size_t len = 0;
	FILE *file = open_memstream(&text, &len);
	const char *options = NULL;

	if (file == NULL) {
		return;
	}
	poptPrintHelp(context, file, 0);
	fclose(file);
	options = strchr(text, '\n');
	if (options != NULL) {
		fputs(options + 1, stdout);
	}
	free(text);
}

/* Runs popt to the end of the options. verb is NULL for the global ones. */
static int read_options(struct admin *admin, const struct admin_verb *verb,
			const struct texts *texts, poptContext context)
{
	int option;

	while ((option = poptGetNextOpt(context)) > 0) {
		switch (option) {
		case OPTION_HELP:
			admin->json = 0;
			if (verb != NULL) {
				print_verb(verb);
			} else {
				admin_print_verbs();
			}
			print_options(context);
			return ADMIN_OK;
		case OPTION_VERSION:
			admin->json = 0;
			printf("mrmr-admin %s\n", MRMR_VERSION);
			return ADMIN_OK;
		default:
			take_text(admin, context,
				  texts->places[option - OPTION_TEXT]);
			break;
		}
	}
	if (option < -1) {
		return admin_fail(admin, ADMIN_USAGE,
				  "%s: %s (mrmr-admin%s%s "
				  "--help lists the options)",
				  poptBadOption(context, 0),
				  poptStrerror(option), verb != NULL ? " " : "",
				  verb != NULL ? verb->name : "");
	}
	return ADMIN_GO_ON;
}

/* What popt left, as texts of ours. */
static int take_arguments(struct admin *admin, poptContext context,
			  const char ***arguments)
{
	const char **given = poptGetArgs(context);
	const char **copy = NULL;
	int num = 0;
	int i;

	while (given != NULL && given[num] != NULL) {
		num++;
	}
	copy = admin_need(
		talloc_zero_array(admin, const char *, (unsigned int)num + 1));
	for (i = 0; i < num; i++) {
		copy[i] = admin_need(talloc_strdup(copy, given[i]));
	}
	*arguments = copy;
	return num;
}

int admin_parse_global(struct admin *admin, int argc, const char **argv,
		       const char ***rest)
{
	struct poptOption options[NUM_GLOBAL_OPTIONS];
	struct texts texts = {0};
	poptContext context = NULL;
	int result;

	make_global_options(admin, options);
	context = poptGetContext("mrmr-admin", argc, argv,
				 without_places(admin, &texts, options),
				 POPT_CONTEXT_POSIXMEHARDER);
	admin_need(context);
	result = read_options(admin, NULL, &texts, context);
	if (result == ADMIN_GO_ON) {
		take_arguments(admin, context, rest);
	}
	poptFreeContext(context);
	return result;
}

static int check_use(struct admin *admin, const struct admin_verb *verb,
		     int num, int min, int max)
{
	if (num >= min && num <= max) {
		if (verb->needs_root && geteuid() != 0) {
			return admin_fail(admin, ADMIN_FAILED,
					  "%s must be run as root", verb->name);
		}
		return ADMIN_GO_ON;
	}
	return admin_fail(admin, ADMIN_USAGE,
			  "%s arguments; usage: mrmr-admin %s %s (mrmr-admin "
			  "%s --help says more)",
			  num < min ? "too few" : "too many", verb->name,
			  verb->arguments, verb->name);
}

int admin_parse(struct admin *admin, const struct admin_verb *verb,
		const struct poptOption *options, int argc, const char **argv,
		int min, int max, const char ***arguments)
{
	struct poptOption global[NUM_GLOBAL_OPTIONS];
	char *title = admin_need(
		talloc_asprintf(admin, "Options of %s:", verb->name));
	struct poptOption all[] = {
		{NULL, '\0', POPT_ARG_INCLUDE_TABLE, NULL, 0, title, NULL},
		{NULL, '\0', POPT_ARG_INCLUDE_TABLE, NULL, 0,
		 "Options of every verb:", NULL},
		POPT_TABLEEND,
	};
	struct texts texts = {0};
	poptContext context = NULL;
	int result;

	make_global_options(admin, global);
	all[1].arg = without_places(admin, &texts, global);
	if (options != NULL) {
		all[0].arg = without_places(admin, &texts, options);
	}
	context = poptGetContext("mrmr-admin", argc, argv,
				 options != NULL ? all : all + 1, 0);
	admin_need(context);
	result = read_options(admin, verb, &texts, context);
	if (result == ADMIN_GO_ON) {
		int num = take_arguments(admin, context, arguments);

		result = check_use(admin, verb, num, min, max);
	}
	poptFreeContext(context);
	return result;
}
