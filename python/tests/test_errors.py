"""Errors are exceptions by who can put them right, and advise in Python's words."""

import pathlib
import re

import pytest

import sahara
from sahara import _cpu, _words, errors


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


def test_advice_of_the_sdk_has_no_options_of_the_command_line():
    """Whatever the SDK advises today: every string of its sources that names an option."""
    sources = pathlib.Path(__file__).parents[2] / "src"
    texts = []
    for path in sources.rglob("*.rs"):
        text = path.read_text(encoding="utf-8")
        lines = text.split("#[cfg(test)]")[0].splitlines()
        code = "\n".join(line for line in lines if not line.strip().startswith("//"))
        texts += [found for found in re.findall(r'"((?:[^"\\]|\\.)*)"', code, re.S) if re.search(r" --[a-z]", found)]
    texts = [re.sub(r"\\\n\s*", "", text).replace("{}", "x").replace('\\"', '"') for text in texts]
    texts = [text for text in texts if not text.startswith("--")]
    for text in texts:
        said = _words.in_python(re.sub(r"\{(\w+)\}", r"\1", text))
        assert "--" not in said, f"{text!r} became {said!r}"


def test_commands_become_functions_and_the_rest_stays_for_a_shell():
    said = _words.in_python("see `sahara model ls`, or `sahara model pull ./x --name NAME --force`")
    assert said == 'see sahara.models.ls(), or sahara.models.pull("./x", name=NAME, force=True)'
    assert _words.in_python("ask `sahara operator doctor`") == "ask `sahara operator doctor` (in a shell)"
    assert _words.in_python("it's `sahara model pull 'x`") == "it's `sahara model pull 'x`"


def test_an_old_processor_is_told():
    assert _cpu.missing("processor\t: 0\nflags\t\t: sse fma bmi2\n") == {"avx2"}
    assert _cpu.missing("flags : avx2 bmi2 fma sse\nflags : sse\n") == set()
    assert _cpu.missing("nothing of the kind") == set()
