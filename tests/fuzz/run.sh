# Fuzzes: `sh tests/fuzz/run.sh FOLDER SECONDS TARGET...` runs each target of a build for so long, with
# the inputs that are kept, the seeds, and what earlier runs found, in FOLDER/corpus. What ends a
# target stays in FOLDER/findings, and the script fails. With `merge` for SECONDS, a small set of inputs
# that reaches the same code becomes tests/fuzz/corpus/TARGET: seeds, and what is no larger than KEPT.

folder=$1 seconds=$2
shift 2
KEPT=${KEPT:-1500} # bytes
flags="-max_len=4096 -entropic_scale_per_exec_time=1 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=256"
bad=
mkdir -p "$folder/findings" || exit 1
rm -rf "$folder/seed"
"$folder/seeds" "$folder/seed" >/dev/null 2>&1 || { echo "no seeds in $folder/seed"; exit 1; }

for target in "$@"; do
    corpus=$folder/corpus/$target kept=tests/fuzz/corpus/$target
    mkdir -p "$corpus" "$kept"
    if [ "$seconds" = merge ]; then
        all=$folder/merge/$target small=$folder/merged/$target
        rm -rf "$all" "$small"
        mkdir -p "$all" "$small"
        for from in "$corpus" "$kept"; do
            find "$from" -type f -size "-${KEPT}c" -exec cp -t "$all" {} +
        done
        # Without counters: what matters is which code an input reaches, not how often.
        "$folder/$target" -set_cover_merge=1 -use_counters=0 $flags "$small" "$folder/seed/$target" \
            "$all" >"$folder/$target.log" 2>&1 || bad="$bad $target"
        rm -rf "$kept"
        cp -r "$small" "$kept"
        echo "  $target: $(ls "$kept" | wc -l) inputs, $(cat "$kept"/* | wc -c) bytes"
        continue
    fi
    words=tests/fuzz/$target.dict
    [ -e "$words" ] || words=tests/fuzz/words.dict
    "$folder/$target" $flags -dict="$words" -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="$folder/findings/$target-" "$corpus" "$folder/seed/$target" "$kept" \
        >"$folder/$target.log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$target.log")
    reached=$(sed -n 's/.* \(cov: [0-9]* ft: [0-9]*\) .*/\1/p' "$folder/$target.log" | tail -n 1)
    echo "  $target: $runs runs, $reached"
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$folder/$target.log"
        bad="$bad $target"
    fi
done
if [ -n "$bad" ]; then
    echo "findings:$bad (in $folder/findings)"
    exit 1
fi
