/*
 * MRMR: the catalogue: what its files share. The records are described in
 * docs/catalogue.md.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CATALOG_PRIVATE_H
#define CATALOG_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/catalog.h>

#include "pack.h"
#include "store.h"

#define FORMAT_VERSION 1

/* The first byte of a key says what the record is. */
enum record_type {
	RECORD_HEAD = 'h',
	RECORD_MEMBER = 'm',     /* number */
	RECORD_MEMBER_ID = 'u',  /* uuid */
	RECORD_NOTE = 'n',       /* name */
	RECORD_SUMS = 'z',       /* member */
	RECORD_BUCKET = 'd',     /* directory, bucket */
	RECORD_IDS = 'i',        /* id / 64 */
	RECORD_BITS = 'b',       /* of which pages, page / 4096 */
	RECORD_LINKS = 'l',      /* id */
	RECORD_INODES = 'o',     /* member, inode / 64 */
	RECORD_EXTENTS = 'e',    /* id, index / 64 */
	RECORD_SHARED = 'x',     /* 16 bytes of SHA-256: shared xattrs */
	RECORD_OWN_XATTRS = 'y', /* id */
	RECORD_TARGET = 't',     /* id */
	RECORD_STRIPES = 's',    /* id / 8 */
	RECORD_STRIPE = 'w',     /* id: one that is too large for its page */
	RECORD_CLASS = 'c',      /* number */
	RECORD_CLASS_OF = 'k',   /* members */
	RECORD_CLASS_IDS = 'j',  /* number, chunk */
	RECORD_BLOBS = 'p',      /* bucket */
	RECORD_LOG = 'g',        /* sequence */
	RECORD_PART = 'q',       /* member: how far its part is */
	RECORD_REFS = 'r',       /* in parts: id / 64 */
	RECORD_LAST = 'v',       /* in parts: what the last batch touched */
};

/* Ids are given one after another, so nothing comes near these; a record that
   has larger ones is nonsense. */
#define ID_MAX ((uint64_t)1 << 40)
#define FIRST_ID 16 /* below: the root, and what is to come */
#define NUM_EXTENTS_MAX ((uint32_t)1 << 30)
#define MEMBERS_MAX 0x1000
#define XATTRS_MAX ((size_t)1 << 20)
#define PATH_BYTES_MAX 4096

struct head {
	struct mrmr_uuid pool_id;
	struct mrmr_uuid self_id; /* of this catalogue, made with it */
	uint64_t sequence;
	uint64_t next_id;
	uint64_t next_stripe;
	uint32_t next_class;
	uint16_t num_members;
	uint64_t seed; /* of the hashes of names */
	uint64_t num_blobs;
	uint64_t num_blob_buckets;
	uint64_t log_first; /* sequence of the oldest record of the log */
	uint64_t log_items;
	uint16_t member; /* whose part it is */
};

#define RECENT_RECORDS 64

struct record;
struct touched;
struct attached;

struct mrmr_catalog {
	struct store *store;
	enum mrmr_catalog_mode mode;
	bool is_part;
	bool allows_unknown; /* extents: in parts, and while parts are read */
	struct head head;
	bool head_is_dirty;
	unsigned int depth; /* of reading, see read_begin */
	bool is_in_transaction;
	int broken;       /* errno of a change that was only half made */
	bool is_damaged;  /* something in it makes no sense: no more commits */
	bool was_checked; /* all of it, since it was opened, and it was sound */
	uint64_t num_puts;
	uint64_t puts_before; /* the change that is being made */

	/* touched.c */
	struct touched *touched;
	size_t num_touched;

	/* parts.c */
	struct attached *attached;
	size_t num_attached;
	struct given_up *given_up; /* parts that could not be written */
	size_t num_given_up;
	unsigned int copies;
	unsigned int threads;   /* that write parts, at most */
	pthread_mutex_t asking; /* by these, see mirror_private.h */

	/* records.c */
	void *records_ctx;
	struct record *recent[RECENT_RECORDS]; /* found a moment ago, or NULL */
	struct record **slots;
	size_t num_slots;
	size_t num_records;
	size_t clean_bytes; /* of records as they are in the store */
	size_t dirty_bytes;
	size_t clean_bytes_max;
};

/* --- keys --------------------------------------------------------------------- */

struct key key_of(enum record_type type);
struct key key_of_number(enum record_type type, uint64_t n);
struct key key_of_numbers(enum record_type type, uint64_t a, uint64_t b);
struct key key_of_bytes(enum record_type type, const void *bytes, size_t len);

/* --- records.c: what was read and what is to be written ------------------------- */

/*
 * The value is good until the record is changed, or the operation ends. It is
 * never of length 0 (ENOENT). -1 with errno.
 */
int record_get(struct mrmr_catalog *cat, const struct key *key,
	       const uint8_t **value, size_t *len);
int record_put(struct mrmr_catalog *cat, const struct key *key,
	       const uint8_t *value, size_t len);
/* Takes p's data, whether it succeeds or not. */
int record_put_pack(struct mrmr_catalog *cat, const struct key *key,
		    struct pack *p);
/* Within a record that there is: other bytes, which are not its own, in place of
   old_len of them. */
int record_splice(struct mrmr_catalog *cat, const struct key *key, size_t at,
		  size_t old_len, const uint8_t *bytes, size_t len);
int record_delete(struct mrmr_catalog *cat, const struct key *key);

/*
 * What the records of a kind say, decoded: memory that begins as zeros, which
 * is what a record says that is not there.
 */
struct form {
	const char *what; /* for messages */
	size_t bytes;
	/* False: it is nonsense. */
	bool (*decode)(const uint8_t *value, size_t len, void *decoded);
	/* If nothing is packed, the record goes. */
	void (*encode)(struct pack *p, const void *decoded);
};

/*
 * What the record says; NULL with errno. Good until the record is put as bytes,
 * or the operation ends. Records that are changed so are put by nobody as
 * bytes.
 */
const void *record_read(struct mrmr_catalog *cat, const struct key *key,
			const struct form *form);
/* The same, for somebody who is going to change it. */
void *record_change(struct mrmr_catalog *cat, const struct key *key,
		    const struct form *form);

int records_write(struct mrmr_catalog *cat);
void records_drop(struct mrmr_catalog *cat);
/* At the beginning of an operation. */
void records_trim(struct mrmr_catalog *cat);

/* --- open.c ------------------------------------------------------------------- */

/*
 * Around each operation that reads, so that a reader sees one commit. They
 * nest. end keeps errno and returns ret.
 */
int read_begin(struct mrmr_catalog *cat);
int read_end(struct mrmr_catalog *cat, int ret);

/*
 * Around each that changes: EINVAL outside of a transaction. If it fails in the
 * middle, the transaction cannot be committed any more.
 */
int change_begin(struct mrmr_catalog *cat);
int change_end(struct mrmr_catalog *cat, int ret);

/* A part that lies under another name, for being made. */
struct mrmr_catalog *part_open_as(void *mem_ctx, int private_fd,
				  const struct mrmr_uuid *pool_id,
				  const char *name, struct mrmr_error *err);
/* What the store has, not what was read before. */
int reload(struct mrmr_catalog *cat);

/* check.c: as mrmr_catalog_check(), once; if it is not sound, it is damaged. -1 with
   errno. Not while something is read. */
int catalog_check_once(struct mrmr_catalog *cat);

/* --- head.c ------------------------------------------------------------------- */

int head_init(struct mrmr_catalog *cat, const struct mrmr_uuid *pool_id);
int head_load(struct mrmr_catalog *cat, struct mrmr_error *err);
int head_save(struct mrmr_catalog *cat);
int member_put(struct mrmr_catalog *cat, uint16_t number,
	       const struct mrmr_uuid *id);
int member_id(struct mrmr_catalog *cat, uint16_t number, struct mrmr_uuid *id);

/* A record is nonsense: -1 with EILSEQ, and a line in the log. */
int damaged_record(struct mrmr_catalog *cat, const char *what);

/* --- bits.c: sets of numbers, of pages that there are ---------------------------- */

enum bits {
	BITS_IDS = 1,
	BITS_STRIPES = 2,
	BITS_CLASSES = 3,
};

int bits_set(struct mrmr_catalog *cat, enum bits bits, uint64_t n, bool value);
/* n is a page that is not there: 0, or -1 with errno, EILSEQ if it should be. (Parts
   are looked at as a whole when they are needed.) */
int bits_check_none(struct mrmr_catalog *cat, enum bits bits, uint64_t n,
		    const char *what);
/* The lowest at or above n, below end; ENOENT if there is none. */
int bits_next(struct mrmr_catalog *cat, enum bits bits, uint64_t *n,
	      uint64_t end);

/* --- entry.c: what stands in a directory ----------------------------------------- */

enum entry_xattrs {
	XATTRS_NONE,
	XATTRS_INLINE,
	XATTRS_SHARED, /* RECORD_SHARED */
	XATTRS_OWN,    /* RECORD_OWN_XATTRS */
};

struct entry {
	bool is_link; /* a further name: only id and name mean something */
	uint64_t id;
	const char *name; /* not terminated */
	size_t name_len;

	enum mrmr_node_kind kind;
	bool has_links;
	uint16_t member;
	uint64_t inode;
	uint64_t size_bytes;
	int64_t mtime_ns;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t device;
	uint32_t grid_bytes;
	uint32_t generation;
	uint64_t sequence;

	enum entry_xattrs xattrs_where;
	const uint8_t *xattrs; /* inline, or 16 bytes of key if shared */
	size_t xattrs_len;

	bool has_own_target; /* RECORD_TARGET */
	const char *target;
	size_t target_len;

	uint32_t num_extents;
	uint64_t protected_bytes;
	struct mrmr_extent extent; /* if there is one only */
};

#define SHARED_KEY_BYTES 16

void entry_pack(struct pack *p, const struct entry *entry);
/* What is decoded points into raw. False if it is nonsense. */
bool entry_unpack(const uint8_t *raw, size_t len, bool in_trash,
		  struct entry *entry);
/* The part of it that all searching needs. */
bool entry_peek(const uint8_t *raw, size_t len, bool *is_link, uint64_t *id,
		const char **name, size_t *name_len);

bool name_is_good(uint64_t dir_id, const char *name, size_t len);

/* --- extent_codec.c -------------------------------------------------------------- */

#define EXTENTS_PER_CHUNK 64

void extent_pack(struct pack *p, const struct mrmr_extent *extent,
		 const struct mrmr_extent *previous, uint32_t grid_bytes);
void extent_unpack(struct unpack *u, struct mrmr_extent *extent,
		   const struct mrmr_extent *previous, uint32_t grid_bytes);
/* What the next one is compared with. */
void extent_follow(struct mrmr_extent *previous,
		   const struct mrmr_extent *extent);
bool extent_is_protected(const struct mrmr_extent *extent);

/* --- dirs.c: directories, in buckets ----------------------------------------------- */

uint32_t name_hash(struct mrmr_catalog *cat, uint64_t dir_id, const char *name,
		   size_t len);

/* Which of n buckets a hash is in, as n grows by one at a time. */
uint64_t bucket_of(uint32_t hash, uint64_t num_buckets);

int dir_count(struct mrmr_catalog *cat, uint64_t dir_id, uint64_t *num_entries);
int dir_find(struct mrmr_catalog *cat, uint64_t dir_id, const char *name,
	     size_t len, struct entry *entry);
/* The node itself (not a further name), by id and the hash of its name. */
int dir_find_id(struct mrmr_catalog *cat, uint64_t dir_id, uint32_t hash,
		uint64_t id, struct entry *entry);
/* The name must not be there yet. */
int dir_insert(struct mrmr_catalog *cat, uint64_t dir_id,
	       const struct entry *entry);
/* In place of what is there under this name. */
int dir_replace(struct mrmr_catalog *cat, uint64_t dir_id,
		const struct entry *entry);
int dir_delete(struct mrmr_catalog *cat, uint64_t dir_id, const char *name,
	       size_t len);

/*
 * A walk over a directory that survives changes by others: in the order of the
 * hashes with their bits reversed, in which a bucket is a range, however many
 * there are. *cursor begins with 0. Entries are children of mem_ctx, raw as in
 * the record. *end: this was the last step.
 */
struct raw_entry {
	const uint8_t *raw;
	size_t len;
};
int dir_step(struct mrmr_catalog *cat, void *mem_ctx, uint64_t dir_id,
	     uint64_t *cursor, struct raw_entry **entries, size_t *num,
	     bool *end);

/* --- ids.c: where a node's first name is; who has an inode ------------------------- */

struct place {
	uint64_t dir_id;
	uint32_t hash;
};

int ids_get(struct mrmr_catalog *cat, uint64_t id, struct place *place);
int ids_put(struct mrmr_catalog *cat, uint64_t id, const struct place *place);
int ids_delete(struct mrmr_catalog *cat, uint64_t id);
int ids_next(struct mrmr_catalog *cat, uint64_t after, uint64_t *id);

int inodes_get(struct mrmr_catalog *cat, uint16_t member, uint64_t inode,
	       uint64_t *id);
int inodes_put(struct mrmr_catalog *cat, uint16_t member, uint64_t inode,
	       uint64_t id);
/* Unless it belongs to another one by now. */
int inodes_delete(struct mrmr_catalog *cat, uint16_t member, uint64_t inode,
		  uint64_t id);

/* --- links.c: the further names ----------------------------------------------------- */

int links_get(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
	      struct mrmr_link **links, size_t *num);
int links_put(struct mrmr_catalog *cat, uint64_t id,
	      const struct mrmr_link *links, size_t num);

/* --- nodes.c ------------------------------------------------------------------------ */

/*
 * ENOENT if there is no such node. What the entry points to is copied to
 * mem_ctx, so that it stays good when records change.
 */
int node_load(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
	      struct entry *entry, struct place *place);
int entry_keep(void *mem_ctx, struct entry *entry);
/* The same, but what the entry points to is good as record_get's is. */
int node_peek(struct mrmr_catalog *cat, uint64_t id, struct entry *entry,
	      struct place *place);
/* A node, with all that is found by it but what side.c keeps: new under its
   first name, or there, where it may have what it had before. */
int entry_create(struct mrmr_catalog *cat, const struct place *place,
		 const struct entry *entry);
int entry_change(struct mrmr_catalog *cat, const struct place *place,
		 const struct entry *old, const struct entry *entry);
/* In the place where it is. */
int node_store(struct mrmr_catalog *cat, const struct place *place,
	       const struct entry *entry);
int node_make(struct mrmr_catalog *cat, void *mem_ctx,
	      const struct entry *entry, uint64_t dir_id,
	      struct mrmr_node **node);
/* ENOENT or ENOTDIR if nothing can be put there. */
int dir_check(struct mrmr_catalog *cat, uint64_t dir_id);

/* --- names.c -------------------------------------------------------------------------- */

/* These do what the public ones do, without begin and end. */
int node_check(const struct mrmr_node *node);
int node_create(struct mrmr_catalog *cat, const struct mrmr_node *node,
		uint64_t id);
int node_update(struct mrmr_catalog *cat, const struct mrmr_node *node);
int node_add_link(struct mrmr_catalog *cat, void *frame, uint64_t id,
		  uint64_t dir_id, const char *name);
int node_rename(struct mrmr_catalog *cat, void *frame, uint64_t dir_id,
		const char *name, uint64_t new_dir_id, const char *new_name,
		uint64_t *id);
int node_remove(struct mrmr_catalog *cat, void *frame, uint64_t dir_id,
		const char *name, uint64_t *id);
/* A first name, without asking whether that is allowed. */
int node_move(struct mrmr_catalog *cat, void *frame, uint64_t dir_id,
	      const char *name, uint64_t new_dir_id, const char *new_name);
/* The node of this entry, whose only name is in dir_id. */
int node_drop(struct mrmr_catalog *cat, const struct entry *entry,
	      uint64_t dir_id);

/* --- side.c: what is too large for an entry, or the same for many -------------------- */

/* Fills the entry's xattrs_where, xattrs and xattrs_len; key_room lives as long
   as the entry does. */
int xattrs_store(struct mrmr_catalog *cat, struct entry *entry,
		 const uint8_t *xattrs, size_t len,
		 uint8_t key_room[SHARED_KEY_BYTES]);
int xattrs_drop(struct mrmr_catalog *cat, const struct entry *entry);
int xattrs_load(struct mrmr_catalog *cat, void *mem_ctx,
		const struct entry *entry, uint8_t **xattrs, size_t *len);
int target_store(struct mrmr_catalog *cat, struct entry *entry,
		 const char *target);
int target_drop(struct mrmr_catalog *cat, const struct entry *entry);
char *target_load(struct mrmr_catalog *cat, void *mem_ctx,
		  const struct entry *entry);

/* --- extents.c ------------------------------------------------------------------------ */

/* All of a node that goes. EBUSY if one of them is in a stripe. */
int extents_drop(struct mrmr_catalog *cat, const struct entry *entry);

int extents_put(struct mrmr_catalog *cat, uint64_t id, uint32_t first,
		const struct mrmr_extent *extents, uint32_t num);
int extents_get(struct mrmr_catalog *cat, uint64_t id, uint32_t first,
		struct mrmr_extent *extents, uint32_t num, uint32_t *got);
int extents_cut(struct mrmr_catalog *cat, uint64_t id, uint32_t num);
/* Is any of them in that state? */
int extents_any(struct mrmr_catalog *cat, const struct entry *entry,
		enum mrmr_extent_state state, bool *yes);
/* Is any of them in a stripe? */
int extents_in_stripe(struct mrmr_catalog *cat, const struct entry *entry,
		      bool *yes);

/* --- stripe_codec.c ---------------------------------------------------------------------- */

/* A stripe as it is stored: what is asked, and where its id is in its class. */
struct stored_stripe {
	struct mrmr_stripe *stripe;
	uint32_t class_number;
	uint64_t class_position;
	uint16_t scrubbed_day;
	uint64_t sequence;
};

void stripe_pack(struct pack *p, const struct stored_stripe *stored);
int stripe_unpack(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
		  const uint8_t *value, size_t len,
		  struct stored_stripe *stored);

/* --- stripes.c --------------------------------------------------------------------------- */

int stripe_load(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
		struct stored_stripe *stored);
int stripe_save(struct mrmr_catalog *cat, const struct stored_stripe *stored);

/* A stripe with its id, new or in place of the one that has it. */
int stripe_put(struct mrmr_catalog *cat, const struct mrmr_stripe *stripe);
bool stripe_is_good(const struct mrmr_stripe *stripe);
int stripe_remove(struct mrmr_catalog *cat, uint64_t id);

/* --- classes.c --------------------------------------------------------------------------- */

/* The members of a stripe, ascending, each once. */
size_t stripe_members(const struct mrmr_stripe *stripe, uint16_t *members);
#define STRIPE_MEMBERS_MAX 512

/* Put an id into the class of these members; fills number and position. */
int class_add(struct mrmr_catalog *cat, const uint16_t *members, size_t num,
	      uint64_t id, uint32_t *number, uint64_t *position);
int class_remove(struct mrmr_catalog *cat, uint32_t number, uint64_t position);

/* --- blobs.c ------------------------------------------------------------------------------ */

int blobs_add(struct mrmr_catalog *cat, const uint8_t sha256[32], uint64_t id);
int blobs_remove(struct mrmr_catalog *cat, const uint8_t sha256[32],
		 uint64_t id);

/* --- sums.c ------------------------------------------------------------------------------- */

enum sum {
	SUM_FILES,
	SUM_FILE_BYTES,
	SUM_PROTECTED,
	SUM_TRASH,
	SUM_SLOTS,
	SUM_SLOT_BYTES,
	SUM_BLOBS,
	SUM_PARITY,
	SUM_STRIPES,
	NUM_SUMS,
};

/* For a member (which may be none) and for all. */
int sums_add(struct mrmr_catalog *cat, uint16_t member,
	     const int64_t delta[NUM_SUMS]);
/* What a node counts for; sign is 1 or -1. */
int sums_node(struct mrmr_catalog *cat, const struct entry *entry,
	      uint64_t dir_id, int sign);
/* One that stays in its directory, and was `old`. */
int sums_change(struct mrmr_catalog *cat, const struct entry *old,
		const struct entry *entry, uint64_t dir_id);
int sums_stripe(struct mrmr_catalog *cat, const struct mrmr_stripe *stripe,
		int sign);

/* --- touched.c: what a transaction changed, for the parts --------------------------------- */

enum touched_kind {
	TOUCHED_NODE,
	TOUCHED_EXTENT,
	TOUCHED_STRIPE,
};

struct touched {
	enum touched_kind kind;
	bool keeps_names; /* of a node: its names are what they were */
	uint64_t id;
	uint32_t index;
};

int touch(struct mrmr_catalog *cat, const struct touched *touched);
/* Sort it, each once. How many there are. */
size_t touched_unique(struct touched *list, size_t num);
/* Both in one, a talloc child of mem_ctx; each of them is sorted, without
   anything twice. NULL: ENOMEM. */
struct touched *touched_merge(void *mem_ctx, const struct touched *a,
			      size_t num_a, const struct touched *b,
			      size_t num_b, size_t *num);
bool touched_has(const struct touched *list, size_t num,
		 const struct touched *one);
void touched_pack(struct pack *p, const struct touched *list, size_t num);
/* Adds to a list, a child of mem_ctx. */
int touched_unpack(struct unpack *u, void *mem_ctx, struct touched **list,
		   size_t *num);
int touch_node(struct mrmr_catalog *cat, uint64_t id);
/* The same of a change that leaves its names alone. */
int touch_content(struct mrmr_catalog *cat, uint64_t id);
int touch_extents(struct mrmr_catalog *cat, uint64_t id, uint32_t first,
		  uint32_t num);
int touch_stripe(struct mrmr_catalog *cat, uint64_t id);
void touched_drop(struct mrmr_catalog *cat);

/* --- refs.c: in a part: how many pieces of a file are in stripes with its row -- */

int refs_get(struct mrmr_catalog *part, uint64_t id, uint64_t *refs);
int refs_add(struct mrmr_catalog *part, uint64_t id, int64_t delta);

/* --- mirror.c: from the catalogue to a part ---------------------------------- */

/*
 * What the catalogue says about nodes, looked up once for all parts; good as
 * long as nothing in the catalogue is changed.
 */
struct seen_node {
	uint64_t id;
	bool is_there;
	struct entry entry;
	struct place place;
};

/* Of those of the list, some at least; a talloc child of mem_ctx, ascending. */
struct seen_node *mirror_see(struct mrmr_catalog *cat, void *mem_ctx,
			     const struct touched *list, size_t num);

/*
 * Make the part of a member what the catalogue says about what was touched
 * (sorted, each once). seen may be NULL. Several parts may be written at the same
 * time, by a thread each; nobody else uses the catalogue meanwhile.
 */
int mirror(struct mrmr_catalog *cat, struct attached *to,
	   const struct touched *list, size_t num,
	   const struct seen_node *seen);

/* --- parts.c ------------------------------------------------------------------ */

struct attached {
	uint16_t member;
	struct mrmr_catalog *part;
	bool is_behind;          /* refresh is needed */
	struct touched *pending; /* it has to be told of these as well */
	size_t num_pending;
	bool was_written;
	int error; /* why it could not be written, or 0 */
};

struct given_up {
	uint16_t member;
	int error;
};

bool parts_have_work(struct mrmr_catalog *cat);
/* Write the parts, and what the catalogue has to remember about them. */
int parts_write(struct mrmr_catalog *cat);
/* Threads write them from so much on that a commit touches. Tests set it. */
extern size_t parts_threads_from;
/* What all attached parts together keep of their stores in memory, beside what
   a commit changes. Tests set it. */
extern size_t parts_clean_bytes;
/* How much is not written yet when one that is made anew is written in between.
   Tests set it. */
extern size_t parts_fresh_bytes;
/* The catalogue's own commit has succeeded or failed. */
void parts_written(struct mrmr_catalog *cat, bool ok);
/* Is this part among those that keep a node that is in no stripe? */
bool part_has_share(struct mrmr_catalog *cat, uint64_t id, uint16_t own_member,
		    uint16_t member);

#endif
