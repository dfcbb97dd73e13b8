#!/bin/sh
# Are our C sources formatted as .clang-format says? Changes nothing; to
# change a file: clang-format -i FILE.
#
#   check-format.sh [FILE]...     default: every .c and .h that git tracks
set -eu

cd "$(dirname "$0")/../.."

if ! command -v clang-format >/dev/null; then
	echo "check-format.sh: clang-format is missing:" \
		"run source/build/deps.sh format" >&2
	exit 70
fi

if [ $# -gt 0 ]; then
	exec clang-format --style=file --dry-run -Werror "$@"
fi
git ls-files -z -- '*.c' '*.h' |
	xargs -0 -r clang-format --style=file --dry-run -Werror
