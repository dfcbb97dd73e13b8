/*
 * Drives whose power can be cut: disk images in a FUSE file system, for loop
 * devices, behind a write cache that a cut of the power empties.
 *
 *   powercut MOUNTPOINT DIR
 *
 * MOUNTPOINT/NAME is DIR/NAME with a cache over it. What is written is seen at
 * once by who reads, but is in DIR/NAME only after the next fsync, which is what
 * a loop device makes of a flush. Commands come from stdin, a line each:
 *
 *   cut WRITES SEED PERCENT   after so many further writes, to all images
 *                             together, the power goes: of the writes that no
 *                             fsync followed, PERCENT % of the blocks are in
 *                             DIR/NAME (100: all; 0: none; which: by SEED), and
 *                             nothing that comes later is
 *   state                     answered by "is-on WRITES" or "is-off WRITES": so
 *                             many have come since it was on
 *   on                        power again: what is seen is what is in DIR/NAME;
 *                             answered by "on 0"
 *
 * "cut" is answered by "armed", and each cut says "off WRITES". Nobody who writes
 * meets an error after a cut: he may be in the middle of anything, and what he
 * writes is simply not kept.
 *
 * A real cache writes blocks in any order, and a sector whole or not at all:
 * here too, with blocks of 4096 bytes. All images share one order of events, so a
 * cut is one instant for all of them, in the middle of whatever they were doing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#define FUSE_USE_VERSION 35
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fuse.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

#define MAX_IMAGES 32
#define BLOCK 4096
#define COPY_BYTES (1 << 20)

/* What was written since the last fsync; no data: zeros. */
struct pending {
	struct pending *next;
	off_t offset;
	size_t len;
	char *data;
};

struct image {
	char name[NAME_MAX + 1];
	int kept_fd; /* DIR/NAME */
	int seen_fd; /* what readers see */
	off_t size;
	struct pending *first;
	struct pending **end;
};

static struct image images[MAX_IMAGES];
static size_t num_images;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_on = true;
static bool is_armed;
static uint64_t num_writes;
static uint64_t writes_left;
static uint64_t seed;
static unsigned int percent;

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "powercut: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %s\n", strerror(errno));
	va_end(args);
	exit(1);
}

static void say(const char *word)
{
	printf("%s %" PRIu64 "\n", word, num_writes);
	fflush(stdout);
}

/* splitmix64 */
static uint64_t random_number(void)
{
	uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* --- an image ----------------------------------------------------------------- */

static void write_all(int fd, const char *data, size_t len, off_t offset)
{
	static const char zeros[COPY_BYTES];
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		size_t part = len - done;

		if (data == NULL && part > sizeof(zeros)) {
			part = sizeof(zeros);
		}
		n = pwrite(fd, data != NULL ? data + done : zeros, part,
			   offset + (off_t)done);
		if (n <= 0) {
			die("an image cannot be written");
		}
		done += (size_t)n;
	}
}

/* seen becomes what is kept. */
static void load(struct image *image)
{
	char *buffer = malloc(COPY_BYTES);
	off_t at = 0;

	if (buffer == NULL || ftruncate(image->seen_fd, 0) == -1 ||
	    ftruncate(image->seen_fd, image->size) == -1) {
		die("%s cannot be loaded", image->name);
	}
	at = lseek(image->kept_fd, 0, SEEK_DATA);
	while (at != -1 && at < image->size) {
		off_t hole = lseek(image->kept_fd, at, SEEK_HOLE);

		while (at < hole) {
			size_t part = hole - at < COPY_BYTES
					      ? (size_t)(hole - at)
					      : COPY_BYTES;
			ssize_t n = pread(image->kept_fd, buffer, part, at);

			if (n <= 0) {
				die("%s cannot be read", image->name);
			}
			write_all(image->seen_fd, buffer, (size_t)n, at);
			at += n;
		}
		at = lseek(image->kept_fd, at, SEEK_DATA);
	}
	free(buffer);
}

static void drop_pending(struct image *image)
{
	struct pending *p = image->first;

	while (p != NULL) {
		struct pending *next = p->next;

		free(p->data);
		free(p);
		p = next;
	}
	image->first = NULL;
	image->end = &image->first;
}

static void keep(struct image *image, const struct pending *p, size_t from,
		 size_t len)
{
	write_all(image->kept_fd, p->data != NULL ? p->data + from : NULL, len,
		  p->offset + (off_t)from);
}

static void flush_image(struct image *image)
{
	const struct pending *p;

	for (p = image->first; p != NULL; p = p->next) {
		keep(image, p, 0, p->len);
	}
	drop_pending(image);
}

/* The power goes: each block was written in time, or not. */
static void lose_cache(struct image *image)
{
	const struct pending *p;

	for (p = image->first; p != NULL; p = p->next) {
		size_t from = 0;

		while (from < p->len) {
			off_t at = p->offset + (off_t)from;
			size_t part = BLOCK - (size_t)(at % BLOCK);

			if (part > p->len - from) {
				part = p->len - from;
			}
			if (random_number() % 100 < percent) {
				keep(image, p, from, part);
			}
			from += part;
		}
	}
	drop_pending(image);
}

static void cut(void)
{
	size_t i;

	for (i = 0; i < num_images; i++) {
		lose_cache(&images[i]);
	}
	is_on = false;
	is_armed = false;
	say("off");
}

/* NULL data: zeros. Called with the lock held. */
static int take(struct image *image, const char *data, size_t len, off_t offset)
{
	struct pending *p = NULL;

	write_all(image->seen_fd, data, len, offset);
	if (!is_on) {
		return 0;
	}
	p = calloc(1, sizeof(*p));
	if (p != NULL && data != NULL) {
		p->data = malloc(len);
	}
	if (p == NULL || (data != NULL && p->data == NULL)) {
		die("no memory");
	}
	if (data != NULL) {
		memcpy(p->data, data, len);
	}
	p->offset = offset;
	p->len = len;
	*image->end = p;
	image->end = &p->next;
	num_writes++;
	if (is_armed && writes_left-- == 0) {
		cut();
	}
	return 0;
}

/* --- the file system ---------------------------------------------------------- */

static struct image *find(const char *path)
{
	size_t i;

	for (i = 0; i < num_images; i++) {
		if (strcmp(images[i].name, path + 1) == 0) {
			return &images[i];
		}
	}
	return NULL;
}

static struct image *opened(const struct fuse_file_info *info)
{
	return &images[info->fh];
}

static int op_getattr(const char *path, struct stat *st,
		      struct fuse_file_info *info)
{
	const struct image *image = find(path);

	memset(st, 0, sizeof(*st));
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0700;
		st->st_nlink = 2;
		return 0;
	}
	if (image == NULL) {
		return -ENOENT;
	}
	st->st_mode = S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_size = image->size;
	st->st_blksize = BLOCK;
	st->st_blocks = image->size / 512;
	return 0;
}

static int op_readdir(const char *path, void *list, fuse_fill_dir_t fill,
		      off_t offset, struct fuse_file_info *info,
		      enum fuse_readdir_flags flags)
{
	size_t i;

	for (i = 0; i < num_images; i++) {
		fill(list, images[i].name, NULL, 0, 0);
	}
	return 0;
}

/* Without the kernel's page cache: it would keep writes to itself. */
static int op_open(const char *path, struct fuse_file_info *info)
{
	const struct image *image = find(path);

	if (image == NULL) {
		return -ENOENT;
	}
	info->fh = (uint64_t)(image - images);
	info->direct_io = 1;
	return 0;
}

static int op_read(const char *path, char *data, size_t len, off_t offset,
		   struct fuse_file_info *info)
{
	ssize_t n;

	pthread_mutex_lock(&lock);
	n = pread(opened(info)->seen_fd, data, len, offset);
	pthread_mutex_unlock(&lock);
	return n == -1 ? -errno : (int)n;
}

static int op_write(const char *path, const char *data, size_t len,
		    off_t offset, struct fuse_file_info *info)
{
	struct image *image = opened(info);

	if (offset + (off_t)len > image->size) {
		return -ENOSPC;
	}
	pthread_mutex_lock(&lock);
	take(image, data, len, offset);
	pthread_mutex_unlock(&lock);
	return (int)len;
}

static int op_fallocate(const char *path, int mode, off_t offset, off_t len,
			struct fuse_file_info *info)
{
	struct image *image = opened(info);

	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0 ||
	    offset + len > image->size) {
		return -EOPNOTSUPP;
	}
	pthread_mutex_lock(&lock);
	take(image, NULL, (size_t)len, offset);
	pthread_mutex_unlock(&lock);
	return 0;
}

static int op_fsync(const char *path, int is_datasync,
		    struct fuse_file_info *info)
{
	pthread_mutex_lock(&lock);
	if (is_on) {
		flush_image(opened(info));
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

static const struct fuse_operations operations = {
	.getattr = op_getattr,
	.readdir = op_readdir,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.fallocate = op_fallocate,
	.fsync = op_fsync,
};

/* --- commands ----------------------------------------------------------------- */

static void arm(const char *line)
{
	if (sscanf(line, "cut %" SCNu64 " %" SCNu64 " %u", &writes_left, &seed,
		   &percent) != 3) {
		errno = EINVAL;
		die("%s", line);
	}
	say("armed");
	is_armed = writes_left > 0;
	if (is_armed) {
		writes_left--;
	} else if (is_on) {
		cut();
	}
}

static void power_on(void)
{
	size_t i;

	for (i = 0; i < num_images; i++) {
		drop_pending(&images[i]);
		load(&images[i]);
	}
	is_on = true;
	is_armed = false;
	num_writes = 0;
	say("on");
}

/* Until stdin ends; then the program does. */
static void *obey(void *unused)
{
	char line[200];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		pthread_mutex_lock(&lock);
		if (strncmp(line, "cut ", 4) == 0) {
			arm(line);
		} else if (strcmp(line, "on\n") == 0) {
			power_on();
		} else if (strcmp(line, "state\n") == 0) {
			say(is_on ? "is-on" : "is-off");
		} else {
			errno = EINVAL;
			die("%s", line);
		}
		pthread_mutex_unlock(&lock);
	}
	exit(0);
}

static void add_image(const char *dir, const char *name)
{
	struct image *image = &images[num_images];
	char path[PATH_MAX];
	struct stat st;

	if (num_images == MAX_IMAGES ||
	    snprintf(path, sizeof(path), "%s/%s", dir, name) >= PATH_MAX) {
		errno = E2BIG;
		die("%s", name);
	}
	snprintf(image->name, sizeof(image->name), "%s", name);
	image->kept_fd = open(path, O_RDWR | O_CLOEXEC);
	image->seen_fd = memfd_create(name, MFD_CLOEXEC);
	if (image->kept_fd == -1 || image->seen_fd == -1 ||
	    fstat(image->kept_fd, &st) == -1) {
		die("%s", path);
	}
	image->size = st.st_size;
	image->end = &image->first;
	load(image);
	num_images++;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse *fuse = NULL;
	pthread_t thread;
	struct dirent *entry = NULL;
	DIR *dir = NULL;

	if (argc != 3) {
		fprintf(stderr, "usage: powercut MOUNTPOINT DIR\n");
		return 64;
	}
	dir = opendir(argv[2]);
	if (dir == NULL) {
		die("%s", argv[2]);
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			add_image(argv[2], entry->d_name);
		}
	}
	closedir(dir);
	/* the kernel writes through us to get memory: it must not write for us */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	fuse_opt_add_arg(&args, argv[0]);
	fuse_opt_add_arg(&args, "-ofsname=powercut");
	fuse = fuse_new(&args, &operations, sizeof(operations), NULL);
	if (fuse == NULL || fuse_mount(fuse, argv[1]) != 0) {
		die("%s cannot be mounted", argv[1]);
	}
	/* What is mounted on our images must not be ours: killed, we would be the
	   one to unmount it, and to wait for ourselves. */
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1) {
		die("a mount namespace");
	}
	say("on");
	if (pthread_create(&thread, NULL, obey, NULL) != 0) {
		die("no thread");
	}
	fuse_loop(fuse);
	fuse_unmount(fuse);
	fuse_destroy(fuse);
	return 0;
}
