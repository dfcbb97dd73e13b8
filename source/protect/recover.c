/*
 * MRMR: making the catalogue anew from the parts on the members (see
 * mrmr/recover.h).
 *
 * Records carry the number of their commit. Of two, the later one is right; so
 * parts are read one after another, those written last first, and what is known
 * already is only replaced by something later. A record that an old part still
 * has may have been removed since: another part that would have to have it, and
 * that was written after it, tells that by not having it.
 *
 * A part knows of some files only those blocks that are in its stripes; the
 * others are filled in from the parts that know them.
 *
 * The last commit may have reached some parts, and not the catalogue. What it
 * says is right as well: what it speaks of was durable before it began, and what
 * was before is still there. If it reached one part and not another, a stripe and
 * a file may contradict each other: then what was before may be what is to be had
 * (recover_last.c). If it is not, nothing is claimed of that block, and it is
 * protected again.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/staging.h>

#include "recover_private.h"

#define PER_TRANSACTION 2000

int recover_fail(struct recover *rc)
{
	int error = errno;

	return mrmr_error_set(rc->err, error,
			      "the catalogue cannot be made: %s",
			      strerror(error));
}

/* Between two records. */
int recover_step(struct recover *rc)
{
	if (rc->options->should_stop != NULL &&
	    rc->options->should_stop(rc->options->private_data)) {
		return mrmr_error_set(rc->err, ECANCELED,
				      "interrupted; nothing has changed");
	}
	if (mrmr_fault("recover-step") != 0) {
		return recover_fail(rc);
	}
	rc->done++;
	if (rc->options->progress != NULL) {
		rc->options->progress(rc->done, rc->options->private_data);
	}
	if (rc->done % PER_TRANSACTION != 0) {
		return 0;
	}
	if (mrmr_catalog_commit(rc->catalog, rc->err) == -1) {
		return -1;
	}
	return mrmr_catalog_begin(rc->catalog) == -1 ? recover_fail(rc) : 0;
}

/* --- parts ------------------------------------------------------------------------ */

static int compare_parts(const void *a_void, const void *b_void)
{
	const struct recover_part *a = a_void;
	const struct recover_part *b = b_void;

	return a->sequence > b->sequence ? -1 : a->sequence < b->sequence;
}

/* One that was not closed well is repaired by opening it for writing. */
static struct mrmr_catalog *open_part(struct recover *rc,
				      const struct mrmr_member *member,
				      struct mrmr_error *err)
{
	const struct mrmr_uuid *id = &rc->pool->config->pool_id;
	struct mrmr_catalog *part =
		mrmr_catalog_open_part(rc, member->private_fd, id,
				       MRMR_CATALOG_READ, err);
	int error = mrmr_fault("recover-part");

	if (rc->is_left_out[member->index]) {
		error = EILSEQ;
	}
	if (error != 0) {
		TALLOC_FREE(part);
		mrmr_error_set(err, error, "%s", strerror(error));
	} else if (part == NULL && err->code != ENOENT && !member->read_only) {
		part = mrmr_catalog_open_part(rc, member->private_fd, id,
					      MRMR_CATALOG_WRITE, err);
	}
	if (part != NULL && mrmr_catalog_check(part, err) == -1) {
		TALLOC_FREE(part);
	}
	return part;
}

/* What only this member knows would be left out: its part is sound, once it has been
   repaired. */
static int tell_member_full(struct recover *rc,
			    const struct mrmr_member *member,
			    const struct mrmr_error *err)
{
	return mrmr_error_set(rc->err, ENOSPC,
			      "member %s is full: what it carries of the "
			      "catalogue cannot be repaired (%s); nothing was "
			      "changed; make room there, and try again",
			      mrmr_member_name(member), err->text);
}

/* Damage stays; what could not be read may be read the next time. Where as many
   members are away as there are rows, nobody else need know what it knows, and it
   would be overwritten with what the others know. */
static int tell_unread(struct recover *rc, const struct mrmr_member *member,
		       const struct mrmr_error *err)
{
	return mrmr_error_set(rc->err, err->code,
			      "member %s: what it carries of the catalogue "
			      "cannot be read (%s), and with others not there, "
			      "what only it knows would be lost; nothing was "
			      "changed; try again, if you can with all "
			      "members; "
			      "if it stays so, move %s/%s away",
			      mrmr_member_name(member), err->text,
			      mrmr_member_name(member),
			      MRMR_DIR "/" MRMR_CATALOG_PART);
}

static int open_parts(struct recover *rc)
{
	const struct mrmr_member *unread = NULL;
	struct mrmr_error why = {0};
	size_t num_unread = 0;
	size_t i;

	for (i = 0; i < rc->pool->num_members; i++) {
		const struct mrmr_member *member = &rc->pool->members[i];
		struct mrmr_error err = {0};
		struct mrmr_catalog *part = NULL;

		if (member->state != MRMR_MEMBER_ONLINE) {
			rc->result->num_away++;
			continue;
		}
		part = open_part(rc, member, &err);
		if (part == NULL && err.code == ENOSPC) {
			return tell_member_full(rc, member, &err);
		}
		if (part == NULL && err.code != ENOENT) {
			mrmr_log(MRMR_LOG_ERROR,
				 "member %s: what it carries of the catalogue "
				 "cannot be used: %s",
				 mrmr_member_name(member), err.text);
			rc->result->num_damaged++;
		}
		if (part == NULL && err.code != ENOENT && err.code != EILSEQ) {
			unread = member;
			why = err;
			num_unread++;
		}
		if (part != NULL) {
			rc->parts[rc->num_parts++] = (struct recover_part){
				.part = part,
				.member = member,
				.sequence = mrmr_catalog_sequence(part),
				.number = mrmr_catalog_member(part,
							      &member->config
								       ->id),
			};
		}
	}
	if (unread != NULL &&
	    rc->result->num_away + num_unread > rc->pool->config->parity.min) {
		return tell_unread(rc, unread, &why);
	}
	qsort(rc->parts, rc->num_parts, sizeof(rc->parts[0]), compare_parts);
	rc->result->num_parts = rc->num_parts;
	if (rc->num_parts == 0) {
		return mrmr_error_set(rc->err, ENOENT,
				      "no member that is there carries "
				      "anything "
				      "of a catalogue");
	}
	return 0;
}

const struct recover_part *recover_part_of(const struct recover *rc,
					   uint16_t number)
{
	size_t i;

	for (i = 0; i < rc->num_parts; i++) {
		if (rc->parts[i].number == number &&
		    number != MRMR_MEMBER_NONE) {
			return &rc->parts[i];
		}
	}
	return NULL;
}

static int import_members(struct recover *rc, struct mrmr_catalog *part)
{
	uint16_t num = mrmr_catalog_num_members(part);
	struct mrmr_uuid id;
	uint16_t i;

	for (i = 0; i < num; i++) {
		if (mrmr_catalog_member_id(part, i, &id) == -1) {
			if (errno == ENOENT) {
				continue;
			}
			return recover_fail(rc);
		}
		if (mrmr_catalog_import_member(rc->catalog, i, &id) == -1) {
			return errno == EEXIST
				       ? mrmr_error_set(
						 rc->err, EILSEQ,
						 "the members' parts are not "
						 "of one catalogue: number %u "
						 "is two members",
						 i)
				       : recover_fail(rc);
		}
	}
	if (mrmr_catalog_import_sequence(rc->catalog,
					 mrmr_catalog_sequence(part)) == -1) {
		return recover_fail(rc);
	}
	return 0;
}

/* --- all of it --------------------------------------------------------------------- */

static int make(struct recover *rc)
{
	size_t i;

	if (mrmr_catalog_begin(rc->catalog) == -1) {
		return recover_fail(rc);
	}
	for (i = 0; i < rc->num_parts; i++) {
		if (import_members(rc, rc->parts[i].part) == -1) {
			return -1;
		}
	}
	for (i = 0; i < rc->num_parts; i++) {
		if (recover_import(rc, &rc->parts[i]) == -1) {
			return -1;
		}
	}
	if (recover_links(rc) == -1 || recover_verify(rc) == -1) {
		return -1;
	}
	return mrmr_catalog_commit(rc->catalog, rc->err);
}

/* Named by the time, and a number if there is one of that second already. -1 with
   errno, ENOENT: there is none. */
static int put_aside(struct recover *rc)
{
	char *aside = rc->result->aside;
	const size_t size = sizeof(rc->result->aside);
	unsigned int number = 1;
	struct tm tm;
	time_t now = time(NULL);
	size_t len;
	int ret;

	gmtime_r(&now, &tm);
	len = strftime(aside, size, MRMR_CATALOG_FOLDER ".%Y%m%dT%H%M%SZ", &tm);
	do {
		ret = renameat2(rc->pool->state_fd, MRMR_CATALOG_FOLDER,
				rc->pool->state_fd, aside, RENAME_NOREPLACE);
		if (ret == -1 && errno == EEXIST) {
			snprintf(aside + len, size - len, ".%u", ++number);
		}
	} while (ret == -1 && errno == EEXIST);
	return ret;
}

/* The new one in the place of the old one. Killed in between there is none, and
   members that carry parts tell that it is to be recovered. */
static int put_in_place(struct recover *rc, int work_fd)
{
	int state_fd = rc->pool->state_fd;
	char *aside = rc->result->aside;

	if (mrmr_fault("recover-aside") != 0) {
		return recover_fail(rc);
	}
	if (put_aside(rc) == -1) {
		aside[0] = '\0';
		if (errno != ENOENT) {
			return recover_fail(rc);
		}
	}
	if (mrmr_fault("recover-place") != 0 ||
	    renameat(work_fd, MRMR_CATALOG_FOLDER, state_fd,
		     MRMR_CATALOG_FOLDER) == -1) {
		recover_fail(rc);
		if (aside[0] != '\0') {
			renameat(state_fd, aside, state_fd,
				 MRMR_CATALOG_FOLDER);
			aside[0] = '\0';
		}
		return -1;
	}
	/* the new one's folder, too, has another place now */
	mrmr_file_sync_directory(state_fd);
	return 0;
}

/* A catalogue, in a folder of its own. */
struct making {
	char name[96];
	int fd; /* or -1 */
	struct mrmr_catalog *catalog;
	struct mrmr_recover_result result;
};

static int make_one(struct recover *rc, int staging_fd, struct making *making)
{
	const struct mrmr_uuid *id = &rc->pool->config->pool_id;
	const struct mrmr_recover_result before = *rc->result;
	int ret = -1;

	mrmr_staging_name(making->name, sizeof(making->name));
	making->fd = mrmr_folder_open(staging_fd, making->name);
	if (making->fd == -1) {
		return recover_fail(rc);
	}
	making->catalog = mrmr_catalog_open(rc, making->fd, id,
					    MRMR_CATALOG_WRITE, rc->err);
	rc->catalog = making->catalog;
	if (rc->catalog != NULL) {
		ret = make(rc);
	}
	if (ret == 0) {
		ret = mrmr_catalog_check(rc->catalog, rc->err);
	}
	rc->catalog = NULL;
	making->result = *rc->result;
	*rc->result = before;
	return ret;
}

static void remove_one(int staging_fd, struct making *making)
{
	TALLOC_FREE(making->catalog);
	if (making->fd != -1) {
		close(making->fd);
		making->fd = -1;
		mrmr_remove_tree(staging_fd, making->name);
	}
}

static int take_one(struct recover *rc, struct making *making)
{
	int ret;

	rc->catalog = making->catalog;
	ret = recover_guard(rc);
	rc->catalog = NULL;
	TALLOC_FREE(making->catalog);
	if (ret == -1) {
		return -1;
	}
	*rc->result = making->result;
	return put_in_place(rc, making->fd);
}

/* What is missing without the last commit. Where there is no room for a second
   catalogue, the first one gives way, and may have to be made again. */
static int make_without(struct recover *rc, int staging_fd,
			struct making makings[RECOVER_WAYS])
{
	struct making *making = &makings[RECOVER_WITHOUT];
	int ret;

	rc->last.way = RECOVER_WITHOUT;
	ret = make_one(rc, staging_fd, making);
	if (ret == -1 && rc->err->code == ENOSPC) {
		remove_one(staging_fd, making);
		remove_one(staging_fd, &makings[RECOVER_WITH]);
		recover_last_begin(rc, RECOVER_WITHOUT);
		rc->err->code = 0;
		ret = make_one(rc, staging_fd, making);
	}
	remove_one(staging_fd, making);
	return ret;
}

/* With the last commit; if something is missing then, also without it, and then
   as is best. If it cannot be tried without, nothing is made: what that would have
   brought back is gone once a protector goes by the new catalogue. */
static int make_best(struct recover *rc, int staging_fd,
		     struct making makings[RECOVER_WAYS])
{
	enum recover_way *way = &rc->last.way;
	struct making *with = &makings[RECOVER_WITH];

	if (make_one(rc, staging_fd, with) == -1) {
		return -1;
	}
	if (!recover_last_is_missed(rc)) {
		return take_one(rc, with);
	}
	if (make_without(rc, staging_fd, makings) == -1) {
		return -1;
	}
	if (!recover_last_choose(rc) && with->fd != -1) {
		return take_one(rc, with);
	}
	remove_one(staging_fd, with);
	*way = RECOVER_CHOSEN;
	if (make_one(rc, staging_fd, &makings[*way]) == -1) {
		return -1;
	}
	return take_one(rc, &makings[*way]);
}

static void tell_no_room(struct recover *rc)
{
	const char *dir = rc->pool->config->state_dir;

	mrmr_error_set(rc->err, ENOSPC,
		       "the file system of %s is full: there is no room for a "
		       "new catalogue; nothing was changed; make room there (a "
		       "catalogue may take 250 bytes for each file, and 100 "
		       "for "
		       "each block of a large one), and try again",
		       dir);
}

/* In the folder for what is being made, which is swept after a crash. */
static int make_in_folder(struct recover *rc)
{
	int staging_fd = mrmr_folder_open(rc->pool->state_fd, MRMR_STAGING);
	struct making makings[RECOVER_WAYS] = {{.fd = -1},
					       {.fd = -1},
					       {.fd = -1}};
	int ret;
	int i;

	if (staging_fd == -1) {
		return recover_fail(rc);
	}
	ret = make_best(rc, staging_fd, makings);
	if (ret == -1 && rc->err->code == ENOSPC) {
		tell_no_room(rc);
	}
	for (i = 0; i < RECOVER_WAYS; i++) {
		remove_one(staging_fd, &makings[i]);
	}
	close(staging_fd);
	return ret;
}

int mrmr_recover_look(struct mrmr_pool *pool, struct mrmr_error *err)
{
	struct mrmr_catalog *catalog =
		mrmr_catalog_open(NULL, pool->state_fd, &pool->config->pool_id,
				  MRMR_CATALOG_READ, err);
	int ret;

	if (catalog == NULL) {
		return err->code == ENOENT ? 0 : -1;
	}
	ret = mrmr_catalog_check(catalog, err);
	talloc_free(catalog);
	return ret == 0 ? 1 : -1;
}

static int recover(struct recover *rc)
{
	struct mrmr_error ignored = {0};

	if (!rc->options->replace &&
	    mrmr_recover_look(rc->pool, &ignored) == 1) {
		return mrmr_error_set(rc->err, EEXIST,
				      "the catalogue in %s is sound; there is "
				      "nothing to recover",
				      rc->pool->config->state_dir);
	}
	if (open_parts(rc) == -1 || recover_last_load(rc) == -1) {
		return -1;
	}
	return make_in_folder(rc);
}

/* Each record is whole, but what they say does not fit together. Is there such a part?
   It is left out from now on. */
static bool leave_out_nonsense(const struct recover *rc, bool *is_left_out)
{
	bool any = false;
	size_t i;

	for (i = 0; i < rc->num_parts; i++) {
		if (mrmr_catalog_is_damaged(rc->parts[i].part)) {
			is_left_out[rc->parts[i].member->index] = true;
			any = true;
		}
	}
	return any;
}

/* 1: it is to be tried again, without some parts. */
static int try(struct mrmr_pool *pool,
	       const struct mrmr_recover_options *options, bool *is_left_out,
	       struct mrmr_recover_result *result, struct mrmr_error *err)
{
	struct recover *rc = talloc_zero(NULL, struct recover);
	int ret;

	*result = (struct mrmr_recover_result){0};
	*err = (struct mrmr_error){0};
	if (rc == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	rc->pool = pool;
	rc->options = options;
	rc->is_left_out = is_left_out;
	rc->result = result;
	rc->err = err;
	ret = recover(rc);
	if (ret == -1 && err->code == EILSEQ &&
	    leave_out_nonsense(rc, is_left_out)) {
		ret = 1;
	}
	talloc_free(rc);
	return ret;
}

int mrmr_recover(struct mrmr_pool *pool,
		 const struct mrmr_recover_options *options,
		 struct mrmr_recover_result *result, struct mrmr_error *err)
{
	bool is_left_out[MRMR_MEMBERS_MAX] = {false};
	int lock_fd;
	int ret;

	*result = (struct mrmr_recover_result){0};
	lock_fd = mrmr_catalog_lock(pool->state_fd, false);
	if (lock_fd == -1) {
		return mrmr_error_set(err, errno,
				      errno == EAGAIN
					      ? "another mrmr-admin is working "
						"on this pool's parity"
					      : "the state directory cannot be "
						"locked");
	}
	do {
		ret = try(pool, options, is_left_out, result, err);
	} while (ret == 1);
	close(lock_fd);
	errno = ret == -1 ? err->code : errno;
	return ret;
}
