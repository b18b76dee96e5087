"""The documentation says what is: its commands run, its links lead somewhere, every command is in it."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

import striate
from striate.cli import app, main
from striate.nets import FAMILIES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "README.zh-CN.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / "docs").rglob("*.md"),
]

NEEDS_MORE = ("--budget 60s", "--data photos")
"""Commands that need the full set or the reader's own images: only their options are checked, below."""


def blocks(language, page=README):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def shell_commands(page=README):
    lines = "\n".join(blocks("sh", page)).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("striate ")]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the files that the README's commands name."""
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "boot.png", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["small", pytest.param("whole", marks=pytest.mark.full)])
def sample(request):
    """The sample that ships with the package, cut to a tenth and without charts, or whole."""
    for needed in ("small_sample", "no_charts") * (request.param == "small"):
        request.getfixturevalue(needed)
    return request.param


def test_the_readmes_commands_run_one_after_the_other(clone, capsys, sample):
    ran = 0
    for words in shell_commands():
        if any(part in " ".join(words) for part in NEEDS_MORE):
            continue
        with pytest.raises(SystemExit) as exited:
            main(words[1:])
        captured = capsys.readouterr()
        assert not exited.value.code, f"{' '.join(words)}: {captured.err}"
        assert captured.out
        ran += 1
    assert ran >= 8


@pytest.mark.full
def test_a_folder_as_in_the_readme(clone, capsys, pictures):
    pictures.rename(clone / "photos")
    command = next(words for words in shell_commands() if "photos" in words)
    with pytest.raises(SystemExit) as exited:
        main([*command[1:], "--epochs", "1"])
    assert not exited.value.code, capsys.readouterr().err


def test_the_readmes_python_runs(clone, capsys, sample):
    (program,) = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    answers = ["Ankle boot"] if sample == "whole" else striate.load_data("fashion-mnist-sample").classes
    shown = capsys.readouterr().out
    assert any(answer in shown for answer in answers)


def test_both_readmes_have_the_same_commands_and_code():
    chinese = ROOT / "README.zh-CN.md"
    assert shell_commands(chinese) == shell_commands()
    strip = [re.sub(r"\s*#.*", "", block) for block in blocks("python")]
    assert [re.sub(r"\s*#.*", "", block) for block in blocks("python", chinese)] == strip


def test_every_command_is_documented_and_has_help():
    for page in (README, ROOT / "README.zh-CN.md"):
        text = page.read_text(encoding="utf-8")
        for command in app.registered_commands:
            assert f"`striate {command.name}" in text, f"{page.name} lacks {command.name}"
            assert command.callback.__doc__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_makefile_does_what_the_readme_says():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", "\n".join(blocks("sh")), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_reference_of_commands_is_what_the_script_writes():
    from scripts import make_commands

    assert make_commands.PAGE.read_text(encoding="utf-8") == make_commands.page(), "run: make docs"


def test_the_pages_of_the_catalogue_are_what_the_script_writes():
    from scripts import make_docs

    for name, text in make_docs.pages().items():
        assert (make_docs.DOCS / name).read_text(encoding="utf-8") == text, "run: make docs"
    for name in (family.drawn for family in FAMILIES.values()):
        anatomy = striate.inspect(name)
        assert (make_docs.DOCS / f"{name}.svg").read_text(encoding="utf-8") == anatomy.diagram()
        assert (make_docs.DOCS / f"{name}-maps.svg").read_text(encoding="utf-8") == anatomy.maps()
