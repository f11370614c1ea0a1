"""Run the named benches, or all, and print one JSON object a line."""

import importlib
import json
import sys
from pathlib import Path

names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
chosen = sys.argv[1:] or names
for name in chosen:
    if name not in names:
        sys.exit(f"there is no bench {name!r}; there are: {', '.join(names)}")
for name in chosen:
    result = importlib.import_module(f"benchmarks.{name}").run()
    print(json.dumps(result, ensure_ascii=False), flush=True)
