/*
 * mrmr-admin: the command of MRMR.
 *
 *     mrmr-admin [OPTION...] VERB [ARGUMENT...]
 *
 * See admin.h for how a verb is made.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/log.h>
#include <mrmr/nearest.h>

#include "admin.h"

/* In the order of --help. */
static const struct admin_verb *const verbs[] = {
	&admin_verb_init,    &admin_verb_add,    &admin_verb_status,
	&admin_verb_sync,    &admin_verb_scan,   &admin_verb_check,
	&admin_verb_what_if, &admin_verb_scrub,  &admin_verb_rebuild,
	&admin_verb_recover, &admin_verb_trash,  &admin_verb_where,
	&admin_verb_eject,   &admin_verb_attach, &admin_verb_config,
};
#define NUM_VERBS (sizeof(verbs) / sizeof(verbs[0]))

void admin_print_verbs(void)
{
	size_t i;

	puts("Usage: mrmr-admin [OPTION...] VERB [ARGUMENT...]\n"
	     "\n"
	     "Sets up and looks after an MRMR pool: one SMB share over many "
	     "drives.\n"
	     "\n"
	     "Verbs (mrmr-admin VERB --help says more):");
	for (i = 0; i < NUM_VERBS; i++) {
		printf("  %-8s  %s\n", verbs[i]->name, verbs[i]->summary);
	}
	puts("\n"
	     "FILE is $MRMR_CONFIG, or " MRMR_CONFIG_DEFAULT ", by default.\n"
	     "A member is given by its mount point, its id, or the beginning "
	     "of its id.\n"
	     "\n"
	     "Exit status: 0 fine, 1 works but degraded or work left to do, 2 "
	     "data lost or at\n"
	     "risk beyond the redundancy, 64 usage, 65 bad config, 70 "
	     "failure.\n"
	     "\n"
	     "Options:");
}

const struct admin_verb *admin_find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < NUM_VERBS; i++) {
		if (strcmp(verbs[i]->name, name) == 0) {
			return verbs[i];
		}
	}
	return NULL;
}

static int fail_no_verb(struct admin *admin, const char *name)
{
	const char *names[NUM_VERBS + 1] = {NULL};
	const char *nearest = NULL;
	size_t i;

	for (i = 0; i < NUM_VERBS; i++) {
		names[i] = verbs[i]->name;
	}
	nearest = mrmr_nearest_word(name, names);
	if (nearest != NULL) {
		return admin_fail(admin, ADMIN_USAGE,
				  "there is no verb \"%s\"; did you mean "
				  "\"%s\"?",
				  name, nearest);
	}
	return admin_fail(admin, ADMIN_USAGE,
			  "there is no verb \"%s\"; mrmr-admin --help lists "
			  "them",
			  name);
}

/* What the core logs. The states of members are said by those who asked. */
static void log_to_stderr(enum mrmr_log_level level, const char *text)
{
	if (level == MRMR_LOG_ERROR) {
		fprintf(stderr, "mrmr-admin: %s\n", text);
	}
}

static int run(struct admin *admin, int argc, const char **argv)
{
	const struct admin_verb *verb = NULL;
	const char **rest = NULL;
	int num = 0;
	int result = admin_parse_global(admin, argc, argv, &rest);

	if (result != ADMIN_GO_ON) {
		return result;
	}
	while (rest[num] != NULL) {
		num++;
	}
	if (num == 0) {
		return admin_fail(admin, ADMIN_USAGE,
				  "what shall be done? mrmr-admin --help lists "
				  "the verbs");
	}
	verb = admin_find_verb(rest[0]);
	if (verb == NULL) {
		return fail_no_verb(admin, rest[0]);
	}
	return verb->run(admin, verb, num, rest);
}

/* A pool of many drives takes many descriptors; the usual limit is for programs
   that use select(). */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, const char **argv)
{
	struct admin *admin = admin_need(talloc_zero(NULL, struct admin));
	const char *path = getenv("MRMR_CONFIG");
	int status;

	if (path == NULL || path[0] == '\0') {
		path = MRMR_CONFIG_DEFAULT;
	}
	admin->config_path = admin_need(talloc_strdup(admin, path));
	admin->result = admin_need(json_object());
	mrmr_log_to(log_to_stderr);
	allow_descriptors();

	status = admin_finish(admin, run(admin, argc, argv));
	json_decref(admin->result);
	talloc_free(admin);
	return status;
}
