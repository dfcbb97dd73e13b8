/*
 * MRMR: the protector: is what a scan would see to be believed?
 *
 * Before a scan of everything: is so much of a member other than it is known that
 * a person should say that it is right (mrmr/scan.h)?
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include <mrmr/log.h>
#include <mrmr/scan.h>

#include "protector_private.h"

static bool is_pending(uint64_t id, void *private_data)
{
	const struct protector *p = private_data;

	return pending_has(p->pending, id);
}

static bool is_stopped(void *private_data)
{
	return protector_should_stop(private_data);
}

static void describe_doubt(const struct protector *p, size_t index,
			   const struct mrmr_scan_member *counts,
			   struct mrmr_error *err)
{
	const char *name = mrmr_member_name(&p->pool->members[index]);

	mrmr_error_set(err, ECANCELED,
		       "member %s: of %llu files that are known, %llu are gone "
		       "and %llu have changed, and nobody has told of it; if "
		       "the drive is not what it should be (made anew, "
		       "encrypted), parity is what brings them back; if it is "
		       "right so: mrmr-admin scan --accept-loss %s",
		       name, (unsigned long long)counts->num_files,
		       (unsigned long long)(counts->num_gone -
					    counts->num_moved),
		       (unsigned long long)counts->num_changed, name);
}

int doubt_scan(struct protector *p, struct mrmr_error *err)
{
	const struct mrmr_scan_options options = {
		.is_expected = is_pending,
		.should_stop = is_stopped,
		.private_data = p,
	};
	const bool *accept = p->options->accept_loss;
	struct mrmr_scan_member *members =
		talloc_zero_array(p, struct mrmr_scan_member,
				  p->pool->num_members);
	size_t i;
	int ret = 0;

	if (members == NULL) {
		return protector_no_memory(err);
	}
	ret = mrmr_scan_look(p->engine, &options, members, err);
	for (i = 0; ret == 0 && i < p->pool->num_members; i++) {
		if (mrmr_scan_is_doubtful(&members[i]) &&
		    (accept == NULL || !accept[i])) {
			describe_doubt(p, i, &members[i], err);
			ret = 1;
		}
	}
	talloc_free(members);
	return ret;
}

int doubt_refuse(struct protector *p, struct mrmr_error *err)
{
	p->is_doubtful = true;
	p->result->is_scan_refused = true;
	if (p->options->scan) {
		errno = ECANCELED;
		return -1;
	}
	mrmr_log(MRMR_LOG_ERROR, "%s", err->text);
	err->code = 0;
	return 0;
}
