/*
 * MRMR: pre-images: which generations there are in a folder.
 *
 * A file may have a pre-image of each of its pieces, and a reader looks for each
 * piece that he reads. There is one, or there is none, is to be known without
 * listing the folder: then reading a large file would take the square of its
 * size. So the folder has a short list beside the pre-images, UNDO_NAMES: for
 * each generation of which there is any the name of one, and all lost.* marks:
 *
 *     0.5e
 *     0.61
 *     lost.1f.61
 *     0123456789abcdef    (the checksum of what is before it)
 *
 * Files get few generations: a reader opens PIECE.GENERATION for each that counts
 * for him.
 *
 * What must be true: a list that is valid has every generation of which there is
 * a pre-image, and every mark. It may have more. Who makes the first one of a
 * generation enters that before, and both hold the folder's lock; the list goes
 * only when it is the last in its folder. So a reader who has read the file, and
 * looks at the list then, finds the generation of whatever was kept before the
 * file was overwritten, as he would find the name itself. Nothing is remembered
 * from one look to the next.
 *
 * If there is no valid list, the folder is listed instead. So nothing is synced
 * for its sake: its name precedes those of the pre-images in the same folder, and
 * what the power cut off its content shows by the checksum. The next to keep
 * something makes it anew, and before that the folder's own name durable, as the
 * folder may be new: so where there is a list, it is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/beneath.h>
#include <mrmr/digest.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>

#include "undo_private.h"

#define NEW_NAME ".new" UNDO_NAMES
#define SUM_LEN 17 /* with the newline */

/* --- a list in memory -------------------------------------------------------- */

static void line_of(const struct undo_entry *entry, char line[UNDO_NAME_MAX])
{
	if (entry->kind == UNDO_LOST) {
		undo_lost_name(entry->piece, entry->generation, line);
	} else {
		undo_piece_name(0, entry->generation, line);
	}
}

static bool has(const struct undo_names *names, const char *line)
{
	size_t len = strlen(line);
	size_t at = 0;

	while (at < names->len) {
		const char *begin = names->text + at;
		const char *end = memchr(begin, '\n', names->len - at);
		size_t this_len = (size_t)(end - begin);

		if (this_len == len && memcmp(begin, line, len) == 0) {
			return true;
		}
		at += this_len + 1;
	}
	return false;
}

static int add(struct undo_names *names, const struct undo_entry *entry)
{
	char line[UNDO_NAME_MAX];
	size_t len;

	line_of(entry, line);
	if (has(names, line)) {
		return 0;
	}
	len = strlen(line) + 1;
	if (len > sizeof(names->text) - SUM_LEN - 1 - names->len) {
		errno = EFBIG;
		return -1;
	}
	names->len += (size_t)snprintf(names->text + names->len, len + 1,
				       "%s\n", line);
	return 0;
}

static int add_entry(int folder_fd, const char *name,
		     const struct undo_entry *entry, void *private_data)
{
	(void)folder_fd;
	(void)name;
	return entry->kind == UNDO_OTHER ? 0 : add(private_data, entry);
}

bool undo_names_next(const struct undo_names *names, size_t *at,
		     struct undo_entry *entry)
{
	char line[UNDO_NAME_MAX];
	size_t len;

	if (*at >= names->len) {
		return false;
	}
	len = strcspn(names->text + *at, "\n");
	snprintf(line, sizeof(line), "%.*s", (int)len, names->text + *at);
	*entry = undo_parse_name(line);
	*at += len + 1;
	return true;
}

/* --- on the member ------------------------------------------------------------- */

static void format_sum(const struct undo_names *names, char sum[SUM_LEN + 1])
{
	snprintf(sum, SUM_LEN + 1, "%016" PRIx64 "\n",
		 mrmr_checksum(names->text, names->len));
}

/* Without the checksum, which must be right. */
static bool take_sum(struct undo_names *names)
{
	char sum[SUM_LEN + 1];

	if (names->len < SUM_LEN) {
		return false;
	}
	names->len -= SUM_LEN;
	format_sum(names, sum);
	if (memcmp(names->text + names->len, sum, SUM_LEN) != 0 ||
	    (names->len > 0 && names->text[names->len - 1] != '\n')) {
		return false;
	}
	names->text[names->len] = '\0';
	return true;
}

bool undo_names_read(int folder_fd, struct undo_names *names)
{
	int fd = openat(folder_fd, UNDO_NAMES, O_RDONLY | MRMR_OPEN_ANYTHING);
	ssize_t got;

	names->len = 0;
	if (fd == -1) {
		return false;
	}
	got = mrmr_read_upto(fd, names->text, sizeof(names->text), 0);
	close(fd);
	names->len = got > 0 ? (size_t)got : 0;
	return take_sum(names);
}

static int write_new(int folder_fd, const struct undo_names *names)
{
	char sum[SUM_LEN + 1];
	int ret;
	int fd;

	fd = openat(folder_fd, NEW_NAME,
		    O_WRONLY | O_CREAT | O_TRUNC | MRMR_OPEN_ANYTHING, 0600);
	if (fd == -1) {
		return -1;
	}
	format_sum(names, sum);
	ret = mrmr_write_fully(fd, names->text, names->len, 0);
	if (ret == 0) {
		ret = mrmr_write_fully(fd, sum, SUM_LEN, names->len);
	}
	return close(fd) == 0 ? ret : -1;
}

static int write_names(int folder_fd, const struct undo_names *names)
{
	int saved_errno;

	if (mrmr_fault("undo-names") == 0 && write_new(folder_fd, names) == 0 &&
	    renameat(folder_fd, NEW_NAME, folder_fd, UNDO_NAMES) == 0) {
		return 0;
	}
	saved_errno = errno;
	unlinkat(folder_fd, NEW_NAME, 0);
	errno = saved_errno;
	return -1;
}

int undo_names_enter(int private_fd, int folder_fd, enum undo_kind kind,
		     uint64_t piece, uint32_t generation)
{
	const struct undo_entry entry = {
		.kind = kind,
		.piece = piece,
		.generation = generation,
	};
	struct undo_names names;
	char line[UNDO_NAME_MAX];

	line_of(&entry, line);
	if (!undo_names_read(folder_fd, &names)) {
		if (undo_folder_sync(private_fd) == -1) {
			return -1;
		}
	} else if (has(&names, line)) {
		return 0;
	}
	/* Anew, of what there is. */
	names = (struct undo_names){.len = 0};
	if (undo_list(folder_fd, add_entry, &names) == 0 &&
	    add(&names, &entry) == 0) {
		return write_names(folder_fd, &names);
	}
	if (errno != EFBIG) {
		return -1;
	}
	return undo_names_remove(folder_fd);
}

int undo_names_remove(int folder_fd)
{
	return unlinkat(folder_fd, UNDO_NAMES, 0) == 0 || errno == ENOENT ? 0
									  : -1;
}
