"""``blinddps bench``: methods compared on data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from .assign import assignment
from .console import say
from .files import given_path
from .options import Publish
from .threads import RayAddress, RayGpus, Threads, Workers, engine_of

if TYPE_CHECKING:
    from ..evaluation import LearnedWeights

__all__ = ["bench"]

bench = typer.Typer(no_args_is_help=True, help="Compare methods on data sets: run, merge, report, list.")

Vgg = Annotated[
    Path | None,
    Option("--lpips-vgg", metavar="FILE", parser=given_path, help="VGG-16 of torchvision, for LPIPS (VGG)."),
]
Alex = Annotated[
    Path | None,
    Option("--lpips-alex", metavar="FILE", parser=given_path, help="AlexNet of torchvision, for LPIPS (Alex)."),
]
Inception = Annotated[
    Path | None,
    Option("--inception", metavar="FILE", parser=given_path, help="pt_inception-2015-12-05-6726825d.pth, for FID."),
]
Device = Annotated[str, Option(help="Of LPIPS and FID: auto, cpu, cuda, ...")]


@bench.command("run")
def run(
    spec: Annotated[str, Argument(metavar="SPEC", help="TOML file, or a name that 'bench list' gives.")],
    out: Annotated[
        Path, Option(metavar="DIR", parser=given_path, help="Folder of the run; a run that was broken off goes on.")
    ],
    data: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            parser=given_path,
            help="Folder of data sets; by default the nearest folder shared/data, or the present one.",
        ),
    ] = None,
    only: Annotated[list[str] | None, Option(metavar="METHOD", help="Run this method alone; repeat for more.")] = None,
    limit: Annotated[int | None, Option(help="Run the first so many items alone.")] = None,
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Run those again that failed, diverged or were rejected.")
    ] = False,
    reuse: Annotated[
        list[Path] | None,
        Option(
            metavar="DIR",
            parser=given_path,
            help="Folder of another run: copy what it has of the same jobs; repeat for more.",
        ),
    ] = None,
    shard: Annotated[
        str, Option(metavar="I/N", help="Run the I-th of N parts alone, in a folder of its own, for 'bench merge'.")
    ] = "1/1",
    settings: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="Option of every method, over the spec's own; repeat for more."),
    ] = None,
    lpips_vgg: Vgg = None,
    lpips_alex: Alex = None,
    inception: Inception = None,
    device: Device = "auto",
    publish: Publish = "",
    workers: Workers = 1,
    ray: RayAddress = "",
    ray_gpus: RayGpus = 0.0,
    threads: Threads = "auto",
    quiet: Annotated[bool, Option("--quiet", help="No progress and no tables.")] = False,
) -> None:
    """Run every method of SPEC on every item, and write the report.

    What DIR has already is not done again: a killed run goes on, a new method of SPEC runs alone, an edited one again.
    A method that fails leaves a record of it; --retry-failed runs it again. Where every job failed, the report is
    written and the exit code is 1. With --shard there is no report: 'bench merge' makes it. SPEC: docs/evaluation.md.
    """
    from ..core import InputError, unknown_name
    from ..core.outputs import refuse_conflicts
    from ..evaluation import builtin_specs, load_spec, make_report, report_outputs, run_bench, shard_of
    from ..io import Published
    from ..restore.settings import find_device
    from .errors import usage

    part = usage(shard_of, shard)
    path = Path(spec)
    if not path.suffix and not path.is_file():
        specs = builtin_specs()
        if spec not in specs:
            raise InputError(unknown_name("spec", spec, specs))
        path = specs[spec]
    where = str(usage(find_device, device))
    chosen = load_spec(path, dict(map(assignment, settings or ())))
    weights = _weights(lpips_vgg, lpips_alex, inception)
    weights.check()  # hours before they are needed
    refuse_conflicts([report_outputs(out)], [], overwrite=True)
    engine = engine_of(workers, threads, ray, ray_gpus)
    published = Published(out, publish) if publish else None
    summary = run_bench(
        chosen,
        out,
        data=data or _data_folder(path),
        source=path.read_text(encoding="utf-8"),
        only=only or (),
        limit=limit,
        retry_failed=retry_failed,
        reuse=reuse or (),
        shard=part,
        progress=not quiet,
        engine=engine,
        publish=published,
    )
    report = make_report(out, weights, device=where) if part[1] == 1 else None  # of a part it would say little
    if published is not None:
        published.rest()
    if not quiet:
        if report is not None:
            say(report.text)
        taken = f", {summary.reused} taken from other runs" if reuse else ""
        say(f"{summary.done} done, {summary.failed} of them failed, {summary.already} were there already{taken}")
        if summary.other_source:
            say(
                f"{summary.other_source} of the records were made by other source files of this package; for figures "
                "of this version alone give a new folder"
            )
        say(out if report is None else report.files[-1])
    if summary.nothing_worked:
        raise InputError(
            f"every job failed, one of them as '{summary.first_failure}'; mend the spec or the data, then run again "
            "with --retry-failed"
        )


@bench.command("merge")
def merge(
    out: Annotated[
        Path, Argument(metavar="DIR", parser=given_path, help="Folder of the whole run; made, or merged into again.")
    ],
    shards: Annotated[
        list[Path], Argument(metavar="SHARD...", parser=given_path, help="Folders of 'bench run --shard'.")
    ],
    lpips_vgg: Vgg = None,
    lpips_alex: Alex = None,
    inception: Inception = None,
    device: Device = "auto",
    quiet: Annotated[bool, Option("--quiet", help="No tables.")] = False,
) -> None:
    """Make the runs SHARD... of one spec a run in DIR, as if it had been done at once, and write the report.

    Records and files are copied, none is made anew. Shards of other benchmarks or data are refused. Where jobs are
    missing the rest is merged, one sentence says which are, and the exit code is 1.
    """
    from ..core import InputError
    from ..core.outputs import refuse_conflicts
    from ..evaluation import make_report, merge_runs, report_outputs
    from ..restore.settings import find_device
    from .errors import usage

    where = str(usage(find_device, device))
    weights = _weights(lpips_vgg, lpips_alex, inception)
    weights.check()
    refuse_conflicts([report_outputs(out)], [], overwrite=True)
    merged = merge_runs(out, shards)
    report = make_report(out, weights, device=where)
    if not quiet:
        say(report.text)
        say(f"{merged.taken} taken, {merged.already} were there already, {len(merged.missing)} are missing")
        say(report.files[-1])
    if merged.missing:
        raise InputError(merged.told())


@bench.command("report")
def report(
    folder: Annotated[Path, Argument(metavar="DIR", parser=given_path, help="Folder of 'bench run'.")],
    lpips_vgg: Vgg = None,
    lpips_alex: Alex = None,
    inception: Inception = None,
    device: Device = "auto",
    quiet: Annotated[bool, Option("--quiet", help="No tables on the terminal.")] = False,
) -> None:
    """Write tables (.txt, .csv, .tex, .md) and report.html of a run, complete or not, into its folder."""
    from ..evaluation import make_report
    from ..restore.settings import find_device
    from .errors import usage

    where = str(usage(find_device, device))
    made = make_report(folder, _weights(lpips_vgg, lpips_alex, inception), device=where)
    if not quiet:
        say(made.text)
    say(made.files[-1])


@bench.command("list")
def list_specs(
    folder: Annotated[
        Path | None, Argument(metavar="[DIR]", parser=given_path, help="Folder of specs; default: those of the paper.")
    ] = None,
) -> None:
    """Name, title and methods of each spec."""
    from ..core import InputError
    from ..evaluation import builtin_specs, load_spec
    from .errors import note

    for name, path in builtin_specs(folder).items():
        try:
            spec = load_spec(path)
        except InputError as error:
            typer.echo(name)
            note("warning", str(error))
            continue
        typer.echo(f"{name}: {spec.title}")
        typer.echo(f"    {spec.data.source}; {', '.join(d.name for d in spec.degradation)}")
        typer.echo(f"    {', '.join(m.name for m in spec.method)}")


def _weights(vgg: Path | None, alex: Path | None, inception: Path | None) -> LearnedWeights:
    from ..evaluation import LearnedWeights

    return LearnedWeights(lpips_vgg=vgg, lpips_alex=alex, inception=inception)


def _data_folder(spec: Path) -> Path:
    """``shared/data`` beside the spec's checkout or above it, where this project's machines have it; else ``.``."""
    for parent in spec.resolve().parents:
        if (parent / "shared" / "data").is_dir():
            return parent / "shared" / "data"
    return Path()
