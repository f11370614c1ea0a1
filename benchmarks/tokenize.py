"""`Tokenizer.encode_batch` against the `tokenizers` library called directly, byte-level BPE.

Both turn the same 5 MB of English sentences into lists of ids with the same vocabulary.
"""

import argparse
import inspect
import logging
import time
import unittest

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from benchmarks import compare
from kerasaid.text import split_sentences, train_tokenizer

MEGABYTES, VOCABULARY_SIZE = 5, 5_000


def sentences():
    """Return sentences from docstrings of the standard library, repeated to 5 MB."""
    found = []
    for module in (argparse, inspect, logging, unittest):
        for value in vars(module).values():
            for part in (value, *vars(value).values()) if inspect.isclass(value) else (value,):
                found += split_sentences(inspect.getdoc(part) or "")
    size = sum(len(sentence.encode()) for sentence in found)
    return found * -(-MEGABYTES * 1_000_000 // size)


def library(texts):
    """Return the library's own byte-level BPE, trained on the same texts."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=2,
        special_tokens=["<pad>", "<unk>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def run():
    texts = sentences()
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    mine, theirs = train_tokenizer(texts, "bpe", VOCABULARY_SIZE), library(texts)
    speeds = {"ours": 0.0, "peer": 0.0}

    def measure(who, encode):
        start = time.perf_counter()
        encode()
        taken = time.perf_counter() - start
        speeds[who] = max(speeds[who], megabytes / taken)
        return taken

    def ours():
        return mine.encode_batch(texts)

    def peer():
        encodings = theirs.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    same = ours() == peer()  # also warms both caches
    return compare(
        "tokenize",
        lambda: measure("ours", ours),
        lambda: measure("peer", peer),
        unit="s",
        setting={
            "peer": "tokenizers.Tokenizer.encode_batch_fast",
            "megabytes": round(megabytes, 2),
            "sentences": len(texts),
            "vocabulary_size": mine.vocabulary_size,
            "same_ids": same,
            "ours_best_megabytes_per_second": lambda: round(speeds["ours"], 2),
            "peer_best_megabytes_per_second": lambda: round(speeds["peer"], 2),
        },
    )
