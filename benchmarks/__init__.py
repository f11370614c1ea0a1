"""Ours against a peer, measured in one run: `make bench`, or `make bench BENCH=name`.

Each module has a function `run()` that returns one dict: name, ours, peer, ratio, unit, setting.
Ours and the peer take turns, so that a machine that becomes slower meanwhile slows both; the
medians are compared.
"""

import statistics


def compare(name, ours, peer, unit, setting, repeats=5):
    """Run ours and the peer in turn and return one line for the bench.

    Args:
        name: the bench's name.
        ours, peer: functions without arguments that return what one repeat took.
        unit: the unit of what they return.
        setting: a dict that says what was measured; functions in it are called at the end.
        repeats: how often each is run.

    Returns:
        A dict with the medians; `ratio` is the peer's over ours, so above 1 is faster.
    """
    taken = {"ours": [], "peer": []}
    for _ in range(repeats):
        taken["ours"].append(ours())
        taken["peer"].append(peer())
    medians = {who: round(statistics.median(values), 4) for who, values in taken.items()}
    return {
        "name": name,
        **medians,
        "ratio": round(medians["peer"] / medians["ours"], 3),
        "unit": unit,
        "setting": {
            "repeats": repeats,
            "ours_each": [round(value, 3) for value in taken["ours"]],
            "peer_each": [round(value, 3) for value in taken["peer"]],
            **{key: value() if callable(value) else value for key, value in setting.items()},
        },
    }
