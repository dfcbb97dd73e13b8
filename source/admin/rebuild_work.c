/*
 * mrmr-admin rebuild: what is told, asked and done while it is under way.
 *
 * The protector has to wait meanwhile, as one process at a time writes the
 * catalogue; so it gets its share of the time here.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <talloc.h>

#include <mrmr/protector.h>
#include <mrmr/shared.h>
#include <mrmr/size.h>

#include "engine.h"
#include "rebuild_work.h"

#define NS_PER_S INT64_C(1000000000)
#define PROTECT_EVERY_NS (60 * NS_PER_S)
#define PROTECT_FOR_NS (20 * NS_PER_S)

static const char *const trouble_names[] = {"lost", "unprotected", "taken",
					    "failed", "older"};

static void show(const struct mrmr_rebuild_progress *now, void *private_data)
{
	struct rebuild_work *work = private_data;

	if (now->is_parity && !work->is_parity) {
		work->is_parity = true;
		admin_progress_end(work->progress);
		work->progress = admin_progress_begin(work->admin, "Parity",
						      ADMIN_PROGRESS_BYTES);
	}
	admin_progress_set(work->progress, now->done_bytes, now->todo_bytes);
}

static void tell(enum mrmr_rebuild_trouble kind, const char *path,
		 uint64_t size_bytes, const char *why, void *private_data)
{
	struct rebuild_work *work = private_data;
	json_t *object = admin_need(json_object());

	admin_progress_hide(work->progress);
	admin_note(work->admin, "%s: %s", path, why);
	admin_set(object, "path", admin_json_text(path));
	admin_set(object, "trouble", json_string(trouble_names[kind]));
	admin_set(object, "size_bytes", json_integer((json_int_t)size_bytes));
	admin_set(object, "why", admin_json_text(why));
	admin_append(work->troubles, object);
}

/* Those that can still help should be named before they cannot any more. */
static char *others_away(const struct rebuild_work *work)
{
	const struct mrmr_pool *pool = work->engine->pool;
	char *text = admin_need(talloc_strdup(work->admin, ""));
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (i == work->lost ||
		    pool->members[i].state == MRMR_MEMBER_ONLINE) {
			continue;
		}
		text = admin_need(
			talloc_asprintf_append(text, "%s%s",
					       text[0] == '\0' ? "" : ", ",
					       mrmr_member_name(
						       &pool->members[i])));
	}
	return text;
}

/* They have been named by now, one by one. */
static bool accept_loss(const struct mrmr_rebuild_result *result,
			void *private_data)
{
	struct rebuild_work *work = private_data;
	char size[MRMR_SIZE_LEN];
	char *others = NULL;
	int status;

	if (!work->view.accepts_loss) {
		return false;
	}
	admin_progress_hide(work->progress);
	others = others_away(work);
	status = admin_confirm(
		work->admin,
		"%llu files of %s, %s, which are named above, will be given up "
		"for good%s%s%s",
		(unsigned long long)result->lost_files, work->view.lost,
		mrmr_size_format(result->lost_bytes, size),
		others[0] != '\0' ? "; with what is away now they might be "
				    "had, and without them it may be lost, "
				    "too: "
				  : "",
		others,
		others[0] != '\0' ? " (wait for it, if it may return)" : "");
	talloc_free(others);
	work->view.refused = status == ADMIN_GO_ON ? 0 : status;
	return status == ADMIN_GO_ON;
}

/* What clients have opened or read of it since it is away. */
static uint64_t next_wanted(void *private_data)
{
	const struct rebuild_work *work = private_data;

	return mrmr_shared_next_wanted(work->engine->pool->shared);
}

static bool should_stop(void *private_data)
{
	return admin_should_stop(NULL);
}

static bool should_stop_protecting(void *private_data)
{
	const struct rebuild_work *work = private_data;

	return admin_should_stop(NULL) ||
	       mrmr_now_ns() - work->protected_ns > PROTECT_FOR_NS;
}

/* What clients write is protected all the same. That it cannot be is no reason
   not to bring back what is lost. */
static int protect_for_a_while(struct mrmr_error *err, void *private_data)
{
	struct rebuild_work *work = private_data;
	const struct mrmr_protect_options options = {
		.settle_ns = MRMR_SETTLE_NS_DEFAULT,
		.should_stop = should_stop_protecting,
		.private_data = work,
	};
	struct mrmr_protect_result result;
	struct mrmr_error why = {0};

	if (mrmr_now_ns() - work->protected_ns < PROTECT_EVERY_NS ||
	    mrmr_queue_is_empty(work->engine->queue)) {
		return 0;
	}
	work->protected_ns = mrmr_now_ns();
	if (mrmr_protect(work->engine, &options, &result, &why) == -1) {
		admin_progress_hide(work->progress);
		admin_note(work->admin, "new files are not protected yet: %s",
			   why.text);
	}
	work->protected_ns = mrmr_now_ns();
	return 0;
}

void rebuild_work_hear(struct rebuild_work *work)
{
	work->protected_ns = mrmr_now_ns();
	admin_engine_hear(work->admin, work->engine, should_stop_protecting,
			  work);
}

struct mrmr_rebuild_options rebuild_work_options(struct rebuild_work *work)
{
	return (struct mrmr_rebuild_options){
		.lost = work->lost,
		.onto = work->onto,
		.progress = show,
		.trouble = tell,
		.accept_loss = accept_loss,
		.next_wanted = next_wanted,
		.between = protect_for_a_while,
		.should_stop = should_stop,
		.private_data = work,
	};
}
