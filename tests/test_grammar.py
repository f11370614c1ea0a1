import collections
import itertools
import math
import re

import pytest
from scipy import stats

from kerasaid.datasets import load_startups, startups_grammar
from kerasaid.errors import InputError
from kerasaid.grammar import Grammar, Sentence

SMALL = """
# A comment
@number = 1 one | 3 many

sentence -> 3 <news> | 1 <question>
news     -> 2 The <user.@number> <like.@number> <company>,_<adverb> work<ing>.
          | 1 <company> grew.
question -> 1 Why does <company> not <act> x_y?
user.one -> 2 nurse | 1 cook
user.many -> 2 nurses | 1 cooks
like.one -> 1 likes
like.many -> 1 like
company  -> 5 Medo | 2 Medovia
adverb   -> 1 now | .5 then
ing      -> 1 ed | 1 ing | 2 , and rest
act      -> 1 grow | 1 pay <company>
"""
KINDS = ["complaint", "funding", "growth", "praise", "request", "team"]


def derivations(grammar, symbol):
    """Every derivation of a symbol, by brute force: probability and text."""
    if symbol not in grammar.rules:
        return [(1.0, symbol)]
    found = []
    for p, symbols in grammar.rules[symbol]:
        for parts in itertools.product(*(derivations(grammar, part) for part in symbols)):
            text = "".join(text for _, text in parts)
            found.append((p * math.prod(q for q, _ in parts), text))
    return found


@pytest.fixture(scope="module")
def small():
    grammar = Grammar.parse(SMALL)
    return grammar, {text: p for p, text in derivations(grammar, grammar.start)}


def test_the_form_is_read_as_it_is_explained(small):
    _, chances = small
    assert chances["Medo grew."] == pytest.approx(3 / 4 * 1 / 3 * 5 / 7)
    assert chances["The cook likes Medo, then worked."] == pytest.approx(
        3 / 4 * 2 / 3 * 1 / 4 * 1 / 3 * 5 / 7 * 1 / 3 * 1 / 4
    )
    assert chances["Why does Medovia not grow x y?"] == pytest.approx(1 / 4 * 2 / 7 * 1 / 2)
    assert "The cook like Medo, then worked." not in chances
    assert len(chances) == 2 * 2 * 2 * 2 * 3 + 2 + 2 * 3


def test_a_variable_without_a_name_shares_the_weight():
    grammar = Grammar.parse("@t = 3 x | 1 y\n@u = 1 v\na -> 2 @t-@u | 1 c @t")
    found = {text: p for p, (text,) in grammar.rules["<a>"]}
    assert found == pytest.approx({"x-v": 1 / 2, "y-v": 1 / 6, "c x": 1 / 4, "c y": 1 / 12})


def test_entropy_is_that_of_all_sentences(small):
    grammar, chances = small
    assert sum(chances.values()) == pytest.approx(1)
    expected = -sum(p * math.log2(p) for p in chances.values())
    assert grammar.entropy() == pytest.approx(expected, rel=1e-12)


def test_expected_lengths_are_those_of_all_sentences(small):
    grammar, chances = small
    characters = sum(p * len(text) for text, p in chances.items())
    words = sum(p * len(re.findall(r"\w+|[^\w\s]", text)) for text, p in chances.items())
    assert grammar.expected_length() == pytest.approx(characters, rel=1e-12)
    assert grammar.expected_length("word") == pytest.approx(words, rel=1e-12)


def test_words_of_chinese_are_characters_also_beside_latin_letters():
    grammar = Grammar.parse("s -> 1 用<app>，好。\napp -> 1 App<x> | 1 康禾<x>\nx -> 1 店2 | 1 s店")
    # 用 App 店 2 ， 好 。 | 用 Apps 店 ， 好 。 | 用 康 禾 店 2 ， 好 。 | 用 康 禾 s 店 ， 好 。
    assert grammar.expected_length("word") == (7 + 6 + 8 + 8) / 4


def test_log2_probability_is_that_of_all_sentences(small):
    grammar, chances = small
    for text, p in chances.items():
        assert grammar.log2_probability(text) == pytest.approx(math.log2(p), rel=1e-12)


@pytest.mark.parametrize("text", ["", "Medo", "Medo grew", "Medo grew. ", "The cook like Medo."])
def test_what_the_grammar_cannot_write_has_no_probability(small, text):
    assert small[0].log2_probability(text) == -math.inf


def test_an_ambiguous_text_has_the_probability_of_all_its_derivations():
    grammar = Grammar.parse("s -> 1 <a><b> | 2 abc\na -> 1 a | 1 ab\nb -> 1 bc | 1 c")
    assert 2 ** grammar.log2_probability("abc") == pytest.approx(2 / 3 + 1 / 3 * (1 / 4 + 1 / 4))


def test_sentences_are_drawn_as_often_as_their_probability(small):
    grammar, chances = small
    drawn = grammar.sample(20_000, seed=3)
    found = collections.Counter(sentence.text for sentence in drawn)
    assert set(found) <= set(chances)
    expected = [20_000 * p for p in chances.values()]
    assert min(expected) > 5
    assert stats.chisquare([found[text] for text in chances], expected).pvalue > 0.01


def test_a_drawn_sentence_knows_its_probability_and_kind(small):
    grammar, chances = small
    for text, log2_probability, kind in grammar.sample(300, seed=1):
        assert log2_probability == pytest.approx(math.log2(chances[text]), rel=1e-12)
        assert kind == ("question" if text.endswith("?") else "news")


@pytest.mark.parametrize(
    ("text", "unambiguous"),
    [
        ("s -> 1 x | 1 y", True),
        ("s -> 1 x | 2 x", False),  # one text by two alternatives
        ("s -> 1 <a> | 1 <b>\na -> 1 x\nb -> 1 x", False),  # by two names
        ("s -> 1 a<x> | 1 ab<y>\nx -> 1 bc\ny -> 1 c", False),  # "a" + "bc", "ab" + "c"
        ("s -> 1 <p><q>\np -> 1 a | 1 ab\nq -> 1 bc | 1 c", False),  # the same within one rule
        ("s -> 1 <p><q>\np -> 1 a | 1 ab\nq -> 1 bc | 1 d", True),
        ("s -> 1 <p>bc | 1 <p>c\np -> 1 a | 1 ab", False),  # two names, both in two ways
        ("s -> 1 <p><p>\np -> 1 a | 1 aa", False),  # "a" + "aa", "aa" + "a"
        ("s -> 1 <p>-<p>\np -> 1 a | 1 aa", True),
        ("s -> 1 <p>a<p> | 1 b\np -> 1 a | 1 aaa", False),
        ("s -> 1 <n> works | 1 <n>s work\nn -> 1 cook | 1 cooks", True),
        ("s -> 1 <n> work | 1 <n>s work\nn -> 1 cook | 1 cooks", False),
        ("s -> 1 <p><q><r>\np -> 1 x | 1 xy\nq -> 1 yz | 1 z\nr -> 1 w | 1 zw", False),
        ("s -> 1 我们<v>\nv -> 1 去 | 1 去吧", True),  # a text may begin another
    ],
)
def test_ambiguity_is_found(text, unambiguous):
    grammar = Grammar.parse(text)
    texts = [text for _, text in derivations(grammar, grammar.start)]
    assert (len(set(texts)) == len(texts)) == unambiguous  # brute force says so too
    assert grammar.is_unambiguous() == unambiguous
    if not unambiguous:
        with pytest.raises(ValueError, match=r"<s> writes a text in two ways"):
            grammar.entropy()


def test_ambiguity_agrees_with_brute_force_on_random_grammars():
    import random

    rng, verdicts = random.Random(0), collections.Counter()
    while sum(verdicts.values()) < 1_000:
        names = [f"<{i}>" for i in range(rng.randint(1, 4))]
        rules = {
            name: [
                (1, [piece(rng, names[i + 1 :]) for _ in "12"]) for _ in range(rng.randint(1, 3))
            ]
            for i, name in enumerate(names)
        }
        try:
            grammar = Grammar(rules)
        except ValueError:  # a name that is never used
            continue
        texts = [text for _, text in derivations(grammar, grammar.start)]
        verdict = len(set(texts)) == len(texts)
        assert grammar.is_unambiguous() == verdict, rules
        verdicts[verdict] += 1
    assert min(verdicts.values()) > 100


def piece(rng, names):
    return rng.choice(names if names and rng.random() < 0.6 else ["a", "b", "ab", "aa", "ba"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The start is not defined"),
        ("# only a comment", "The start is not defined"),
        ("| 1 x", r"Line 1: expected 'name -> weight text \| ...', received '\| 1 x'"),
        ("a -> 1 x\n\n# note\nb = 1 y", r"Line 4: expected 'name -> .* received 'b = 1 y'"),
        ("a -> x", "Line 1: expected a weight above 0, text and <names>, received 'x'"),
        ("a -> 1 x\n | 0 y", "Line 2: expected a weight above 0, .* received '0 y'"),
        ("a -> 1 x | -2 y", "Line 1: expected a weight above 0, .* received '-2 y'"),
        ("a -> nan x", "Line 1: expected a weight above 0, .* received 'nan x'"),
        ("a -> 1", "Line 1: .* received '1'"),
        ("a -> 1 x |", "Line 1: .* received ''"),
        ("a -> 1 <b", "Line 1: .* received '1 <b'"),
        ("a -> 1 <b c>", "Line 1: .* received '1 <b c>'"),
        ("a -> 1 x\na -> 1 y", "Line 2: <a> is defined twice"),
        ("@t = 1 x\n@t = 1 y", "Line 2: t is defined twice"),
        ("a -> 1 @topic", "Line 1: @topic is not defined above"),
        ("a.@topic -> 1 x", "Line 1: @topic is not defined above"),
        ("a -> 1 <b>", "<b> is not defined"),
        ("a ->", "<a> is not defined"),
        ("a -> 1 x\nb -> 1 y", "<b> is never used"),
        ("a -> 1 x\nb -> 1 <c>\nc -> 1 y", "<b> is never used"),
        ("a -> 1 x<b>\nb -> 1 <c>\nc -> 1 y | 1 <b>z", "Recursion: <(b|c)> uses <(c|b)> uses"),
        ("a -> 1 x | 1 <a>", "Recursion: <a> uses <a>"),
    ],
)
def test_a_broken_grammar_is_refused_with_its_line_or_name(text, message):
    with pytest.raises(ValueError, match=message):
        Grammar.parse(text)


def test_rules_that_write_nothing_are_refused():
    with pytest.raises(ValueError, match="<a> has an empty alternative"):
        Grammar({"<a>": [(1, ["x"]), (1, [])]})


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": 2.5}, {"count": 1, "seed": -1}])
def test_what_cannot_be_drawn_is_refused(small, arguments):
    with pytest.raises(InputError, match=r"(count|seed) must be a whole number of at least"):
        small[0].sample(**arguments)


def test_an_unknown_measure_is_refused(small):
    with pytest.raises(ValueError, match="'character' or 'word', received 'token'"):
        small[0].expected_length("token")


# --- the grammars that ship ------------------------------------------------------------------


@pytest.fixture(scope="module", params=["en", "zh"])
def shipped(request):
    grammar = startups_grammar(request.param)
    return request.param, grammar, grammar.sample(20_000, seed=5)


def test_shipped_grammars_are_unambiguous(shipped):
    assert shipped[1].is_unambiguous()


def test_shipped_entropy_is_the_mean_cost_of_samples(shipped):
    _, grammar, drawn = shipped
    costs = [-sentence.log2_probability for sentence in drawn]
    assert abs(grammar.entropy() - sum(costs) / len(costs)) < 3 * stats.sem(costs)
    assert 18 < grammar.entropy() < 28


def test_shipped_lengths_are_the_means_of_samples(shipped):
    _, grammar, drawn = shipped
    word = r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+|[^\w\s]"
    for measure, pattern in (("character", "."), ("word", word)):
        lengths = [len(re.findall(pattern, sentence.text)) for sentence in drawn]
        mean = sum(lengths) / len(lengths)
        assert abs(grammar.expected_length(measure) - mean) < 3 * stats.sem(lengths)


def test_shipped_kinds_are_drawn_as_often_as_their_weights(shipped):
    _, _, drawn = shipped
    found = collections.Counter(sentence.kind for sentence in drawn)
    assert sorted(found) == KINDS
    shares = {"complaint": 24, "request": 20, "praise": 18, "growth": 15, "funding": 12, "team": 11}
    expected = [len(drawn) * shares[kind] / 100 for kind in KINDS]
    assert stats.chisquare([found[kind] for kind in KINDS], expected).pvalue > 0.01


def test_shipped_probabilities_are_those_of_the_derivations(shipped):
    _, grammar, drawn = shipped
    for sentence in drawn[:200]:
        found = grammar.log2_probability(sentence.text)
        assert found == pytest.approx(sentence.log2_probability, rel=1e-12)


def test_shipped_sentences_are_many_and_of_a_small_vocabulary(shipped):
    language, grammar, drawn = shipped
    assert len(derivation_counts(grammar)) == len(grammar.rules)
    assert derivation_counts(grammar)[grammar.start] > 2_000_000
    pattern = r"\w+|[^\w\s]" if language == "en" else "."
    vocabulary = {word for text, *_ in drawn for word in re.findall(pattern, text)}
    assert len(vocabulary) == {"en": 448, "zh": 432}[language]


def derivation_counts(grammar):
    counts = {}
    while len(counts) < len(grammar.rules):
        for name, alternatives in grammar.rules.items():
            used = {s for _, symbols in alternatives for s in symbols if s in grammar.rules}
            if used <= set(counts):
                ways = [math.prod(counts.get(s, 1) for s in symbols) for _, symbols in alternatives]
                counts[name] = sum(ways)
    return counts


def test_orthography_of_the_shipped_grammars(shipped):
    language, _, drawn = shipped
    for text, *_ in drawn:
        if language == "en":
            assert re.fullmatch(r"[A-Z][A-Za-z]*(,? [A-Za-z-]+)*[.?]", text), text
            assert not re.search(r"\b[Aa] [aeiouAEIOU](?!niversity)|\b[Aa]n [^aeiouAEIOUX]", text)
            assert text.endswith("?") == text.startswith(("Why", "Could")), text
        else:
            assert re.fullmatch(r"[\u4e00-\u9fff]+(，[\u4e00-\u9fff]+)*[。？]", text), text
            assert text.endswith("？") == ("为什么" in text or "能不能" in text), text


def test_the_pronoun_is_that_of_the_founder(shipped):
    language, _, drawn = shipped
    founders = {
        "en": {"she": "Maria Aisha Lena", "he": "Daniel Omar Paul"},
        "zh": {"她": "李梅 王芳 陈静", "他": "张强 刘伟 赵明"},
    }[language]
    joined = re.compile(r"\w+ and [A-Z]|..和[张刘赵]")
    they, seen = {"en": "they", "zh": "他们"}[language], collections.Counter()
    for text, *_ in drawn:
        for pronoun, names in founders.items():
            if text.startswith(tuple(names.split())):
                found = set(re.findall(r"\b(?:she|he|they)\b|她|他们?", text))
                assert found <= {they if joined.match(text) else pronoun}, text
                seen.update(found)
    assert len(seen) == 3 and min(seen.values()) > 100


def test_the_verb_agrees_across_what_stands_between():
    drawn = [sentence.text for sentence in startups_grammar("en").sample(20_000, seed=6)]
    start = r"(A|One|Every|Another|Many|Most|Some|Several|Two) (?:\w+ )?\w+"
    verb = re.compile(start + r"( who [\w ]+?)? (says?|complains?|writes?|agrees?) that")
    seen = collections.Counter()
    for match in filter(None, map(verb.match, drawn)):
        one = match[1] in ("A", "One", "Every", "Another")
        assert match[3].endswith("s") == one, match[0]
        seen[one, bool(match[2])] += 1
    assert len(seen) == 4 and min(seen.values()) > 500


def test_the_measure_word_is_that_of_the_feature():
    measure = re.compile("[推提设想需希][出供计要有]+一([个份本张])[^。，]*?的([^。，]+)[。，]")
    pairs = collections.defaultdict(set)
    for sentence in startups_grammar("zh").sample(20_000, seed=6):
        for found, feature in measure.findall(sentence.text):
            pairs[feature].add(found)
    assert len(pairs) == 20 and all(len(found) == 1 for found in pairs.values())
    assert pairs["睡眠报告"] == {"份"} and pairs["错题本"] == {"本"} and pairs["路线图"] == {"张"}


FIELDS = {
    "en": [
        "patients? nurses? doctors? Medovia Pulsenest Carelume hospital pharmacy sleep diet",
        "guests? cooks? bakers? Mealfinch Soupwell Tastivo restaurant bakery recipe allergy",
        "travellers? commuters? tourists? Rideloom Roadwren Tripmint railway seat luggage",
        "students? teachers? tutors? Learnoak Studyfern Quizmoor school university homework",
        "freelancers? tenants? shopkeepers? Payheron Coinmoss Billstone invoice expense",
    ],
    "zh": [
        "病人 护士 医生 康禾 安脉 暖诊 医院 药店 门诊 处方 体温表",
        "顾客 厨师 居民 食舟 味林 灶边 餐馆 农场 外卖 菜谱 口味测试",
        "乘客 游客 上班族 行鹿 路燕 云轮 铁路局 机场 车票 路线图",
        "学生 老师 家长 学橡 知蕨 书芽 学校 单词 网课 错题本",
        "店主 会计 租客 账鹭 币苔 清石 税务局 发票 账单 余额 汇率表",
    ],
}


def test_a_sentence_is_about_one_field(shipped):
    language, _, drawn = shipped
    edge = r"\b" if language == "en" else ""
    fields = [re.compile(f"{edge}({'|'.join(words.split())}){edge}") for words in FIELDS[language]]
    about = [sum(bool(field.search(text)) for field in fields) for text, *_ in drawn]
    assert max(about) == 1, drawn[about.index(max(about))]
    assert sum(about) > 0.95 * len(about)


def test_the_same_seed_gives_the_same_sentences():
    assert startups_grammar("en").sample(1) == [
        Sentence(
            "Learnoak already reaches forty thousand young teachers in small villages.",
            pytest.approx(-21.1375035),
            "growth",
        )
    ]
    assert load_startups("zh", 1, seed=7) == ["行鹿从一个小车库起步，如今帮助五个国家的年轻游客。"]
    grammar = startups_grammar("zh")
    assert grammar.sample(5_000, seed=2)[:40] == grammar.sample(40, seed=2)
    assert grammar.sample(40, seed=2) != grammar.sample(40, seed=3)
