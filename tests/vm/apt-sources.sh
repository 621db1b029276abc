# Sourced: `use_suite SUITE` makes $apt and $apt_cache look at this Debian suite on the machine's own mirror, with lists
# in $lists, and leaves the machine's own configuration alone.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
  sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\]  *\)\{0,1\}\([^ ]*\) .*/\2/p' | grep '/debian/*$' | head -n 1)
[ -n "$mirror" ] || { echo "no Debian mirror is configured under /etc/apt" >&2; exit 69; }

use_suite() {
  mkdir -p "$lists/sources" "$lists/lists/partial"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$1" "$keyring" \
    >"$lists/sources/suite.sources"
  options="-q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$lists/sources -o Dir::State::lists=$lists/lists"
  options="$options -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root"
  apt="apt-get $options"
  apt_cache="apt-cache $options"
  $apt update
}
