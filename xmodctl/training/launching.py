"""Starting a command several times on this machine, as processes that train together."""

import logging
import os
import sys
from collections.abc import Sequence

from xmodctl.core.environment import LAUNCH, WORLD_SIZE, is_one_of_several
from xmodctl.core.errors import UserError
from xmodctl.core.signals import STOPPING, exit_code

THREADS = "OMP_NUM_THREADS"
"""How many threads each process has; the cores are divided if it is not set."""


def is_launched(processes: int) -> bool:
    """Return whether this process is one of several already.

    Raises:
        UserError: There are not as many as were asked for.
    """
    if processes > 1 and is_one_of_several() and WORLD_SIZE.value != str(processes):
        raise UserError(f"--processes {processes} contradicts {WORLD_SIZE.name}={WORLD_SIZE.value}; omit --processes")
    return is_one_of_several()


def launch(words: Sequence[str], processes: int) -> int:
    """Run `xmodctl` with these words in several processes through torch's elastic launcher, and return the exit code.

    A process that fails ends the others. Its message is the only one; where it was killed, it is this function's.

    Raises:
        UserError: A process was killed.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in list(logging.root.manager.loggerDict):  # torch gives each of its launcher's loggers a level of its own
        if name.startswith("torch.distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault(THREADS, str(max(1, cores // processes)))
    configuration = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"{LAUNCH}-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # else each launch leaves a folder of temporary files
        signals_to_handle=",".join(number.name for number in STOPPING),
    )
    try:
        elastic_launch(configuration, sys.executable)("-m", "xmodctl", *words)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return failure.exitcode
        raise UserError(
            f"process {rank} of {processes} was terminated by {failure.signal_name()}; run the same command again to "
            "continue from the last checkpoint"
        ) from error
    except SignalException as error:
        return exit_code(error.sigval)
    return 0
