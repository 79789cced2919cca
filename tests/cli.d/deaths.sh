# Strategy: programs and launchers that become others, fork, crash or are killed: whose statistics are
# written, and that what they leave in shared memory goes with the next command.

# shared PID: the counters file of a process. Whoever else runs berth at this moment removes those of
# the dead too, so that nothing here asks whether one is there.
shared() { echo "/dev/shm/berth-$(id -u)-$1"; }
D=$WORK/death.json
expect "a program that becomes another" 8 '' run --stats "$D" "$CLIENT" cuda exec cuda exit 8
check "its statistics are the other's" json "$D" 'd["weights"]["total_bytes"] == 8 << 20'
check "its own stay beside them" json "$D.1" 'd["weights"]["total_bytes"] == 8 << 20'
check "and nothing else stays" test ! -e "$(shared "$("$PYTHON" -c 'import json, sys
print(json.load(open(sys.argv[1]))["pid"])' "$D")")"
rm -f "$D" "$D.1"
expect "a program that becomes a third one" 8 '' run --stats "$D" "$CLIENT" cuda exec cuda exec cuda exit 8
check "leaves three" test -e "$D.1" -a -e "$D.2" -a ! -e "$D.3" -a -e "$D"
rm -f "$D" "$D".[12]
expect "a program that becomes one without CUDA" 4 '' run --stats "$D" "$CLIENT" cuda exec exit 4
check "its statistics stay" json "$D" 'd["weights"]["total_bytes"] == 8 << 20'
rm -f "$D"
expect "a program that becomes another and crashes" 139 '' \
    bash -c 'run "$@"; exit' - --stats "$D" "$CLIENT" cuda exec cuda kill 11
check "its statistics stay too, and those before" test -e "$D.1"
check "both of them" json "$D" 'd["weights"]["total_bytes"] == 8 << 20'
rm -f "$D" "$D.1"
expect "a child of the program's that is killed" 0 '^child ' run --stats "$D" "$CLIENT" cuda spawn cuda kill 9
pid=$(sed -n 's/^child //p' "$WORK/out")
check "the statistics are the parent's" json "$D" "d['pid'] != $pid and d['weights']['total_bytes'] == 8 << 20"
expect "the next command" 0 '' "$BERTH" stats "$D"
expect "or one that looks for programs" 0 '' run true
check "removes the child's file" test ! -e "$(shared "$pid")"
mkfifo "$WORK/go"
for end in ends killed; do
    rm -f "$D"
    start "$BERTH" run --driver "$SIM" --stats "$D" -- \
        "$CLIENT" cuda ready "$WORK/fifo" wait "$WORK/go" exit 0
    pid=$(child)
    kill -KILL "$launcher"
    ended "a launcher that is killed ($end)" 137
    if [ "$end" = ends ]; then : >"$WORK/go"; else kill -KILL "$pid"; fi
    check "its program ends all the same ($end)" timeout "$LIMIT_S" tail --pid="$pid" -f /dev/null
    if [ "$end" = ends ]; then
        check "and writes its statistics itself" json "$D" "d['pid'] == $pid"
        check "and removes its file" test ! -e "$(shared "$pid")"
    else
        expect "and the next one that runs" 0 '' run true
        check "removes what it leaves" test ! -e "$(shared "$pid")"
    fi
done
"$CLIENT" exit 0 &
pid=$!
wait "$pid"
touch "$(shared "$pid")" "$(shared $$)"
expect "a file that was not filled in" 0 '' run true
check "stays while somebody may be at it" test -e "$(shared "$pid")"
touch -d '5 minutes ago' "$(shared "$pid")" "$(shared $$)"
expect "when it is old" 0 '' run true
check "it goes" test ! -e "$(shared "$pid")"
check "unless its process lives" test -e "$(shared $$)"
rm -f "$(shared $$)"
