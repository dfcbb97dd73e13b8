/*
 * MRMR: rebuilding: what its files share (see rebuild.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_REBUILD_PRIVATE_H
#define MRMR_REBUILD_PRIVATE_H

#include <stdatomic.h>
#include <sys/stat.h>

#include <mrmr/dir.h>
#include <mrmr/rebuild.h>
#include <mrmr/stripes.h>

/* One name of a node, where it is by now. */
struct rebuild_name {
	uint64_t dir_id; /* the entry in the catalogue */
	char *entry;
	uint64_t linked; /* or the event that tells of it; 0: none */
	char *path; /* within the pool, or below .mrmr/trash; NULL: it is gone */
	bool is_trash;
	bool is_there; /* the file that was adopted has it already */
	bool is_taken; /* by something else */
};

/* A node of the lost member on its way:
   LOOKED_AT --> STAGED --> PLACED --> (committed), or DROPPED at any point. */
enum rebuild_state {
	REBUILD_LOOKED_AT,
	REBUILD_STAGED,
	REBUILD_PLACED,
	REBUILD_DROPPED,
};

struct rebuild_family;

struct rebuild_file {
	struct mrmr_node *node;
	struct rebuild_family *family; /* of the batch */
	/* Nothing of it is protected, but of what it has been, under another id
	   (was.h): with these bytes and attributes it comes back. Or NULL. */
	struct mrmr_node *was;
	struct rebuild_name *names;
	size_t num_names;
	enum rebuild_state state;
	size_t target;   /* index of a member */
	char staged[96]; /* in its .mrmr/rebuild; "" if there is none */
	bool is_adopted;
	uint64_t inode; /* on the target, with */
	uint32_t generation;
	int64_t mtime_ns;

	/* While its bytes are written (rebuild_slots.c), by several threads. */
	int staging_fd;          /* the batch's */
	atomic_uint pieces_left; /* that are not written yet */
	atomic_int error;        /* the target's, errno; 0: none */
	const char *lost;        /* why it cannot be had, */
	uint32_t lost_piece;     /* and which of its pieces, by index */
	bool is_short;           /* not now: see mrmr_is_shortage() */
};

/* Files that share slots, and go to one member. */
struct rebuild_family {
	struct rebuild_family *next; /* of the batch */
	struct rebuild_file **files;
	size_t num;
	size_t *targets; /* best first */
	size_t num_targets;
	size_t num_tried;
	uint64_t done_bytes; /* of the progress */
	bool is_stopped;     /* not all jobs were made */
	bool lacks_room;     /* on the member that was tried last, or on all */
	bool is_alone;       /* with the members: others are done */
};

struct rebuild_work; /* threads */

/* Something for a thread; the first member of what it is about. */
struct rebuild_job {
	struct rebuild_job *next;
	/* With a buffer of the thread's; NULL if there is no memory. As root. */
	void (*run)(struct rebuild_job *job, uint8_t *buffer);
	size_t buffer_bytes;
};

/* A file that cannot be had. */
struct rebuild_lost {
	uint64_t id;
	uint32_t piece; /* that could not be computed */
	/* It was deleted, and never protected in whole: the trash of a member
	   that is lost had the rest of it. Nobody is asked about it. */
	bool is_remnant;
};

struct rebuild {
	struct mrmr_engine *engine;
	struct mrmr_pool *pool;
	const struct mrmr_rebuild_options *options;
	struct mrmr_rebuild_result *result;
	struct mrmr_rebuild_progress progress;
	uint16_t number; /* of the lost member */
	bool is_plan;    /* nothing is changed, nor read */

	/* What is made and not committed yet; files are its talloc children. */
	void *batch;
	struct rebuild_file **files;
	size_t num_files;
	uint64_t *ids; /* of the files: a table, see find_id() */
	struct rebuild_family *families; /* that are not settled, */
	struct rebuild_family **families_end;
	int staging_fd[MRMR_MEMBERS_MAX]; /* .mrmr/rebuild; -1 */
	uint64_t batch_bytes;
	bool is_target[MRMR_MEMBERS_MAX]; /* has something of the batch */

	struct rebuild_work *work;

	/* Nodes that stay on the lost member, by id: seen once is enough. */
	uint64_t *settled;
	size_t num_settled;

	/* Those of them that cannot be had: talloc. */
	struct rebuild_lost *lost;
	size_t num_lost;
	bool was_online[MRMR_MEMBERS_MAX]; /* when this began */
};

/* --- rebuild.c --------------------------------------------------------------- */

/* A transaction comes to its end: it is committed if ret is 0, else taken back, and
   with it what `work` (NULL: nothing) has written. 0 or -1. */
int rebuild_end_change(struct rebuild *r, struct mrmr_stripes *work, int ret,
		       struct mrmr_error *err);

/* NULL with *err filled. A talloc child of engine. */
struct rebuild *rebuild_begin(struct mrmr_engine *engine,
			      const struct mrmr_rebuild_options *options,
			      struct mrmr_rebuild_result *result,
			      struct mrmr_error *err);

/* Between two commits. */
int rebuild_between(struct rebuild *r, struct mrmr_error *err);

bool rebuild_should_stop(const struct rebuild *r);

/* Whose bytes, size and attributes it gets. */
static inline const struct mrmr_node *rebuild_version(
	const struct rebuild_file *file)
{
	return file->was != NULL ? file->was : file->node;
}

/* --- rebuild_trouble.c ------------------------------------------------------- */

/* Tell and count trouble. */
void rebuild_tell(struct rebuild *r, enum mrmr_rebuild_trouble kind,
		  const char *path, uint64_t size_bytes, const char *why);

/* This node stays where it was, for now or for good. */
void rebuild_trouble(struct rebuild *r, const struct mrmr_node *node,
		     enum mrmr_rebuild_trouble kind, const char *path,
		     const char *why);

/* The same of a file on its way, which is dropped. */
void rebuild_drop(struct rebuild *r, struct rebuild_file *file,
		  enum mrmr_rebuild_trouble kind, const char *why);
bool rebuild_is_settled(const struct rebuild *r, uint64_t id);

/* --- rebuild_batch.c --------------------------------------------------------- */

void rebuild_batch_begin(struct rebuild *r);
int rebuild_batch_add(struct rebuild *r, struct rebuild_file *file);

/* Those that are in it are on the lost member until it is committed. */
bool rebuild_batch_has(const struct rebuild *r, uint64_t id);

/* Make it durable, give it its names, commit it, and begin another one. */
int rebuild_batch_finish(struct rebuild *r, struct mrmr_error *err);

/* Nothing of it may stay in .mrmr/rebuild while this process lives. */
void rebuild_batch_drop(struct rebuild *r);

/* --- rebuild_family.c -------------------------------------------------------- */

/* A node and its relatives (rebuild_gather): begin to make them, and add them to
   the batch. */
int rebuild_family(struct rebuild *r, uint64_t id, struct mrmr_error *err);

/* Wait until all that was begun is made, or dropped. */
int rebuild_families_end(struct rebuild *r, struct mrmr_error *err);

/* --- rebuild_names.c --------------------------------------------------------- */

/*
 * Look at a node: its names as they are by now, and what has them. NULL after
 * trouble was told (it is settled then). A talloc child of mem_ctx.
 */
struct rebuild_file *rebuild_look(struct rebuild *r, void *mem_ctx,
				  struct mrmr_node *node);

/* Who has a name now. */
struct rebuild_found {
	size_t member; /* MRMR_IN_SPINE: a directory */
	int dir_fd;    /* on it; the directory's */
	struct stat st;
};

/*
 * Who has the name, but for the lost member: 1, 0 nobody, -1 it is not known.
 * The directory need not be locked.
 */
int rebuild_find_name(struct rebuild *r, struct mrmr_dir *dir, const char *name,
		      struct rebuild_found *found);

/* Fill in the path of a name as it is by now. */
int rebuild_resolve(struct rebuild *r, void *mem_ctx, uint64_t inode,
		    struct rebuild_name *name);

#define REBUILD_WAS_DELETED                                                 \
	"it was deleted, or moved, a moment ago; once mrmr-admin sync has " \
	"seen that, try again"

/* For people. */
const char *rebuild_path(const struct rebuild_file *file);

/* --- rebuild_place.c --------------------------------------------------------- */

/* Give a staged file its names. 0, or -1 after it was dropped. */
int rebuild_place(struct rebuild *r, struct rebuild_file *file);

/* A directory of the catalogue: on the spine, and on one member at least. */
void rebuild_directory(struct rebuild *r, const struct mrmr_node *node);

/* --- rebuild_ghosts.c -------------------------------------------------------- */

/* The ghost of a file that has its name again goes, with the directory locked;
   what attributes it was given meanwhile are the file's. (target MRMR_IN_SPINE:
   it is nowhere, and just the ghost goes.) */
void rebuild_drop_ghost(struct rebuild *r, struct rebuild_file *file,
			struct mrmr_dir *dir, const char *name);
/* The same for all its names: one may have been made before the commit. */
void rebuild_drop_ghosts(struct rebuild *r, struct rebuild_file *file);

/* --- rebuild_file.c ---------------------------------------------------------- */

/* Are hashes known of all its bytes? */
bool rebuild_is_covered(const struct rebuild *r, const struct mrmr_node *node);

/* .mrmr/rebuild of a member, for as long as the batch; -1 with errno. */
int rebuild_staging(struct rebuild *r, size_t member);

/*
 * Make it in .mrmr/rebuild of file->target. Of a file with bytes, begin gives it
 * a name there, finish its size and attributes, in any thread, and end makes it
 * ready to be placed; all else is made by rebuild_stage(). 0, or -1 with errno,
 * which is the target's fault; then what was made is to be unstaged.
 */
int rebuild_stage_begin(struct rebuild *r, struct rebuild_file *file);
int rebuild_finish_file(struct rebuild_file *file, int fd);
int rebuild_stage_end(struct rebuild *r, struct rebuild_file *file);
int rebuild_stage(struct rebuild *r, struct rebuild_file *file);
void rebuild_unstage(struct rebuild *r, struct rebuild_file *file);

/*
 * Is what is open as fd on a member, with the right size, this node's file? 1
 * yes, byte for byte, and it is declared; 0 no; -1 with errno, EBUSY while
 * somebody writes to it.
 */
int rebuild_adopt(struct rebuild *r, struct rebuild_file *file, size_t member,
		  int fd);

/* --- rebuild_piece.c --------------------------------------------------------- */

/* Compute one extent of a file, of size bytes at most. -1 with *err: if that is of
   mrmr_is_shortage(), it says nothing of the file. */
int rebuild_compute(struct rebuild *r, const struct mrmr_node *node,
		    uint32_t index, uint8_t *buf, size_t size,
		    struct mrmr_error *err);

/* --- rebuild_slots.c --------------------------------------------------------- */

/*
 * Make those of a family that are to be made, on file->target. What is under way
 * afterwards is taken back by and by, or, with all, waited for; then end tells
 * how it went: 0 it is staged, or was dropped; -1 with errno, the target's. begin
 * is -1 with *err: EINTR, ENOMEM; then not all are under way.
 */
int rebuild_slots_begin(struct rebuild *r, struct rebuild_family *family,
			struct mrmr_error *err);
void rebuild_slots_take(struct rebuild *r, bool all);
int rebuild_slots_end(struct rebuild *r, struct rebuild_file *file);

/* --- rebuild_work.c ---------------------------------------------------------- */

/* Threads, until it is freed. All but run() is for one thread. */
struct rebuild_work *rebuild_work_new(void *mem_ctx, size_t num_members);
bool rebuild_work_is_full(struct rebuild_work *work);
void rebuild_work_add(struct rebuild_work *work, struct rebuild_job *job);
/* One that was run; NULL: there is none. With wait: none is under way. */
struct rebuild_job *rebuild_work_take(struct rebuild_work *work, bool wait);

/* --- rebuild_choose.c -------------------------------------------------------- */

/*
 * A node, and those that have pieces in a slot with it: a slot is on one
 * member, so they go together. Ids of nodes of the lost member; talloc children
 * of mem_ctx.
 */
int rebuild_gather(struct rebuild *r, void *mem_ctx, uint64_t id,
		   uint64_t **ids, size_t *num);

/*
 * The members they may go to, best first: those whose units have nothing in
 * their stripes, and by the rules of placement. How many.
 */
size_t rebuild_targets(struct rebuild *r, struct rebuild_file **files,
		       size_t num, size_t *order);

/* --- rebuild_record.c -------------------------------------------------------- */

/* Commit what has been placed of these files of the batch. 1, with *err: nothing
   is committed, as what stays in the stripes that they leave would lose by it. */
int rebuild_record(struct rebuild *r, struct rebuild_file **files, size_t num,
		   struct mrmr_error *err);

/* --- rebuild_rows.c ---------------------------------------------------------- */

/* The parity blocks that were on the lost member. */
int rebuild_rows(struct rebuild *r, struct mrmr_error *err);
/* Has this stripe no row there any more? */
bool rebuild_row_is_mended(struct rebuild *r, uint64_t id);

/* --- rebuild_narrow.c -------------------------------------------------------- */

/* Make those of these stripes narrower that have a row on the lost member still.
   0 also where it can't be done: they stay as they are. */
int rebuild_narrow(struct rebuild *r, const uint64_t *ids, size_t num,
		   struct mrmr_error *err);

/* --- rebuild_give_up.c ------------------------------------------------------- */

/* Remember what was told to be lost (or is a remnant, and was not), and who was there
   then. */
void rebuild_note_lost(struct rebuild *r, const struct rebuild_file *file,
		       bool is_remnant);
void rebuild_note_online(struct rebuild *r);

/* What is lost goes for good, if somebody accepts that. */
int rebuild_give_up(struct rebuild *r, struct mrmr_error *err);

/* The remnants go. If they cannot, that is told, and the next run tries it again. */
int rebuild_drop_remnants(struct rebuild *r, struct mrmr_error *err);

/* --- rebuild_plan.c ---------------------------------------------------------- */

/* It comes back as an older version (file->was). */
void rebuild_tell_older(struct rebuild *r, const struct rebuild_file *file);

/* What the queue knows to be lost: changes that were never protected. */
int rebuild_changes(struct rebuild *r, struct mrmr_error *err);

/* Are all its blocks in stripes, or zero? */
bool rebuild_is_protected(struct rebuild *r, const struct mrmr_node *node);

#endif
