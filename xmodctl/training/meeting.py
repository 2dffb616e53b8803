"""How the processes that a launcher started meet: all of them wait until the last one has come."""

import os
import sys
from datetime import timedelta
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING

from xmodctl.core.environment import MASTER, RANK, TORCH_LOG, WORLD_SIZE, is_started_by_xmodctl
from xmodctl.core.errors import LostProcessError, UserError
from xmodctl.core.messages import counted, listed

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.distributed_c10d import Store

JOINING = timedelta(seconds=40)
"""How long a process waits for the others to come; with its start and its message, it takes less than a minute."""

STARTING = timedelta(minutes=10)
"""How long, if `--processes` started them on this machine: a busy one may start them slowly, and the launcher ends
those whose partner has ended."""

WORKING = timedelta(days=2)
"""How long processes wait for the first one, which alone validates. One that has ended is noticed at once."""

ENDLESS = timedelta(days=3650)
"""How long a process waits for what another one says of its end."""

PAUSE = 0.1
"""Seconds after which a process looks again whether the others have come."""

PARTING = 1.0
"""Seconds for which the first process, which has what all know, still answers after it has given up."""

SIZE = "size"
"""Set by the first process to how many there are."""

OVER = "over"
"""Set by the process that says why they do not meet."""


def launched_as() -> tuple[int, int]:
    """Return which process this one is, and of how many: what a launcher has set; alone, 0 of 1.

    Raises:
        UserError: The launcher's variables make no sense.
    """
    size = _number(WORLD_SIZE.name, 1)
    if size == 1:
        return 0, 1
    if size < 1:
        raise UserError(
            f"{WORLD_SIZE.name}={size} is not a number of processes; start the command with torchrun, or unset "
            f"{WORLD_SIZE.name}"
        )
    if not RANK.value:
        raise UserError(
            f"{WORLD_SIZE.name}={size} is set, but {RANK.name} is not; start the command with torchrun, give every "
            f"process its {RANK.name} (in SLURM, {RANK.name}=$SLURM_PROCID), or unset {WORLD_SIZE.name}"
        )
    rank = _number(RANK.name, 0)
    if not 0 <= rank < size:
        raise UserError(f"{RANK.name}={rank} is not one of the {WORLD_SIZE.name}={size} processes; use torchrun")
    return rank, size


def has_met() -> bool:
    """Return whether this process has met the others."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def meet(rank: int, size: int) -> "ProcessGroup":
    """Meet the other processes, in a thread: some addresses let torch wait endlessly, whatever its timeouts are.

    Returns:
        A group of all processes, besides torch's own, for what they say of their end.

    Raises:
        UserError: They do not meet within `JOINING`, or `STARTING`.
        LostProcessError: They do not, and another process says why.
    """
    limit, started = STARTING if is_started_by_xmodctl() else JOINING, monotonic()
    os.environ.setdefault(TORCH_LOG, "ERROR")  # its warnings repeat what the message says, with traces of the stack
    import torch  # noqa: F401 (a thread that imports it could not be left behind)

    meeting = _Meeting(rank, size, limit, started)
    thread = Thread(target=meeting.hold, daemon=True)
    thread.start()
    thread.join(limit.total_seconds() - (monotonic() - started))
    if meeting.group is not None:
        return meeting.group
    if meeting.is_over:
        raise LostProcessError("another process says why")
    if meeting.error:
        raise UserError(meeting.error)
    raise UserError(
        f"process {rank} of {size} cannot reach the others at {_address()}: {meeting.problem}; "
        f"check {' and '.join(MASTER)}, and that all processes are started"
    )


class _Meeting:
    """What comes of a meeting: a group, or a problem."""

    def __init__(self, rank: int, size: int, limit: timedelta, started: float) -> None:
        self.rank, self.size, self.limit = rank, size, limit
        self.deadline = started + limit.total_seconds() - 2 * PARTING
        self.problem, self.error = f"there is no answer in {limit.seconds} s", ""
        self.is_over = False  # another process says why
        self.group: ProcessGroup | None = None

    def hold(self) -> None:
        """Form the groups of all processes, or note the problem."""
        import torch
        import torch.distributed as dist
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        own = None
        try:
            # The store is opened as that of 1 process: else torch lets the first one wait for all, and names none.
            store, _, _ = next(rendezvous("env://", self.rank, 1, timeout=self.limit))
            store.set_timeout(self.limit)
            own = PrefixStore("xmodctl", store)
            self._gather(own)
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"  # NCCL does not send from the CPU
            dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=WORKING)
            group = dist.new_group(backend="gloo", timeout=ENDLESS)
            dist.all_reduce(torch.zeros(1))
        except UserError as error:
            self.error = str(error)
        except (RuntimeError, ValueError) as error:
            self.problem = str(error).splitlines()[0][:200].rstrip(".")
        else:
            self.group = group
            return
        if own is not None:
            self._give_up(own)

    def _gather(self, store: "Store") -> None:
        """Wait until all processes have come.

        Raises:
            UserError: They do not belong to each other.
            RuntimeError: They do not come.
        """
        if self.rank == 0:
            store.set(SIZE, str(self.size))
        self._await(store, {SIZE: "process 0"})
        if (firsts := store.get(SIZE).decode()) != str(self.size):
            raise UserError(
                f"process {self.rank} was started with {WORLD_SIZE.name}={self.size}, the first one with {firsts}; "
                "start all processes of a command alike"
            )
        if store.add(str(self.rank), 1) > 1:
            raise UserError(
                f"there is another process with {RANK.name}={self.rank} at {_address()}; give every process a "
                f"{RANK.name} of its own, and every command that runs at the same time a {MASTER[1]} of its own"
            )
        self._await(store, {str(rank): f"process {rank}" for rank in range(self.size)})

    def _await(self, store: "Store", awaited: dict[str, str]) -> None:
        """Wait for keys; the values are the processes that set them.

        Raises:
            RuntimeError: They are not set in time, or another process has given up.
        """
        while True:
            missing = [name for key, name in awaited.items() if not store.check([key])]
            if store.check([OVER]):
                raise RuntimeError("another process has given up")
            if not missing:
                return
            if monotonic() > self.deadline:
                raise RuntimeError(f"{listed(missing)} {'has' if len(missing) == 1 else 'have'} not come")
            sleep(PAUSE)

    def _give_up(self, store: "Store") -> None:
        """Let only one process say why; the first one, which has the store, answers for another moment."""
        try:
            self.is_over = store.add(OVER, 1) > 1
        except RuntimeError:  # the first process has ended
            return
        if self.rank == 0:
            sleep(PARTING)


def take_device() -> str:
    """Compute on the GPU of this process, and return its kind of device: all must have the same.

    Raises:
        UserError: There are fewer GPUs than processes on this machine.
    """
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    _take_gpu(_number("LOCAL_RANK", 0), torch.cuda.device_count())
    return "cuda"


def _take_gpu(number: int, gpus: int) -> None:
    """Compute on the GPU with a number among those of this machine."""
    import torch

    if number >= gpus:
        raise UserError(
            f"process {number + 1} of this machine has no GPU of its own: torch finds {counted(gpus, 'GPU')}; start "
            "one process for each GPU, or compute on the CPU: put CUDA_VISIBLE_DEVICES= before the command"
        )
    torch.cuda.set_device(number)


def _address() -> str:
    return ":".join(os.environ.get(name, "(not set)") for name in MASTER)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{name}={text} is not a number; start the command with torchrun, or unset {name}") from None
