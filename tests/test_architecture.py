"""The house: imports point downwards, the package is light to import, and its public names are there."""

import ast
import subprocess
import sys
from pathlib import Path

import striate

PACKAGE = Path(striate.__file__).parent

LAYERS = (
    {"choices", "errors", "strictjson", "terminal", "texts"},
    {"files"},
    {"drawing"},
    {"notebook"},
    {"arguments", "forms"},
    {"catalogue", "data", "nets"},
    {"anatomy", "checkup", "metrics", "machine"},
    {"events", "outcome", "recipe", "runfiles"},
    {"namedrecipes", "runforms", "settings"},
    {"commands"},
    {"predicting"},
    {"run"},
    {"advice"},
    {"live", "runlist", "trust"},
    {"inference", "outofdistribution", "tracking"},
    {"classifier"},
    {"training"},
    {"evaluation", "testing"},
    {"explaining"},
    {"exporting"},
    {"report"},
    {"sharing"},
    {"experiment"},
    {"cli"},
)
"""Lowest first. A module imports from layers below its own, and from itself."""

EXCEPTIONS = {("run", "classifier")}
"""Run.predict() delegates. The package's own __init__ hands out the public names, lazily."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(path):
    """(part of the package that imports, part that is imported) for every import in a file."""
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "striate":
            parts = node.module.split(".")
            for target in [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]:
                yield place, target
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("striate."):
                    yield place, alias.name.split(".")[1]


def test_imports_point_downwards_only():
    wrong = set()
    for path in PACKAGE.rglob("*.py"):
        for place, target in imports(path):
            if place in ("__init__", "__main__") or target == "__version__" or place == target:
                continue
            if (place, target) in EXCEPTIONS:
                continue
            if LEVEL[target] >= LEVEL[place]:
                wrong.add(f"{path.relative_to(PACKAGE)} imports {target}")
    assert not wrong


def test_the_layers_name_every_part_of_the_package():
    parts = {
        path.name.removesuffix(".py")
        for path in PACKAGE.iterdir()
        if (path.is_dir() and any(path.glob("*.py"))) or path.suffix == ".py"
    }
    assert parts - {"__init__", "__main__"} <= set(LEVEL)


def test_importing_the_package_and_the_command_line_loads_nothing_heavy():
    program = (
        "import sys, striate, striate.cli; print([m for m in ('torch', 'numpy', 'altair', 'PIL') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_training_starts_without_charts_and_scikit_learn():
    program = (
        "import sys, striate.experiment;"
        "print([m for m in ('altair', 'sklearn', 'scipy', 'torchvision', 'jinja2') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_every_public_name_is_there_and_hides_no_submodule():
    submodules = {path.stem for path in PACKAGE.iterdir()}
    for name in striate.__all__:
        assert getattr(striate, name) is not None
        assert name not in submodules, f"striate.{name} would hide the module of that name"
    assert set(striate.__all__) <= set(dir(striate))


def test_nothing_unsafe_is_called():
    unsafe = ("eval", "exec", "os.system", "yaml.load")
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name, call = ast.unparse(node.func), ast.unparse(node)
            where = f"{path.relative_to(PACKAGE)}: {call}"
            assert name not in unsafe, where
            assert not name.startswith(("pickle.", "torch.jit.")), where
            assert not name.endswith("extractall"), where
            assert "shell=True" not in call, where
            assert "allow_pickle=True" not in call, where
            assert name != "torch.load" or "weights_only=True" in call, where


def test_training_does_not_load_the_compiler(tmp_path):
    """Importing it takes longer than importing the rest of PyTorch."""
    program = (
        "import sys, striate;"
        f"striate.train('lenet5', epochs=0.02, keep='last', report=False, out={str(tmp_path)!r});"
        "print([m for m in ('torch._dynamo', 'torch._inductor') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
