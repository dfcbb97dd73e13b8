/*
 * What the fuzz targets share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

const struct mrmr_uuid fuzz_pool_id = {
	.byte = {0xf0, 0x22, 0, 0, 0, 0, 0x40, 0, 0x80},
};

void fuzz_fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: it must be that: %s\n", file, line, condition);
	abort();
}

static void need(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		exit(70);
	}
}

/* The directory stays; tests/fuzz/run removes it. */
void fuzz_enter_tmpfs(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = NULL;

	need(asprintf(&dir, "%s/root-XXXXXX", tmp != NULL ? tmp : "/tmp") != -1,
	     "a name");
	need(unshare(CLONE_NEWNS) == 0, "a mount namespace (are you root?)");
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
	     "making mounts private");
	need(mkdtemp(dir) != NULL, dir);
	need(mount("mrmr-fuzz", dir, "tmpfs", 0, "size=256m,mode=755") == 0,
	     "mounting a tmpfs");
	need(chdir(dir) == 0, dir);
	free(dir);
}

/* A directory has the same path below the working directory. */
static void show_below(const char *path)
{
	char *below = NULL;
	char *slash = NULL;

	need(asprintf(&below, ".%s", path) != -1, path);
	for (slash = strchr(below + 2, '/'); slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(below, 0755);
		*slash = '/';
	}
	mkdir(below, 0755);
	need(mount(path, below, NULL, MS_BIND, NULL) == 0, path);
	free(below);
}

static int own_root_fd = -1;
static int real_root_fd = -1;

static void move_to(int root_fd)
{
	need(fchdir(root_fd) == 0 && chroot(".") == 0, "changing the root");
}

void fuzz_enter_root(void)
{
	const char *keep = getenv("MRMR_FUZZ_KEEP");

	if (own_root_fd == -1) {
		fuzz_enter_tmpfs();
		show_below("/proc");
		if (keep != NULL) {
			show_below(keep);
		}
		own_root_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		real_root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	move_to(own_root_fd);
}

void fuzz_leave_root(void)
{
	move_to(real_root_fd);
}

uint8_t fuzz_byte(struct fuzz_input *input)
{
	if (input->left == 0) {
		return 0;
	}
	input->left--;
	return *input->at++;
}

uint16_t fuzz_two_bytes(struct fuzz_input *input)
{
	uint16_t low = fuzz_byte(input);

	return low | (uint16_t)(fuzz_byte(input) << 8);
}

const uint8_t *fuzz_bytes(struct fuzz_input *input, size_t len, size_t *got)
{
	const uint8_t *at = input->at;

	*got = len < input->left ? len : input->left;
	input->at += *got;
	input->left -= *got;
	return at;
}

char *fuzz_text(struct fuzz_input *input)
{
	size_t len = strnlen((const char *)input->at, input->left);
	char *text = strndup((const char *)input->at, len);

	if (text == NULL) {
		abort();
	}
	input->at += len;
	input->left -= len;
	fuzz_byte(input); /* the byte 0 */
	return text;
}

void fuzz_write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	FUZZ_MUST(fd != -1);
	FUZZ_MUST(len == 0 || write(fd, data, len) == (ssize_t)len);
	close(fd);
}
