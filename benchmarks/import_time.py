"""`import kerasaid` against `import keras`, each in a Python of its own.

Also `import kerasaid, keras`, which is what a notebook pays: TensorFlow kept quiet must not
cost time.
"""

import statistics
import subprocess
import sys
import time

from benchmarks import compare


def seconds(code):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def run():
    both = []

    def peer():
        both.append(seconds("import kerasaid, keras"))
        return seconds("import keras")

    seconds("import kerasaid, keras")  # warms the file cache for all three
    return compare(
        "import_time",
        lambda: seconds("import kerasaid"),
        peer,
        unit="s",
        setting={
            "peer": "import keras",
            "kerasaid_then_keras": lambda: round(statistics.median(both), 3),
        },
        repeats=7,
    )
