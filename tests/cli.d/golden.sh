# Strategy: checkpoints that the libraries of each format wrote. Every tensor's bytes are read from where
# `berth inspect --json` says, gathered by its strides, and their SHA-256 is held against what the
# library had; what must be refused is refused for the right reason. All of tests/data/files/files.json.

: >"$WORK/out"
"$PYTHON" tests/cli.d/golden.py "$BERTH" tests/data/files >"$WORK/golden" 2>"$WORK/err"
while IFS= read -r found; do
    case $found in
    "ok "*) ok "${found#ok }" ;;
    *) failed_with golden "$found" ;;
    esac
done <"$WORK/golden"
check "golden: all of files.json" [ "$(grep -c '^ok ' "$WORK/golden")" -eq \
    "$(grep -c '^ "' tests/data/files/files.json)" ]
