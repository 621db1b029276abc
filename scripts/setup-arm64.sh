#!/bin/sh
# What a build for arm64 takes on another machine: a cross compiler, qemu-user, and musl for arm64 in build/musl-arm64.
#
#     scripts/setup-arm64.sh && TUPPER_ARCH=arm64 npm run build     # build/arm64/tupper
set -eu
cd "$(dirname "$0")/.."
apt-get install -y --no-install-recommends gcc-aarch64-linux-gnu linux-libc-dev-arm64-cross qemu-user-static >&2
dir=$PWD/build/musl-arm64
rm -rf "$dir"
mkdir -p "$dir/lists/partial"
# The machine's own sources, asked for another architecture; its own lists stay as they are.
options="-q -o APT::Architectures::=arm64 -o APT::Sandbox::User=root -o Dir::State::lists=$dir/lists"
options="$options -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
apt-get $options update >&2
(cd "$dir" && apt-get $options download musl-dev:arm64 >&2)
dpkg -x "$dir"/musl-dev_*.deb "$dir"
rm -rf "$dir"/*.deb "$dir/lists"
sed -i "s|/usr/|$dir/usr/|g" "$dir/usr/lib/aarch64-linux-musl/musl-gcc.specs"
printf '#!/bin/sh\nexec aarch64-linux-gnu-gcc "$@" -specs "%s"\n' "$dir/usr/lib/aarch64-linux-musl/musl-gcc.specs" >"$dir/gcc"
chmod +x "$dir/gcc"
