"""Where tasks are done: on this core, in processes of this machine, or on a Ray cluster.

``for done in engine.run(begin, tasks): ...`` is all there is of it; who asks for the tasks saves what they give.
``begin()`` is called once in every worker and returns the function that does a task, so what is dear (networks) is
loaded once there. Tasks are drawn as workers fall free, and results come as they are ready. What a task gives depends
on the task alone, so engines differ in time only.
"""

from .base import Begin, Done, Engine, Serial
from .processes import Processes
from .ray import Ray

__all__ = ["Begin", "Done", "Engine", "Processes", "Ray", "Serial", "engine_for"]


def engine_for(workers: int = 1, threads: int = 1, ray: str = "") -> Engine:
    """The engine of ``workers`` processes with ``threads`` threads each; of one worker it is this process.

    Args:
        ray: address of a Ray cluster, where actors of it do the tasks: as many as it has cores, or ``workers`` if more
            than one; ``local``: one of this machine.

    Raises:
        InputError: fewer than one worker, or more than 1024; no cluster at that address, or ray not installed.
    """
    from blinddps.core import InputError

    if not 1 <= workers <= 1024:
        raise InputError(f"workers is {workers}; give a number from 1 to 1024")
    if ray:
        return Ray(ray, workers if workers > 1 else 0, threads)
    return Serial() if workers == 1 else Processes(workers, threads)
