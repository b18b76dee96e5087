"""striate train"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from striate.cli.options import TrustCode
from striate.cli.output import percent, show_fields, show_json
from striate.errors import CheckError, UsageError

if TYPE_CHECKING:
    from striate.data.preprocessing import Fit
    from striate.recipe import Balance, Keep
    from striate.run import Run
    from striate.tracking import Kind
    from striate.training.finder import Found
    from striate.training.preflight import Check

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def train(
    context: typer.Context,
    net: Annotated[
        str,
        typer.Argument(
            help="A net of the catalogue (striate nets lists them), FILE.py:OBJECT, torchvision:NAME or timm:NAME."
        ),
    ] = "lenet5",
    data: Annotated[
        str,
        typer.Option(
            help="A set by name, or pictures of yours: a folder with one folder a class, a table of paths and labels, a .npz."
        ),
    ] = "fashion-mnist-sample",
    epochs: Annotated[float | None, typer.Option(help="Passes over the training pictures.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time for the whole command instead, as in 90s, 5m or 1h30m.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="fast, paper or tutorial.")] = "fast",
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", help="Pictures a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, order and augmentation.")] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the training pictures kept for validation.")
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="What is done to training pictures, as in flip,shift=4,colour; docs/data.md lists the kinds."
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Pattern in file names; files in which it finds the same are never on two sides of a split."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Leave out files whose path or name fits, as in 'ants/*.gif'; any number of times."),
    ] = None,
    on_bad: Annotated[
        str, typer.Option(help="Files that cannot be read: skip leaves them out and names them, stop is an error.")
    ] = "skip",
    balance: Annotated[
        str | None,
        typer.Option(
            help="For classes of very different sizes: weights in the loss, or a sampler that shows each as often."
        ),
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Compute each batch in so many parts, for less memory.")
    ] = None,
    freeze: Annotated[
        float | None, typer.Option(help="Share of training, at its beginning, in which only the head learns.")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help="Keep a running mean of the weights with this decay a step, as in 0.99.")
    ] = None,
    keep: Annotated[str | None, typer.Option(help="last weights, or the best ones by validation accuracy.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop when validation was no better for so many epochs.")] = None,
    size: Annotated[int | None, typer.Option(help="Scale pictures to so many pixels each way.")] = None,
    fit: Annotated[
        str,
        typer.Option(help="How pictures of another shape come to size: crop the middle, pad with black, or squash."),
    ] = "crop",
    sizes: Annotated[
        str | None,
        typer.Option(help="Progressive sizes of the training pictures, as in 112,168@0.5,224@0.75, or full for none."),
    ] = None,
    init: Annotated[str, typer.Option(help="How weights are drawn: default, or paper.")] = "default",
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Begin with the ImageNet weights that torchvision, or timm, publishes.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Begin with the weights in this file, .pth or .safetensors; docs/sharing.md.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads on the CPU; measured if left out.")] = None,
    layout: Annotated[str | None, typer.Option(help="nchw or nhwc; measured if left out.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, or bf16 for bfloat16 where it is safe; the faster one on CUDA if left out."),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Train through torch.compile.")] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits each time on CUDA too, slower.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(help="Train in so many processes, each on its share of every batch; docs/scale.md has more."),
    ] = None,
    log: Annotated[str | None, typer.Option(help="Log the run in tensorboard or mlflow too; docs/tracking.md.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    data_dir: Annotated[
        Path | None, typer.Option(help="Where to look for named sets first.", envvar="STRIATE_DATA")
    ] = None,
    try_out: Annotated[
        bool,
        typer.Option("--try", help="Only look, for about ten seconds, whether this training can come to something."),
    ] = False,
    find_lr: Annotated[
        Path | None,
        typer.Option(
            "--find-lr", help="Only search for a learning rate, and draw the search into this PNG.", metavar="PNG"
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with this run, with its own settings; --epochs moves its end, also that of a finished one.",
            metavar="RUN",
        ),
    ] = None,
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a net, evaluate it on the test pictures, write the report. Without arguments: LeNet-5 on the sample."""
    from striate import experiment
    from striate.machine import process_start, speaks

    started = process_start()
    if init not in ("default", "paper"):
        raise UsageError(f"--init must be default or paper, got {init!r}")
    if on_bad not in ("skip", "stop"):
        raise UsageError(f"--on-bad must be skip or stop, got {on_bad!r}")
    if trust_code and resume is None:
        raise UsageError("--trust-code goes with --resume: a FILE.py:OBJECT that you name yourself is run anyhow")
    if resume is not None:
        _require_own_settings(context)
        run = experiment.resume(
            resume, epochs=epochs, trust_code=trust_code, processes=processes, data_dir=data_dir, started=started
        )
    else:
        settings = experiment.Settings(
            net=net,
            data=data,
            recipe=recipe,
            epochs=epochs,
            budget=None if budget is None else parse_duration(budget),
            batch_size=batch_size,
            lr=lr,
            seed=seed,
            validation=validation,
            balance=cast("Balance | None", balance),
            accumulate=accumulate,
            freeze=freeze,
            ema=ema,
            keep=cast("Keep | None", keep),
            patience=patience,
            augment=augment,
            group_by=group_by,
            exclude=exclude or (),
            on_bad="stop" if on_bad == "stop" else "skip",
            size=size,
            fit=cast("Fit", fit),
            sizes=sizes,
            init="paper" if init == "paper" else "default",
            pretrained=pretrained,
            weights=weights,
            device=device,
            threads=threads,
            layout=layout,
            precision=cast(Literal["fp32", "bf16"] | None, precision),
            compile=compiled,
            deterministic=deterministic,
            processes=processes,
            log=cast("Kind | None", log),
            data_dir=data_dir,
        )
        if try_out:
            show_checks(experiment.try_out(settings), as_json)
        if find_lr is not None:
            show_search(experiment.search_rate(settings), find_lr, as_json)
        if try_out or find_lr is not None:
            return
        run = experiment.train_with(settings, name=name, out=out, started=started)
    if speaks() and as_json:
        show_json(result(run))
    elif speaks():
        show_result(run)


def _require_own_settings(context: typer.Context) -> None:
    """Raises UsageError if something was given that a resumed run has settled for itself."""
    sources = [(parameter, context.get_parameter_source(parameter.name or "")) for parameter in context.command.params]
    given = [
        parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.opts[0].upper()
        for parameter, source in sources
        if parameter.name not in ("resume", "epochs", "trust_code", "processes", "data_dir", "as_json")
        and source
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)} cannot be given with --resume: the run goes on with its own settings; only its end can be "
            "moved, with --epochs"
        )


def show_checks(checks: Sequence[Check], as_json: bool) -> None:
    """The end of `striate train --try`. Raises CheckError if a check failed."""
    if as_json:
        show_json([check.as_dict() for check in checks])
    else:
        print()
        show_fields({f"{check.verdict:<7}  {check.name}": check.said for check in checks})
    if failed := [check.name for check in checks if check.verdict == "failed"]:
        raise CheckError(f"this training will come to nothing: {', '.join(failed)}")


def show_search(found: Found, path: Path, as_json: bool) -> None:
    """The end of `striate train --find-lr PNG`."""
    from striate.report.charts import png
    from striate.report.charts.finder import rate_search
    from striate.run import write_new

    marks = {"steepest": found.steepest} if found.steepest is not None else {}
    write_new(path, png(rate_search(found.rates, found.losses, {**marks, "lowest loss": found.lowest})))
    if as_json:
        show_json({**found.as_dict(), "plot": str(path)})
        return
    advice = "the loss never fell" if found.steepest is None else f"{found.steepest:.2g}, where the loss falls fastest"
    show_fields({"try --lr": advice, "limit": f"{found.lowest:.2g}, where the loss is lowest", "plot": path})


def result(run: Run) -> dict[str, object]:
    """What `striate train --json` prints."""
    key, evaluation = next(iter(run.evaluations.items()))
    plan = run.config["plan"]
    return {
        "run": str(run.path),
        "net": run.config["net"]["name"],
        "data": run.config["data"]["name"],
        "evaluation": key,
        "accuracy": evaluation["accuracy"],
        "low": evaluation["low"],
        "high": evaluation["high"],
        "n": evaluation["n"],
        "params": plan["params"],
        "macs": plan["macs"],
        "epochs": plan["epochs"],
        "steps": plan["steps"],
        "seconds": run.summary["seconds"],
        "report": str(run.path / "report.html"),
    }


def show_result(run: Run) -> None:
    """The end of `striate train` for a person: accuracy, time, where things are, what to try next."""
    evaluation = next(iter(run.evaluations.values()))
    seconds = run.summary["seconds"]
    spent = sorted(((value, key) for key, value in seconds.items() if key != "total" and value >= 0.05), reverse=True)
    show_fields(
        {
            "accuracy": f"{percent(evaluation['accuracy'])} of {evaluation['n']:,} test pictures "
            f"(95 % interval {percent(evaluation['low'])} to {percent(evaluation['high'])})",
            "time": f"{seconds['total']:.1f} s: {', '.join(f'{key} {value:.1f}' for value, key in spent)}",
            "report": run.path / "report.html",
            "next": f"striate predict {run.path} PICTURE",
        }
    )


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `90`, `5m`, `1.5h` or `1h30m`. Raises UsageError for anything else."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not text.strip() or match is None:
        raise UsageError(f"a budget is a time such as 90s, 5m or 1h30m, got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
