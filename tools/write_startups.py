"""Write what comes from the grammars in data/: the sentences that ship, and the manifest.

    .venv/bin/python tools/write_startups.py

Run it after a change to a grammar. The same grammar always gives the same sentences.
"""

import hashlib
import itertools
import json

from kerasaid.datasets import FOLDER, manifest
from kerasaid.grammar import Grammar

COUNT = 1_200


def main():
    """Write the sentences of each language, and the SHA-256 of every file."""
    files = manifest()
    for language in ("en", "zh"):
        source = (FOLDER / f"startups.{language}.grammar").read_bytes()
        drawn = Grammar.parse(source.decode("utf-8")).sample(2 * COUNT, seed=0)
        distinct = dict.fromkeys(sentence.text for sentence in drawn)
        text = "".join(f"{sentence}\n" for sentence in itertools.islice(distinct, COUNT))
        (FOLDER / f"startups.{language}.txt").write_bytes(text.encode("utf-8"))
        for suffix, content in (("grammar", source), ("txt", text.encode("utf-8"))):
            files[f"startups.{language}.{suffix}"] = {
                "sha256": hashlib.sha256(content).hexdigest(),
                "licence": "MIT",
                "origin": "written for this project",
            }
    content = json.dumps(files, indent=2, ensure_ascii=False) + "\n"
    (FOLDER / "manifest.json").write_bytes(content.encode("utf-8"))


if __name__ == "__main__":
    main()
