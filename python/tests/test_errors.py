"""Errors are exceptions by who can put them right, and advise in Python's words."""

import pathlib
import re

import pytest

import sahara
from sahara import _cpu, errors


def test_each_kind_is_an_error_of_sahara_and_of_python():
    kinds = {
        sahara.InputError: ValueError,
        sahara.UnreachableError: ConnectionError,
        sahara.ModelNotFoundError: LookupError,
        sahara.ModelChangedError: Exception,
        sahara.StoppedError: Exception,
        sahara.FaultError: RuntimeError,
    }
    for kind, of_python in kinds.items():
        made = errors.exception(kind.__name__, "why")
        assert type(made) is kind and isinstance(made, sahara.SaharaError) and isinstance(made, of_python)
        assert str(made) == "why"


def test_what_is_not_here(tmp_path):
    with pytest.raises(sahara.InputError, match=r'sahara\.models\.pull\("all-MiniLM-L6-v2"\)'):
        sahara.local(home=tmp_path)
    assert sahara.models.ls(home=tmp_path) == []
    with pytest.raises(sahara.InputError, match=r"sahara\.models\.ls\(\)"):
        sahara.models.rm("other", home=tmp_path)


def test_no_network(tmp_path, expected):
    sahara.models.pull(expected["folder"], name="tiny", home=tmp_path)
    with pytest.raises(sahara.InputError, match="`sahara devnet up` .in a shell., or name one with committee=FILE"):
        sahara.connect("tiny", home=tmp_path)
    committee = tmp_path / "committee.toml"
    text = pathlib.Path(expected["committee"]).read_text(encoding="utf-8")
    # Ports 10 to 19 answer nobody.
    committee.write_text(re.sub(r"127\.0\.0\.1:\d+(\d)\b", r"127.0.0.1:1\1", text), encoding="utf-8")
    with pytest.raises(sahara.UnreachableError, match="node 1"):
        sahara.connect("tiny", home=tmp_path, committee=committee)


def test_a_key_that_is_not_admitted_is_named(tmp_path, expected):
    sahara.models.pull(expected["folder"], name="tiny", home=tmp_path)
    with pytest.raises(sahara.UnreachableError, match=sahara.whoami(tmp_path)):
        sahara.connect("tiny", home=tmp_path, committee=expected["committee"])


def test_somebody_elses_model_that_is_not_there():
    with pytest.raises(sahara.ModelNotFoundError, match=sahara.whoami()):
        sahara.connect(f"{'11' * 32}/none")


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: sahara.connect(mode="fast"), 'give "exact" or "faithful"'),
        (lambda: sahara.connect(weights="closed"), 'give "private" or "open"'),
        (lambda: sahara.connect(jobs=0), "1 to 64"),
        (lambda: sahara.models.pull("x", source="elsewhere"), '"hub"'),
        (lambda: sahara.models.pull("no/such/folder/at/all"), "no/such/folder"),
    ],
)
def test_wrong_arguments(call, words):
    with pytest.raises(sahara.InputError, match=re.escape(words)):
        call()


def test_wrong_questions(client, classifier):
    with pytest.raises(TypeError, match=r"give \[text\]"):
        client.embed("one text")
    with pytest.raises(TypeError):
        client.embed([b"bytes"])
    with pytest.raises(sahara.InputError, match=r"client\.embed\(\)"):
        client.classify(["a text"])
    with pytest.raises(sahara.InputError, match=r"client\.classify\(\)"):
        classifier.embed(["a text"])
    with pytest.raises(sahara.InputError, match="2 texts and 1 pairs"):
        classifier.classify(["a", "b"], ["c"])
    with pytest.raises(sahara.InputError, match="other"):
        client.embed(["a text"], prompt="other")
    with pytest.raises(sahara.InputError, match="text 1 has 2000000 bytes"):
        client.embed(["a text", "x" * 2_000_000])


def test_no_error_speaks_of_the_command_line():
    """What the SDK and this package say: no text of their sources names an option, or a command that is a function here."""
    root = pathlib.Path(__file__).parents[2]
    texts = []
    for path in [*(root / "src").rglob("*.rs"), *(root / "python/src").rglob("*.rs")]:
        lines = path.read_text(encoding="utf-8").split("#[cfg(test)]")[0].splitlines()
        code = "\n".join(line for line in lines if not line.strip().startswith("//"))
        texts += re.findall(r'"((?:[^"\\]|\\.)*)"', code, re.S)
    assert len(texts) > 200, "the texts are found"
    for text in texts:
        assert not re.search(r" --[a-z]|`sahara (model (pull|ls|rm|shared|get)|whoami|embed|classify)", text), text


def test_an_old_processor_is_told():
    assert _cpu.missing("processor\t: 0\nflags\t\t: sse fma bmi2\n") == {"avx2"}
    assert _cpu.missing("flags : avx2 bmi2 fma sse\nflags : sse\n") == set()
    assert _cpu.missing("nothing of the kind") == set()
