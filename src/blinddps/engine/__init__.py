"""Where tasks are done: on this core, or in processes of this machine.

``for done in engine.run(begin, tasks): ...`` is all there is of it; who asks for the tasks saves what they give.
``begin()`` is called once in every worker and returns the function that does a task, so what is dear (networks) is
loaded once there. Tasks are drawn as workers fall free, and results come as they are ready. What a task gives depends
on the task alone, so engines differ in time only.
"""

from .base import Begin, Done, Engine, Serial
from .processes import Processes

__all__ = ["Begin", "Done", "Engine", "Processes", "Serial", "engine_for"]


def engine_for(workers: int = 1, threads: int = 1) -> Engine:
    """The engine of ``workers`` processes with ``threads`` threads each; of one worker it is this process.

    Raises:
        InputError: fewer than one worker, or more than 1024.
    """
    from blinddps.core import InputError

    if not 1 <= workers <= 1024:
        raise InputError(f"workers is {workers}; give a number from 1 to 1024")
    return Serial() if workers == 1 else Processes(workers, threads)
