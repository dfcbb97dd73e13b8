/*
 * MRMR: which boot of the machine this is (see mrmr/boot.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <fcntl.h>
#include <unistd.h>

#include <mrmr/boot.h>

uint64_t mrmr_boot_id(void)
{
	char text[64] = {0};
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	ssize_t len;
	ssize_t i;
	int fd;

	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd == -1) {
		return 0;
	}
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0) {
		return 0;
	}
	for (i = 0; i < len; i++) {
		hash = (hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
	}
	return hash;
}
