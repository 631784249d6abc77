"""What is in the wheel, and that examples run as they stand."""

import ast
import inspect
import pathlib
import runpy

import pytest

import sahara
from sahara import _native

INSTALLED = pathlib.Path(sahara.__file__).parent
EXAMPLES = sorted((pathlib.Path(__file__).parents[1] / "examples").glob("*.py"))


def test_types_come_with_it_and_the_stub_names_what_the_module_has():
    assert (INSTALLED / "py.typed").is_file()
    stub = ast.parse((INSTALLED / "_native.pyi").read_text(encoding="utf-8"))
    members = {
        node.name: {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        for node in stub.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    named = {node.name for node in stub.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    named |= {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}
    real = {name for name in vars(_native) if not name.startswith("__")}
    assert {name for name in named if not name.startswith("_")} == real
    for name, methods in members.items():
        real = {member for member in vars(getattr(_native, name)) if not member.startswith("__")}
        assert methods == real, name


def test_everything_public_is_documented_and_there():
    for name in sahara.__all__:
        thing = getattr(sahara, name)
        assert name == "Vectors" or inspect.getdoc(thing), name
    for name, method in vars(sahara.Client).items():
        assert name.startswith("_") or name == "close" or inspect.getdoc(method), name
    # Twins take the same arguments.
    for one, twin in [
        (sahara.connect, sahara.aconnect),
        (sahara.models.pull, sahara.models.apull),
        (sahara.Client.embed, sahara.Client.aembed),
        (sahara.Client.classify, sahara.Client.aclassify),
        (sahara.Client.status, sahara.Client.astatus),
    ]:
        assert inspect.signature(one) == inspect.signature(twin), one
        assert inspect.iscoroutinefunction(twin)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_run_as_they_stand(example, capsys):
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()
