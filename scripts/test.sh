#!/bin/sh
# The whole gate: set-up, build, static checks, unit tests, and black-box tests on the usual and on the sanitizer build.
# Ends with one line: N passed, N failed, N skipped.
set -u
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"

sh scripts/setup.sh --test || exit 1
echo "== build"
tsx scripts/build.ts --sanitize --weakened || exit 1
echo "== check: format, lint, types, generated files, house rules"
npm run --silent check || exit 1

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
status=0
# part TITLE COMMAND…: runs it, and adds the counts that it writes to $logs/part. One that breaks without a failed test has failed.
part() {
  echo "== $1"
  shift
  : >"$logs/part"
  if ! "$@"; then
    status=1
    grep -q '^# \(fail\|cancelled\) [1-9]' "$logs/part" || echo '# fail 1' >>"$logs/part"
  fi
  cat "$logs/part" >>"$logs/all"
}
part "unit tests" node --import tsx --test --test-concurrency=2 --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=tap --test-reporter-destination="$logs/part" $(find src -name '*.test.ts' | sort)
part "black-box tests" node --import tsx scripts/lanes.ts --results "$logs/part"
[ "$(id -u)" != 0 ] || part "virtual machines" node --import tsx tests/vm/run.ts --gate --jobs 2 --limit 300 --tap "$logs/part"

count() { awk -v word="$1" '$1 == "#" && $2 == word { sum += $3 } END { print sum + 0 }' "$logs/all"; }
failed=$(($(count fail) + $(count cancelled)))
echo "$(count pass) passed, $failed failed, $(count skipped) skipped"
[ "$failed" = 0 ] || status=1
exit $status
