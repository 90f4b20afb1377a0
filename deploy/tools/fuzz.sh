#!/usr/bin/env bash
# Fuzzes the frame codec and the frame decoder for FUZZ_SECONDS each (default 60), from the golden frames on. What it
# finds stays in target/fuzz. A stable compiler is enough: the coverage that libFuzzer needs is asked of LLVM itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v c++ >/dev/null || { echo "fuzz: libFuzzer needs a C++ compiler (c++)" >&2; exit 1; }
folder=target/fuzz
python3 gateway/fuzz/corpus.py "$folder/corpus"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
host=$(rustc -vV | sed -n 's/^host: //p')
# A target is named so that build scripts and macros are built without these flags.
cargo build --release --manifest-path gateway/fuzz/Cargo.toml --target-dir "$folder/build" --target "$host"
for target in websocket_frames client_frames; do
    mkdir -p "$folder/found/$target" "$folder/crashes"
    "$folder/build/$host/release/$target" -max_total_time="${FUZZ_SECONDS:-60}" -max_len=70000 -print_final_stats=1 \
        -artifact_prefix="$folder/crashes/$target-" "$folder/found/$target" "$folder/corpus/$target"
done
echo "fuzz: nothing was found"
