/*
 * mrmr-admin rebuild: what is said of how it went.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <mrmr/size.h>

#include "rebuild_report.h"

void rebuild_set_number(struct admin *admin, const char *key, uint64_t number)
{
	admin_set(admin->result, key, json_integer((json_int_t)number));
}

void rebuild_set_result(struct admin *admin,
			const struct mrmr_rebuild_result *result)
{
	rebuild_set_number(admin, "files", result->files);
	rebuild_set_number(admin, "bytes", result->bytes);
	rebuild_set_number(admin, "adopted_files", result->adopted);
	rebuild_set_number(admin, "stripes", result->stripes);
	rebuild_set_number(admin, "parity_bytes", result->parity_bytes);
	rebuild_set_number(admin, "lost_files", result->lost_files);
	rebuild_set_number(admin, "lost_bytes", result->lost_bytes);
	rebuild_set_number(admin, "given_up_files", result->given_up_files);
	rebuild_set_number(admin, "given_up_bytes", result->given_up_bytes);
	rebuild_set_number(admin, "spared_files", result->spared_files);
	rebuild_set_number(admin, "taken_files", result->taken_files);
	rebuild_set_number(admin, "failed_files", result->failed_files);
	rebuild_set_number(admin, "older_files", result->older_files);
	rebuild_set_number(admin, "stripes_left", result->stripes_left);
	rebuild_set_number(admin, "bare_extents", result->bare_extents);
	admin_set(admin->result, "complete", json_boolean(result->is_complete));
	admin_set(admin->result, "interrupted",
		  json_boolean(result->is_stopped));
}

/* What cannot be had keeps the member in the pool. */
static void say_lost(const struct rebuild_view *view,
		     const struct mrmr_rebuild_result *result)
{
	struct admin *admin = view->admin;
	char size[MRMR_SIZE_LEN];

	if (result->has_returned) {
		admin_say(admin,
			  "nothing was given up, as a member has returned: "
			  "give the command again");
	}
	if (result->spared_files > 0) {
		admin_say(admin,
			  "%llu files can be computed after all, and were not "
			  "given up: give the command again",
			  (unsigned long long)result->spared_files);
	}
	if (result->given_up_files > 0) {
		admin_say(admin, "%llu files, %s, were given up",
			  (unsigned long long)result->given_up_files,
			  mrmr_size_format(result->given_up_bytes, size));
	} else if (result->lost_files > 0 && !result->is_complete &&
		   !view->accepts_loss) {
		admin_say(admin,
			  "as long as they are known, %s stays in the pool; if "
			  "it will not return, and no other drive either with "
			  "which they could be had: mrmr-admin rebuild "
			  "--accept-loss %s",
			  view->lost, view->lost);
	}
}

void rebuild_say_left(const struct rebuild_view *view,
		      const struct mrmr_rebuild_result *result)
{
	struct admin *admin = view->admin;
	char size[MRMR_SIZE_LEN];

	if (result->lost_files > 0) {
		admin_say(admin,
			  "%llu files, %s, are lost: they cannot be computed "
			  "from what is there",
			  (unsigned long long)result->lost_files,
			  mrmr_size_format(result->lost_bytes, size));
	}
	say_lost(view, result);
	if (result->older_files > 0) {
		admin_say(admin, "%llu files lack their last change",
			  (unsigned long long)result->older_files);
	}
	if (result->taken_files > 0) {
		admin_say(admin,
			  "%llu files were left out, as something else has "
			  "their names",
			  (unsigned long long)result->taken_files);
	}
	if (result->failed_files > 0) {
		admin_say(admin, "%llu files could not be brought back now",
			  (unsigned long long)result->failed_files);
	}
	if (result->stripes_left > 0) {
		admin_say(admin,
			  "%llu parity blocks could not be made again now",
			  (unsigned long long)result->stripes_left);
	}
	if (result->bare_extents > 0) {
		admin_say(admin,
			  "%llu blocks came back, but are not protected: there "
			  "was no room for their parity",
			  (unsigned long long)result->bare_extents);
	}
}

int rebuild_status(const struct rebuild_view *view,
		   const struct mrmr_rebuild_result *result)
{
	if (view->refused != 0) {
		return view->refused;
	}
	if (result->lost_files > 0 && !view->accepts_loss) {
		return ADMIN_LOST;
	}
	if (result->is_stopped || result->has_returned ||
	    result->spared_files > 0 || result->failed_files > 0 ||
	    result->taken_files > 0 || result->stripes_left > 0 ||
	    result->bare_extents > 0 || result->older_files > 0) {
		return ADMIN_DEGRADED;
	}
	return ADMIN_OK;
}
