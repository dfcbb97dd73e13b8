/*
 * MRMR: the protector: events from the queue.
 *
 * Each event is applied once, also if a process is killed before it is done with what
 * it took (see applied.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>

#include "applied.h"
#include "protector_apply.h"
#include "relocated.h"

#define PER_TRANSACTION 4096

/* --- one event ------------------------------------------------------------------- */

/* Those that say that the event does not fit to what is known, or that this cannot
   be told. */
static bool is_contradiction(int error)
{
	return error == ENOENT || error == EEXIST || error == ENOTDIR ||
	       error == EINVAL || error == ENAMETOOLONG || error == EPERM ||
	       error == ENODEV || error == EACCES || error == ESTALE ||
	       error == EIO;
}

/* A number that does not last may be another file's by now. */
static uint64_t lasting_inode(const struct protector *p, uint16_t number,
			      uint64_t inode)
{
	const struct mrmr_member *member =
		mrmr_engine_online(p->engine, number);

	return member != NULL && member->unlasting != NULL ? 0 : inode;
}

/* A file that was rebuilt since is meant where it is now. */
static int relocate(struct protector *p, struct event *e)
{
	struct mrmr_node *node = NULL;
	uint64_t id = relocated_find(p->relocated, e->number, e->inode);

	if (id == MRMR_ID_NONE) {
		return 0;
	}
	if (mrmr_catalog_get(p->catalog, e->frame, id, &node) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	e->number = node->member;
	e->inode = lasting_inode(p, node->member, node->inode);
	return 0;
}

static int apply(struct protector *p, const struct mrmr_event *event)
{
	static const struct mrmr_uuid nil;
	struct event e = {
		.of = event,
		.frame = talloc_new(p),
		.number = mrmr_uuid_equal(&event->member, &nil)
				  ? MRMR_MEMBER_NONE
				  : mrmr_catalog_member(p->catalog,
							&event->member),
	};
	int saved_errno;
	int ret = 0;

	e.inode = lasting_inode(p, e.number, event->inode);
	if (e.frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	/* of a member that has left the pool: nothing is known of it any more */
	if (e.number != MRMR_MEMBER_NONE ||
	    mrmr_uuid_equal(&event->member, &nil)) {
		ret = relocate(p, &e) == -1 ? -1 : apply_event(p, &e);
	}
	saved_errno = errno;
	talloc_free(e.frame);
	errno = saved_errno;
	if (ret == -1 && is_contradiction(errno)) {
		mrmr_log(MRMR_LOG_INFO,
			 "an event of '%s' does not fit to what is known (%s); "
			 "a scan will settle it",
			 event->path, strerror(errno));
		ret = names_ask_scan(p, "");
	}
	return ret;
}

/* --- taking ---------------------------------------------------------------------- */

/* How many of the events were applied before. */
static int count_applied(struct protector *p, const struct mrmr_event *events,
			 size_t num, size_t *applied)
{
	uint64_t mark = 0;
	size_t i;

	*applied = 0;
	if (applied_get(p->catalog, &mark) == -1) {
		return -1;
	}
	for (i = num; i > 0; i--) {
		if (mrmr_queue_fingerprint(&events[i - 1]) == mark) {
			*applied = i;
			break;
		}
	}
	return 0;
}

static int apply_some(struct protector *p, const struct mrmr_event *events,
		      size_t num, struct mrmr_error *err)
{
	size_t i;

	if (protector_begin(p, err) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (apply(p, &events[i]) == -1) {
			protector_fail_catalog(p, err);
			protector_cancel(p);
			return -1;
		}
	}
	if (applied_put(p->catalog, &events[num - 1]) == -1) {
		protector_fail_catalog(p, err);
		protector_cancel(p);
		return -1;
	}
	return protector_commit(p, err);
}

static int load_relocated(struct protector *p, struct mrmr_error *err)
{
	if (!relocated_any(p->catalog)) {
		return 0;
	}
	p->relocated = relocated_load(p, p->catalog);
	return p->relocated != NULL || errno == ENOENT
		       ? 0
		       : protector_fail_catalog(p, err);
}

/* All that was to be heard of them has been. */
static int forget_relocated(struct protector *p, struct mrmr_error *err)
{
	TALLOC_FREE(p->relocated);
	if (protector_begin(p, err) == -1) {
		return -1;
	}
	if (relocated_forget(p->catalog) == -1) {
		protector_fail_catalog(p, err);
		protector_cancel(p);
		return -1;
	}
	return protector_commit(p, err);
}

int events_take(struct protector *p, bool *any, struct mrmr_error *err)
{
	struct mrmr_event *events = NULL;
	size_t done = 0;
	size_t num = 0;
	int ret = 0;

	atomic_fetch_add(&p->pool->shared->protect.takes, 1);
	if (mrmr_queue_take(p->engine->queue, p, &events, &num) == -1) {
		return mrmr_error_set(err, errno,
				      "what has happened in the share cannot "
				      "be read from the queue in %s: %s",
				      p->pool->config->state_dir,
				      strerror(errno));
	}
	if (num > 0 && count_applied(p, events, num, &done) == -1) {
		talloc_free(events);
		return protector_fail_catalog(p, err);
	}
	if (load_relocated(p, err) == -1) {
		talloc_free(events);
		return -1;
	}
	while (ret == 0 && done < num) {
		size_t part = num - done;

		part = part < PER_TRANSACTION ? part : PER_TRANSACTION;
		ret = apply_some(p, events + done, part, err);
		done += part;
		if (ret == 0 && mrmr_fault("protect-events") != 0) {
			ret = mrmr_error_set(err, errno, "stopped by a test");
		}
	}
	talloc_free(events);
	if (ret == 0 && p->relocated != NULL) {
		ret = forget_relocated(p, err);
	}
	TALLOC_FREE(p->relocated);
	if (ret == 0 && num > 0) {
		*any = true;
	}
	if (ret == 0 && (num > 0 || !mrmr_queue_is_empty(p->engine->queue))) {
		mrmr_queue_done(p->engine->queue);
	}
	return ret;
}
