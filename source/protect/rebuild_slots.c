/*
 * MRMR: rebuilding: the bytes of a family, slot by slot.
 *
 * Small files are packed: each lost slot is computed once, and all files that
 * have pieces in it are written from that, in threads. The thread that has the
 * catalogue makes the jobs and goes on to the next family meanwhile; it finds
 * out how a family has fared when the batch is to be finished.
 *
 * The jobs take it that all is well (mrmr_decode_slot). A piece that does not
 * come out right is computed on its own when its job is taken back, in all ways
 * that there are; only if there is none, its file is lost. What then lacks memory or
 * descriptors, which jobs have, is left until none is under way. An error of the
 * target is noted in the file: then all of its family go to another member.
 *
 * A file gets its attributes from who writes the last one of its pieces.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/decode.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/shortage.h>
#include <mrmr/staging.h>

#include "rebuild_private.h"

#define REFS_MIN 64

/* Where a piece goes. */
struct piece_to {
	struct rebuild_file *file; /* NULL: nobody wants it */
	bool is_written;
};

struct slot_job {
	struct rebuild_job job;
	struct rebuild_family *family;
	struct mrmr_decode *decode;
	struct piece_to *to; /* of each piece */
};

struct slot_ref {
	uint64_t stripe;
	uint8_t slot;
};

/* --- writing, in any thread ------------------------------------------------------ */

static void fail_file(struct rebuild_file *file, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&file->error, &none, error);
}

static int open_staged(const struct rebuild_file *file)
{
	return openat(file->staging_fd, file->staged,
		      O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* The last piece makes it a file. */
static int write_piece(struct rebuild_file *file, const uint8_t *data,
		       size_t len, uint32_t index)
{
	uint64_t offset = (uint64_t)index * rebuild_version(file)->grid_bytes;
	int fd = open_staged(file);
	int saved_errno;
	int ret = -1;

	if (fd == -1) {
		return -1;
	}
	if (mrmr_fault("rebuild-write") == 0 &&
	    mrmr_write_fully(fd, data, len, offset) == 0) {
		ret = 0;
	}
	if (ret == 0 && atomic_fetch_sub(&file->pieces_left, 1) == 1) {
		ret = rebuild_finish_file(file, fd);
	}
	saved_errno = errno;
	if (close(fd) == -1 && ret == 0) {
		return -1;
	}
	errno = saved_errno;
	return ret;
}

static void run_slot(struct rebuild_job *job, uint8_t *buf)
{
	struct slot_job *slot = (struct slot_job *)job;
	size_t num = mrmr_decode_num_pieces(slot->decode);
	uint32_t begin = mrmr_decode_piece(slot->decode, 0)->at;
	size_t i;

	if (buf == NULL || mrmr_decode_run(slot->decode, buf) == -1) {
		return; /* no piece is right */
	}
	for (i = 0; i < num; i++) {
		const struct mrmr_decode_piece *piece =
			mrmr_decode_piece(slot->decode, i);
		struct piece_to *to = &slot->to[i];

		if (to->file == NULL || !piece->is_right ||
		    atomic_load(&to->file->error) != 0) {
			continue;
		}
		to->is_written = true;
		if (write_piece(to->file, buf + (piece->at - begin),
				piece->len_bytes, piece->index) == -1) {
			fail_file(to->file, errno);
		}
	}
}

/* --- a piece on its own ---------------------------------------------------------- */

static void lose(struct rebuild_file *file, int error, const char *why)
{
	file->lost = why;
	file->is_short = mrmr_is_shortage(error);
	fail_file(file, EIO);
}

/* 0 also if the target failed. -1: it cannot be had. */
static int fill(struct rebuild *r, struct rebuild_file *file, uint32_t index,
		uint32_t len, struct mrmr_error *err)
{
	uint8_t *buf = malloc(len);
	int ret;

	if (buf == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	ret = rebuild_compute(r, rebuild_version(file), index, buf, len, err);
	if (ret == 0 && write_piece(file, buf, len, index) == -1) {
		fail_file(file, errno);
	}
	free(buf);
	return ret;
}

/* It stays until no thread can be at it any more: see rebuild_slots_end(). There
   is_last: nothing is under way. */
static void fill_or_lose(struct rebuild *r, struct rebuild_file *file,
			 uint32_t index, uint32_t len, bool is_last)
{
	struct mrmr_error err = {0};

	if (atomic_load(&file->error) != 0 ||
	    fill(r, file, index, len, &err) == 0 ||
	    (!is_last && mrmr_is_shortage(err.code))) {
		return;
	}
	file->lost_piece = index;
	lose(file, err.code, talloc_strdup(file, err.text));
}

/* --- taking jobs back -------------------------------------------------------------- */

static void take_back(struct rebuild *r, struct slot_job *slot)
{
	size_t num = mrmr_decode_num_pieces(slot->decode);
	size_t i;

	for (i = 0; i < num; i++) {
		const struct mrmr_decode_piece *piece =
			mrmr_decode_piece(slot->decode, i);
		struct piece_to *to = &slot->to[i];

		if (to->file == NULL) {
			continue;
		}
		if (!to->is_written) {
			fill_or_lose(r, to->file, piece->index,
				     piece->len_bytes, false);
		}
		slot->family->done_bytes += piece->len_bytes;
		r->progress.done_bytes += piece->len_bytes;
	}
	talloc_free(slot);
	if (r->options->progress != NULL) {
		r->options->progress(&r->progress, r->options->private_data);
	}
}

void rebuild_slots_take(struct rebuild *r, bool all)
{
	struct rebuild_job *job = NULL;

	while ((job = rebuild_work_take(r->work, all || rebuild_work_is_full(
								r->work))) !=
	       NULL) {
		take_back(r, (struct slot_job *)job);
	}
}

/* --- making jobs -------------------------------------------------------------------- */

static int compare_refs(const void *a_void, const void *b_void)
{
	const struct slot_ref *a = a_void;
	const struct slot_ref *b = b_void;

	if (a->stripe != b->stripe) {
		return a->stripe < b->stripe ? -1 : 1;
	}
	return (int)a->slot - (int)b->slot;
}

/* Of an extent that is in a stripe. -1 with errno. */
typedef int piece_fn(struct rebuild_file *file, uint32_t index,
		     const struct mrmr_extent *extent, void *private_data);

struct each_piece {
	struct rebuild_file *file;
	piece_fn *fn;
	void *private_data;
};

static int call_if_in_stripe(const struct mrmr_extent *extent, uint32_t index,
			     void *private_data)
{
	const struct each_piece *each = private_data;

	return extent->state == MRMR_EXTENT_IN_STRIPE
		       ? each->fn(each->file, index, extent, each->private_data)
		       : 0;
}

/* -1 with errno: what fn said, or as mrmr_catalog_each_extent(). */
static int each_piece(struct rebuild *r, struct rebuild_file *file,
		      piece_fn *fn, void *private_data)
{
	struct each_piece each = {
		.file = file,
		.fn = fn,
		.private_data = private_data,
	};

	return mrmr_catalog_each_extent(r->engine->catalog,
					rebuild_version(file),
					call_if_in_stripe, &each);
}

struct slot_refs {
	void *mem_ctx;
	struct slot_ref *refs;
	size_t num;
};

static int add_ref(struct rebuild_file *file, uint32_t index,
		   const struct mrmr_extent *extent, void *private_data)
{
	struct slot_refs *list = private_data;
	size_t size = talloc_array_length(list->refs);

	if (list->num == size) {
		struct slot_ref *larger =
			talloc_realloc(list->mem_ctx, list->refs,
				       struct slot_ref, 2 * size + REFS_MIN);

		if (larger == NULL) {
			errno = ENOMEM;
			return -1;
		}
		list->refs = larger;
	}
	list->refs[list->num++] = (struct slot_ref){
		.stripe = extent->stripe,
		.slot = extent->slot,
	};
	atomic_fetch_add(&file->pieces_left, 1);
	return 0;
}

static int count_piece(struct rebuild_file *file, uint32_t index,
		       const struct mrmr_extent *extent, void *private_data)
{
	atomic_fetch_add(&file->pieces_left, 1);
	return 0;
}

static int compare_files(const void *a_void, const void *b_void)
{
	const struct rebuild_file *a = *(struct rebuild_file *const *)a_void;
	const struct rebuild_file *b = *(struct rebuild_file *const *)b_void;

	return a->node->id < b->node->id ? -1 : a->node->id > b->node->id;
}

/* family->files are sorted by id. */
static struct rebuild_file *find_file(const struct rebuild_family *family,
				      uint64_t id)
{
	size_t low = 0;
	size_t high = family->num;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (family->files[middle]->node->id < id) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low < family->num && family->files[low]->node->id == id
		       ? family->files[low]
		       : NULL;
}

static const struct mrmr_slot *find_slot(const struct mrmr_stripe *stripe,
					 uint8_t number)
{
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		if (stripe->slots[i].slot == number) {
			return &stripe->slots[i];
		}
	}
	return NULL;
}

static int aim(struct slot_job *slot)
{
	size_t num = mrmr_decode_num_pieces(slot->decode);
	size_t i;

	slot->to = talloc_zero_array(slot, struct piece_to, num);
	if (slot->to == NULL) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		struct rebuild_file *file =
			find_file(slot->family,
				  mrmr_decode_piece(slot->decode, i)->file);

		/* what there is of a newer version is of no use */
		if (file != NULL && file->state == REBUILD_LOOKED_AT &&
		    file->was == NULL) {
			slot->to[i].file = file;
		}
	}
	return 0;
}

/* What there is no job for is left; see rebuild_slots_end(). */
static int add_job(struct rebuild *r, struct rebuild_family *family,
		   const struct slot_ref *ref, struct mrmr_error *err)
{
	struct mrmr_stripe *stripe = NULL;
	const struct mrmr_slot *lost = NULL;
	struct slot_job *slot = NULL;

	if (mrmr_catalog_get_stripe(r->engine->catalog, family, ref->stripe,
				    &stripe) == -1) {
		return 0;
	}
	lost = find_slot(stripe, ref->slot);
	if (lost == NULL) {
		talloc_free(stripe);
		return 0;
	}
	slot = talloc_zero(family, struct slot_job);
	if (slot != NULL) {
		slot->family = family;
		slot->decode =
			mrmr_decode_slot(slot, r->engine, stripe, lost, err);
	}
	talloc_free(stripe);
	if (slot == NULL || slot->decode == NULL || aim(slot) == -1) {
		talloc_free(slot);
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	if (mrmr_decode_num_pieces(slot->decode) == 0) {
		talloc_free(slot);
		return 0;
	}
	slot->job.run = run_slot;
	slot->job.buffer_bytes = mrmr_decode_len(slot->decode);
	rebuild_work_add(r->work, &slot->job);
	return 0;
}

/* What has nothing in slots is made at once. An older version is no piece of a
   slot of the family: it is computed on its own, in the end. */
static int begin_file(struct rebuild *r, struct rebuild_file *file,
		      struct slot_refs *list)
{
	piece_fn *take = file->was == NULL ? add_ref : count_piece;

	atomic_store(&file->error, 0);
	atomic_store(&file->pieces_left, 0);
	if (each_piece(r, file, take, list) == -1) {
		if (errno == ENOMEM) {
			return -1;
		}
		lose(file, errno, "the catalogue does not know its blocks");
	} else if (atomic_load(&file->pieces_left) == 0) {
		if (rebuild_stage(r, file) == -1) {
			fail_file(file, errno);
		}
	} else if (rebuild_stage_begin(r, file) == -1) {
		fail_file(file, errno);
	}
	return 0;
}

static int add_jobs(struct rebuild *r, struct rebuild_family *family,
		    struct slot_refs *list, struct mrmr_error *err)
{
	size_t i;

	if (list->num > 1) {
		qsort(list->refs, list->num, sizeof(list->refs[0]),
		      compare_refs);
	}
	for (i = 0; i < list->num; i++) {
		if (i > 0 &&
		    compare_refs(&list->refs[i - 1], &list->refs[i]) == 0) {
			continue;
		}
		if (rebuild_should_stop(r)) {
			return mrmr_error_set(err, EINTR, "it was interrupted");
		}
		rebuild_slots_take(r, false);
		if (add_job(r, family, &list->refs[i], err) == -1) {
			return -1;
		}
	}
	return 0;
}

int rebuild_slots_begin(struct rebuild *r, struct rebuild_family *family,
			struct mrmr_error *err)
{
	struct slot_refs list = {.mem_ctx = family};
	size_t i;
	int ret;

	qsort(family->files, family->num, sizeof(family->files[0]),
	      compare_files);
	for (i = 0; i < family->num; i++) {
		struct rebuild_file *file = family->files[i];

		if (file->state == REBUILD_LOOKED_AT &&
		    begin_file(r, file, &list) == -1) {
			return mrmr_error_set(err, ENOMEM, "not enough memory");
		}
	}
	ret = add_jobs(r, family, &list, err);
	talloc_free(list.refs);
	return ret;
}

/* --- how it went ------------------------------------------------------------------- */

static int fill_piece(struct rebuild_file *file, uint32_t index,
		      const struct mrmr_extent *extent, void *private_data)
{
	fill_or_lose(private_data, file, index, extent->len_bytes, true);
	return 0;
}

/* The stripes do not have all that the extents tell of, or something was left. The
   hashes prove what can be computed. */
static void fill_all(struct rebuild *r, struct rebuild_file *file)
{
	rebuild_unstage(r, file);
	if (rebuild_stage_begin(r, file) == -1) {
		fail_file(file, errno);
		return;
	}
	atomic_store(&file->pieces_left, 0);
	if (each_piece(r, file, count_piece, NULL) == -1 ||
	    each_piece(r, file, fill_piece, r) == -1) {
		lose(file, errno, "the catalogue does not know its blocks");
	}
}

int rebuild_slots_end(struct rebuild *r, struct rebuild_file *file)
{
	if (atomic_load(&file->error) == 0 &&
	    atomic_load(&file->pieces_left) > 0) {
		fill_all(r, file);
	}
	if (file->lost != NULL) {
		rebuild_drop(r, file,
			     file->is_short ? MRMR_REBUILD_FAILED
					    : MRMR_REBUILD_LOST,
			     file->lost);
		return 0;
	}
	if (atomic_load(&file->error) == 0 &&
	    rebuild_stage_end(r, file) == -1) {
		fail_file(file, errno);
	}
	errno = atomic_load(&file->error);
	return errno == 0 ? 0 : -1;
}
