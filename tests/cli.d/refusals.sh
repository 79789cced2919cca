# Strategy: what `berth run` can know to be wrong before the program starts, one case for each, ends it
# with 125 and one line that says what to do; the right thing beside it passes.

expect "run without a program" 125 'no program given' "$BERTH" run
expect "a bad size" 125 '8XB' run --max-memory 0=8XB -- true
expect "an unknown device" 125 'gpu0' run --max-memory gpu0=8GiB -- true
expect "a device that is not there" 125 'no GPU 3: the driver counts 2' \
    env SIMCUDA_DEVICES=2 "$BERTH" run --driver "$SIM" --max-memory 0=1GiB,3=8GiB -- true
expect "the last device that is there" 0 '' \
    env SIMCUDA_DEVICES=2 "$BERTH" run --driver "$SIM" --max-memory 1=8GiB -- true
echo '{"version": 1, "max_memory": {"1": "8GiB"}}' >"$WORK/policy.json"
expect "a policy's device that is not there" 125 'BERTH_POLICY.*no GPU 1: the driver counts 1' \
    env BERTH_POLICY="$WORK/policy.json" "$BERTH" run --driver "$SIM" -- true
echo '{"model.layers.0": 0, "": 1}' >"$WORK/policy.json"
expect "a device map's device that is not there" 125 'no GPU 1: the driver counts 1' \
    run --policy "$WORK/policy.json" -- true
expect "a device twice" 125 'max-memory' run --max-memory 0=8GiB --max-memory 0=4GiB -- true
expect "a bad size of the environment" 125 'BERTH_MAX_MEMORY.*oops' \
    env BERTH_MAX_MEMORY=0=oops "$BERTH" run --driver "$SIM" -- true
expect "an unknown backend" 125 'ums' run --backend ums -- true
expect "a backend that there is not" 125 '^berth: run: --backend: expected auto, um or off, found "vmm"' \
    run --backend vmm -- true
expect "an unknown log level" 125 'did you mean debug\?' run --log debg -- true
expect "a missing policy" 125 'nothing.json' run --policy "$WORK/nothing.json" -- true
echo '{"version": 1, "max_memry": {"0": "8GiB"}}' >"$WORK/policy.json"
expect "a mistyped policy field" 125 'max_memory' run --policy "$WORK/policy.json" -- true
echo '{"version": 1, "backend": "vmm"}' >"$WORK/policy.json"
expect "such a backend in a policy" 125 'backend: expected auto, um or off, found "vmm"' run --policy "$WORK/policy.json" -- true
echo '{"version": 1, "max_memory": {"0": "8GiB"}}' >"$WORK/policy.json"
expect "a good policy" 0 '' run --policy "$WORK/policy.json" -- true
echo '{"version": 1, "device_map": {"": 0}, "groups": {"a": ["b"]}, "preload": ["c"]}' >"$WORK/policy.json"
expect "fields that this version does not follow" 0 "does not follow the policy's groups: " \
    run --policy "$WORK/policy.json" -- "$CLIENT" cuda
echo '{"version": 1, "strict": true, "groups": {"a": ["b"]}}' >"$WORK/policy.json"
expect "a strict policy that cannot be followed" 0 'does not follow its groups; berth is off' \
    run --policy "$WORK/policy.json" -- "$CLIENT" cuda
echo '{"version": 1, "strict": true, "device_map": {"": "disk"}}' >"$WORK/policy.json"
expect "a strict policy and the disk" 0 'does not follow its device_map onto disk; berth is off' \
    run --policy "$WORK/policy.json" -- "$CLIENT" cuda
echo '{"version": 1, "device_map": {"a": "disk", "": "disk"}}' >"$WORK/policy.json"
expect "a device map onto disk" 0 'puts 2 modules on disk: this version keeps what lives there in host memory' \
    run --policy "$WORK/policy.json" -- "$CLIENT" cuda
echo '{"version": 1, "device_map": {"": 0}}' >"$WORK/policy.json"
expect "a device map that is followed" 0 '' run --policy "$WORK/policy.json" -- "$CLIENT" cuda
check "a device map that is followed is no reason for a line" test ! -s "$WORK/err"
echo '{"version": 1, "device_map": {"embed": 0, "layers.0": "cpu"}}' >"$WORK/policy.json"
expect "a device map with holes" 0 'run: --policy: device_map: .*no key covers.*the rest is followed' \
    run --policy "$WORK/policy.json" --checkpoint "$CHECKPOINT" -- true
echo '{"version": 1, "strict": true, "tied": [["embed.weight", "head.weight"]],
 "device_map": {"embed": 0, "head": "cpu", "": 0}}' >"$WORK/policy.json"
expect "a strict device map that contradicts itself" 125 'embed.weight.*head.weight.*the policy is strict' \
    run --policy "$WORK/policy.json" --checkpoint "$CHECKPOINT" -- true
expect "a missing checkpoint" 125 'nothing.safetensors' \
    run --checkpoint "$WORK/nothing.safetensors" -- true
expect "a file that is no checkpoint" 125 'tests/cli' run --checkpoint tests/cli -- true
expect "a good checkpoint" 0 '' run --checkpoint "$CHECKPOINT" -- true
expect "statistics into a missing folder" 125 'No such file' run --stats "$WORK/no/stats.json" -- true
expect "statistics into a folder" 125 'directory' run --stats "$WORK" -- true
expect "statistics where nothing can be made" 125 '--stats: /proc/stats.json: ' run --stats /proc/stats.json -- true
mkdir "$WORK/tried"
expect "statistics that come to nothing" 127 '' run --stats "$WORK/tried/stats.json" -- nonesuch
check "leave nothing" test -z "$(ls -A "$WORK/tried")"
expect "a missing driver" 125 '^berth: run: --driver: /.*: the file does not exist; ' \
    "$BERTH" run --driver "$WORK/libcuda.so.1" -- true
expect "a missing driver in the environment" 125 '^berth: run: BERTH_DRIVER: /.*: the file does not exist; ' \
    env BERTH_DRIVER="$WORK/libcuda.so.1" "$BERTH" run -- true
expect "a driver that is none" 125 'library' "$BERTH" run --driver "$CHECKPOINT" -- true
expect "a driver that is berth" 125 'library of berth.s own' "$BERTH" run --driver "$OUT/libberth.so" -- true
cp "$BERTH" "$WORK/bin/torn-off"
expect "a berth without its library" 125 "libberth.so: not found in $WORK/bin or in .*install" \
    "$WORK/bin/torn-off" run --driver "$SIM" -- true
mkdir "$WORK/a folder" && cp -r "$BERTH" "$OUT/libberth.so" "$OUT/berth-stub" "$WORK/a folder"
expect "a folder that the loader does not take" 125 'no path with a blank or a colon; install' \
    "$WORK/a folder/berth" run --driver "$SIM" -- true
if "$BERTH" run -- true 2>/dev/null; then
    skip "no driver" "this machine has one"
else
    expect "no driver" 125 'no CUDA driver.*install NVIDIA.*make demo.*--driver' "$BERTH" run -- true
fi
expect "the driver of LD_LIBRARY_PATH" 0 "^$SIM\$" \
    env LD_LIBRARY_PATH="$OUT/simcuda" "$BERTH" run -- "$CLIENT" env BERTH_DRIVER

echo 'int main(void) { return 0; }' >"$WORK/empty.c"
if "$CC" -static -o "$WORK/static" "$WORK/empty.c" 2>/dev/null; then
    expect "a static program" 125 'statically linked.*; link' run "$WORK/static"
    printf '#!%s\n' "$WORK/static" >"$WORK/by-static"
    chmod +x "$WORK/by-static"
    expect "a script for a static program" 125 "$WORK/static: is statically" run "$WORK/by-static"
else
    skip "a static program" "there is no static C library (libc.a)"
fi
if "$CC" -o "$WORK/musl" "$WORK/empty.c" -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1; then
    expect "a program of another C library" 125 'built for musl.*; use' run "$WORK/musl"
else
    skip "a program of another C library" "the linker names no other loader"
fi
{ printf '\177ELF\001\001\001' && head -c 9 /dev/zero && printf '\002\000\003\000' && head -c 32 /dev/zero; } \
    >"$WORK/elf32"
{ printf '\177ELF\002\001\001' && head -c 9 /dev/zero && printf '\002\000\267\000' && head -c 44 /dev/zero; } \
    >"$WORK/elf-arm"
chmod +x "$WORK/elf32" "$WORK/elf-arm"
expect "a 32-bit program" 125 '32-bit program' run "$WORK/elf32"
expect "a program for another processor" 125 'another processor' run "$WORK/elf-arm"
cp "$CLIENT" "$WORK/setuid"
if [ "$(id -u)" -ne 0 ]; then
    skip "a setuid program" "only root can make one of another user"
elif grep -q nosuid < <(findmnt -no OPTIONS -T "$WORK"); then
    skip "a setuid program" "$WORK is on a file system without setuid"
else
    chown 65534 "$WORK/setuid" && chmod 4755 "$WORK/setuid"
    expect "a setuid program" 125 'is setuid' run "$WORK/setuid"
    chown 0:65534 "$WORK/setuid" && chmod 2755 "$WORK/setuid"
    expect "a setgid program" 125 'is setgid' run "$WORK/setuid"
    chown 0:0 "$WORK/setuid" && chmod 4755 "$WORK/setuid"
    expect "a setuid program of one's own" 5 '' run "$WORK/setuid" exit 5
fi
