#!/bin/sh
# Installs what a build needs and what is missing: Debian packages, npm packages, the QuickJS source.
# Idempotent and quick when there is nothing to do. Needs Debian and, to install packages, root.
#
#   scripts/setup.sh          what a build needs
#   scripts/setup.sh --test   also what the tests compare with and drive
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 69; }

build_packages="gcc libc6-dev musl-tools linux-libc-dev binutils lz4 xz-utils util-linux"
test_packages="crun runc libcap2-bin libseccomp-dev uidmap busybox-static strace tmux iproute2 procps libasan8 libubsan1 bubblewrap"
engine_packages="docker.io containerd podman"
# Virtual machines (tests/vm).
vm_packages="qemu-system-x86 qemu-utils mmdebstrap e2fsprogs kmod"

want=$build_packages
[ "${1:-}" = --test ] && want="$want $test_packages $engine_packages $vm_packages"
missing=
for package in $want; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || fail "these Debian packages are missing:$missing; install them as root"
  say "installing$missing"
  log=$(mktemp)
  # Where no policy forbids it, the engines' packages would start their daemons. The tests start their own.
  policy=
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "apt-get could not install$missing"
  fi
  rm -f "$log" ${policy:+"$policy"}
fi

command -v node >/dev/null || fail "Node.js 20 or later is missing"
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say "installing npm packages"
  npm ci --no-audit --no-fund --loglevel=error >&2
  touch node_modules/.package-lock.json
fi

# QuickJS comes as Debian's source package (suite trixie), checked against this sum.
archive=quickjs_2025.04.26.orig.tar.xz
sum=ec81da5b3249ed648dbc7df4a1654988910e66a118d9b71cb63534216efcfbbe
have() { [ -f "build/quickjs/$archive" ] && printf '%s  build/quickjs/%s\n' "$sum" "$archive" | sha256sum -c --status; }
if ! have; then
  say "fetching the QuickJS source from Debian"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/sources" "$work/lists/partial" build/quickjs
  # The machine's own mirror, for source packages of trixie.
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\]  *\)\{0,1\}\([^ ]*\) .*/\2/p' | grep -v security | head -n 1)
  [ -n "$mirror" ] || fail "no Debian mirror is configured under /etc/apt"
  printf 'Types: deb-src\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$mirror" >"$work/sources/trixie.sources"
  apt="apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$work/sources -o Dir::State::lists=$work/lists -o APT::Sandbox::User=root"
  (cd "$work" && $apt update && $apt source --download-only quickjs) >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "cannot fetch the QuickJS source"; }
  mv "$work/$archive" build/quickjs/ || fail "Debian's QuickJS is no longer $archive"
  have || fail "build/quickjs/$archive does not have the pinned SHA-256"
fi
if [ ! -f build/quickjs/src/quickjs.c ]; then
  mkdir -p build/quickjs/src
  tar -xJf "build/quickjs/$archive" -C build/quickjs/src --strip-components=1
fi
