# Strategy: the command without work to do: help that lists what there is and nothing else, and words
# that it does not know, each answered in one line that says what was meant.

expect "berth alone" 2 '^usage: berth COMMAND' "$BERTH"
expect "berth --help" 0 'Example' "$BERTH" --help
expect "berth --version" 0 '^berth [0-9]+\.[0-9]+' "$BERTH" --version
expect "a command of a later version" 2 'unknown command doctor' "$BERTH" doctor
expect "a mistyped command" 2 'did you mean inspect\?' "$BERTH" inspct
for command in run stats inspect plan check offload; do
    expect "$command --help" 0 "Example" "$BERTH" "$command" --help
done
check "--help lists what exists" test "$("$BERTH" --help | grep -cE '^  (run|stats|inspect|plan|check|offload) ')" = 6
check "--help lists nothing else" \
    test "$("$BERTH" --help | grep -cE '^  (doctor|top|report|replay) ')" = 0
expect "a mistyped option" 2 'did you mean --prometheus\?' "$BERTH" stats --promtheus
expect "a mistyped option of run" 125 'did you mean --max-memory\?' "$BERTH" run --max-memry 0=1GiB true
expect "an option without its value" 125 'needs a value' "$BERTH" run --max-memory
expect "a value too much" 2 'takes no value' "$BERTH" stats --json=yes
expect "unknown letters" 2 'unknown option -x' "$BERTH" stats --json -xy
expect "a value too much for --help" 2 'takes no value' "$BERTH" stats --help=yes
expect "an unwritable standard output" 125 'standard output' bash -c '"$BERTH" --help >/dev/full'
