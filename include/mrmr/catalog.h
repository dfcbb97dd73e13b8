/*
 * MRMR: the catalogue: what the parity knows.
 *
 * Nodes (directories, files, symlinks, special files), the extents of files
 * with their hashes, and the stripes they are in. It describes protected
 * versions: what lay on the members when it was protected, which may differ
 * from what lies there now.
 *
 * A node has an id that is its own for life, and is found by (id of the
 * directory, name), by id, or by the member and inode it lies on. Renaming a
 * directory changes one entry, whatever is below it.
 *
 * A file is cut into extents on a grid: extent i covers the bytes from
 * i * grid_bytes on, up to grid_bytes of them. An extent's bytes are one piece
 * of a slot of a stripe. A slot holds the pieces of one member's files one
 * after another: a single full extent of a large file, or many small ones.
 *
 * The catalogue of a pool lies in <state dir>/catalogue/. Members carry their
 * own part (.mrmr/mrmr.db) in the same format; a catalogue to which parts are
 * attached keeps them up to date by itself.
 *
 * One process writes at a time (who holds mrmr_catalog_lock), in transactions;
 * any number read meanwhile, and see what was committed. Not thread-safe, and
 * one handle a process and store (tdb). Functions return 0 or -1 with errno;
 * ENOENT if there is no such thing, EILSEQ if a store is damaged.
 *
 * What is returned is a talloc child of the mem_ctx given.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_CATALOG_H
#define MRMR_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/error.h>
#include <mrmr/uuid.h>

#define MRMR_CATALOG_FOLDER "catalogue" /* below the state directory */
#define MRMR_CATALOG_PART "mrmr.db"     /* below the member's .mrmr */

#define MRMR_ID_NONE 0
#define MRMR_ID_ROOT 1  /* the pool's top directory */
#define MRMR_ID_TRASH 2 /* not a directory of the pool: see below */

/*
 * Members have small numbers, given once and never again to another one. A
 * number is not an index into the config.
 */
#define MRMR_MEMBER_NONE 0xffff

enum mrmr_node_kind {
	MRMR_NODE_DIRECTORY = 1,
	MRMR_NODE_FILE = 2,
	MRMR_NODE_SYMLINK = 3,
	MRMR_NODE_SPECIAL = 4, /* FIFO, socket, device */
};

/*
 * The root is named "" in the directory MRMR_ID_NONE. The trash is no node: it
 * can be listed and searched, not got. Directories are never in it.
 *
 * A file in the trash is an entry of the directory MRMR_ID_TRASH, under the
 * name "<member number>/<path below the member's .mrmr/trash>".
 */
struct mrmr_node {
	uint64_t id;     /* 0 in a put: a new one is given */
	uint64_t dir_id; /* its first name; others: mrmr_catalog_links */
	char *name;
	enum mrmr_node_kind kind;
	uint16_t member; /* where it lies; MRMR_MEMBER_NONE for directories */
	uint64_t inode;  /* on that member, 0: not known */
	uint64_t size_bytes;
	int64_t mtime_ns;
	uint32_t mode; /* with the type bits, as st_mode */
	uint32_t uid;
	uint32_t gid;
	uint64_t device; /* of special files */
	uint8_t *xattrs; /* as mrmr_xattrs_read() gives them, or NULL */
	size_t xattrs_len;
	char *target;        /* of symlinks */
	uint32_t grid_bytes; /* files: fixed when it was first protected */
	uint32_t num_extents;
	uint32_t generation; /* of the protected version, mrmr/guard.h */
	uint64_t sequence;   /* in parts: of the commit it is from */
};

enum mrmr_extent_state {
	MRMR_EXTENT_BARE,      /* hashed, in no stripe */
	MRMR_EXTENT_ZERO,      /* all bytes are zero: needs no stripe */
	MRMR_EXTENT_IN_STRIPE, /* a piece of a slot */
	MRMR_EXTENT_UNKNOWN,   /* in parts only: other parts know it */
};

struct mrmr_extent {
	uint32_t len_bytes;
	enum mrmr_extent_state state;
	uint8_t sha256[32];
	uint64_t checksum; /* XXH3, 64 bits */
	uint64_t stripe;
	uint8_t slot;
	uint32_t slot_offset; /* where in the slot the piece begins */
	uint64_t sequence;    /* in parts: of the commit it is from */
};

struct mrmr_piece {
	uint64_t file;  /* id of the node, 0: a gap, whose bytes are zero */
	uint32_t index; /* of the extent */
	uint32_t len_bytes;
};

struct mrmr_slot {
	uint8_t slot;
	uint16_t member;
	uint32_t len_bytes; /* sum over the pieces */
	uint32_t num_pieces;
	struct mrmr_piece *pieces;
};

struct mrmr_row {
	uint8_t row;
	uint16_t member; /* who has .mrmr/parity/xx/<sha256>.blob */
	uint32_t len_bytes;
	uint8_t sha256[32];
	uint64_t checksum;
};

struct mrmr_stripe {
	uint64_t id; /* 0 in a put: a new one is given */
	uint32_t num_slots;
	struct mrmr_slot *slots; /* ascending */
	uint32_t num_rows;
	struct mrmr_row *rows; /* ascending */
	uint64_t sequence;     /* in parts: of the commit it is from */
};

struct mrmr_catalog;

/* --- opening ---------------------------------------------------------------- */

enum mrmr_catalog_mode {
	MRMR_CATALOG_READ,
	MRMR_CATALOG_WRITE, /* makes it if it is missing */
};

/*
 * Open the catalogue in a directory, or a part in a member's .mrmr. After an
 * unclean end it is checked, and an unfinished commit is finished or undone.
 * NULL with *err filled: ENOENT, EILSEQ (damaged, or another format version;
 * says what to do), EACCES, EIO.
 */
struct mrmr_catalog *mrmr_catalog_open(void *mem_ctx, int state_fd,
				       const struct mrmr_uuid *pool_id,
				       enum mrmr_catalog_mode mode,
				       struct mrmr_error *err);
struct mrmr_catalog *mrmr_catalog_open_part(void *mem_ctx, int private_fd,
					    const struct mrmr_uuid *pool_id,
					    enum mrmr_catalog_mode mode,
					    struct mrmr_error *err);

/* Read every record of a store and say whether it is sound. */
int mrmr_catalog_check(struct mrmr_catalog *cat, struct mrmr_error *err);
/* Has anything been found in it, since it was opened, that makes no sense? A catalogue
   is not changed any more then: each commit fails with EILSEQ. */
bool mrmr_catalog_is_damaged(const struct mrmr_catalog *cat);
/* As strerror() of what a function of this file has failed with; of damage it says what
   is to be done. */
const char *mrmr_catalog_why(int error);

/*
 * To be held by whoever writes: a lock file in the state directory that goes
 * with the process. A descriptor to be closed, or -1: EAGAIN if another process
 * has it and wait is false.
 */
int mrmr_catalog_lock(int state_fd, bool wait);

/* --- members ------------------------------------------------------------------ */

/* The number of a member, MRMR_MEMBER_NONE if it has none. */
uint16_t mrmr_catalog_member(struct mrmr_catalog *cat,
			     const struct mrmr_uuid *id);
/* As above, but gives it one. Within a transaction. */
int mrmr_catalog_add_member(struct mrmr_catalog *cat,
			    const struct mrmr_uuid *id, uint16_t *number);
int mrmr_catalog_member_id(struct mrmr_catalog *cat, uint16_t number,
			   struct mrmr_uuid *id);
uint16_t mrmr_catalog_num_members(struct mrmr_catalog *cat);

/*
 * Attach the part of an online member, to be kept up to date with what is
 * committed from now on; NULL detaches. A part has
 *   - the nodes that lie on the member, their extents, and all directories
 *     above them;
 *   - the stripes in which the member has a slot or a row;
 *   - if it has a row: the nodes, with the directories above, and the extents
 *     of all pieces of the stripe, so that what is lost with another member is
 *     still known;
 *   - its share of the nodes that are in no stripe (directories, empty files,
 *     symlinks): each is on `copies` parts beside its own member's. Directories
 *     are no member's, and on one more.
 *
 * A part that has missed commits is told what it missed with the next commit,
 * if the catalogue still knows that. If not, it is behind: nothing is written
 * to it until mrmr_catalog_refresh_part() has made it anew. A part is open for
 * writing, and outlives its being attached. A commit that fails to write it
 * detaches it.
 */
void mrmr_catalog_attach(struct mrmr_catalog *cat, uint16_t member,
			 struct mrmr_catalog *part);
/* It could not be written, as what it has makes no sense (EILSEQ): who opens it next
   looks at all of it, and is told if it is damaged. */
void mrmr_catalog_doubt_part(struct mrmr_catalog *part);
/* From then on; 1 if it is not set. Only attached parts count. */
void mrmr_catalog_set_copies(struct mrmr_catalog *cat, unsigned int copies);
unsigned int mrmr_catalog_copies(const struct mrmr_catalog *cat);
/*
 * Within a transaction: the parts are told of the nodes that are in no stripe, of
 * the next `num` after *id, which moves on. It is for when a member has left whose
 * part had a share of them, or more copies are wanted. 1: there are more; 0; -1 with
 * errno.
 */
int mrmr_catalog_share_again(struct mrmr_catalog *cat, uint64_t *id,
			     size_t num);
/* So many threads write the parts of a large commit; 1 if it is not set. */
void mrmr_catalog_set_threads(struct mrmr_catalog *cat, unsigned int threads);

/* Is the part not attached, or must it be made anew? */
bool mrmr_catalog_part_is_behind(struct mrmr_catalog *cat, uint16_t member);

/*
 * Bring an attached part up to date now; if it is behind, by making it anew,
 * beside the old one, and as streams, in bounded memory. Outside of
 * transactions; it makes a commit. 0; 1: that member cannot have it, and *err says
 * why; -1: the catalogue itself cannot be committed, which is no member's fault.
 */
int mrmr_catalog_refresh_part(struct mrmr_catalog *cat, uint16_t member,
			      struct mrmr_error *err);

/* A member has gone for good: nothing has to be remembered for its part any
   more. Detaches it. Within a transaction. */
int mrmr_catalog_forget_part(struct mrmr_catalog *cat, uint16_t member);

/* --- transactions --------------------------------------------------------------- */

/*
 * Changes are only made between begin and commit. Reads in between see them.
 * commit makes the attached parts durable first, then the catalogue, which is
 * the moment at which it has happened. If it fails (-1), nothing has; if not
 * even that is known, all that follows is EIO, and the next to open the
 * catalogue finds out.
 * A part that fails is detached and named in the log; that is no failure.
 */
int mrmr_catalog_begin(struct mrmr_catalog *cat);
int mrmr_catalog_commit(struct mrmr_catalog *cat, struct mrmr_error *err);
void mrmr_catalog_cancel(struct mrmr_catalog *cat);

/* Counts the commits; records carry the number of theirs. */
uint64_t mrmr_catalog_sequence(struct mrmr_catalog *cat);

/* --- several questions as one --------------------------------------------------- */

/*
 * Between the two, all that is asked of a catalogue that is open for reading is of
 * one commit, and costs no lock each. Whoever writes waits meanwhile with the next
 * one: so nothing between them may take long, as asking a drive does. They nest.
 * mrmr_catalog_let_go returns ret, and leaves errno.
 */
int mrmr_catalog_hold(struct mrmr_catalog *cat);
int mrmr_catalog_let_go(struct mrmr_catalog *cat, int ret);

/* --- nodes -------------------------------------------------------------------------- */

int mrmr_catalog_get(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
		     struct mrmr_node **node);
int mrmr_catalog_find(struct mrmr_catalog *cat, void *mem_ctx, uint64_t dir_id,
		      const char *name, struct mrmr_node **node);
/* By a pool path without leading slash; "" is the root. */
int mrmr_catalog_find_path(struct mrmr_catalog *cat, void *mem_ctx,
			   const char *path, struct mrmr_node **node);
int mrmr_catalog_find_inode(struct mrmr_catalog *cat, uint16_t member,
			    uint64_t inode, uint64_t *id);

/*
 * The path of a node: of its first name. For what is in the trash, the path
 * below the member's .mrmr/trash, and *in_trash. NULL with errno.
 */
char *mrmr_catalog_path(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
			bool *in_trash);

/*
 * Write a node: a new one, or new attributes of the one with this id, which
 * keeps its names and extents (num_extents is ignored). A new node needs dir_id
 * and name, which nothing else may have (EEXIST). The root and the trash are
 * there from the beginning. *id (may be NULL) is the id.
 */
int mrmr_catalog_put(struct mrmr_catalog *cat, const struct mrmr_node *node,
		     uint64_t *id);

/* Give the name (dir_id, name) another place; also into and out of the trash.
   EEXIST if the new one is taken. */
int mrmr_catalog_rename(struct mrmr_catalog *cat, uint64_t dir_id,
			const char *name, uint64_t new_dir_id,
			const char *new_name);

/*
 * A further name of a file (a hard link). The first name of a file that has one
 * outside of the trash is such a one, whatever is linked, renamed or removed.
 */
int mrmr_catalog_link(struct mrmr_catalog *cat, uint64_t id, uint64_t dir_id,
		      const char *name);

/*
 * Remove a name. If it was the last one the node goes, with its extents, which
 * must be in no stripe any more (EBUSY). A directory must be empty (ENOTEMPTY).
 */
int mrmr_catalog_remove(struct mrmr_catalog *cat, uint64_t dir_id,
			const char *name);

struct mrmr_link {
	uint64_t dir_id;
	char *name;
};

/* All names of a node, the first one first. */
int mrmr_catalog_links(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
		       struct mrmr_link **links, size_t *num);

/*
 * Call fn for each name in a directory, without order, until it returns
 * non-zero, which is then returned. node is good during the call; node->dir_id
 * and node->name are the name asked for. The catalogue must not be changed
 * meanwhile.
 */
int mrmr_catalog_list(struct mrmr_catalog *cat, uint64_t dir_id,
		      int (*fn)(const struct mrmr_node *node,
				void *private_data),
		      void *private_data);

/* The node with the lowest id above after; ENOENT at the end. For walks that
   can be interrupted. Directories are among them. */
int mrmr_catalog_next(struct mrmr_catalog *cat, void *mem_ctx, uint64_t after,
		      struct mrmr_node **node);
/* The next one that lies on a member; or, with directories, that is one. */
int mrmr_catalog_next_on(struct mrmr_catalog *cat, void *mem_ctx,
			 uint16_t member, bool directories, uint64_t after,
			 struct mrmr_node **node);

/* --- extents ---------------------------------------------------------------------------- */

/* Up to num extents from index first on; *got tells how many there were. */
int mrmr_catalog_get_extents(struct mrmr_catalog *cat, uint64_t id,
			     uint32_t first, struct mrmr_extent *extents,
			     uint32_t num, uint32_t *got);
/*
 * Call fn for each extent of a node, in order; what it returns, if not 0, ends
 * that and is returned. It may change the catalogue. -1 with errno, too: EILSEQ
 * if the node has more extents than the catalogue knows.
 */
typedef int mrmr_extent_fn(const struct mrmr_extent *extent, uint32_t index,
			   void *private_data);
int mrmr_catalog_each_extent(struct mrmr_catalog *cat,
			     const struct mrmr_node *node, mrmr_extent_fn *fn,
			     void *private_data);
/* Replace, or add at the end (first <= num_extents). The node's grid_bytes, which
   none may exceed, cannot be changed as long as there are extents. */
int mrmr_catalog_put_extents(struct mrmr_catalog *cat, uint64_t id,
			     uint32_t first, const struct mrmr_extent *extents,
			     uint32_t num);
/* Cut off those from num on. */
int mrmr_catalog_cut_extents(struct mrmr_catalog *cat, uint64_t id,
			     uint32_t num);

/* --- stripes ------------------------------------------------------------------------------ */

int mrmr_catalog_get_stripe(struct mrmr_catalog *cat, void *mem_ctx,
			    uint64_t id, struct mrmr_stripe **stripe);
int mrmr_catalog_put_stripe(struct mrmr_catalog *cat,
			    const struct mrmr_stripe *stripe, uint64_t *id);
int mrmr_catalog_remove_stripe(struct mrmr_catalog *cat, uint64_t id);
int mrmr_catalog_next_stripe(struct mrmr_catalog *cat, void *mem_ctx,
			     uint64_t after, struct mrmr_stripe **stripe);

/* The extent that a piece is, `offset` into its slot, if the file and the stripe
   say the same of it; else false. */
bool mrmr_catalog_piece_extent(struct mrmr_catalog *cat, uint64_t stripe,
			       uint8_t slot, const struct mrmr_piece *piece,
			       uint32_t offset, struct mrmr_extent *extent);

/*
 * Stripes by the set of members that have a slot or a row in them, for finding
 * one that a block can join.
 */
struct mrmr_stripe_class {
	uint32_t number;
	uint64_t num_stripes;
	uint16_t num_members;
	uint16_t *members; /* ascending */
};
int mrmr_catalog_classes(struct mrmr_catalog *cat, void *mem_ctx,
			 struct mrmr_stripe_class **classes, size_t *num);
/* Up to max ids of stripes in a class, those that came last first. */
int mrmr_catalog_class_stripes(struct mrmr_catalog *cat, uint32_t number,
			       uint64_t *ids, uint32_t max, uint32_t *num);

/* How many stripes name this parity block on this member: names are content, so
   it may be more than one. */
int mrmr_catalog_blob_uses(struct mrmr_catalog *cat, uint16_t member,
			   const uint8_t sha256[32], uint32_t *uses);

/* The day (since 1970) on which a stripe was last scrubbed, 0: never. */
int mrmr_catalog_scrubbed(struct mrmr_catalog *cat, uint64_t stripe,
			  uint16_t *day);
int mrmr_catalog_set_scrubbed(struct mrmr_catalog *cat, uint64_t stripe,
			      uint16_t day);

/* --- from parts to a catalogue -------------------------------------------------- */

/*
 * For making a catalogue anew, within transactions. Records of parts have the
 * sequence of their commit: of two, the later one is right. These put what is
 * given as it is, with the ids and sequences it has, in place of what there is
 * under the id; what is right, and whether it fits together, is the caller's
 * business. The next ids and the next sequence come after all that were seen.
 *
 * A node is put under its first name; EEXIST if another node has that. The
 * directory may come later. Extents may be MRMR_EXTENT_UNKNOWN. The number of a
 * member cannot be changed (EEXIST).
 */
int mrmr_catalog_import_member(struct mrmr_catalog *cat, uint16_t number,
			       const struct mrmr_uuid *id);
int mrmr_catalog_import_node(struct mrmr_catalog *cat,
			     const struct mrmr_node *node);
int mrmr_catalog_import_extents(struct mrmr_catalog *cat, uint64_t id,
				uint32_t first,
				const struct mrmr_extent *extents,
				uint32_t num);
int mrmr_catalog_import_stripe(struct mrmr_catalog *cat,
			       const struct mrmr_stripe *stripe);
int mrmr_catalog_import_sequence(struct mrmr_catalog *cat, uint64_t sequence);

/*
 * What the last commit to a part touched. It may not have happened: parts are
 * written before the catalogue. A talloc child of mem_ctx; NULL with errno.
 */
struct mrmr_catalog_last;
struct mrmr_catalog_last *mrmr_catalog_last(void *mem_ctx,
					    struct mrmr_catalog *part);
bool mrmr_catalog_last_has_node(const struct mrmr_catalog_last *last,
				uint64_t id);
bool mrmr_catalog_last_has_extent(const struct mrmr_catalog_last *last,
				  uint64_t id, uint32_t index);
bool mrmr_catalog_last_has_stripe(const struct mrmr_catalog_last *last,
				  uint64_t id);
/* Their ids, ascending, each once: of the stripes; of the nodes, also of those of
   which only extents were touched. NULL with ENOMEM. */
uint64_t *mrmr_catalog_last_stripes(const struct mrmr_catalog_last *last,
				    void *mem_ctx, size_t *num);
uint64_t *mrmr_catalog_last_nodes(const struct mrmr_catalog_last *last,
				  void *mem_ctx, size_t *num);
/* The lowest id that no stripe has had yet. */
uint64_t mrmr_catalog_next_stripe_id(const struct mrmr_catalog *cat);

/* --- sums, and other small things ----------------------------------------------------------- */

/* Of a member, or of all (MRMR_MEMBER_NONE). Kept as records change. */
struct mrmr_catalog_sums {
	uint64_t num_files;
	uint64_t file_bytes;      /* sizes of the files (not in the trash) */
	uint64_t protected_bytes; /* of their extents, zero or in stripes */
	uint64_t trash_bytes;
	uint64_t num_slots; /* all: also the number of slots over all stripes */
	uint64_t slot_bytes;
	uint64_t num_blobs;
	uint64_t parity_bytes;
	uint64_t num_stripes; /* all only */
};
int mrmr_catalog_sums(struct mrmr_catalog *cat, uint16_t member,
		      struct mrmr_catalog_sums *sums);

/* The next file after one, with an id of `upto` at most, that has a block of which all
   bytes are zero: these are in no stripe. -1 with errno, ENOENT: there is none. */
int mrmr_catalog_next_zero(struct mrmr_catalog *cat, uint64_t after,
			   uint64_t upto, uint64_t *id);
/* No node has a higher one. */
int mrmr_catalog_last_id(struct mrmr_catalog *cat, uint64_t *id);

/* Small values by name (up to 64 bytes), for those who have to remember
   something: where a scrub stopped, when the last scan was. NULL with ENOENT. To
   put NULL removes it. */
uint8_t *mrmr_catalog_get_note(struct mrmr_catalog *cat, void *mem_ctx,
			       const char *name, size_t *len);
/* Is there one? Also true if that cannot be told: for notes that say there is
   something to look for. */
bool mrmr_catalog_has_note(struct mrmr_catalog *cat, const char *name);
int mrmr_catalog_put_note(struct mrmr_catalog *cat, const char *name,
			  const uint8_t *value, size_t len);

#endif
