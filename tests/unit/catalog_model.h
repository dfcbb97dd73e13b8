/*
 * Unit tests: a catalogue as simple arrays in memory, for comparing.
 *
 * Random changes are made to both, and must have the same results. The model is
 * one block of memory without pointers, so a transaction that is cancelled is
 * undone by copying, and another process can have it in shared memory.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CATALOG_MODEL_H
#define CATALOG_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/catalog.h>

#define MODEL_NODES 240
#define MODEL_NAMES 4
#define MODEL_EXTENTS 200
#define MODEL_STRIPES 160
#define MODEL_SLOTS 4
#define MODEL_PIECES 40
#define MODEL_ROWS 3
#define MODEL_MEMBERS 7
#define MODEL_NOTES 8
#define MODEL_GRID 4096

struct model_name {
	uint64_t dir_id;
	char name[220];
};

struct model_node {
	uint64_t id; /* 0: free */
	enum mrmr_node_kind kind;
	uint16_t member;
	uint64_t inode;
	uint64_t size_bytes;
	int64_t mtime_ns;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t device;
	uint32_t generation;
	uint32_t xattrs_seed;
	uint32_t xattrs_len;
	uint32_t target_len;
	uint32_t num_names;
	struct model_name names[MODEL_NAMES];
	uint32_t num_extents;
	struct mrmr_extent extents[MODEL_EXTENTS];
};

struct model_slot {
	uint8_t slot;
	uint16_t member;
	uint32_t num_pieces;
	struct mrmr_piece pieces[MODEL_PIECES];
};

struct model_stripe {
	uint64_t id; /* 0: free */
	uint16_t scrubbed_day;
	uint32_t num_slots;
	struct model_slot slots[MODEL_SLOTS];
	uint32_t num_rows;
	struct mrmr_row rows[MODEL_ROWS];
};

struct model_note {
	bool is_there;
	uint32_t seed;
	uint32_t len;
};

struct model {
	uint64_t sequence;
	uint64_t last_id;
	uint64_t last_inode;
	uint64_t last_stripe;
	struct model_node nodes[MODEL_NODES]; /* the first is the root */
	struct model_stripe stripes[MODEL_STRIPES];
	struct model_note notes[MODEL_NOTES];
};

/* Random numbers that a seed repeats. */
uint64_t model_random(uint64_t *state);
uint64_t model_below(uint64_t *state, uint64_t n);

/* A catalogue that has the members and nothing else, and the model of it. */
void model_init(struct model *model);
void model_member_id(uint16_t member, struct mrmr_uuid *id);

/* One random change of both, within a transaction. */
void model_change(struct model *model, struct mrmr_catalog *cat,
		  uint64_t *random);

/* Everything in the catalogue is as in the model; fails the test if not. */
void model_check(const struct model *model, struct mrmr_catalog *cat);

/*
 * The part has all that mrmr_catalog_attach() says, and nothing that is not so.
 * Whether it has its share of what is in no stripe is not looked at.
 */
void model_check_part(const struct model *model, struct mrmr_catalog *part,
		      uint16_t member);

/* Everything that is in no stripe is in as many parts of others as it should. */
void model_check_shares(const struct model *model, struct mrmr_catalog **parts,
			unsigned int copies);

/*
 * Make a catalogue from these parts (NULL: it is lost), as a recovery does, and
 * compare what they must know.
 */
void model_check_import(const struct model *model, struct mrmr_catalog **parts,
			struct mrmr_catalog *cat);

#endif
