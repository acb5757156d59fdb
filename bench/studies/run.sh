#!/bin/sh
# All studies, one after the other, into runs/; a study that was interrupted goes on. Options: --jobs N, --quick.
set -e
cd "$(dirname "$0")/../.."
for study in what_needs_memory real_data long_series; do
    python "bench/studies/$study.py" "$@"
done
