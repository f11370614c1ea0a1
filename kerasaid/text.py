"""From text to windows of token ids: sentences, splits without leaks, tokenizers, batches."""

import contextlib
import json
import os
import re
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from kerasaid.errors import InputError, require_at_least

# Ids 0 to 3. No text becomes one of these: they have several characters, and neither a word nor
# the byte-level alphabet has ⟨ in it.
SPECIAL_TOKENS = ["⟨pad⟩", "⟨unk⟩", "⟨bos⟩", "⟨eos⟩"]

_KINDS = {  # the smallest vocabulary, and what is lost between encode and decode
    "character": (5, "Characters that the vocabulary does not hold become UNK."),
    "word": (5, "Words that the vocabulary does not hold become UNK; spacing is normalised."),
    "bpe": (260, ""),
    "unigram": (261, ""),
}

# A Chinese full stop ends a sentence by itself, a Western one only before white space.
_END = re.compile(
    r"(?:[。！？]|……)++[」』”’）)]*+(?![，、；：,;])"
    r"|(?<![.!?…])[.!?…]++[\"'”’)\]}»*]*+(?=\s+[\"'“‘(\[*]*(?P<next>\w*))"
)
_ABBREVIATION = re.compile(
    r"(?<![\w.])(?:(?P<never>Mr|Mrs|Ms|Dr|Prof|St|Mt|Gen|Lt|Rev|Sen|Gov|Figs?|Eqs?|Vol|[Ee]\.g|"
    r"[Ii]\.e|vs|cf|al|ca|approx|(?m:^)[ \t]*\d{1,2})|(?P<number>Nos?|pp?|Sec|Ch|Jan|Feb|Aug|Sept?|"
    r"Oct|Nov|Dec)|etc|Inc|Ltd|Co|Corp|Bros|Jr|Sr|Ph\.D|(?:[A-Za-z]\.)+[A-Za-z]|[A-Z])\Z"
)
_STARTER = re.compile(
    r"(?:The|An?|Th(?:is|at|ese|ose|ey|eir|ere|en)|Its?|She|He|His|Her|You|I|We|Our|My|But|And|So|"
    r"If|When|While|In|On|At|For|As|After|Before|Now|Most|Some|Many|No|Yes)\b"
)
# Runs of letters and digits, but not of Han; digits keep their decimal points, words ' and -.
_LETTERS = r"[\w&&[^\p{Han}]]+"
_WORD = rf"{_LETTERS}(?:(?:['’-]|(?<=\d)[.,](?=\d)){_LETTERS})*|\S"
_PATTERNS = {"character": Regex(r"[\s\S]"), "word": Regex(_WORD)}
_CHINESE = r"\u2e80-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_NO_SPACE = re.compile(rf" (?=[.,;:!?%)\]}}'’”»…/—{_CHINESE}])|(?<=[(\[{{“‘«$£€#@/—{_CHINESE}]) ")

_CHUNK = 512  # lines encoded at once while streaming


def split_sentences(text):
    """Return the sentences of English or Chinese text, stripped and otherwise unchanged.

    A sentence ends after 。！？ or ……, after . ! or ? before white space, and at a blank line;
    closing quotes and brackets belong to it. Abbreviations, initials, decimals and the numbers
    of a list do not end one. Rules cannot settle all: "the U.S. Investors wait" stays one.

    Example:

    >>> split_sentences("Dr. Li pays $3.50, e.g. by card. Users wait! “好。”她说。")
    ['Dr. Li pays $3.50, e.g. by card.', 'Users wait!', '“好。”', '她说。']
    """
    sentences = []
    for paragraph in re.split(r"\n\s*\n", *_texts([text])):
        start = 0
        for end in _END.finditer(paragraph):
            if _is_end(paragraph, end):
                sentences.append(paragraph[start : end.end()])
                start = end.end()
        sentences.append(paragraph[start:])
    return [sentence for sentence in map(str.strip, sentences) if sentence]


def _is_end(text, end):
    mark, following = end[0], end["next"]
    if following is None:  # a Chinese one
        return True
    if following[:1].islower() and mark not in (".", "!", "?"):  # “Really?” he asked... and left
        return False
    if mark[0] != ".":
        return True
    found = _ABBREVIATION.search(text, max(0, end.start() - 12), end.start())
    if not found or found["never"]:
        return not found
    return not following[:1].isdigit() if found["number"] else bool(_STARTER.match(following))


class Split(NamedTuple):
    """Documents to learn from, to choose by, and to report on."""

    train: list
    validation: list
    test: list


def split_documents(documents, validation=0.1, test=0.1):
    """Return documents in their order as `Split(train, validation, test)`.

    Contiguous, because neighbours resemble each other: in a random split near copies fall on
    both sides, and the test score flatters. Whole documents, and before a tokenizer is trained
    or windows are cut, so that neither has seen what it is tested on.

    Example:

    >>> split_documents(["a", "b", "c", "d", "e"], validation=0.2, test=0.2)
    Split(train=['a', 'b', 'c'], validation=['d'], test=['e'])

    Args:
        documents: at least 3, or InputError.
        validation, test: shares, each above 0 and together below 1, or InputError. Sizes are
            rounded; each part gets at least one document.
    """
    documents = list(_texts(documents))
    count = len(documents)
    if count < 3:
        raise InputError(f"A split needs at least 3 documents, received {count}.")
    if not (validation > 0 and test > 0 and validation + test < 1):
        received = f"received {validation!r} and {test!r}"
        raise InputError(f"validation and test: each above 0, together below 1; {received}.")
    validation = min(max(1, round(count * validation)), count - 2)
    test = min(max(1, round(count * test)), count - validation - 1)
    first, second = count - validation - test, count - test
    return Split(documents[:first], documents[first:second], documents[second:])


class Tokenizer:
    """Turns text into token ids and back: a thin wrapper of `tokenizers.Tokenizer`.

    Attributes:
        kind: as given to `train_tokenizer`.
        vocabulary: list of tokens, index = id. In "bpe" and "unigram" each character of a token
            stands for one byte of UTF-8, as in GPT-2: Ġ is a space.
        vocabulary_size: its length, special tokens included.
        pad_id, unk_id, bos_id, eos_id: 0, 1, 2 and 3, in every kind.
        loss: a sentence that says what decode cannot give back; empty when nothing is lost.
        is_lossless: whether decode gives every text back exactly.
    """

    pad_id, unk_id, bos_id, eos_id = range(4)

    def __init__(self, kind, huggingface):
        self.kind, self._huggingface = kind, huggingface
        self.loss = _KINDS[kind][1]
        self.is_lossless = not self.loss
        ids = huggingface.get_vocab()
        self.vocabulary = sorted(ids, key=ids.get)
        self.vocabulary_size = len(ids)

    def encode(self, text):
        """Return the token ids of a text, without BOS and EOS; InputError unless it is a str."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts):
        """Return a list of token ids for each text, as `encode`, on all processors."""
        texts = list(_texts(texts))
        encodings = self._huggingface.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids):
        """Return the text of token ids: UNK as �, other special tokens left out.

        In "word", spaces join words, but not next to Chinese, before closing or after opening
        punctuation. In "bpe" and "unigram" � also stands for bytes that are no whole character.
        """
        ids = [int(i) for i in ids]
        if ids and not 0 <= min(ids) <= max(ids) < self.vocabulary_size:
            last = self.vocabulary_size - 1
            raise InputError(f"Ids go from 0 to {last}, received {min(ids)} to {max(ids)}.")
        tokens = ["�" if i == 1 else self.vocabulary[i] for i in ids if i == 1 or i > 3]
        if self.kind == "word":
            return _NO_SPACE.sub("", " ".join(tokens))
        decoder = decoders.Fuse() if self.kind == "character" else decoders.ByteLevel()
        return decoder.decode(tokens)

    def save(self, path):
        """Write one JSON file for `load_tokenizer`, whole or not at all; InputError where not."""
        path = Path(path).resolve()  # through a link, to what it points at
        content = {"kind": self.kind, "tokenizer": json.loads(self._huggingface.to_str())}
        part = path.parent / f".{path.name}-{os.getpid()}"
        try:
            part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            raise InputError(f"{str(path)!r} cannot be written: {error.strerror}.") from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink()


def load_tokenizer(path):
    """Return the `Tokenizer` saved in a file; InputError when the file does not hold one."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        huggingface = tokenizers.Tokenizer.from_str(json.dumps(content["tokenizer"]))
        tokenizer = Tokenizer(content["kind"], huggingface)
        if tokenizer.vocabulary[:4] == SPECIAL_TOKENS:
            return tokenizer
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
    except Exception:  # from_str raises nothing more precise
        pass
    raise InputError(f"{str(path)!r} is not a file that Tokenizer.save wrote.")


def train_tokenizer(texts, kind="bpe", vocabulary_size=1000):
    """Learn a vocabulary from texts; the same texts give the same vocabulary.

    - "character": the most frequent characters, ties in order of code points.
    - "word": the most frequent words and punctuation marks. A word is a run of letters and
      digits with ' and - inside; each Han character is one, since Chinese has no spaces.
    - "bpe": joins the most frequent pair of bytes, again and again, but none that occurs once
      (Sennrich et al. 2016, arXiv 1508.07909). Any text in any language comes back exactly.
    - "unigram": drops from many pieces of bytes those that the likelihood misses least (Kudo
      2018, arXiv 1804.10959). Exact as "bpe"; the library seeks pieces that several distinct
      words share, so where these are few its sequences are longer.

    Example:

    >>> tokenizer = train_tokenizer(["The app is slow, and users wait."], "word")
    >>> tokenizer.decode(tokenizer.encode("Users wait, and the app is slow."))
    '� wait, and � app is slow.'

    Args:
        texts: an iterable of str; a generator is read once and not kept.
        vocabulary_size: the most tokens, with the 4 special ones; fewer come from little text.
            At least 5; 260 for "bpe", which holds the 256 bytes; "unigram" needs one more.

    Raises:
        InputError: for texts without a character, an unknown kind, or a size too small for it.
    """
    if kind not in _KINDS:
        raise InputError(f"kind must be one of {', '.join(_KINDS)}; received {kind!r}.")
    require_at_least(_KINDS[kind][0], vocabulary_size=vocabulary_size)
    return Tokenizer(kind, _train(_texts(texts, not_blank=True), kind, int(vocabulary_size)))


def _train(texts, kind, size):
    unknown = {"unk_token": SPECIAL_TOKENS[1]}
    options = {"vocab_size": size, "special_tokens": SPECIAL_TOKENS, "show_progress": False}
    if kind in _PATTERNS:
        model, trainer = models.WordLevel(**unknown), trainers.WordLevelTrainer(**options)
        pieces = pre_tokenizers.Split(_PATTERNS[kind], "removed", invert=True)
    else:
        options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
        pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if kind == "bpe":
            model, trainer = models.BPE(), trainers.BpeTrainer(min_frequency=2, **options)
        else:
            model, trainer = models.Unigram(), trainers.UnigramTrainer(**unknown, **options)
    huggingface = tokenizers.Tokenizer(model)
    huggingface.pre_tokenizer = pieces
    huggingface.train_from_iterator(texts, trainer)
    content = json.loads(huggingface.to_str())
    content["added_tokens"] = []  # these would be looked for in the text
    if kind == "unigram":
        content["model"]["vocab"] = _in_order(content["model"]["vocab"])
    return tokenizers.Tokenizer.from_str(json.dumps(content))


def _in_order(vocabulary):
    """Take the trainer's random order out of Unigram's scores and ids.

    It shows in the last decimals and in bytes never seen alone, up to 0.0256 above the lowest.
    """
    lowest = min(score for _, score in vocabulary)
    pieces = []
    for piece, score in vocabulary[4:]:
        unseen = len(piece) == 1 and score < lowest + 0.0257
        pieces.append((piece, round(lowest if unseen else score, 4)))
    return vocabulary[:4] + sorted(pieces, key=lambda item: (-item[1], item[0]))


def _texts(texts, not_blank=False):
    """Yield texts; raise for what is none, or when all of them are blank."""
    if isinstance(texts, (str, bytes)):
        raise InputError(f"Expected a list of texts, received one {type(texts).__name__}.")
    blank = not_blank
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"Expected text (str), received {text!r:.80}.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"Text must be valid Unicode, received half a character at position {error.start} "
                f"of {text!r:.80}."
            ) from None
        blank = blank and not text.strip()
        yield text
    if blank:
        raise InputError("The corpus is empty: a tokenizer needs at least one character.")


def pack(documents_ids, sequence_length, tokenizer):
    """Join documents to one stream, BOS document EOS BOS document EOS, and cut it into windows.

    Nothing is padding; what fills no window at the end is dropped.

    Args:
        documents_ids: token ids for each document, as `encode_batch` returns them, or InputError.
        sequence_length: tokens in a window; InputError when the stream has too few for one.
        tokenizer: whose BOS and EOS are used.

    Returns:
        `(x, y)`, int32, shape (windows, sequence_length); y is the stream one token later.
    """
    require_at_least(1, sequence_length=sequence_length)
    return _windows(_stream(documents_ids, tokenizer), sequence_length)


def pad(documents_ids, tokenizer, sequence_length=None):
    """Give each document a row, padded on the right: x is BOS document, y is document EOS.

    Args:
        documents_ids: token ids for each document; at least one, or InputError.
        tokenizer: whose BOS, EOS and PAD are used.
        sequence_length: columns; longer documents are cut and have no EOS. None for as many as
            the longest document needs.

    Returns:
        `(x, y, weights)`, shape (documents, sequence_length): int32, int32, and float32 that is
        1 where y counts and 0 where it is padding.
    """
    documents = [list(ids) for ids in _rows(documents_ids)]
    if not documents:
        raise InputError("pad needs at least one document, received none.")
    if sequence_length is None:
        sequence_length = max(map(len, documents)) + 1
    require_at_least(1, sequence_length=sequence_length)
    x = np.full((len(documents), sequence_length), tokenizer.pad_id, "int32")
    y, weights = x.copy(), np.zeros(x.shape, "float32")
    for row, ids in enumerate(documents):
        length = min(len(ids) + 1, sequence_length)
        x[row, :length] = [tokenizer.bos_id, *ids][:length]
        y[row, :length] = [*ids, tokenizer.eos_id][:length]
        weights[row, :length] = 1
    return x, y, weights


def stream_windows(lines, tokenizer, sequence_length, batch_size):
    """Yield batches of the windows that `pack` makes, holding a few hundred lines at a time.

    Example:

    >>> tokenizer = train_tokenizer(["ab"], "character")
    >>> [x.tolist() for x, y in stream_windows(iter(["ab", "b"]), tokenizer, 2, batch_size=2)]
    [[[2, 4], [5, 3]], [[2, 5]]]

    Args:
        lines: an iterable of str, one document each, read as batches are asked for.
        tokenizer, sequence_length: as for `pack`.
        batch_size: windows in a batch; the last batch may have fewer.

    Yields:
        `(x, y)`, int32, shape (batch_size, sequence_length).
    """
    require_at_least(1, sequence_length=sequence_length, batch_size=batch_size)  # now, not later
    return _batches(_texts(lines), tokenizer, sequence_length, batch_size)


def _batches(lines, tokenizer, sequence_length, batch_size):
    size, given = batch_size * sequence_length, False
    held = np.empty(0, "int32")
    while chunk := list(islice(lines, _CHUNK)):
        held = np.concatenate([held, _stream(tokenizer.encode_batch(chunk), tokenizer)])
        while len(held) > size:
            yield _windows(held[: size + 1], sequence_length)
            held, given = held[size:], True
    if len(held) > sequence_length or not given:
        yield _windows(held, sequence_length)


def _stream(documents_ids, tokenizer):
    framed = ((tokenizer.bos_id, *ids, tokenizer.eos_id) for ids in _rows(documents_ids))
    return np.fromiter(chain.from_iterable(framed), "int32")


def _rows(documents_ids):
    for ids in documents_ids:
        if isinstance(ids, str) or not np.iterable(ids):
            raise InputError(f"Expected the token ids of each document, received one {ids!r:.80}.")
        yield ids


def _windows(stream, sequence_length):
    windows = (len(stream) - 1) // sequence_length
    if windows < 1:
        raise InputError(
            f"The corpus has {len(stream)} tokens with BOS and EOS, fewer than the "
            f"{sequence_length + 1} of one window with sequence_length={sequence_length}."
        )
    shape, used = (windows, sequence_length), windows * sequence_length
    return stream[:used].reshape(shape), stream[1 : used + 1].reshape(shape).copy()
