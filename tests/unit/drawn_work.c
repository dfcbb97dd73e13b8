/*
 * Unit tests: what clients do, drawn.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/protection.h>

#include "drawn.h"
#include "drawn_work.h"
#include "protecting.h"
#include "seeds.h"

#define BLOCK (64 * 1024)

static void write_something(struct world *w)
{
	const char *path = any_path();

	if (!has_place(w, path) ||
	    (kind_of(w, path) != 0 && kind_of(w, path) != S_IFREG)) {
		return;
	}
	client_write(w, path, draw(1000),
		     draw(4) == 0 ? draw(3 * BLOCK) : draw(3000));
}

static void overwrite_something(struct world *w)
{
	const char *path = any_path();

	if (kind_of(w, path) == S_IFREG) {
		client_overwrite(w, path, draw(1000), 1 + draw(BLOCK),
				 draw(2 * BLOCK));
	}
}

void do_something(struct world *w)
{
	switch (draw(12)) {
	case 0:
	case 1:
	case 2:
		write_something(w);
		break;
	case 3:
		overwrite_something(w);
		break;
	case 4:
	case 5:
		do_rename(w, any_path(), any_path());
		break;
	case 6:
		do_rename(w, any_dir(), any_dir());
		break;
	case 7:
		do_unlink(w, any_path());
		break;
	case 8:
		do_mkdir(w, any_dir(), 0755);
		break;
	case 9:
		do_rmdir(w, any_dir());
		break;
	case 10:
		do_link(w, any_path(), any_path());
		break;
	default:
		if (draw(4) == 0) {
			do_symlink(w, "somewhere", any_path());
		}
		break;
	}
}
