"""Where tasks are done: on this core, in processes of this machine, or on a Ray cluster.

``for done in engine.run(begin, tasks): ...`` is all there is of it; who asks for the tasks saves what they give.
``begin()`` is called once in every worker and returns the function that does a task, so what is dear (networks) is
loaded once there. Tasks are drawn as workers fall free, and results come as they are ready. What a task gives depends
on the task alone, so engines differ in time only.
"""

from .base import Batch, Begin, Done, Engine, Serial, values
from .batches import in_batches
from .processes import Processes
from .ray import Ray

__all__ = ["Batch", "Begin", "Done", "Engine", "Processes", "Ray", "Serial", "engine_for", "in_batches", "values"]


def engine_for(workers: int = 1, threads: int = 1, ray: str = "", gpus: float = 0.0) -> Engine:
    """The engine of ``workers`` processes with ``threads`` threads each; of one worker it is this process.

    Args:
        ray: address of a Ray cluster, where actors of it do the tasks: as many as it has cores, or ``workers`` if more
            than one; ``local``: one of this machine.
        gpus: share of a GPU that each worker of a Ray cluster has.

    Raises:
        InputError: fewer than one worker, or more than 1024; a share of a GPU without Ray; no cluster at that address,
            or ray not installed.
    """
    from blinddps.core import InputError

    if not 1 <= workers <= 1024:
        raise InputError(f"workers is {workers}; give a number from 1 to 1024")
    if not 0 <= gpus <= 8 or (gpus and not ray):
        raise InputError(
            f"gpus of each worker is {gpus:g}; give a number from 0 to 8, and the address of a Ray cluster"
        )
    if ray:
        return Ray(ray, workers if workers > 1 else 0, threads, gpus)
    return Serial() if workers == 1 else Processes(workers, threads)
