"""The fewest bytes that steps can stream, whoever decides, with all of the future known.

The trace is a list of accesses to tensors. A tensor may be kept in part: bytes are a fluid. An access
streams what of its tensor is not on the device, into memory or through it (read in place: bypass).
Memory is given to what is used again soonest: whenever room is short, the bytes whose next use lies
furthest away go first, and an arriving byte that would be used later than all of them does not stay.
That is Belady's rule, and for units that are all alike (here: single bytes) it is exact. No program
that moves tensors in larger pieces, or that needs room for what is on its way, can do with less.

Of a table of embeddings a step reads some rows, and those are what counts: they are read in place,
through the link, all of them. A program that keeps a part of such a table saves that part of the rows:
where little else streams, this is no lower bound (rows() says how much of it they are).
"""
import functools
import heapq
import math
import random


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


def rows(trace, first_step, step_count):
    """Bytes of rows that each of these steps reads in place, of tables that it does not read whole."""
    tensors = trace["tensors"]
    return [sum(tensors[i]["row_bytes"] * tensors[i]["rows"]
                for i in step["gathers"] if i not in step["reads"])
            for step in trace["steps"][first_step:first_step + step_count]]


def fewest(trace, room_bytes, first_step, step_count):
    """Bytes streamed in each of the steps [first_step, first_step + step_count) of a trace, which
    goes on behind them so that they do not profit from an end."""
    tensors = trace["tensors"]
    sizes = {i: tensor["bytes"] for i, tensor in enumerate(tensors)}
    accesses, step_of, by_step = [], [], rows(trace, 0, len(trace["steps"]))
    for s, step in enumerate(trace["steps"]):
        accesses += step["reads"]
        step_of += [s] * len(step["reads"])
    for s, moved in zip(step_of, streamed(accesses, sizes, room_bytes)):
        by_step[s] += moved
    return by_step[first_step:first_step + step_count]


def online(trace, room_bytes, first_step, step_count):
    """Bytes of these steps that nobody can save who learns of each step's experts as it comes: where
    they are drawn independently and evenly, an expert that is drawn is there with the probability of
    its being kept, whatever was seen before. What every step reads is kept first."""
    steps = trace["steps"][first_step:first_step + step_count]
    reads = [set(step["reads"]) for step in steps]
    always = set.intersection(*reads)
    drawn = {i for i, tensor in enumerate(trace["tensors"]) if i not in always}
    size = lambda tensors: sum(trace["tensors"][i]["bytes"] for i in tensors)
    room = room_bytes - size(always)
    kept = min(1, max(0, room) / size(drawn)) if drawn else 1
    return [size(read - always) * (1 - kept) + max(0, -room) for read in reads]


def by_trial(accesses, room):
    """The fewest misses of unit-sized items, by trying everything: for check()."""
    @functools.lru_cache(None)
    def best(i, kept):
        if i == len(accesses):
            return 0
        if accesses[i] in kept:
            return best(i + 1, kept)
        choices = [kept]  # read through: it does not stay
        if len(kept) < room:
            choices.append(kept | {accesses[i]})
        else:
            choices += [kept - {victim} | {accesses[i]} for victim in kept]
        return 1 + min(best(i + 1, choice) for choice in choices)
    return best(0, frozenset())


def check(trials=200):
    """Does streamed() find what trying everything finds? returns the first counterexample, or None"""
    draw = random.Random(1)
    for _ in range(trials):
        accesses = tuple(draw.randrange(5) for _ in range(12))
        room = draw.randrange(1, 5)
        if sum(streamed(accesses, [1] * 5, room)) != by_trial(accesses, room):
            return accesses, room
    return None
