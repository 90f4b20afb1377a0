#!/usr/bin/env bash
# Says plainly which tools are missing before a build fails halfway.
set -euo pipefail
missing=0
for tool in "$@"; do
  if ! command -v "$tool" >/dev/null; then
    case "$tool" in
      cargo) hint="Rust 1.95 or newer, from rustup" ;;
      go) hint="Go 1.26 or newer: it builds nats-server" ;;
      node | npm) hint="Node.js 20 or newer" ;;
      *) hint="$tool" ;;
    esac
    echo "missing: $tool (install $hint)" >&2
    missing=1
  fi
done
exit "$missing"
