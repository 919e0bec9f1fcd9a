"""``blinddps train-search``: the networks of the kernel's search, on photographs of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from .console import say
from .files import given_path
from .threads import RayAddress, Threads, Workers, engine_of, set_threads

__all__ = ["train_search"]


def train_search(
    out: Annotated[Path, Option(metavar="DIR", parser=given_path, help="Folder of the run.")],
    data: Annotated[list[str], Option(metavar="PATH", help="Folder or tar of photographs; repeat for more.")],
    prior: Annotated[str, Option(help="Of the image, as the search will use it.")] = "photos",
    items: Annotated[
        int, Option(help="Blurred pictures for the kernel step, half as many for the verdict; some 5 to 10 s each.")
    ] = 1000,
    steps: Annotated[int, Option(help="Of the kernel step's training; some 0.6 s each.")] = 3000,
    seed: Annotated[int, Option(help="Decides crops, kernels, noise, weights and batches.")] = 0,
    workers: Workers = 1,
    ray: RayAddress = "",
    threads: Threads = "auto",
    quiet: Annotated[bool, Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train the learned kernel step and the learned verdict of 'deblur'.

    Photographs are blurred by many kinds of kernel; the step learns from what the search makes of them, and the
    verdict from how right that is. The same command again goes on where a killed one stopped.

    \b
    DIR holds: config.json, first/ and second/ (the items), step.safetensors, verdict.safetensors and
    report.json (how well probabilities are calibrated, on held-out items).
    """
    import torch
    from tqdm import tqdm

    from ..priors import load_prior
    from ..restore.plan import fast_bfloat16
    from ..training.data import read_pictures
    from ..training.search_run import train_search as run

    for path in data:
        given_path(path)
    engine = engine_of(workers, threads, ray)
    if workers != 1 or ray:
        set_threads(threads)  # of this process, which trains, too
    fast = fast_bfloat16(torch.device("cpu"))  # as deblur asks it
    denoiser = load_prior(prior, dtype=torch.bfloat16 if fast else torch.float32)
    pictures = read_pictures(data)
    bars: dict[str, tqdm] = {}

    def told(phase: str, count: int, total: int) -> None:
        if not quiet:
            bar = bars.setdefault(phase, tqdm(total=total, desc=phase))
            bar.update(count - bar.n)

    made_of = {"prior": prior, "data": data, "pictures": len(pictures)}
    report = run(
        pictures,
        denoiser,
        out,
        items=items,
        steps=steps,
        seed=seed,
        made_of=made_of,
        told=told,
        engine=engine,
    )
    for bar in bars.values():
        bar.close()
    say(f"{out}: calibration error {report['calibration_error']:.3f} on held-out items")
