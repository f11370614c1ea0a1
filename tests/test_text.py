import json
import os
import random
import subprocess
import sys
import time
import tracemalloc
import unicodedata
from collections import Counter

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from kerasaid.errors import InputError
from kerasaid.text import (
    SPECIAL_TOKENS,
    load_tokenizer,
    pack,
    pad,
    split_documents,
    split_sentences,
    stream_windows,
    train_tokenizer,
)

KINDS = ("character", "word", "bpe", "unigram")
BYTE_KINDS = ("bpe", "unigram")
ENGLISH = [
    "The app is slow, and users wait.",
    "The team's well-known founder pays $2.50 (in cash), but users leave!",
    "Our users' needs grow: 3,000 of them want version v3.15.1?",
    "The investors wait; the app pays, and the team's founder wants 20% more.",
] * 3
CHINESE = [
    "应用很慢，用户在等。",
    "用户说：“我们要退款！”",
    "团队的AI应用有3个用户，创始人很高兴。",
] * 3
ODD = [
    "",
    " ",
    "\n\t\r\n  two  spaces ",
    "🙂👩‍👩‍👧 𝒳 𠀀",
    "\u200b\ufeff\u00a0\u0000\x7f",
    unicodedata.normalize("NFC", "é ü 한"),
    unicodedata.normalize("NFD", "é ü 한"),
    "<pad> <unk> <s> </s> [PAD]",
    "".join(SPECIAL_TOKENS),
    " ".join(SPECIAL_TOKENS * 2),
]


def random_text(rng, length=40):
    """Any code points but surrogates."""
    ends = (0x80, 0x800, 0x3000, 0xD800, 0x110000)
    points = (rng.randrange(rng.choice(ends)) for _ in range(length))
    return "".join(chr(p) if not 0xD800 <= p < 0xE000 else "x" for p in points)


@pytest.fixture(scope="module", params=KINDS)
def trained(request):
    return train_tokenizer(ENGLISH + CHINESE, request.param, 400)


# Sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["The app is slow.", "Users wait!", "Why?", "Nobody knows."],
        ["the app is slow.", "users wait.", "why?", "because!"],
        ["Mr. Li and Dr. Wu met Prof. J. R. R. Tolkien vs. Mrs. Smith.", "They talked."],
        ["It costs 3.14, e.g. in v3.15.1 of keras.io, i.e. now.", "See Fig. 2 and No. 5."],
        ["Say no.", "It is late."],
        ["He said No.", "That was it."],
        ["Acme Inc. makes apps, tools, etc. and Foo Ltd. buys them.", "The U.S. Senate waits."],
        ["He lives in the U.S.", "She left at 5 p.m.", "Then it rained."],
        ["We met at 9 a.m. on Monday.", "Apples, pears, etc.", "We ate."],
        ["Well... maybe.", "So it goes...", "But wait… what?"],
        ["“Really?” he asked.", "“Yes.”", 'She said "no."', "(He left.)", "[Done.]", "Good!!!"],
        ["应用很慢。", "用户在等！", "为什么？！", "我不知道……", "好吧。"],
        ["「好。」", "『真的？』", "他说：“走吧。”", "（完。）", "再见"],
        ["“太慢了！”，用户说。", "完。"],
        ["用户说OK。", "The end.", "版本3.14很好。"],
        ["1. Open the app.", "2. Wait.", "10. Close it."],
        ["A heading", "Text without a stop", "The end."],
        ["It ended in 1999.", "Users wait."],
    ],
)
@pytest.mark.parametrize("gap", ["\n\n", " \n \n\n  ", " "])
def test_sentences_written_one_after_another_are_found_again(sentences, gap):
    if gap == " ":  # what only a blank line or a new line can show
        sentences = [s for s in sentences if s not in ("A heading", "Text without a stop")]
        sentences = [s for s in sentences if not s[0].isdigit()]
    assert split_sentences(gap.join(sentences)) == sentences


def test_chinese_needs_no_space_between_sentences():
    sentences = ["应用很慢。", "“用户在等！”", "「为什么？」", "我不知道……", "好吧。"]
    assert split_sentences("".join(sentences)) == sentences


def test_a_line_break_inside_a_sentence_stays():
    assert split_sentences(" One line\nand two.\nNext. ") == ["One line\nand two.", "Next."]
    assert split_sentences("") == split_sentences(" \n\n ") == []


def test_splitting_neither_loses_nor_changes_anything():
    rng = random.Random(0)
    pieces = [
        *".!?…。！？」』”’)\"' \n\n",
        "\n\n",
        "Mr",
        "e.g",
        "U.S",
        "J",
        "No",
        "1",
        "the",
        "The",
    ]
    pieces += ["……", "...", "用户", "3.14", "\u2028", "\x1f", "\u3000", "é", "🙂"]
    for _ in range(2000):
        text = "".join(rng.choices(pieces, k=rng.randrange(30)))
        sentences = split_sentences(text)
        assert "".join("".join(sentences).split()) == "".join(text.split())
        assert all(s and s == s.strip() and s in text for s in sentences)


def test_splitting_takes_linear_time():
    for unit in ("用户", "a", ".", "。", "\n", " ", "J. ", "etc. ", "”", "……，", "1. "):
        start = time.process_time()
        split_sentences(unit * 100_000)
        assert (
            time.process_time() - start < 3
        )  # linear takes 0.2 s, quadratic a quarter of a minute


# Splits


def test_a_split_is_contiguous_and_whole():
    documents = [f"document {i}" for i in range(100)]
    train, validation, test = split_documents(documents, 0.2, 0.1)
    assert train + validation + test == documents
    assert [len(part) for part in (train, validation, test)] == [70, 20, 10]
    assert [len(part) for part in split_documents(documents, 0.29, 0.296)] == [41, 29, 30]


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.49, 0.49), (0.01, 0.98), (0.98, 0.01)])
def test_every_part_gets_a_document(count, shares):
    parts = split_documents(map(str, range(count)), *shares)
    assert min(map(len, parts)) >= 1
    assert parts.train + parts.validation + parts.test == [str(i) for i in range(count)]


@pytest.mark.parametrize(
    "shares", [(0, 0.1), (0.1, 0), (-0.1, 0.2), (0.5, 0.5), (float("nan"), 0.1)]
)
def test_impossible_shares_are_refused(shares):
    with pytest.raises(InputError, match=rf"received {shares[0]!r} and {shares[1]!r}"):
        split_documents(["a"] * 10, *shares)


def test_too_few_documents_are_refused():
    with pytest.raises(InputError, match="at least 3 documents, received 2"):
        split_documents(["a", "b"])
    with pytest.raises(InputError, match="received one str"):
        split_documents("a text")


# Tokenizers


def test_special_tokens_come_first_and_the_vocabulary_is_indexed_by_id(trained):
    ids = (trained.pad_id, trained.unk_id, trained.bos_id, trained.eos_id)
    assert ids == (0, 1, 2, 3)
    assert trained.vocabulary[:4] == SPECIAL_TOKENS
    assert trained.vocabulary_size == len(trained.vocabulary) == len(set(trained.vocabulary)) <= 400


def test_no_text_becomes_a_special_token(trained):
    for text in [*ODD, *(t + " a " + t for t in SPECIAL_TOKENS)]:
        found = set(trained.encode(text))
        assert not found & {trained.pad_id, trained.bos_id, trained.eos_id}
        assert trained.unk_id not in found or not trained.is_lossless


@pytest.mark.parametrize("kind", KINDS)
def test_no_special_token_can_be_learnt(kind):
    text = "".join(SPECIAL_TOKENS)
    tokenizer = train_tokenizer([text, f" {text}", f"{text} "] * 50, kind, 400)
    ids = tokenizer.encode(text)
    assert min(ids) > 3
    if kind != "word":
        assert tokenizer.decode(ids) == text


def test_lossless_means_any_text_comes_back(trained):
    rng = random.Random(1)
    texts = [*ODD, *ENGLISH, *CHINESE, *(random_text(rng) for _ in range(300)), "x" * 10_000]
    back = [trained.decode(ids) for ids in trained.encode_batch(texts)]
    assert trained.is_lossless == (back == texts) == (trained.kind in BYTE_KINDS)
    assert bool(trained.loss) == (not trained.is_lossless)


@pytest.mark.parametrize("kind", BYTE_KINDS)
def test_every_code_point_comes_back(kind):
    tokenizer = train_tokenizer(["a few words"], kind, 261)
    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000][:: 1 if kind == "bpe" else 7]
    text = "".join(map(chr, points))
    texts = [text[i : i + 500] for i in range(0, len(text), 500)]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(texts)] == texts


@pytest.mark.parametrize("kind", ("character", "word"))
@pytest.mark.parametrize("texts", [ENGLISH, CHINESE, ENGLISH + CHINESE])
def test_normal_orthography_comes_back_in_every_kind(kind, texts):
    tokenizer = train_tokenizer(texts, kind)
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(texts)] == texts


def test_characters_are_ranked_by_count_then_code_point():
    text = "bbb" + "你你" + "aa" + "𝒳" + "z"
    tokenizer = train_tokenizer([text[:3], text[3:]], "character")
    assert tokenizer.vocabulary[4:] == ["b", "a", "你", "z", "𝒳"]
    assert tokenizer.encode("你bé𝒳") == [6, 4, 1, 8]
    assert train_tokenizer([" \t\r\n a"], "character").vocabulary[4:] == [
        " ",
        "\t",
        "\n",
        "\r",
        "a",
    ]
    small = train_tokenizer([text], "character", 6)
    assert small.vocabulary[4:] == ["b", "a"]
    assert small.decode(small.encode("ab你z")) == "ab��"


def test_words_are_ranked_by_count_then_spelling():
    tokenizer = train_tokenizer(["the app, the user's well-known app. 3.14 用户_x", "B b"], "word")
    counts = Counter(["the", "app", ",", "the", "user's", "well-known", "app", ".", "3.14"])
    counts.update(["用", "户", "_x", "B", "b"])
    assert tokenizer.vocabulary[4:] == sorted(counts, key=lambda word: (-counts[word], word))
    small = train_tokenizer(["a a a b b c"], "word", 6)
    assert small.decode(small.encode("c a, b")) == "� a � b"


@pytest.mark.parametrize("size", [300, 2000])  # the second is more than the texts give
def test_bpe_is_what_the_library_learns(size):
    reference = tokenizers.Tokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=alphabet,
        special_tokens=["<0>", "<1>", "<2>", "<3>"],
    )
    texts = [*ENGLISH, *CHINESE, "twice twice", "once"]
    reference.train_from_iterator(texts, trainer)
    ours = train_tokenizer(texts, "bpe", size)
    for text in texts:
        assert ours.encode(text) == reference.encode(text).ids
    assert ours.vocabulary[4:] == sorted(reference.get_vocab(), key=reference.get_vocab().get)[4:]


def test_a_larger_byte_vocabulary_gives_fewer_tokens():
    for kind in BYTE_KINDS:
        small, large = (train_tokenizer(ENGLISH, kind, size) for size in (262, 400))
        count = [len(t.encode("".join(ENGLISH))) for t in (small, large)]
        assert count[1] < 0.8 * count[0]


TRAIN = """
import hashlib, json, sys
sys.path.insert(0, "tests")
from test_text import ENGLISH, CHINESE, KINDS
from kerasaid.text import train_tokenizer
texts = ENGLISH + CHINESE + [" ".join(sorted(vars(str), key=len)), str.__doc__ + dict.__doc__]
for kind in KINDS:
    for size in (265, 300, 1000):
        tokenizer = train_tokenizer(iter(texts), kind, size)
        tokenizer.save(sys.argv[1])
        print(kind, size, hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())
"""


def test_training_gives_the_same_file_in_every_process(tmp_path, root):
    answers = {
        subprocess.run(
            [sys.executable, "-c", TRAIN, tmp_path / seed],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(answers) == 1
    assert len(answers.pop().splitlines()) == 12


def test_encode_batch_is_encode_of_each(trained):
    texts = ENGLISH + CHINESE + ODD
    assert trained.encode_batch(texts) == [trained.encode(text) for text in texts]
    assert trained.encode_batch([]) == []
    assert all(type(i) is int for i in trained.encode("The app"))


def test_decode_leaves_out_special_tokens_and_shows_unknown(trained):
    ids = trained.encode("The app")
    framed = np.array([2, *ids[:1], 0, 0, *ids[1:], 3, 0], "int32")
    assert trained.decode(framed) == trained.decode(ids) == "The app"
    assert trained.decode([0, 2, 3]) == trained.decode([]) == ""
    assert trained.decode([2, 1, 3]) == "�"


def test_ids_that_are_not_in_the_vocabulary_are_refused(trained):
    last = trained.vocabulary_size - 1
    for wrong in (-1, last + 1, 2**40):
        with pytest.raises(InputError, match=rf"from 0 to {last}, received .*{wrong}"):
            trained.decode([4, wrong])


def test_half_a_character_shows_as_replacement():
    tokenizer = train_tokenizer(["a"], "bpe", 260)
    assert tokenizer.decode(tokenizer.encode("a你")[:-1]) == "a�"


def test_a_saved_tokenizer_is_the_same(trained, tmp_path):
    path = tmp_path / "词.json"
    trained.save(path)
    loaded = load_tokenizer(str(path))
    assert (loaded.kind, loaded.vocabulary) == (trained.kind, trained.vocabulary)
    assert (loaded.loss, loaded.is_lossless) == (trained.loss, trained.is_lossless)
    texts = ENGLISH + CHINESE + ODD
    assert loaded.encode_batch(texts) == trained.encode_batch(texts)
    assert [loaded.decode(i) for i in loaded.encode_batch(texts)] == [
        trained.decode(i) for i in trained.encode_batch(texts)
    ]
    assert os.listdir(tmp_path) == ["词.json"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    tokenizer = train_tokenizer(["a"], "character")
    path = tmp_path / "t.json"
    path.write_text("old")

    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(InputError, match=r"t\.json' cannot be written: No space left"):
        tokenizer.save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["t.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none" / "t.json", tmp_path / "file" / "t.json"):
        with pytest.raises(InputError, match=r"t\.json' cannot be written"):
            train_tokenizer(["a"], "character").save(path)


def test_a_file_that_is_no_tokenizer_is_named(tmp_path):
    good = tmp_path / "good.json"
    train_tokenizer(["ab"], "character").save(good)
    content = json.loads(good.read_text(encoding="utf-8"))
    foreign = json.loads(json.dumps(content))
    foreign["tokenizer"]["model"]["vocab"] = {"a": 0, "b": 1, "⟨unk⟩": 2}
    wrong = ["", "{}", "[1]", "3", "null", '{"kind": "bpe", "tokenizer": {}}', "\xff"]
    wrong += [json.dumps(content | {"kind": "letters"}), json.dumps(content["tokenizer"])]
    path = tmp_path / "wrong.json"
    for text in [*wrong, json.dumps(foreign)]:
        path.write_bytes(text.encode("latin-1" if text == "\xff" else "utf-8"))
        with pytest.raises(InputError, match=r"wrong\.json' is not a file that Tokenizer\.save"):
            load_tokenizer(path)
    with pytest.raises(InputError, match=r"none\.json' cannot be read: No such file"):
        load_tokenizer(tmp_path / "none.json")


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_corpus_is_refused(kind):
    for texts in ([], iter([]), [""], ["", " \n"]):
        with pytest.raises(InputError, match="corpus is empty"):
            train_tokenizer(texts, kind)


@pytest.mark.parametrize(("kind", "smallest"), list(zip(KINDS, (5, 5, 260, 261))))
def test_the_smallest_vocabulary_is_named(kind, smallest):
    with pytest.raises(InputError, match=rf"at least {smallest}, received {smallest - 1}"):
        train_tokenizer(ENGLISH, kind, smallest - 1)
    assert train_tokenizer(ENGLISH, kind, smallest).vocabulary_size == smallest


def test_what_is_no_text_is_refused(trained):
    for wrong in (None, 3, b"bytes", ("a", "pair"), ["a"]):
        with pytest.raises(InputError, match=r"Expected text .str., received"):
            trained.encode(wrong)
        with pytest.raises(InputError, match=r"Expected text .str., received"):
            train_tokenizer(["a", wrong], trained.kind)
        with pytest.raises(InputError, match=r"Expected text .str., received"):
            split_sentences(wrong)
    with pytest.raises(InputError, match="received one str"):
        trained.encode_batch("a text")
    with pytest.raises(InputError, match="received one str"):
        train_tokenizer("a text", trained.kind)


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="character, word, bpe, unigram; received 'wordpiece'"):
        train_tokenizer(ENGLISH, "wordpiece")


# Windows


@pytest.fixture(scope="module")
def letters():
    return train_tokenizer(["abcdefghij" * 2], "character")


def test_packed_windows_are_the_stream_and_the_stream_one_later(letters):
    documents = letters.encode_batch(["abc", "", "defgh", "ij"])
    stream = np.array([i for ids in documents for i in (2, *ids, 3)])
    x, y = pack(documents, 4, letters)
    assert x.shape == y.shape == (4, 4)
    assert x.dtype == y.dtype == np.int32
    assert np.array_equal(x.ravel(), stream[:16])
    assert np.array_equal(y.ravel(), stream[1:17])
    x[0, 1] = 99
    assert y[0, 0] != 99  # they do not share memory


def test_packing_uses_all_that_fills_a_window(letters):
    documents = letters.encode_batch(["abcdef"])  # 8 tokens with BOS and EOS
    for length, windows in ((7, 1), (6, 1), (4, 1), (3, 2), (2, 3), (1, 7)):
        assert pack(documents, length, letters)[0].shape == (windows, length)
    with pytest.raises(InputError, match=r"has 8 tokens .* fewer than the 9 of one window"):
        pack(documents, 8, letters)
    with pytest.raises(InputError, match="has 0 tokens"):
        pack([], 1, letters)
    with pytest.raises(InputError, match=r"sequence_length must be .* at least 1, received 0"):
        pack(documents, 0, letters)


def test_one_document_instead_of_a_list_is_said(letters):
    for windows in (pack, lambda ids, length, tokens: pad(ids, tokens, length)):
        with pytest.raises(InputError, match="token ids of each document, received one 4"):
            windows(letters.encode("abc"), 2, letters)


def test_padded_rows_hold_one_document_each(letters):
    documents = letters.encode_batch(["abc", "", "de"])
    a, b, c, d, e = letters.encode("abcde")
    x, y, weights = pad(documents, letters)
    assert x.tolist() == [[2, a, b, c], [2, 0, 0, 0], [2, d, e, 0]]
    assert y.tolist() == [[a, b, c, 3], [3, 0, 0, 0], [d, e, 3, 0]]
    assert weights.tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]]
    assert (x.dtype, y.dtype, weights.dtype) == (np.int32, np.int32, np.float32)


def test_padding_to_a_length_cuts_or_fills(letters):
    documents = letters.encode_batch(["abc", "d"])
    a, b, _, d = letters.encode("abcd")
    x, y, weights = pad(documents, letters, sequence_length=2)
    assert (x.tolist(), y.tolist()) == ([[2, a], [2, d]], [[a, b], [d, 3]])
    assert weights.tolist() == [[1, 1], [1, 1]]
    x, y, weights = pad(iter(documents), letters, sequence_length=6)
    assert x.shape == y.shape == (2, 6)
    assert weights.sum(axis=1).tolist() == [4, 2]
    with pytest.raises(InputError, match="at least one document"):
        pad([], letters)
    with pytest.raises(InputError, match="sequence_length must be"):
        pad(documents, letters, 0)


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1500])
@pytest.mark.parametrize(("length", "batch_size"), [(1, 1), (3, 2), (7, 50), (64, 1000)])
def test_streamed_windows_are_the_packed_ones(letters, count, length, batch_size):
    rng = random.Random(count)
    lines = ["".join(rng.choices("abcdefghij", k=rng.randrange(120))) for _ in range(count)]
    lines[0] = "abcdefghij" * 9
    expected = pack(letters.encode_batch(lines), length, letters)
    batches = list(stream_windows(iter(lines), letters, length, batch_size))
    for k in (0, 1):
        assert np.array_equal(np.concatenate([batch[k] for batch in batches]), expected[k])
        assert all(batch[k].dtype == np.int32 for batch in batches)
    assert all(len(x) == batch_size for x, _ in batches[:-1])
    assert 1 <= len(batches[-1][0]) <= batch_size


def test_streaming_reads_lines_when_they_are_needed(letters):
    read = 0

    def many():
        nonlocal read
        for _ in range(200_000):
            read += 1
            yield "abcdefghij" * 3

    batches = stream_windows(many(), letters, 16, 8)
    assert read == 0
    next(batches)
    after_one = read
    for _ in range(2000):
        next(batches)
    assert after_one <= 1000
    assert read <= 2001 * 16 * 8 / 32 + 1000


def test_streaming_holds_little_in_memory(letters):
    lines = ("abcdefghij" for _ in range(100_000))
    tracemalloc.start()
    try:
        windows = sum(len(x) for x, _ in stream_windows(lines, letters, 32, 16))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert windows == (12 * 100_000 - 1) // 32
    assert peak < 2_000_000  # the windows alone take 9.6 MB


def test_a_stream_of_windows_is_checked_before_the_first(letters):
    with pytest.raises(InputError, match=r"batch_size must be .* at least 1, received 0"):
        stream_windows([], letters, 5, 0)


def test_a_stream_shorter_than_a_window_is_refused(letters):
    with pytest.raises(InputError, match=r"has 5 tokens .* fewer than the 6 of one window"):
        list(stream_windows(["abc"], letters, 5, 2))
    with pytest.raises(InputError, match="batch_size must be"):
        list(stream_windows(["abc"], letters, 1, 0))


def test_the_room_opens_without_keras(root):
    code = "import sys, kerasaid.text; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
