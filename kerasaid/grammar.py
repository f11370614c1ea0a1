"""Probabilistic grammars whose sentences, probabilities and entropy are known exactly.

A language model can learn from what a grammar writes, and then be measured against the best
model there can be: no model's average cost falls below the grammar's entropy.
"""

import functools
import itertools
import math
import re
from bisect import bisect
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import numpy as np

from kerasaid.errors import require_at_least

_LINE = re.compile(r"\s*(?:@([A-Za-z0-9]+)\s*=|([A-Za-z0-9.@-]+?)\s*->|\|)(.*)")
_ALTERNATIVE = re.compile(r"(\d*\.?\d+)\s+((?:[^<>]|<[A-Za-z0-9.@-]+>)+)")
_SYMBOL = re.compile(r"<[A-Za-z0-9.@-]+>|[^<>]+")
_VARIABLE = re.compile(r"@([A-Za-z0-9]+)")
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[^\W{_HAN}]+|[{_HAN}]|[^\w\s]")
_WITHIN_WORD = re.compile(rf"[^\W{_HAN}]\Z")


class Sentence(NamedTuple):
    """What a grammar wrote, the log2 of its probability, and its kind, an exact label."""

    text: str
    log2_probability: float
    kind: str


class Grammar:
    """A probabilistic context-free grammar without recursion.

    Example:

    >>> grammar = Grammar.parse('''
    ... sentence -> 3 <greeting> | 1 <question>
    ... greeting -> 1 Hello, <who>.
    ... question -> 1 How are you, <who>?
    ... who      -> 1 Ada | 1 Alan
    ... ''')
    >>> round(grammar.entropy(), 3), grammar.log2_probability("How are you, Ada?")
    (1.811, -3.0)

    Args:
        rules: `{"<name>": [(weight, symbols), ...]}`; a symbol is a `<name>` or a piece of text.
            Sentences start from the first name, and what it chooses is their kind.

    Raises:
        ValueError: naming what is undefined, never used, recursive or writes nothing.

    Source: Soule (1974), "Entropies of probabilistic grammars", Information and Control 25.
    """

    def __init__(self, rules):
        self.rules, self.start = {}, next(iter(rules), None)
        for name, alternatives in rules.items():
            if not all(symbols for _, symbols in alternatives):
                raise ValueError(f"{name} has an empty alternative.")
            total = math.fsum(weight for weight, _ in alternatives)
            self.rules[name] = [
                (weight / total, tuple(symbols)) for weight, symbols in alternatives
            ]
        self._order = _children_first(self.rules, self.start)

    @classmethod
    def parse(cls, text):
        """Return the grammar that a text describes; `data/startups.en.grammar` explains the form.

        Raises:
            ValueError: naming the line that cannot be read, or as `Grammar`.
        """
        rules, variables, targets = {}, {}, []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                try:
                    targets = _read(line, rules, variables, targets)
                except ValueError as error:
                    raise ValueError(f"Line {number}: {error}") from None
        return cls(rules)

    def sample(self, count, seed=0):
        """Return `count` sentences drawn independently, as `Sentence`; some may be equal.

        A longer list from the same seed begins with the shorter one.
        """
        require_at_least(1, count=count)
        require_at_least(0, seed=seed)
        tables = {}
        for name, alternatives in self.rules.items():
            cumulative = list(itertools.accumulate(p for p, _ in alternatives))[:-1]
            tables[name] = cumulative, [(math.log2(p), s[::-1]) for p, s in alternatives]
        rng = np.random.default_rng(seed)
        uniform = (u for _ in itertools.count() for u in rng.random(4096).tolist()).__next__
        sentences = []
        for _ in range(count):
            pieces, bits, waiting, kind = [], 0.0, [self.start], None
            while waiting:
                symbol = waiting.pop()
                if symbol not in tables:
                    pieces.append(symbol)
                    continue
                cumulative, alternatives = tables[symbol]
                log2_p, symbols = alternatives[bisect(cumulative, uniform())]
                bits += log2_p
                waiting += symbols
                if kind is None:
                    kind = symbols[-1].strip("<>")
            sentences.append(Sentence("".join(pieces), bits, kind))
        return sentences

    def entropy(self):
        """Return the exact entropy of a sentence in bits, its end included.

        For the rate, divide by `expected_length(...) + 1`: the end is one more thing to predict.

        Raises:
            ValueError: for an ambiguous grammar, whose derivations have more entropy.
        """
        if self._ambiguity:
            raise ValueError(f"{self._ambiguity} writes a text in two ways: entropy is unknown.")
        bits = {}
        for name in self._order:
            bits[name] = math.fsum(
                p * (sum(bits.get(symbol, 0.0) for symbol in symbols) - math.log2(p))
                for p, symbols in self.rules[name]
            )
        return bits[self.start]

    def expected_length(self, measure="character"):
        """Return the exact mean length of a sentence, its end not counted.

        The measure is "character", or "word": words and punctuation marks, and in Chinese every
        character.
        """
        if measure not in ("character", "word"):
            raise ValueError(f"measure must be 'character' or 'word', received {measure!r}.")

        @functools.cache
        def after(symbol, within):
            """Return the mean length, begun within a word or not, and the chance to end in one."""
            if symbol not in self.rules:
                text = "x" * within + symbol  # the x stands for the word that goes on
                length = len(text if measure == "character" else _WORD.findall(text)) - within
                return length, float(_WITHIN_WORD.search(text) is not None)
            mean = chance = 0.0
            for p, symbols in self.rules[symbol]:
                inside = float(within)
                for part in symbols:
                    (joined, ends), (apart, _) = after(part, True), after(part, False)
                    mean += p * (inside * joined + (1 - inside) * apart)
                    inside = ends  # by its own last letter, however it began
                chance += p * inside
            return mean, chance

        return after(self.start, False)[0]

    def log2_probability(self, text):
        """Return the log2 of the probability of a sentence, `-inf` if it cannot be written."""

        @functools.cache
        def ends(symbol, start):
            """Return where a symbol that begins at start can end, and with what probability."""
            if symbol not in self.rules:
                return {start + len(symbol): 1.0} if text.startswith(symbol, start) else {}
            found = {}
            for p, symbols in self.rules[symbol]:
                reached = {start: p}
                for part in symbols:
                    before, reached = reached, {}
                    for at, q in before.items():
                        for end, r in ends(part, at).items():
                            reached[end] = reached.get(end, 0.0) + q * r
                for end, q in reached.items():
                    found[end] = found.get(end, 0.0) + q
            return found

        probability = ends(self.start, 0).get(len(text), 0.0)
        return math.log2(probability) if probability else -math.inf

    def is_unambiguous(self):
        """Return whether every sentence can be written in one way only; this is a proof.

        Two derivations that differ are followed side by side, letter by letter, as in the
        product of the grammar's automaton with itself: the grammar is ambiguous if and only if
        such a pair meets again. What a name can leave over is worked out once, bottom up.
        """
        return self._ambiguity is None

    @functools.cached_property
    def _ambiguity(self):
        """The first name, from the bottom up, that writes a text in two ways; or None."""
        rests = {}  # name: what one derivation may still have to write when another has ended

        @functools.cache
        def leftovers(x, y):
            """Return what each of two symbols may still have to write when the other has ended."""
            if x in rests or y in rests:
                ways = self.rules[x if x in rests else y]
                pairs = [(way, (y,)) if x in rests else ((x,), way) for _, way in ways]
                return [(a, b) for a, b in follow(pairs) if not a or not b]
            if not (x.startswith(y) or y.startswith(x)):
                return []
            return [tuple((text,) if text else () for text in (x[len(y) :], y[len(x) :]))]

        def follow(pairs):
            """Yield the pairs of what is left to write, as long as both have written the same."""
            seen = set()
            while pairs:
                a, b = pair = pairs.pop()
                if pair in seen:
                    continue
                seen.add(pair)
                yield pair
                if a and b and a[0] == b[0]:
                    pairs.append((a[1:], b[1:]))
                    for rest in rests.get(a[0], ()):
                        pairs += [(a[1:], rest + b[1:]), (rest + a[1:], b[1:])]
                elif a and b:
                    pairs += [(x + a[1:], y + b[1:]) for x, y in leftovers(a[0], b[0])]

        for name in self._order:
            alternatives = [symbols for _, symbols in self.rules[name]]
            pairs = list(itertools.combinations(alternatives, 2))
            for symbols in alternatives:
                for i, symbol in enumerate(symbols, 1):
                    pairs += [(symbols[i:], rest + symbols[i:]) for rest in rests.get(symbol, ())]
            rests[name] = set()
            for a, b in follow(pairs):
                if a == b:
                    return name
                if not a or not b:
                    rests[name].add(a + b)
        return None


def _read(line, rules, variables, targets):
    """Add what a line says to the rules or variables; return what the next line may go on with."""
    match = _LINE.fullmatch(line)
    if not match or not (targets or match[1] or match[2]):
        raise ValueError(f"expected 'name -> weight text | ...', received {line.strip()!r}.")
    variable, name, body = match.groups()
    if variable:
        targets = [(variables, variable, {})]
    elif name:
        targets = [(rules, f"<{n}>", values) for n, _, values in _fill(name, variables, {})]
    for table, key, _ in targets:
        if (variable or name) and key in table:
            raise ValueError(f"{key} is defined twice.")
        table.setdefault(key, [])
    for part in body.split("|") if body.strip() else ():
        match = _ALTERNATIVE.fullmatch(part.strip())
        if not match or not float(match[1]) > 0:
            raise ValueError(
                f"expected a weight above 0, text and <names>, received {part.strip()!r}."
            )
        weight, template = float(match[1]), match[2].replace("_", " ")
        for table, key, values in targets:
            for text, share, _ in _fill(template, variables, values):
                entry = text if table is variables else _SYMBOL.findall(text)
                table[key].append((weight * share, entry))
    return targets


def _fill(text, variables, values, share=1.0):
    """Yield the text for every setting of its variables that agrees with the values given."""
    text = _VARIABLE.sub(lambda match: values.get(match[1], match[0]), text)
    free = _VARIABLE.search(text)
    if not free:
        yield text, share, values
        return
    if not variables.get(free[1]):
        raise ValueError(f"@{free[1]} is not defined above.")
    total = math.fsum(weight for weight, _ in variables[free[1]])
    for weight, value in variables[free[1]]:
        yield from _fill(text, variables, {**values, free[1]: value}, share * weight / total)


def _children_first(rules, start):
    """Return the names so that each comes after those that it uses, or raise."""
    uses = {
        name: [s for _, symbols in alternatives for s in symbols if s.startswith("<")]
        for name, alternatives in rules.items()
    }
    try:
        order = list(TopologicalSorter(uses).static_order())
    except CycleError as error:
        raise ValueError(f"Recursion: {' uses '.join(error.args[1][::-1])}.") from None
    reached = {start}
    for name in reversed(order or ["The start"]):
        if not rules.get(name):
            raise ValueError(f"{name} is not defined.")
        if name not in reached:
            raise ValueError(f"{name} is never used.")
        reached.update(uses[name])
    return order
