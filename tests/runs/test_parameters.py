import pytest

from kerasaid.errors import InputError
from kerasaid.runs.parameters import read_parameters, read_profiles, yaml_entries

CELL = """\
data: str = "a=b # c"  # a file, = of yours
n: int = 5  # passes
rate = 1e-3  # step
sizes: list[int] = [1, 2]
corpus: str | None = None  # a text
fast: bool = True
many: list = [
    1,
    2,
]  # things
anything = None
# profile long: n=20, sizes=[256, 128]
# profile long: corpus="x, y"
# profile short: n=1
"""
FOUND = read_parameters(CELL)


def test_names_types_defaults_and_comments_are_read():
    assert [(p.name, p.type) for p in FOUND.values()] == [
        *(("data", "str"), ("n", "int"), ("rate", "float"), ("sizes", "list[int]")),
        *(("corpus", "str | None"), ("fast", "bool"), ("many", "list"), ("anything", "any")),
    ]
    assert (FOUND["data"].default, FOUND["data"].help) == ('"a=b # c"', "a file, = of yours")
    assert FOUND["many"].help == "things"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n", " 7 ", 7),
        ("rate", "3", 3.0),
        ("fast", "No", False),
        ("sizes", "[3, 4]", [3, 4]),
        ("many", "[1, 'a', None]", [1, "a", None]),
        ("data", " a 'b' \"c\" \\ ü{x} ", " a 'b' \"c\" \\ ü{x} "),
        ("data", "None", "None"),
        ("corpus", "None", None),
        ("corpus", "'None'", "'None'"),
        ("corpus", "", ""),
        ("anything", "[1]", [1]),
        ("anything", "text", "text"),
    ],
)
def test_a_text_becomes_a_value_of_the_type(name, text, value):
    found = FOUND[name].parse(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n", "2.5", "n is a whole number (default 5), received '2.5'"),
        ("n", "None", "received 'None'"),
        ("rate", "inf", "rate is a number"),
        ("rate", "1e999", "rate is a number"),
        ("sizes", "[1, 2.5]", "sizes is a list of whole numbers such as [1, 2]"),
        ("sizes", "[True]", "a list of whole numbers"),
        ("sizes", "[" * 500, "a list of whole numbers"),
        ("data", "\udcff", "data is not UTF-8 text"),
    ],
)
def test_a_text_of_another_type_is_refused(name, text, message):
    with pytest.raises(InputError) as caught:
        FOUND[name].parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("rate", 3, 3.0),
        ("rate", "1e-3", 0.001),  # YAML takes it for text
        ("n", 3, 3),
        ("corpus", None, None),
        ("sizes", [], []),
    ],
)
def test_a_value_from_a_file_is_accepted_if_it_is_of_the_type(name, value, accepted):
    found = FOUND[name].accept(value)
    assert found == accepted and type(found) is type(accepted)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", True), ("n", 2.0), ("n", None), ("n", [1]), ("fast", 1)],
)
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(InputError, match=f"parameter {name} is"):
        FOUND[name].accept(value)


def test_an_unquoted_no_is_explained():  # YAML reads the code of Norwegian as false
    with pytest.raises(InputError, match=r"received False\. Put it in quotes\.$"):
        FOUND["corpus"].accept(False)
    with pytest.raises(InputError, match="rate is a number"):
        FOUND["rate"].accept(10**400)


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("n", "1, 2,3", [1, 2, 3]),
        ("n", "5", [5]),
        ("sizes", "[1],[2, 3]", [[1], [2, 3]]),
        ("corpus", '"a, b",c d,None', ["a, b", "c d", None]),
    ],
)
def test_values_to_vary_are_split_at_commas(name, text, values):
    assert FOUND[name].split(text) == values


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n", "", "varied over no value"),
        ("n", "1,x", "received 'x'"),
        ("n", "1,1", "varied over 1 twice"),
        ("sizes", "1,2", r"as sizes=\[1\],\[2,3\]; received '1,2'"),
    ],
)
def test_values_that_cannot_be_varied_are_refused(name, text, message):
    with pytest.raises(InputError, match=message):
        FOUND[name].split(text)


def test_profiles_are_read_from_comments():
    assert read_profiles(CELL, FOUND) == {
        "long": {"n": 20, "sizes": [256, 128], "corpus": "x, y"},
        "short": {"n": 1},
    }
    assert read_profiles('x = "# profile a: n=1"', FOUND) == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("# profile a: m=1", "profile a names 'm'; the parameters are: data, n"),
        ("# profile a: n=2.5", "n is a whole number"),
        ("# profile a: n", "profile a expects name=value"),
        ("# profile a: n=f()", "profile a expects name=value"),
        ("# profile a: n=1) or f(n=2", "profile a expects name=value"),
    ],
)
def test_a_wrong_profile_is_refused(line, message):
    with pytest.raises(InputError, match=message):
        read_profiles(line, FOUND)


def test_entries_of_a_file_know_their_lines(tmp_path):
    path = tmp_path / "ü p.yaml"
    path.write_bytes(b"\xef\xbb\xbfn: 5\n\n# why\nsizes:\n  - 1\ncorpus: \"a 'b' \xc3\xbc\"\n")
    assert yaml_entries(path) == [("n", 5, 1), ("sizes", [1], 4), ("corpus", "a 'b' ü", 6)]
    path.write_text("")
    assert yaml_entries(path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n: 5\nsizes: [1\n  x: }", "line 3: no valid YAML"),
        (b"- 1\n", "line 1: expected a mapping such as `epochs: 5`, received a list"),
        (b"\n5", "line 2: expected a mapping such as `epochs: 5`, received a value"),
        (b"n: 5\nd: 2020-99-99\n", "line 2: no valid YAML: month"),
        (b"n: 5\nc: \xff", "line 2: this is not UTF-8"),
        (b"n: !!python/object:os.system x", "line 1: no valid YAML"),
        (b"n: 1\0", "no valid YAML"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "p.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        yaml_entries(path)
    text = str(caught.value)
    assert str(path) in text and message in text and "\n" not in text
