#!/bin/sh
# The whole gate: set-up, build, static checks, unit tests, black-box tests, and those again on the sanitizer build.
# Ends with one line: N passed, N failed, N skipped.
set -u
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

sh scripts/setup.sh --test || exit 1
echo "== build"
tsx scripts/build.ts --sanitize || exit 1
echo "== check: format, lint, types, generated files, house rules"
npm run --silent check || exit 1

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
status=0
run() {
  echo "== $1"
  shift
  # One file at a time: the black-box tests look at the machine's mounts, groups and processes.
  node --import tsx --test --test-concurrency=1 --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$logs/$$.tap" "$@" || status=1
  cat "$logs/$$.tap" >>"$logs/all"
}
run "unit tests" $(find src -name '*.test.ts' | sort)
run "black-box tests" $(find tests -name '*.test.ts' ! -path 'tests/vm/*' | sort)
# Not what engines do with the runtime, nor what is counted or many times killed: the sanitizer build is there for our C,
# and takes half a second to start.
TUPPER_BINARY="$PWD/build/tupper-sanitize" run "black-box tests on the sanitizer build" $(find tests -name '*.test.ts' ! -path 'tests/vm/*' \
  ! -name 'docker*' ! -name 'podman*' ! -name 'containerd*' ! -name 'nested-*' ! -name 'memory.test.ts' ! -name 'runtime-crash*' ! -name 'runtime-concurrency*' | sort)

count() { awk -v word="$1" '$1 == "#" && $2 == word { sum += $3 } END { print sum + 0 }' "$logs/all"; }
failed=$(count fail)
cancelled=$(count cancelled)
echo "$(count pass) passed, $((failed + cancelled)) failed, $(count skipped) skipped"
exit $status
