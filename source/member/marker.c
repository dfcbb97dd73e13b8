/*
 * MRMR: the marker that makes a directory a member (see mrmr/marker.h).
 *
 * Whoever may write to a member's root could put anything at the marker's
 * place, so no step here follows a symlink, and only a regular file of sane
 * size is read. Keys that are not known are let be: a later version may have
 * written them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <talloc.h>

#include <mrmr/file.h>
#include <mrmr/marker.h>

#define MARKER_MAX_BYTES (64u << 10)
#define MARKER_PATH MRMR_DIR "/" MRMR_MARKER_NAME

bool mrmr_is_private_name(const char *name)
{
	const size_t len = strlen(MRMR_DIR);

	return strncasecmp(name, MRMR_DIR, len) == 0 &&
	       name[len + strspn(name + len, ". ")] == '\0';
}

bool mrmr_marker_equal(const struct mrmr_marker *a, const struct mrmr_marker *b)
{
	return mrmr_uuid_equal(&a->pool_id, &b->pool_id) &&
	       mrmr_uuid_equal(&a->member_id, &b->member_id);
}

/* --- reading -------------------------------------------------------------- */

static int open_private_directory(int root_fd, int access)
{
	return openat(root_fd, MRMR_DIR,
		      access | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int fail_read(const char *name, int error, struct mrmr_error *err)
{
	switch (error) {
	case ENOENT:
		return mrmr_error_set(err, ENOENT,
				      "%s has no marker (%s); is the drive "
				      "mounted?",
				      name, MARKER_PATH);
	case ELOOP:
	case ENOTDIR:
	case EISDIR:
	case EINVAL:
	case ENXIO: /* a socket */
		return mrmr_error_set(err, EINVAL,
				      "%s: %s is not a file in a directory of "
				      "its own, and no marker",
				      name, MARKER_PATH);
	case EFBIG:
		return mrmr_error_set(err, EINVAL,
				      "%s: %s is too large to be a marker",
				      name, MARKER_PATH);
	default:
		return mrmr_error_set(err, error, "%s: %s can't be read: %s",
				      name, MARKER_PATH, strerror(error));
	}
}

static char *read_text(int root_fd, size_t *len)
{
	char *text = NULL;
	int error;
	int dir_fd;
	int fd;

	dir_fd = open_private_directory(root_fd, O_PATH);
	if (dir_fd == -1) {
		return NULL;
	}
	/* not to wait for a writer if it is a pipe */
	fd = openat(dir_fd, MRMR_MARKER_NAME,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	error = errno;
	close(dir_fd);
	if (fd == -1) {
		errno = error;
		return NULL;
	}
	text = mrmr_file_read_fd(NULL, fd, MARKER_MAX_BYTES, len);
	error = errno;
	close(fd);
	errno = error;
	return text;
}

static bool get_uuid(const json_t *root, const char *key,
		     struct mrmr_uuid *uuid)
{
	const char *text = json_string_value(json_object_get(root, key));

	return text != NULL && mrmr_uuid_parse(text, uuid) &&
	       !mrmr_uuid_is_nil(uuid);
}

static int parse(const char *text, size_t len, const char *name,
		 struct mrmr_marker *marker, struct mrmr_error *err)
{
	struct mrmr_marker found = {0};
	json_error_t json_err = {0};
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &json_err);
	bool has_pool = get_uuid(root, "drive_id", &found.pool_id);
	bool has_member = get_uuid(root, "mount_id", &found.member_id);

	if (root == NULL) {
		return mrmr_error_set(err, EINVAL,
				      "%s: %s is not a marker: line %d: %s",
				      name, MARKER_PATH, json_err.line,
				      json_err.text);
	}
	json_decref(root);
	if (!has_pool || !has_member) {
		return mrmr_error_set(err, EINVAL,
				      "%s: %s is not a marker: \"%s\" is "
				      "missing or no UUID",
				      name, MARKER_PATH,
				      has_pool ? "mount_id" : "drive_id");
	}
	*marker = found;
	return 0;
}

int mrmr_marker_read(int root_fd, const char *name, struct mrmr_marker *marker,
		     struct mrmr_error *err)
{
	size_t len = 0;
	char *text = read_text(root_fd, &len);
	int result;

	if (text == NULL) {
		return fail_read(name, errno, err);
	}
	result = parse(text, len, name, marker, err);
	talloc_free(text);
	return result;
}

/* --- writing -------------------------------------------------------------- */

static int fail_foreign(const char *name, const struct mrmr_marker *found,
			const struct mrmr_marker *wanted,
			struct mrmr_error *err)
{
	char pool[MRMR_UUID_LEN + 1];
	char member[MRMR_UUID_LEN + 1];
	bool same_pool = mrmr_uuid_equal(&found->pool_id, &wanted->pool_id);

	mrmr_uuid_format(&found->pool_id, pool);
	mrmr_uuid_format(&found->member_id, member);
	return mrmr_error_set(err, EEXIST,
			      "%s is member %s of %s pool %s already", name,
			      member, same_pool ? "this" : "another", pool);
}

static int write_text(int dir_fd, const struct mrmr_marker *marker)
{
	/* the member is root's business; its users have the files */
	const struct mrmr_file_attributes attributes = {.mode = 0600,
							.uid = (uid_t)-1,
							.gid = (gid_t)-1};
	char pool[MRMR_UUID_LEN + 1];
	char member[MRMR_UUID_LEN + 1];
	char text[128];
	int len;

	mrmr_uuid_format(&marker->pool_id, pool);
	mrmr_uuid_format(&marker->member_id, member);
	len = snprintf(text, sizeof(text),
		       "{\"drive_id\": \"%s\", \"mount_id\": \"%s\"}\n", pool,
		       member);
	return mrmr_file_write(dir_fd, MRMR_MARKER_NAME, text, (size_t)len,
			       &attributes, false);
}

/* Only root may look into `.mrmr`; where there are no modes, so be it. */
static int make_private(int dir_fd)
{
	if (fchmod(dir_fd, 0700) == -1 && errno != EPERM && errno != ENOTSUP) {
		return -1;
	}
	return 0;
}

/* The marker, if has_marker is false, and the mode of the directory. */
static int write_below(int root_fd, const struct mrmr_marker *marker,
		       bool has_marker)
{
	int result;
	int error;
	int dir_fd = open_private_directory(root_fd, O_RDONLY);

	if (dir_fd == -1) {
		return -1;
	}
	result = make_private(dir_fd);
	if (result == 0 && !has_marker) {
		result = write_text(dir_fd, marker);
	}
	if (result == 0) {
		result = mrmr_file_sync_directory(root_fd);
	}
	error = errno;
	close(dir_fd);
	errno = error;
	return result;
}

int mrmr_marker_write(int root_fd, const char *name,
		      const struct mrmr_marker *marker, struct mrmr_error *err)
{
	struct mrmr_marker found = {0};
	struct mrmr_error why = {0};
	bool has_marker = false;
	bool is_new = false;

	if (mrmr_marker_read(root_fd, name, &found, &why) == 0) {
		if (!mrmr_marker_equal(&found, marker)) {
			return fail_foreign(name, &found, marker, err);
		}
		has_marker = true;
	} else if (why.code != ENOENT) {
		return mrmr_error_set(err, why.code, "%s", why.text);
	}
	is_new = mkdirat(root_fd, MRMR_DIR, 0700) == 0;
	if ((!is_new && errno != EEXIST) ||
	    write_below(root_fd, marker, has_marker) == -1) {
		int error = errno;

		if (is_new) {
			unlinkat(root_fd, MRMR_DIR, AT_REMOVEDIR);
		}
		return mrmr_error_set(err, error, "%s: %s can't be made: %s",
				      name, MARKER_PATH, strerror(error));
	}
	return 0;
}

static int remove_below(int root_fd)
{
	int dir_fd = open_private_directory(root_fd, O_PATH);
	int result;
	int error;

	if (dir_fd == -1) {
		return -1;
	}
	result = unlinkat(dir_fd, MRMR_MARKER_NAME, 0);
	error = errno;
	close(dir_fd);
	errno = error;
	if (result == -1) {
		return -1;
	}
	if (unlinkat(root_fd, MRMR_DIR, AT_REMOVEDIR) == -1 &&
	    errno != ENOTEMPTY && errno != EEXIST) {
		return -1;
	}
	return mrmr_file_sync_directory(root_fd);
}

int mrmr_marker_remove(int root_fd, const char *name,
		       const struct mrmr_marker *marker, struct mrmr_error *err)
{
	struct mrmr_marker found = {0};
	struct mrmr_error why = {0};

	if (mrmr_marker_read(root_fd, name, &found, &why) == -1) {
		if (why.code == ENOENT) {
			return 0;
		}
		return mrmr_error_set(err, why.code, "%s", why.text);
	}
	if (!mrmr_marker_equal(&found, marker)) {
		return fail_foreign(name, &found, marker, err);
	}
	if (remove_below(root_fd) == -1 && errno != ENOENT) {
		int error = errno;

		return mrmr_error_set(err, error, "%s: %s can't be removed: %s",
				      name, MARKER_PATH, strerror(error));
	}
	return 0;
}
