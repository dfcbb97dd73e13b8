/*
 * mrmr-admin: members as they are now (see members.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/local.h>

#include "members.h"

struct mrmr_shared *admin_shared(const struct mrmr_config *config,
				 int *state_fd, struct mrmr_error *err)
{
	struct stat st = {0};

	*state_fd = open(config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*state_fd == -1) {
		mrmr_error_set(err, errno,
			       "the state directory %s can't be opened: %s",
			       config->state_dir, strerror(errno));
		return NULL;
	}
	if (fstatat(*state_fd, MRMR_SHARED_NAME, &st, AT_SYMLINK_NOFOLLOW) ==
	    -1) {
		mrmr_error_set(err, errno,
			       "the pool was never in use: %s/%s: %s",
			       config->state_dir, MRMR_SHARED_NAME,
			       strerror(errno));
		return NULL;
	}
	return mrmr_shared_open(*state_fd, err);
}

int admin_set_eject(struct admin *admin, const struct mrmr_config *config,
		    const struct mrmr_uuid *id, enum mrmr_eject_state eject)
{
	struct mrmr_error err = {0};
	int state_fd = -1;
	struct mrmr_shared *shared = admin_shared(config, &state_fd, &err);
	int status = ADMIN_GO_ON;
	int slot = -1;

	if (shared == NULL && state_fd != -1 && err.code == ENOENT) {
		/* no smbd yet; those to come will see it */
		shared = mrmr_shared_open(state_fd, &err);
	}
	if (shared == NULL) {
		status = admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	} else {
		slot = mrmr_shared_slot(shared, state_fd, config, id);
	}
	if (slot != -1) {
		mrmr_shared_set_eject(shared, slot, eject);
	} else if (shared != NULL) {
		status = admin_fail(admin, ADMIN_FAILED,
				    "no slot for the member: %s",
				    strerror(errno));
	}
	mrmr_shared_close(shared);
	if (state_fd != -1) {
		close(state_fd);
	}
	return status;
}

/* As the pool of a running share sees it, without telling that pool. */
static void look_at(struct mrmr_member *member, const struct mrmr_pool *pool,
		    const struct mrmr_shared *shared)
{
	uint32_t eject = MRMR_EJECT_NONE;

	if (shared != NULL) {
		member->slot = mrmr_shared_find(shared, &member->config->id);
	}
	if (member->slot != -1) {
		eject = atomic_load(&shared->members[member->slot].eject);
	}
	if (member->config->kind != MRMR_MEMBER_LOCAL) {
		member->state = MRMR_MEMBER_UNSUPPORTED;
		snprintf(member->why, sizeof(member->why),
			 "remote members are not reached by this version");
		return;
	}
	if (eject == MRMR_EJECT_ASKED ||
	    (eject == MRMR_EJECT_GONE && !mrmr_local_marker_seen(member))) {
		mrmr_local_eject(member);
		return;
	}
	mrmr_local_look(member, &pool->config->pool_id);
}

static int close_roots(struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		mrmr_local_let_go(&pool->members[i]);
	}
	return 0;
}

struct mrmr_pool *admin_members_look(struct admin *admin,
				     struct mrmr_config *config)
{
	struct mrmr_pool *pool =
		admin_need(talloc_zero(admin, struct mrmr_pool));
	struct mrmr_shared *shared = NULL;
	int state_fd = -1;
	size_t i;

	pool->config = config;
	pool->num_members = config->num_members;
	pool->members = admin_need(
		talloc_zero_array(pool, struct mrmr_member,
				  (unsigned int)config->num_members));
	mrmr_units_find(config, &pool->units);
	shared = admin_shared(config, &state_fd, NULL);
	pool->all_online = true;
	for (i = 0; i < pool->num_members; i++) {
		struct mrmr_member *member = &pool->members[i];

		member->config = &config->members[i];
		member->index = i;
		member->slot = -1;
		member->root_fd = -1;
		member->private_fd = -1;
		look_at(member, pool, shared);
		if (member->state != MRMR_MEMBER_ONLINE) {
			pool->all_online = false;
		}
	}
	talloc_set_destructor(pool, close_roots);
	pool->shared = shared;
	mrmr_pool_plan(pool);
	pool->shared = NULL;
	mrmr_shared_close(shared);
	if (state_fd != -1) {
		close(state_fd);
	}
	return pool;
}

const char *admin_member_state(const struct mrmr_member *member)
{
	if (member->state == MRMR_MEMBER_ONLINE && member->read_only) {
		return "read-only";
	}
	return mrmr_member_state_name(member->state);
}

json_t *admin_member_json(const struct mrmr_member *member)
{
	static const char *const kinds[] = {"local", "smb", "ssh"};
	static const char *const roles[] = {"any", "data", "parity"};
	const struct mrmr_member_config *config = member->config;
	json_t *object = admin_need(json_object());
	const char *stack = config->stack;

	admin_set(object, "mount_id", admin_json_uuid(&config->id));
	admin_set(object, "name",
		  admin_json_text(mrmr_member_config_name(config)));
	admin_set(object, "kind", json_string(kinds[config->kind]));
	admin_set(object, "state",
		  json_string(mrmr_member_state_name(member->state)));
	admin_set(object, "why", admin_json_text(member->why));
	admin_set(object, "read_only", json_boolean(member->read_only));
	admin_set(object, "can_be_protected",
		  json_boolean(member->unlasting == NULL));
	admin_set(object, "total_bytes",
		  json_integer((json_int_t)member->total_bytes));
	admin_set(object, "free_bytes",
		  json_integer((json_int_t)member->free_bytes));
	admin_set(object, "min_free_bytes",
		  json_integer((json_int_t)config->min_free_bytes));
	admin_set(object, "room_bytes",
		  json_integer((json_int_t)mrmr_member_room(member)));
	admin_set(object, "data_room_bytes",
		  json_integer((json_int_t)mrmr_member_data_room(member)));
	admin_set(object, "role", json_string(roles[config->role]));
	admin_set(object, "tier", json_integer(config->tier));
	admin_set(object, "stack",
		  stack != NULL ? admin_json_text(stack) : json_null());
	admin_set(object, "is_removable", json_boolean(config->is_removable));
	return object;
}
