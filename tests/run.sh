# Runs the suite: `BUILD=... SANITIZE=... sh tests/run.sh PROGRAM...` from the repository root.
#
# First the cmocka programs, then every tests/lua/test_*.lua (LUA_TESTS: these, or none) with the
# program just built, and with a stock Lua that loads the module (not under sanitizers, whose runtime
# a stock Lua does not have). RUNNER, an emulator, runs what is built for another machine. A
# test file that passes is one line, and why it skipped some; another shows all it printed. The last
# line of all is "N passed, N failed", with ", N skipped" when some were.

BUILD=${BUILD:-build}
RUNNER=${RUNNER:-}
LIMIT=${TEST_TIMEOUT:-1800} # seconds for one program: a hang is a failure
passed=0 failed=0 skipped=0 broken=
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT
trap 'exit 130' INT TERM

# The sum of the numbers in the lines of $output that match; 0 when none does.
# $1: a sed pattern whose first group is the number
sum() {
    sed -n "s/$1/\1/p" "$output" | awk '{ n += $1 } END { print n + 0 }'
}

# Adds one program's results; a program that ends badly without a failed test has crashed.
# $1: its name, $2: its exit status, $3 $4 $5: passed, failed, skipped
count() {
    passed=$((passed + $3)) skipped=$((skipped + $5))
    if [ "$2" -eq 0 ] && [ "$4" -eq 0 ]; then
        note=
        if [ "$5" -gt 0 ]; then note=", $5 skipped"; fi
        echo "  $1: $3 passed$note"
        sed -n 's/^skip.*: /    skipped: /p' "$output"
        return
    fi
    bad=$4
    cat "$output"
    if [ "$bad" -eq 0 ]; then
        bad=1
        case $2 in
        124) why="stopped after $LIMIT seconds" ;;
        *) why="ended with status $2" ;;
        esac
        echo "  $1: $why"
        broken="$broken $1($why)"
    else
        broken="$broken $1($bad)"
    fi
    failed=$((failed + bad))
}

run_c() {
    timeout "$LIMIT" $RUNNER "$1" >"$output" 2>&1
    status=$?
    count "${1##*/}" "$status" "$(sum '^\[  PASSED  \] \([0-9]*\) test(s).*')" \
        "$(sum '^\[  FAILED  \] \([0-9]*\) test(s).*')" \
        "$(sum '^\[  SKIPPED \] \([0-9]*\) test(s).*')"
}

# $1: what to call it, $2: the file, the rest: the command that runs it
run_lua() {
    name="$1" file="$2"
    shift 2
    timeout "$LIMIT" "$@" "$file" >"$output" 2>&1
    status=$?
    # Without its last line the file did not come to its end, whatever its exit status says.
    if [ "$status" -eq 0 ] && ! grep -q '^# passed [0-9]* failed [0-9]* skipped' "$output"; then
        echo "$file ended before its last line" >>"$output"
        status=1
    fi
    count "$name" "$status" "$(grep -c '^ok ' "$output")" "$(grep -c '^not ok ' "$output")" \
        "$(grep -c '^skip ' "$output")"
}

for program in "$@"; do run_c "$program"; done

stock=
if [ -z "${SANITIZE:-}" ] && [ -z "$RUNNER" ] && [ -e "$BUILD/lib/perilune/core.so" ]; then
    stock=$(command -v lua5.4)
fi
for file in ${LUA_TESTS-tests/lua/test_*.lua}; do
    [ -e "$file" ] || continue
    name=${file##*/}
    if [ -x "$BUILD/perilune" ]; then run_lua "$name" "$file" $RUNNER "$BUILD/perilune"; fi
    if [ -n "$stock" ]; then
        run_lua "$name (lua5.4)" "$file" \
            env LUA_PATH="lua/?.lua;lua/?/init.lua;;" LUA_CPATH="$BUILD/lib/?.so;;" "$stock"
    fi
done

if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
    failed=1 broken=" (no test ran)"
fi
if [ "$failed" -gt 0 ]; then echo "failed:$broken"; fi
summary="$passed passed, $failed failed"
if [ "$skipped" -gt 0 ]; then summary="$summary, $skipped skipped"; fi
echo "$summary"
[ "$failed" -eq 0 ]
