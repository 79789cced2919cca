# Strategy: signals and keys of a terminal reach the program once, and its death is the launcher's. The
# program writes a byte for each signal, so that nothing here waits by the clock.

start "$BERTH" run --driver "$SIM" -- "$CLIENT" count "$WORK/fifo"
kill -USR1 "$launcher"; await 3
kill -INT "$launcher"; await 3
kill -USR1 "$launcher"; await 3
kill -TERM "$launcher"
ended "signals are passed on, once each" 3
start "$BERTH" run --driver "$SIM" -- "$CLIENT" ready "$WORK/fifo" wait "$WORK/gate"
kill -TERM "$launcher"
ended "a signal that ends the program" 143
start "$BERTH" run --driver "$SIM" -- "$CLIENT" ready "$WORK/fifo" wait "$WORK/gate"
kill -KILL "$(child)"
ended "a killed program" 137

cat >"$WORK/terminal.py" <<'END'
# A shell with one job on a terminal: Ctrl-C reaches the program once, Ctrl-Z stops the job, launcher
# and all, and the shell goes on with it.
import os, pty, signal, sys
fifo, command = sys.argv[1], sys.argv[2:]
told, tell = os.pipe()
shell, master = pty.fork()
if shell == 0:
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(command[0], command)
    os.write(tell, b"%d\n" % job)
    status = os.waitpid(job, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(status):
        os._exit(101)
    os.killpg(job, signal.SIGCONT)
    os.kill(job, signal.SIGUSR1)
    status = os.waitpid(job, 0)[1]
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 102)
job = int(os.read(told, 16))
ready = open(fifo, "rb", buffering=0)
for key in b"\x03", b"\x1a", b"\x03":
    ready.read(1)   # the start; the first Ctrl-C; SIGUSR1 after the stop
    os.write(master, key)
ready.read(1)       # the second Ctrl-C
os.kill(job, signal.SIGTERM)
status = os.waitpid(shell, 0)[1]
assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 3, "status %#x" % status
END
rm -f "$WORK/fifo" && mkfifo "$WORK/fifo"
on_terminal "keys of a terminal" "$WORK/terminal.py" "$WORK/fifo" \
    "$BERTH" run --driver "$SIM" -- "$CLIENT" count "$WORK/fifo"

cat >"$WORK/once.py" <<'END'
# The key's signal reaches launcher and program; the launcher, who sees it later here, keeps it.
import os, pty, signal, sys
fifo, command = sys.argv[1], sys.argv[2:]
pid, master = pty.fork()
if pid == 0:
    os.execv(command[0], command)
ready = open(fifo, "rb", buffering=0)
ready.read(1)
os.kill(pid, signal.SIGSTOP)
os.waitpid(pid, os.WUNTRACED)
os.write(master, b"\x03")
assert ready.read(1)[0] == signal.SIGINT
os.kill(pid, signal.SIGUSR1)
os.kill(pid, signal.SIGCONT)
assert ready.read(1)[0] == signal.SIGUSR1, "SIGINT twice"
os.kill(pid, signal.SIGTERM)
status = os.waitpid(pid, 0)[1]
assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 2, "status %#x" % status
END
on_terminal "a key of a terminal, once" "$WORK/once.py" "$WORK/fifo" \
    "$BERTH" run --driver "$SIM" -- "$CLIENT" count "$WORK/fifo"

cat >"$WORK/hangup.py" <<'END'
# The terminal goes away under a berth that leads its session, as after ssh -t: the program ends too.
import os, pty, signal, sys
fifo, command = sys.argv[1], sys.argv[2:]
pid, master = pty.fork()
if pid == 0:
    os.execv(command[0], command)
ready = open(fifo, "rb", buffering=0)
ready.read(1)
os.close(master)
assert ready.read(1) == b"", "the program lives on"
status = os.waitpid(pid, 0)[1]
assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP, "status %#x" % status
END
on_terminal "a terminal that goes away" "$WORK/hangup.py" "$WORK/fifo" \
    "$BERTH" run --driver "$SIM" -- "$CLIENT" count "$WORK/fifo"
