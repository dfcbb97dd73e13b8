/*
 * MRMR: the protector (see mrmr/protector.h).
 *
 * What it goes through again and again:
 *
 *     events_take     the queue -> names in the catalogue, files pending
 *     scan_run        where the queue has missed something
 *     mend_run        stripes that are not as the pool is now
 *     batches_run     pending files that are due -> stripes
 *     trash_run       the trash that is over its time, or in the way
 *
 * Each step is made of transactions, and each transaction leaves the catalogue,
 * the list of what is pending and the mark in the queue in step with each
 * other. So it does not matter where it is killed: what was committed has
 * happened, what was not will be done again.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/shortage.h>

#include "protector_private.h"
#include "shares.h"

#define FAILURES_MAX 5
#define NICE 10
#define WAIT_NS 50000000L
#define PATIENCE_NS (60 * INT64_C(1000000000))

int64_t protector_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

bool protector_should_stop(const struct protector *p)
{
	return p->options->should_stop != NULL &&
	       p->options->should_stop(p->options->private_data);
}

bool protector_has_all_members(const struct protector *p)
{
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		if (p->pool->members[i].state != MRMR_MEMBER_ONLINE) {
			return false;
		}
	}
	return true;
}

bool protector_must_hurry(const struct protector *p)
{
	return mrmr_now_ns() <
	       atomic_load(&p->pool->shared->protect.hurry_until_ns);
}

bool protector_is_urgent(void *private_data)
{
	struct protector *p = private_data;
	bool turn = false;

	return p->makes_room || protector_must_hurry(p) ||
	       protector_is_wanted(p->pool, &turn) || trash_is_wished(p);
}

bool protector_gives_way(struct protector *p)
{
	struct mrmr_protect_result *result = p->result;

	result->gives_way = p->options->background &&
			    protector_is_wanted(p->pool, &result->gives_turn);
	return result->gives_way;
}

int protector_no_memory(struct mrmr_error *err)
{
	return mrmr_error_set(err, ENOMEM, "out of memory");
}

int protector_fail_catalog(const struct protector *p, struct mrmr_error *err)
{
	return mrmr_error_set(err, errno,
			      "the catalogue in %s cannot be changed: %s",
			      p->pool->config->state_dir,
			      mrmr_catalog_why(errno));
}

/* --- failures ----------------------------------------------------------------- */

bool protector_is_fatal(int error)
{
	return mrmr_is_shortage(error) || error == EILSEQ || error == EBUSY ||
	       error == EOVERFLOW;
}

/* A member may have gone in the middle of it. */
int protector_try_again(struct protector *p, struct mrmr_error *err)
{
	struct mrmr_error look_err = {0};
	int error = err->code;

	if (++p->failures >= FAILURES_MAX || protector_is_fatal(error) ||
	    protector_should_stop(p)) {
		return protector_should_stop(p) ? 0 : -1;
	}
	mrmr_log(MRMR_LOG_WARNING,
		 "files could not be protected, and are tried again: %s",
		 err->text);
	mrmr_pool_look(p->pool);
	if (mrmr_engine_look(p->engine, &look_err) == -1) {
		*err = look_err;
		return -1;
	}
	err->code = 0;
	return 0;
}

/* --- transactions ------------------------------------------------------------ */

int protector_begin(struct protector *p, struct mrmr_error *err)
{
	if (mrmr_catalog_begin(p->catalog) == -1) {
		return protector_fail_catalog(p, err);
	}
	p->in_transaction = true;
	p->before = *p->result;
	p->num_loose = 0;
	return 0;
}

void protector_take_back(struct protector *p)
{
	if (!p->in_transaction) {
		return;
	}
	p->in_transaction = false;
	*p->result = p->before;
	p->num_loose = 0;
	mrmr_catalog_cancel(p->catalog);
}

void protector_cancel(struct protector *p)
{
	if (!p->in_transaction) {
		return;
	}
	protector_take_back(p);
	/* the list in memory has what has not happened */
	pending_load_again(p->pending);
	p->round->has_more = true;
}

int protector_loosen(struct protector *p, uint16_t member, uint64_t inode)
{
	size_t size = talloc_array_length(p->loose);

	if (inode == 0 || member == MRMR_MEMBER_NONE) {
		return 0;
	}
	if (p->num_loose == size) {
		struct loose_inode *loose =
			talloc_realloc(p, p->loose, struct loose_inode,
				       size > 0 ? 2 * size : 64);

		if (loose == NULL) {
			errno = ENOMEM;
			return -1;
		}
		p->loose = loose;
	}
	p->loose[p->num_loose++] =
		(struct loose_inode){.member = member, .inode = inode};
	return 0;
}

void protector_done(struct protector *p, uint16_t member, uint64_t inode)
{
	size_t i;

	for (i = p->num_loose; i > 0; i--) {
		struct loose_inode *loose = &p->loose[i - 1];

		if (loose->member == member && loose->inode == inode) {
			loose->is_done = true;
			return;
		}
	}
}

static void settle(struct protector *p, const struct loose_inode *loose)
{
	size_t index = mrmr_engine_member(p->engine, loose->member);

	if (loose->is_done && index != SIZE_MAX) {
		protector_settle(p->pool, &p->pool->members[index].config->id,
				 loose->inode);
	}
}

int protector_commit(struct protector *p, struct mrmr_error *err)
{
	size_t i;

	if (pending_save(p->pending) == -1) {
		protector_fail_catalog(p, err);
		protector_cancel(p);
		return -1;
	}
	if (mrmr_catalog_commit(p->catalog, err) == -1) {
		protector_cancel(p);
		return -1;
	}
	p->in_transaction = false;
	(void)mrmr_fault("protect-before-drop");
	for (i = 0; i < p->num_loose; i++) {
		settle(p, &p->loose[i]);
	}
	tidy_let_go(p);
	return 0;
}

/* --- how much there is ------------------------------------------------------------- */

/* What a member's part of the catalogue takes: it is in one file or several. */
static uint64_t count_records(const struct mrmr_member *member)
{
	uint64_t bytes = 0;
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int fd = -1;

	if (member->state == MRMR_MEMBER_ONLINE) {
		fd = openat(member->private_fd, ".",
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	dir = fd != -1 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		if (fd != -1) {
			close(fd);
		}
		return 0;
	}
	while ((entry = readdir(dir)) != NULL) {
		struct stat st;

		if (strncmp(entry->d_name, MRMR_CATALOG_PART,
			    strlen(MRMR_CATALOG_PART)) == 0 &&
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			bytes += (uint64_t)st.st_blocks * 512;
		}
	}
	closedir(dir);
	return bytes;
}

/* What was written to a member while nobody has told of it is open files. */
static bool is_idle(struct protector *p, size_t index)
{
	const struct mrmr_member *member = &p->pool->members[index];
	uint64_t before = p->taken_bytes[index];

	p->taken_bytes[index] = member->taken_bytes;
	return before == member->taken_bytes &&
	       mrmr_queue_is_empty(p->engine->queue);
}

static void tell_usage(struct protector *p)
{
	size_t i;

	mrmr_pool_look_at_space(p->pool);
	/* Not before all of it is known. */
	if (p->scan_path != NULL) {
		return;
	}
	for (i = 0; i < p->pool->num_members; i++) {
		struct mrmr_catalog_sums sums;
		struct mrmr_usage usage;

		if (mrmr_catalog_sums(p->catalog, p->engine->number[i],
				      &sums) == -1) {
			continue;
		}
		usage = (struct mrmr_usage){
			.data_bytes = sums.file_bytes + sums.trash_bytes,
			.parity_bytes = sums.parity_bytes,
			.records_bytes = count_records(&p->pool->members[i]),
			.num_files = sums.num_files + sums.num_blobs,
			.is_all = is_idle(p, i),
		};
		mrmr_pool_set_usage(p->pool, &p->pool->members[i], &usage);
	}
}

static void count_left(struct protector *p)
{
	struct mrmr_protect_result *result = p->result;
	struct pending_place place = {0};

	result->open_files = due_num_open(p);
	result->window_files = window_num_most(p->window);
	while (pending_next(p->pending, place.node + 1, &place)) {
		if ((place.flags & PENDING_NO_ROOM) != 0) {
			result->unprotected_files++;
			result->unprotected_bytes +=
				pending_count_bare(p->catalog, place.node);
		}
		result->unreadable_files +=
			(place.flags & PENDING_UNREADABLE) != 0;
	}
	if (!p->options->background && !p->options->names_only) {
		mend_count_short(p);
	}
}

/* --- going on, and ending --------------------------------------------------------------- */

/* False: nothing has come. */
static bool wait_for_work(struct protector *p, int64_t until_ns)
{
	const struct timespec pause = {.tv_nsec = WAIT_NS};

	do {
		if (!mrmr_queue_is_empty(p->engine->queue) ||
		    trash_is_wished(p)) {
			return true;
		}
		nanosleep(&pause, NULL);
	} while (!protector_should_stop(p) && !protector_gives_way(p) &&
		 !protector_must_hurry(p) && protector_now_ns() < until_ns);
	return false;
}

/* The page says that nobody looks any more. If there is something by now, it
   was too early. */
static bool is_over(struct protector *p)
{
	struct mrmr_shared *shared = p->pool->shared;

	if (atomic_exchange(&shared->protector, 0) == 0) {
		return true;
	}
	if (mrmr_queue_is_empty(p->engine->queue) && !trash_is_wished(p)) {
		return true;
	}
	atomic_store(&shared->protector, 1);
	return false;
}

static void set_pace(struct protector *p, bool steps_back)
{
	const int idle_class = 3 << 13; /* IOPRIO_CLASS_IDLE */

	if (steps_back == p->steps_back) {
		return;
	}
	p->steps_back = steps_back;
	syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0,
		steps_back ? idle_class : 0);
	if (p->own_nice < NICE) {
		setpriority(PRIO_PROCESS, 0, steps_back ? NICE : p->own_nice);
	}
}

/* Nothing here is as urgent as what clients do, unless one of them waits for it.
   This thread, which holds locks, has a small share of the processors in any case;
   those that do the most have none that anybody else wants (stripes_pipeline.c). */
static void find_pace(struct protector *p)
{
	set_pace(p, p->options->background && !protector_is_urgent(p));
}

/* One turn. *any tells if it has changed anything. */
static int turn(struct protector *p, bool *any, struct mrmr_error *err)
{
	TALLOC_FREE(p->removed);
	find_pace(p);
	if (mrmr_engine_look(p->engine, err) == -1) {
		*any = true;
		return protector_try_again(p, err);
	}
	if (unseen_look(p, err) == -1) {
		return -1;
	}
	if (p->options->names_only) {
		return events_take(p, any, err) == -1 ||
				       scan_run(p, any, err) == -1
			       ? -1
			       : 0;
	}
	if (mend_run(p, any, err) == -1) {
		*any = true;
		return protector_try_again(p, err);
	}
	if (events_take(p, any, err) == -1) {
		return -1;
	}
	/* Who waits for room does not wait for a scan, or for a backlog (nor for
	   all that is to be mended: protector_mend.c). */
	find_pace(p);
	if (trash_is_wished(p) && trash_run(p, any, err) == -1) {
		*any = true;
		return protector_try_again(p, err);
	}
	if (scan_run(p, any, err) == -1 || batches_run(p, any, err) == -1) {
		return -1;
	}
	if ((!*any && !p->trash_is_seen) || trash_is_wished(p)) {
		find_pace(p);
		if (trash_run(p, any, err) == -1) {
			*any = true;
			return protector_try_again(p, err);
		}
	}
	tell_usage(p);
	if (!*any && squeeze_run(p, any, err) == -1) {
		*any = true;
		return protector_try_again(p, err);
	}
	if (!*any && mend_seek_bare(p, any, err) == -1) {
		return -1;
	}
	return 0;
}

int protector_ask_scan(struct protector *p, struct mrmr_error *err)
{
	if (protector_begin(p, err) == -1) {
		return -1;
	}
	if (names_ask_scan(p, "") == -1) {
		protector_fail_catalog(p, err);
		protector_cancel(p);
		return -1;
	}
	return protector_commit(p, err);
}

static int run(struct protector *p, struct mrmr_error *err)
{
	int64_t busy_ns = protector_now_ns();

	if (p->options->scan && protector_ask_scan(p, err) == -1) {
		return -1;
	}

	while (!protector_should_stop(p) && !protector_gives_way(p)) {
		struct mrmr_shared_protector *page = &p->pool->shared->protect;
		uint64_t pass = atomic_fetch_add(&page->passes_begun, 1) + 1;
		bool any = false;
		int64_t next;

		if (turn(p, &any, err) == -1) {
			return -1;
		}
		if (any || !mrmr_queue_is_empty(p->engine->queue)) {
			busy_ns = protector_now_ns();
			continue;
		}
		atomic_store(&page->passes_ended, pass);
		next = due_when(p);
		if (!p->options->background || next == 0) {
			if (is_over(p)) {
				break;
			}
			continue;
		}
		/* A file that stays open for long is not waited for: that it is
		   closed is an event, which starts the next protector. */
		if (protector_now_ns() - busy_ns >
		    PATIENCE_NS + p->options->settle_ns) {
			break;
		}
		if (wait_for_work(p, next)) {
			busy_ns = protector_now_ns();
		}
	}
	return 0;
}

static bool should_end(void *private_data)
{
	struct protector *p = private_data;

	return protector_should_stop(p) || protector_gives_way(p);
}

static int look_at_shares(struct protector *p, struct mrmr_error *err)
{
	return p->options->names_only
		       ? 0
		       : shares_look(p->engine, SIZE_MAX, should_end, p, err);
}

int mrmr_protect(struct mrmr_engine *engine,
		 const struct mrmr_protect_options *options,
		 struct mrmr_protect_result *result, struct mrmr_error *err)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction before = {.sa_handler = SIG_DFL};
	struct protector *p = talloc_zero(engine, struct protector);
	struct mrmr_error ignored = {0};
	int saved_errno;
	int ret = -1;

	err = err != NULL ? err : &ignored;
	err->code = 0;
	*result = (struct mrmr_protect_result){0};
	if (p == NULL) {
		return protector_no_memory(err);
	}
	p->engine = engine;
	p->pool = engine->pool;
	p->catalog = engine->catalog;
	p->options = options;
	p->result = result;
	p->large =
		talloc_zero_array(p, struct large_file, p->pool->num_members);
	p->taken_bytes = talloc_zero_array(p, uint64_t, p->pool->num_members);
	p->pending = pending_load(p, engine->catalog, err);
	/* how the kernel asks for a lease back */
	sigaction(SIGIO, &ignore, &before);
	p->own_nice = getpriority(PRIO_PROCESS, 0);
	find_pace(p);
	if (options->background) {
		/* clients have the others */
		mrmr_catalog_set_threads(p->catalog, 1);
	}
	if (p->large != NULL && p->taken_bytes != NULL && p->pending != NULL &&
	    due_begin(p) == 0 && scan_load(p) == 0) {
		tidy_begin(p);
		ret = older_take(p, err) == 0 && look_at_shares(p, err) == 0 &&
				      room_begin(p, err) == 0
			      ? run(p, err)
			      : -1;
		count_left(p);
		tidy_end(p, ret == 0);
		/* who gives way comes back, and tries again */
		if (ret == 0 && p->scan_err.code != 0 && !result->gives_way) {
			*err = p->scan_err;
			errno = err->code;
			ret = -1;
		}
	} else if (err->code == 0) {
		protector_fail_catalog(p, err);
	}
	saved_errno = errno;
	set_pace(p, false);
	sigaction(SIGIO, &before, NULL);
	talloc_free(p);
	errno = saved_errno;
	return ret;
}
