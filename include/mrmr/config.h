/*
 * MRMR: the pool's configuration file (JSON), read and checked as a whole.
 *
 * A config is either right in every part or refused: unknown keys, wrong
 * types, duplicate ids, a member inside another, a member inside the state
 * directory (or the reverse) are errors that name the key and its line.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_CONFIG_H
#define MRMR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/error.h>
#include <mrmr/size.h>
#include <mrmr/uuid.h>

#define MRMR_CONFIG_DEFAULT "/etc/mrmr/mrmr.json"
#define MRMR_MEMBERS_MAX 240 /* slots of the parity code */
#define MRMR_PARITY_MAX 8    /* rows of the parity code */
#define MRMR_BLOCK_SIZE_DEFAULT (4u << 20)
#define MRMR_PLACEMENT_DEFAULT "most-free"
#define MRMR_TRASH_DAYS_DEFAULT 30
#define MRMR_TRASH_MAX_PERCENT_DEFAULT 10
#define MRMR_UNDO_MAX_BYTES_DEFAULT (UINT64_C(64) << 20)

enum mrmr_member_role {
	MRMR_ROLE_DATA_AND_PARITY, /* "any", the default */
	MRMR_ROLE_DATA,            /* "data": never holds parity */
	MRMR_ROLE_PARITY,          /* "parity": preferred for parity; takes
				      files only when no other member can */
};

enum mrmr_member_kind {
	MRMR_MEMBER_LOCAL, /* mount_point */
	MRMR_MEMBER_SMB,   /* connection.type "smb" */
	MRMR_MEMBER_SSH,   /* connection.type "ssh" */
};

/* How many drives may be lost: exactly N, or "max", or between two bounds. */
struct mrmr_parity_wish {
	unsigned int min; /* 0 for "max": one member alone has none */
	unsigned int max; /* UINT_MAX: as much as fits */
};

struct mrmr_connection {
	char *host;
	char *share;       /* smb only */
	char *mount;       /* the directory there, "/" by default */
	char *credentials; /* path of a file, or NULL */
	char *user;        /* or NULL */
	unsigned int port; /* 0: the protocol's own */
};

struct mrmr_member_config {
	struct mrmr_uuid id;
	enum mrmr_member_kind kind;
	char *mount_point; /* absolute, no trailing slash; NULL if remote */
	struct mrmr_connection connection; /* remote kinds only */
	char *stack;                       /* shared failure unit, or NULL */
	enum mrmr_member_role role;
	unsigned int tier; /* lower is faster and nearer; 0 by default */
	bool is_removable;
	uint64_t min_free_bytes; /* kept free on this member */
	char *name;              /* see mrmr_member_config_name() */
	unsigned int line;       /* where its object begins in the file; 0 if it
			       was never in one */
};

/* A rule of placement; the first whose pattern matches the path decides. */
struct mrmr_rule_config {
	char *pattern;   /* fnmatch(3) of the pool path, without leading
			       slash, case-insensitive; '*' also matches '/' */
	char *placement; /* name of a policy, or NULL: the pool's */
	size_t *members; /* indices into config->members, or NULL: all */
	size_t num_members;
};

struct mrmr_config {
	char *path; /* of the file itself, absolute */
	struct mrmr_uuid pool_id;
	struct mrmr_parity_wish parity;
	char *state_dir; /* absolute, no trailing slash */
	uint32_t block_size_bytes;
	char *placement;         /* name of the default policy */
	uint64_t min_free_bytes; /* default of the members' own */
	unsigned int trash_days;
	unsigned int trash_max_percent;
	uint64_t undo_max_bytes; /* that a single truncation has copied */
	struct mrmr_member_config *members;
	size_t num_members;
	struct mrmr_rule_config *rules;
	size_t num_rules;
};

/*
 * Read and check a config file. The result and all that hangs on it is a
 * talloc child of mem_ctx. NULL with *err filled (EINVAL, ENOENT, EACCES,
 * ENOMEM); the sentence has the form "FILE:LINE: KEY: what is wrong; what to
 * do". Does not look at the members themselves.
 */
struct mrmr_config *mrmr_config_load(void *mem_ctx, const char *path,
				     struct mrmr_error *err);

/* As mrmr_config_load, from text; path is only used in messages. */
struct mrmr_config *mrmr_config_parse(void *mem_ctx, const char *path,
				      const char *text, size_t len,
				      struct mrmr_error *err);

/*
 * The text that mrmr_config_save() writes; a talloc child of mem_ctx, NULL for
 * lack of memory. What it says was not checked: mrmr_config_parse() does that.
 */
char *mrmr_config_format(void *mem_ctx, const struct mrmr_config *config);

/*
 * Write a config back, whole or not at all: a temporary file beside it, fsync,
 * rename, fsync of the directory. Keeps mode and owner of a file that is there
 * already. -1 with *err filled.
 */
int mrmr_config_save(const struct mrmr_config *config, const char *path,
		     struct mrmr_error *err);

/*
 * Find the member that a person means: a full id, a unique prefix of one (at
 * least 4 characters), or a mount point. Index, or -1 with *err filled (the
 * sentence lists the candidates when it is not unique).
 */
int mrmr_config_find_member(const struct mrmr_config *config, const char *word,
			    struct mrmr_error *err);

/* mount_point, or smb://host/share/mount, or sftp://host/mount. For people. */
const char *mrmr_member_config_name(const struct mrmr_member_config *member);

#endif
