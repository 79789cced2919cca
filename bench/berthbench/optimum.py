"""The fewest bytes that steps can stream, whoever decides, with all of the future known.

The trace is a list of accesses to tensors. A tensor may be kept in part: bytes are a fluid. An access
streams what of its tensor is not on the device, into memory or through it (read in place: bypass).
Memory is given to what is used again soonest: whenever room is short, the bytes whose next use lies
furthest away go first, and an arriving byte that would be used later than all of them does not stay.
That is Belady's rule, and for units that are all alike (here: single bytes) it is exact. No program
that moves tensors in larger pieces, or that needs room for what is on its way, can do with less.

All of a tensor counts as read. Of a table of embeddings a step reads but some rows; whoever sees only
which pointers a kernel is given cannot know that. `rows_only` counts just the rows, which is what a
program could do with that knows its tables: it lets them lie on the host and reads them in place.
"""
import heapq
import math


def next_uses(accesses):
    """For each access, the index of the next one to the same tensor; infinity for the last."""
    following, last = [math.inf] * len(accesses), {}
    for i in range(len(accesses) - 1, -1, -1):
        following[i] = last.get(accesses[i], math.inf)
        last[accesses[i]] = i
    return following


def streamed(accesses, sizes, room_bytes):
    """Bytes that each access streams, by Belady's rule."""
    following = next_uses(accesses)
    kept, due = {}, {}  # by tensor: bytes on the device, the index of its next use
    furthest = []       # a heap of (-next use, tensor); entries that are no longer true stay in it
    free, moved = room_bytes, []

    for i, tensor in enumerate(accesses):
        here = kept.get(tensor, 0)
        missing = sizes[tensor] - here
        moved.append(missing)
        due[tensor] = following[i]
        if following[i] == math.inf:
            free += here
            kept[tensor] = 0
            continue
        taken = min(free, missing)
        free -= taken
        while taken < missing and furthest:
            use, victim = -furthest[0][0], furthest[0][1]
            if due.get(victim) != use or not kept.get(victim):
                heapq.heappop(furthest)
                continue
            if use <= following[i]:
                break
            given = min(kept[victim], missing - taken)
            kept[victim] -= given
            taken += given
        kept[tensor] = here + taken
        heapq.heappush(furthest, (-following[i], tensor))
    return moved


def fewest(trace, room_bytes, first_step, step_count, rows_only=False):
    """Bytes streamed in each of the steps [first_step, first_step + step_count) of a trace, which
    goes on behind them so that they do not profit from an end."""
    sizes, fixed = {}, {}
    for i, tensor in enumerate(trace["tensors"]):
        sizes[i] = tensor["bytes"]
        if rows_only and tensor["row_bytes"]:
            fixed[i] = tensor["row_bytes"] * tensor["rows"]
    accesses, step_of, by_step = [], [], [0] * len(trace["steps"])
    for s, step in enumerate(trace["steps"]):
        for tensor in step["reads"]:
            if tensor in fixed:
                by_step[s] += fixed[tensor]
            elif not accesses or accesses[-1] != tensor or step_of[-1] != s:
                accesses.append(tensor)
                step_of.append(s)
    for s, moved in zip(step_of, streamed(accesses, sizes, room_bytes)):
        by_step[s] += moved
    return by_step[first_step:first_step + step_count]
