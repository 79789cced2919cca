# Strategy: a program that prints a variable shows what flags, the environment and the installation
# make of it.

seen() { run "$@" 2>/dev/null; }
check "--max-memory is joined" test \
    "$(SIMCUDA_DEVICES=2 seen --max-memory 0=8GiB,cpu=1GiB --max-memory 1=500MB "$CLIENT" env BERTH_MAX_MEMORY)" = \
    "0=8GiB,cpu=1GiB,1=500MB"
check "a flag overrides the environment" test \
    "$(BERTH_BACKEND=off seen --backend um "$CLIENT" env BERTH_BACKEND)" = um
check "the environment stays without a flag" test \
    "$(BERTH_BACKEND=off seen "$CLIENT" env BERTH_BACKEND)" = off
check "paths become absolute" test "$(seen --checkpoint "$CHECKPOINT" "$CLIENT" env BERTH_CHECKPOINT)" = \
    "$PWD/$CHECKPOINT"
check "the preloaded libraries" test "$(seen "$CLIENT" env LD_PRELOAD)" = \
    "$OUT/libberth.so:$OUT/berth-stub/libcuda.so"
ln -sf "$(ldconfig -p | sed -n 's/.*x86-64.* => //p' | grep /libm.so | head -n 1)" "$WORK/other.so"
check "the user's own LD_PRELOAD stays" test "$(LD_PRELOAD=$WORK/other.so seen "$CLIENT" env LD_PRELOAD)" = \
    "$OUT/libberth.so:$OUT/berth-stub/libcuda.so:$WORK/other.so"
expect "a mistyped variable" 0 \
    '^berth: warn config: BERTH_MAX_MEM: unknown, so it changes nothing: did you mean BERTH_MAX_MEMORY\?$' \
    env BERTH_MAX_MEM=0=8MiB "$WORK/bin/run" "$CLIENT" cuda
expect "a variable that is like none" 0 '^berth: warn config: BERTH_BUDGET: .*: use BERTH_POLICY, .* or BERTH_LOG$' \
    env BERTH_BUDGET=8GiB "$WORK/bin/run" "$CLIENT" cuda
expect "variables that there are" 0 '' env BERTH_OFFLINE=1 BERTH_LOG=warn BERTH_BACKEND=um BERTH_CHECKPOINT="$CHECKPOINT" \
    BERTH_MAX_MEMORY=0=32MiB BERTH_STATS="$WORK/known.json" "$WORK/bin/run" "$CLIENT" cuda
check "are not told of" test ! -s "$WORK/err"
mkdir -p "$WORK/root/bin" "$WORK/root/lib/berth/berth-stub"
cp "$BERTH" "$WORK/root/bin"
cp "$OUT/libberth.so" "$WORK/root/lib/berth"
cp "$OUT/berth-stub/libcuda.so" "$WORK/root/lib/berth/berth-stub"
expect "the libraries of an installed berth" 0 "^$WORK/root/lib/berth/libberth.so:" \
    "$WORK/root/bin/berth" run --driver "$SIM" -- "$CLIENT" env LD_PRELOAD
rm "$WORK/root/lib/berth/libberth.so"
expect "an incomplete installation" 125 'libberth.so: not found' \
    "$WORK/root/bin/berth" run --driver "$SIM" -- "$CLIENT"
