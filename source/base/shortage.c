/*
 * MRMR: errors of this process, not of what it works on (see mrmr/shortage.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <mrmr/shortage.h>

bool mrmr_is_shortage(int error)
{
	return error == ENOMEM || error == EMFILE || error == ENFILE;
}
