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
	say("write %s\n", path);
	client_write(w, path, draw(1000),
		     draw(4) == 0 ? draw(3 * BLOCK) : draw(3000));
}

static void overwrite_something(struct world *w)
{
	const char *path = any_path();

	if (kind_of(w, path) == S_IFREG) {
		say("overwrite %s\n", path);
		client_overwrite(w, path, draw(1000), 1 + draw(BLOCK),
				 draw(2 * BLOCK));
	}
}

/* With two names, or one and NULL. */
static void told(int error, const char *what, const char *path, const char *to)
{
	if (error == 0) {
		say("%s %s%s%s\n", what, path, to != NULL ? " to " : "",
		    to != NULL ? to : "");
	}
}

void do_something(struct world *w)
{
	const char *path = NULL;
	const char *to = NULL;

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
		to = any_path();
		path = any_path();
		told(do_rename(w, path, to), "rename", path, to);
		break;
	case 6:
		to = any_dir();
		path = any_dir();
		told(do_rename(w, path, to), "rename the directory", path, to);
		break;
	case 7:
		path = any_path();
		told(do_unlink(w, path), "remove", path, NULL);
		break;
	case 8:
		path = any_dir();
		told(do_mkdir(w, path, 0755), "mkdir", path, NULL);
		break;
	case 9:
		path = any_dir();
		told(do_rmdir(w, path), "rmdir", path, NULL);
		break;
	case 10:
		to = any_path();
		path = any_path();
		told(do_link(w, path, to), "link", path, to);
		break;
	default:
		if (draw(4) == 0) {
			path = any_path();
			told(do_symlink(w, "somewhere", path), "symlink", path,
			     NULL);
		}
		break;
	}
}
