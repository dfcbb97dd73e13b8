/*
 * MRMR: small files, read and written whole (see mrmr/file.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault_bytes.h>
#include <mrmr/file.h>

ssize_t mrmr_read_upto(int fd, void *to, size_t len, uint64_t offset)
{
	size_t done = 0;
	char *buf = to;

	while (done < len) {
		size_t want = mrmr_fault_length("read-some", len - done);
		ssize_t got =
			pread(fd, buf + done, want, (off_t)(offset + done));

		if (got == -1 && errno == EINTR) {
			continue;
		}
		if (got == -1) {
			return -1;
		}
		if (got == 0) {
			break;
		}
		done += (size_t)got;
	}
	return (ssize_t)done;
}

int mrmr_read_fully(int fd, void *buf, size_t len, uint64_t offset)
{
	ssize_t got = mrmr_read_upto(fd, buf, len, offset);

	if (got >= 0 && (size_t)got < len) {
		errno = EIO;
		return -1;
	}
	return got == -1 ? -1 : 0;
}

int mrmr_write_fully(int fd, const void *buf, size_t len, uint64_t offset)
{
	const char *data = buf;

	while (len > 0) {
		size_t some = mrmr_fault_length("write-some", len);
		ssize_t put = pwrite(fd, data, some, (off_t)offset);

		if (put == -1 && errno == EINTR) {
			continue;
		}
		if (put == -1) {
			return -1;
		}
		data += put;
		len -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

void mrmr_file_keep_atime(int fd)
{
	int saved_errno = errno;
	int flags = fcntl(fd, F_GETFL);

	if (flags != -1) {
		fcntl(fd, F_SETFL, flags | O_NOATIME);
	}
	errno = saved_errno;
}

char *mrmr_file_read_fd(void *mem_ctx, int fd, size_t max_bytes, size_t *len)
{
	struct stat st = {0};
	char *data = NULL;
	ssize_t done;

	if (fstat(fd, &st) == -1) {
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		return NULL;
	}
	if ((uintmax_t)st.st_size > max_bytes) {
		errno = EFBIG;
		return NULL;
	}
	data = talloc_array(mem_ctx, char, (size_t)st.st_size + 1);
	if (data == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	/* it may have become shorter meanwhile */
	done = mrmr_read_upto(fd, data, (size_t)st.st_size, 0);
	if (done == -1) {
		int error = errno;

		talloc_free(data);
		errno = error;
		return NULL;
	}
	data[done] = '\0';
	*len = (size_t)done;
	return data;
}

/* File systems without owners and modes (FAT, exFAT) refuse to set them. */
static bool has_no_attributes(int error)
{
	return error == EPERM || error == ENOTSUP || error == ENOSYS;
}

static int set_attributes(int fd, const struct mrmr_file_attributes *attributes)
{
	bool has_owner =
		attributes->uid != (uid_t)-1 || attributes->gid != (gid_t)-1;

	if (has_owner && fchown(fd, attributes->uid, attributes->gid) == -1 &&
	    !has_no_attributes(errno)) {
		return -1;
	}
	/* after chown, which clears bits; and whatever the umask is */
	if (fchmod(fd, attributes->mode) == -1 && !has_no_attributes(errno)) {
		return -1;
	}
	return 0;
}

static int write_new(int dir_fd, const char *name, const char *data, size_t len,
		     const struct mrmr_file_attributes *attributes)
{
	int result = -1;
	int error;
	int fd;

	/* what a crash left behind */
	if (unlinkat(dir_fd, name, 0) == -1 && errno != ENOENT) {
		return -1;
	}
	fd = openat(dir_fd, name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		return -1;
	}
	if (mrmr_write_fully(fd, data, len, 0) == 0 &&
	    set_attributes(fd, attributes) == 0 && fsync(fd) == 0) {
		result = 0;
	}
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static int rename_new(int dir_fd, const char *from, const char *to)
{
	struct stat st = {0};

	if (renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE) == 0) {
		return 0;
	}
	if (errno != EINVAL) {
		return -1;
	}
	/* a file system that can't exclude the replacing: look first */
	if (fstatat(dir_fd, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	if (errno != ENOENT) {
		return -1;
	}
	return renameat(dir_fd, from, dir_fd, to);
}

int mrmr_file_write(int dir_fd, const char *name, const char *data, size_t len,
		    const struct mrmr_file_attributes *attributes,
		    bool may_replace)
{
	char *temporary = talloc_asprintf(NULL, ".%s.new", name);
	int result = -1;
	int error;

	if (temporary == NULL) {
		errno = ENOMEM;
		return -1;
	}
	result = write_new(dir_fd, temporary, data, len, attributes);
	if (result == 0 && may_replace) {
		result = renameat(dir_fd, temporary, dir_fd, name);
	} else if (result == 0) {
		result = rename_new(dir_fd, temporary, name);
	}
	if (result == -1) {
		error = errno;
		unlinkat(dir_fd, temporary, 0);
		errno = error;
	} else {
		result = mrmr_file_sync_directory(dir_fd);
	}
	error = errno;
	talloc_free(temporary);
	errno = error;
	return result;
}

int mrmr_file_sync_directory(int dir_fd)
{
	int result;
	int error;
	/* fsync refuses an O_PATH descriptor */
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1) {
		return -1;
	}
	result = fsync(fd);
	if (result == -1 && errno == EINVAL) {
		result = 0; /* a file system that has nothing to sync there */
	}
	error = errno;
	close(fd);
	errno = error;
	return result;
}
