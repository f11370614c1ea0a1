import itertools
import json
import subprocess
import sys

from benchmarks import compare


def test_ours_and_the_peer_take_turns_and_medians_are_compared():
    order = []

    def timed(who, values):
        values = iter(values)

        def run():
            order.append(who)
            return next(values)

        return run

    ours, peer = timed("ours", [1.0, 2.0, 9.0]), timed("peer", [4.0, 6.0, 5.0])
    found = compare("b", ours, peer, "s", {"note": lambda: len(order)}, repeats=3)
    assert order == ["ours", "peer"] * 3
    assert list(found) == ["name", "ours", "peer", "ratio", "unit", "setting"]
    assert (found["ours"], found["peer"], found["ratio"]) == (2.0, 5.0, 2.5)
    assert found["setting"]["note"] == 6
    json.dumps(found)


def test_at_least_five_repeats_by_default():
    counter = itertools.count(1)
    found = compare("b", lambda: next(counter), lambda: next(counter), "s", {})
    assert found["setting"]["repeats"] == 5


def test_an_unknown_bench_is_named_with_those_there_are(root):
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], cwd=root, capture_output=True, text=True
    )
    assert answer.returncode == 1
    names = sorted(path.stem for path in (root / "benchmarks").glob("[a-z]*.py"))
    assert answer.stderr == f"there is no bench 'speed'; there are: {', '.join(names)}\n"
