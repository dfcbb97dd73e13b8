/*
 * MRMR: which boot of the machine this is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_BOOT_H
#define MRMR_BOOT_H

#include <stdint.h>

/*
 * A hash of the kernel's boot id: what was written to a mapped file before the
 * last boot may be torn. 0 if it cannot be read.
 */
uint64_t mrmr_boot_id(void);

#endif
