#!/bin/sh
# The newest crun that Debian has, beside bookworm's and not in its place: `peers.sh DIRECTORY SUITE` downloads its package and
# the libraries it wants, unpacks them into DIRECTORY, and makes DIRECTORY/crun, which loads those libraries.
# Prints nothing; fails where the mirror does not have the suite.
set -eu
directory=$1 suite=$2
repository=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$directory"
cd "$directory"
lists=$directory/lists
. "$repository/tests/vm/apt-sources.sh"
# A mirror that is being synchronised has wrong sums for a moment.
attempt=1
until use_suite "$suite" >"$directory/log" 2>&1; do
  [ $attempt -lt 4 ] || { tail -n 3 "$directory/log" >&2; exit 69; }
  attempt=$((attempt + 1))
  sleep 3
done
mkdir -p debs root
cd debs
todo=crun done=
while [ -n "$todo" ]; do
  # shellcheck disable=SC2086 # names of packages
  set -- $todo
  package=$1
  shift
  todo=$*
  case " $done " in *" $package "*) continue ;; esac
  done="$done $package"
  $apt download "$package" >>"$directory/log" 2>&1 || { [ "$package" != crun ] || exit 69; continue; }
  dependencies=$(dpkg-deb -f "$package"_*.deb Depends Pre-Depends)
  # Names alone: no versions, and of alternatives the first.
  todo="$todo $(echo "$dependencies" | sed 's/^[A-Za-z-]*: //; s/([^)]*)//g; s/|[^,]*//g; s/:any//g' | tr ',\n' '  ')"
done
for package in *.deb; do dpkg-deb -x "$package" ../root; done
libraries=$(dirname "$(find "$directory/root/usr/lib" -name 'ld-linux-*.so.*' | head -n 1)")
loader=$(find "$libraries" -maxdepth 1 -name 'ld-linux-*.so.*')
cp "$directory/root/usr/bin/crun" "$directory/crun.new"
patchelf --set-interpreter "$loader" --set-rpath "$libraries" --force-rpath "$directory/crun.new"
mv "$directory/crun.new" "$directory/crun"
