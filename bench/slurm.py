"""A SLURM on this machine: arrays of shards on one run, jobs of two tasks, and jobs that are signaled and queued again.

`python -m bench.slurm --out DIR` needs root, and the programs of Debian's `slurmctld`, `slurmd`, `slurm-client`, and
`munge`. It starts them with files of their own in DIR and ends them afterwards. An array of four jobs then trains four
seeds, a job of two tasks trains the fifth, and a second array shares the sweep; another job of two tasks adds a
language. Two of the jobs, one of an array and the one that adds a language, get USR1 in the middle, exit with 143, and
queue themselves again. Every file must equal that of commands without SLURM in as many processes.
"""

import argparse
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.kill_scenarios import Scenario, Words, scenarios, write_inputs_apart
from bench.kills import Workplace, compare, whole

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
TASKS = 4
JOINT = 2
"""Tasks that train together."""
SIGNALED = 3
"""Steps after which a job is signaled."""
PATIENCE = 900.0
"""Seconds after which something that does not happen is an error."""

CONFIGURATION = """ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=2
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

ARRAY = """#!/bin/bash
#SBATCH --array=1-{tasks} --requeue --open-mode=append --output={log}-%a.txt
srun {command}
code=$?
if [ "$code" = 143 ]; then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"; fi
exit "$code"
"""
TOGETHER = """#!/bin/bash
#SBATCH --ntasks={tasks} --requeue --open-mode=append --output={log}.txt
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) MASTER_PORT={port}
srun bash -c {command}
code=$?
if [ "$code" = 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""
ONE_OF_SEVERAL = "export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID; exec {command}"
"""The scripts of docs/scaling.md, but for resources."""


def missing() -> str:
    """Return why SLURM cannot be started here; empty if it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"SLURM is not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@dataclass(frozen=True)
class Slurm:
    """A SLURM of one machine."""

    folder: Path

    @property
    def logs(self) -> Path:
        """The folder of the output of jobs."""
        return self.folder / "logs"

    @property
    def environment(self) -> dict[str, str]:
        """What its programs need."""
        path = f"{os.environ['PATH']}:/usr/sbin"
        return {**os.environ, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def ask(self, *words: object, **more: str) -> str:
        """Run one of its programs, and return what it prints."""
        environment = {**self.environment, **more}
        return subprocess.run(
            list(map(str, words)), env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and end it and its jobs."""
        shutil.rmtree(self.folder, ignore_errors=True)
        munge = self.folder / "munge"
        for path in (munge, self.folder / "state", self.folder / "spool"):
            path.mkdir(parents=True)
        munge.chmod(0o700)
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o400)
        text = CONFIGURATION.format(
            host=socket.gethostname(), ports=free_ports(2), folder=self.folder, cores=TASKS + JOINT
        )
        (self.folder / "slurm.conf").write_text(text)
        files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
        with ExitStack() as stack:
            stack.enter_context(self._daemon("munged", "-F", "--force", *files, f"--socket={munge / 'socket'}"))
            wait_until((munge / "socket").exists, "munged has no socket")
            stack.enter_context(self._daemon("slurmctld", "-D", "-i"))
            stack.enter_context(self._daemon("slurmd", "-D"))
            wait_until(lambda: "idle" in self._state(), "the node is not idle")
            yield
            self.ask("scancel", "--user=root")

    def _state(self) -> str:
        try:
            return self.ask("sinfo", "--noheader", "--format=%t")
        except subprocess.CalledProcessError:  # slurmctld does not answer yet
            return ""

    @contextmanager
    def _daemon(self, *words: str) -> Iterator[None]:
        with (self.folder / f"{words[0]}.txt").open("w") as log:
            process = subprocess.Popen(words, env=self.environment, stdout=log, stderr=log)
            try:
                yield
            finally:
                process.terminate()
                process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nothing listens to."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until(happens: Callable[[], bool], otherwise: str) -> None:
    """Wait for something.

    Raises:
        SystemExit: It does not happen in `PATIENCE` seconds.
    """
    end = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > end:
            raise SystemExit(otherwise)
        time.sleep(0.05)


@dataclass(frozen=True)
class Job:
    """A command that SLURM runs, as an array of shards or as tasks that train together.

    Attributes:
        name: Names its files and messages.
        words: The command.
        is_array: Whether it is an array.
        log: The log of a training, below the results, after some steps of which the job is signaled; empty: it is not.
        resumed: What its output then says when it continues.
    """

    name: str
    words: Words
    is_array: bool
    log: str = ""
    resumed: str = ""

    @property
    def alone(self) -> Words:
        """The command that leaves the same files without SLURM."""
        return self.words if self.is_array else (*self.words, "--processes", str(JOINT))

    @property
    def outputs(self) -> list[str]:
        """The names of the files of its output."""
        return [f"{self.name}-{number}" for number in range(1, TASKS + 1)] if self.is_array else [self.name]


def jobs(only: str) -> list[Job]:
    """Return the jobs whose names contain a text: each but the last needs the one before."""
    known = {each.name: each.commands for each in scenarios()}
    training, sweep = known["training and sweep"]
    training = (*training, "--set", "epochs=6", "--seeds")
    (language,) = known["language, head not cached"]
    language = (*(word.replace("OUT/run", "OUT/added") for word in language), "--set", "epochs=8")
    logs, resumed = ("run/seed-2/metrics.jsonl", "added/seed-1/*.metrics.jsonl"), "seed {}: resuming at step"
    every = [
        Job("train", (*training, "1,2,3,4"), is_array=True, log=logs[0], resumed=resumed.format(2)),
        Job("together", (*training, "1,2,3,4,5"), is_array=False),
        Job("score", sweep, is_array=True),
        Job("language", language, is_array=False, log=logs[1], resumed=resumed.format(1)),
    ]
    return [job for job in every if only in job.name]


def submit(job: Job, place: Workplace, slurm: Slurm, after: str) -> str:
    """Queue a job, after another one unless that is empty; return its number."""
    command = shlex.join([sys.executable, "-m", "xmodctl", *place.placed(job.words)])
    log = slurm.logs / job.name
    if job.is_array:
        text = ARRAY.format(tasks=TASKS, log=log, command=command)
    else:
        own = shlex.quote(ONE_OF_SEVERAL.format(command=command))
        text = TOGETHER.format(tasks=JOINT, log=log, command=own, port=free_ports(1)[0])
    script = slurm.folder / f"{job.name}.sh"
    script.write_text(text)
    dependency = [f"--dependency=afterok:{after}"] if after else []
    return slurm.ask("sbatch", "--parsable", *dependency, script, **place.variables)


def run_jobs(plan: Sequence[Job], place: Workplace, slurm: Slurm) -> Iterator[str]:
    """Run the jobs, and yield what is wrong."""
    slurm.logs.mkdir()
    numbers: dict[str, str] = {}
    for job in plan:
        after = "" if job.name == "language" else "".join(list(numbers.values())[-1:])
        numbers[job.name] = submit(job, place, slurm, after)
    waiting = {job.name: job for job in plan if job.log}
    signaled: dict[str, int] = {}

    def signal_next() -> bool:
        for name, job in list(waiting.items()):
            logs = list((place.state / "results").glob(job.log))
            if logs and (steps := logs[0].read_bytes().count(b"\n")) >= SIGNALED:
                slurm.ask("scancel", "--signal=USR1", f"{numbers[name]}_2" if job.is_array else numbers[name])
                signaled[name] = steps
                del waiting[name]
        return not waiting

    wait_until(signal_next, "no training begins")
    wait_until(lambda: not slurm.ask("squeue", "--noheader"), "the jobs do not end")
    for job in plan:
        texts = {name: _text(slurm.logs / f"{name}.txt") for name in job.outputs}
        for name, text in texts.items():
            if job.is_array and f"shard: {name[-1]}/{TASKS}" not in text:
                yield f"{name} is not a shard: {text[-500:]}"
        text = "".join(texts.values())
        if job.log and (text.count("to continue, run:"), text.count(job.resumed)) != (1, 1):
            yield f"{job.name} was not stopped and resumed once: {text[-500:]}"


def _text(path: Path) -> str:
    """Return the words of a file, one space between them; a file that is missing is said to be so."""
    return " ".join(path.read_text().split()) if path.exists() else "it has not run"


def main(arguments: list[str]) -> int:
    """Run the jobs, and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.slurm", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs, runs, and SLURM's files")
    parser.add_argument("--only", default="", metavar="TEXT", help="only jobs whose name contains it")
    options = parser.parse_args(arguments)
    if reason := missing():
        raise SystemExit(reason)
    place = Workplace(options.out.resolve())
    write_inputs_apart(place.inputs)
    plan = jobs(options.only)
    _, end, _ = whole(place, Scenario(f"slurm {options.only}".strip(), tuple(job.alone for job in plan)))
    place.restore(None)
    slurm = Slurm(place.folder / "slurm")
    with slurm.running():
        problems = [*run_jobs(plan, place, slurm), *compare(end, place.state)]
    print("; ".join(problems) or f"{', '.join(job.name for job in plan)}: the same as without SLURM")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
