import json
import math
import os

import pytest

from kerasaid.runs import record


def a_record(**changes):
    new = {"version": record.VERSION, "profile": None, "cells": [], "figures": []}
    return {**dict.fromkeys(record.KEYS), **new, **changes}


def test_a_record_is_read_back(tmp_path):
    record.write(tmp_path, a_record(status="complete", seconds=1.5))
    assert record.read(tmp_path) == a_record(status="complete", seconds=1.5)
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_record_of_version_1_is_read_and_left_as_it_is(tmp_path):
    old = dict.fromkeys(record.KEYS, None)
    (tmp_path / "record.json").write_text(json.dumps(old))
    found = record.read(tmp_path)
    assert found == {**old, "version": 1, "profile": None, "cells": [], "figures": []}
    assert json.loads((tmp_path / "record.json").read_text()) == old


def test_every_key_of_a_record_is_documented():
    for key in a_record():
        assert f"`{key}`" in record.__doc__


def test_what_json_does_not_know_is_written_as_text(tmp_path):
    record.write(tmp_path, {"claims": [{"margin": math.inf, "value": math.nan}]})
    text = (tmp_path / "record.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["claims"] == [
        {"margin": "inf", "value": "nan"}
    ]


@pytest.mark.parametrize("content", [None, "", '{"status": "comp', "[]", '{"status": "complete"}'])
def test_a_missing_or_damaged_record_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "record.json").write_text(content)
    assert record.read(tmp_path) is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    record.write(tmp_path, a_record(status="complete"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        record.write(tmp_path, a_record(status="failed"))
    assert caught.value.filename == str(tmp_path / "record.json")
    assert record.read(tmp_path) == a_record(status="complete")
    assert os.listdir(tmp_path) == ["record.json"]
