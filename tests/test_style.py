"""Docstrings are sentences or noun phrases that can be read without the name beside them."""

import ast
from pathlib import Path

import striate

FRAGMENTS = {"Of", "That", "In", "For", "With", "By", "Whose"}
"""First words of a fragment that only its name completes, as in "Of a class."."""


def docstrings(path):
    """(line, text) of each string that stands by itself: the docstrings of modules, classes, functions, fields and constants."""
    for node in ast.walk(ast.parse(path.read_text())):
        for child in ast.iter_child_nodes(node):
            if (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            ):
                yield child.lineno, child.value.value.strip()


def test_no_docstring_is_a_fragment():
    package = Path(striate.__file__).parent
    found = [
        f"{path.relative_to(package)}:{line}: {text.splitlines()[0]}"
        for path in sorted(package.rglob("*.py"))
        for line, text in docstrings(path)
        if text.split(maxsplit=1)[0] in FRAGMENTS
    ]
    assert not found


def test_fragments_are_found(tmp_path):
    (tmp_path / "x.py").write_text('"""Numbers."""\n\nMOST = 5\n"""Of a class."""\n')
    assert [text.split()[0] in FRAGMENTS for _, text in docstrings(tmp_path / "x.py")] == [False, True]
