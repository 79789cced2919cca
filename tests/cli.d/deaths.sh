# Strategy: programs and launchers that become others, fork, crash or are killed: whose statistics are
# written, and by whom, and that what they leave in shared memory goes with the next command. Where they
# cannot be written: the path is made impossible in turn, and what is there must stay as it is.

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
echo mine >"$D.mine" && ln -s "$D.mine" "$D.1"
expect "a link where the earlier statistics would go" 8 '' run --stats "$D" "$CLIENT" cuda exec cuda exit 8
check "is not followed" grep -qx mine "$D.mine"
rm -f "$D" "$D.1" "$D.mine"
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
        check "and writes its statistics" json "$D" "d['pid'] == $pid and d['weights']['total_bytes'] == 8 << 20"
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

# alone_killed FILE: a program without a launcher that wants its statistics in FILE is killed; $pid is its
# pid.
alone_killed() {
    LD_PRELOAD=$OUT/libberth.so:$OUT/berth-stub/libcuda.so BERTH_DRIVER=$SIM BERTH_STATS=$1 \
        "$CLIENT" cuda kill 9 >"$WORK/out" 2>"$WORK/err" &
    pid=$!
    wait "$pid" 2>/dev/null
}
rm -f "$D"
alone_killed "$D"
expect "a program that is killed, without a launcher" 0 '' run true
check "its statistics are written" json "$D" "d['pid'] == $pid and d['weights']['total_bytes'] == 8 << 20"
check "nothing else is left beside them" test -z "$(compgen -G "$D.*")"
check "and its file is gone" test ! -e "$(shared "$pid")"
echo of before >"$D"
(cd "$WORK" && alone_killed death.json)
expect "a path within a folder, and a file of before" 0 '' run true
check "that one is replaced" json "$D" "d['weights']['total_bytes'] == 8 << 20"
alone_killed "$D"
echo later >"$D"
expect "a file that is newer than the program" 0 '' run true
check "stays" grep -qx later "$D"
rm -f "$D"
alone_killed "$D"
first=$pid
alone_killed "$D"
expect "two that were killed" 0 '' run true
check "the later one counts" json "$D" "d['pid'] == $pid"
check "of both the file is gone" test ! -e "$(shared "$pid")" -a ! -e "$(shared "$first")"

# unsaved NAME REASON FILE: what a killed program wanted in FILE cannot be written there. Commands of others
# must leave it alone until it was shown.
unsaved() {
    alone_killed "$3"
    expect "$1" 0 '' run true
    check "it is kept ($1)" test -e "$(shared "$pid")"
    timeout "$LIMIT_S" "$BERTH" stats >"$WORK/out" 2>"$WORK/err" </dev/null
    check "and told ($1)" grep -q "^berth: stats: client, pid $pid, was ended .*: $2; see berth stats $pid," "$WORK/err"
    expect "it is shown ($1)" 0 "^program  *client, pid $pid\$" "$BERTH" stats "$pid"
    expect "and shown is enough ($1)" 0 '' run true
    check "it goes ($1)" test ! -e "$(shared "$pid")"
}
alone_killed "$WORK/vanished/stats.json"
expect "statistics into a folder that is not there" 0 '' run true
check "are nobody's, and go" test ! -e "$(shared "$pid")"
mkfifo "$WORK/death.pipe"
unsaved "statistics into a pipe" 'it is no regular file' "$WORK/death.pipe"
ln -s "$WORK/linked" "$WORK/death.link"
unsaved "statistics through a link" 'it is no regular file' "$WORK/death.link"
check "a link is not followed" test ! -e "$WORK/linked"
if [ "$(id -u)" -eq 0 ]; then
    echo theirs >"$WORK/theirs" && chown 65534 "$WORK/theirs" && touch -d '5 minutes ago' "$WORK/theirs"
    unsaved "statistics into another user's file" "it is another user's file" "$WORK/theirs"
    check "which stays as it was" grep -qx theirs "$WORK/theirs"
    rm -f "$D"
    alone_killed "$D"
    chown 65534 "$(shared "$pid")"
    expect "a counters file of another user's" 0 '' run true
    check "writes nothing" test ! -e "$D"
else
    skip "statistics into another user's file" "only root can make one"
    skip "a counters file of another user's" "only root can make one"
fi

# A parent that never waits for its child: what it left is settled all the same.
cat >"$WORK/unwaited.py" <<'END'
import os, subprocess, sys
berth, expected, *command = sys.argv[1:]
pid = subprocess.Popen(command).pid
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
assert open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z"
shown = subprocess.run([berth, "stats"], capture_output=True, text=True)
assert f"pid {pid}\n" not in shown.stdout and f" {pid}  client" not in shown.stderr, shown
assert os.path.exists(expected), shown
assert not os.path.exists(f"/dev/shm/berth-{os.getuid()}-{pid}")
END
rm -f "$D"
expect "a killed program that nobody has waited for" 0 '' \
    env LD_PRELOAD="$OUT/libberth.so:$OUT/berth-stub/libcuda.so" BERTH_DRIVER="$SIM" BERTH_STATS="$D" \
    "$PYTHON" "$WORK/unwaited.py" "$BERTH" "$D" "$CLIENT" cuda kill 9
