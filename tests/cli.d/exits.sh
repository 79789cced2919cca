# Strategy: the exit code is the program's own, whatever way it ends, and where it cannot start, the
# shell's 126 and 127.

for code in 0 3 77 125 255; do
    expect "exit code $code" "$code" '' run "$CLIENT" exit "$code"
    expect "exit code $code with CUDA" "$code" '' run "$CLIENT" cuda exit "$code"
done
expect "options of the program" 6 '' run --max-memory 0=8GiB sh -c 'exit 6' --stats nowhere
expect "a program that is not found" 127 'nothing-like-this: not found' run nothing-like-this
expect "a path that is not found" 127 'not found' run "$WORK/nothing"
expect "a file that is no program" 126 'Permission denied.*chmod' run ./Makefile
expect "a folder" 126 'Permission denied' run "$WORK"
printf '\177ELFgarbage' >"$WORK/garbage" && chmod +x "$WORK/garbage"
printf 'binary\000 and no text\n' >"$WORK/binary" && chmod +x "$WORK/binary"
expect "a file of other bytes" 126 'Exec format error' run "$WORK/binary"
ln -s loop "$WORK/loop"
expect "a link to itself" 126 'Too many levels' run "$WORK/loop"
expect "a path through a file" 127 'not found' run "$WORK/garbage/program"
expect "a damaged program" 126 'Exec format error' run "$WORK/garbage"
printf '#!/bin/sh\nexit 7\n' >"$WORK/script"
printf 'exit $(($1 + 1))\n' >"$WORK/plain-script"
printf '#! /nothing/like/this\n' >"$WORK/lost-script"
chmod +x "$WORK/script" "$WORK/plain-script" "$WORK/lost-script"
expect "a script" 7 '' run "$WORK/script"
expect "a script without a first line" 9 '' run "$WORK/plain-script" 8
expect "a script without its interpreter" 127 'interpreter' run "$WORK/lost-script"
expect "a program of PATH" 4 '' env PATH="$WORK:$PATH" bash -c 'run client exit 4'
mkdir "$WORK/first" && echo >"$WORK/first/client" && echo >"$WORK/first/no-program"
expect "a program later in PATH" 4 '' env PATH="$WORK/first:$WORK:$PATH" bash -c 'run client exit 4'
expect "a file of PATH that is no program" 126 'Permission denied' \
    env PATH="$WORK/first:$PATH" bash -c 'run no-program'
expect "a program without PATH" 0 '' env -u PATH "$BERTH" run --driver "$SIM" true
for signal in 6 9 11 15; do
    expect "death by signal $signal" $((128 + signal)) '' bash -c 'run "$@"; exit' - "$CLIENT" kill $signal
done
check "the launcher dies of the signal too" "$PYTHON" -c 'import subprocess, sys
sys.exit(subprocess.call(sys.argv[1:], stderr=subprocess.DEVNULL) != -15)' run "$CLIENT" kill 15
check "one core file at most" bash -c '! ls core* "$WORK"/core* 2>/dev/null'
