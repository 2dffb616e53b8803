import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from xmodctl.core import signals
from xmodctl.core.signals import STOPPING, Interrupted, deferred, stop_signals


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_stops_at_once_and_is_acknowledged(number):
    before, acknowledged = signal.getsignal(number), []
    with stop_signals(acknowledged.append, STOPPING) as stop, pytest.raises(Interrupted):  # noqa: PT012
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert acknowledged == [number]
    assert stop.exit_code == (130 if number == signal.SIGINT else 143)
    assert signal.getsignal(number) is before


def test_what_belongs_together_is_finished_first():
    done = []
    with stop_signals():
        with pytest.raises(Interrupted), deferred():  # noqa: PT012
            os.kill(os.getpid(), signal.SIGTERM)
            with deferred():
                done.append("inner")
            done.append("outer")
        assert done == ["inner", "outer"]


def test_a_second_signal_is_not_deferred_but_an_echo_of_the_first_is(monkeypatch):
    with stop_signals(), pytest.raises(KeyboardInterrupt) as error, deferred():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        monkeypatch.setattr(signals, "ECHO", 0.0)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert not isinstance(error.value, Interrupted)


def test_a_signal_of_another_process_is_adopted_and_the_own_one_that_follows_is_no_second_signal(monkeypatch):
    monkeypatch.setattr(signals, "ECHO", 0.0)
    acknowledged = []
    with stop_signals(acknowledged.append, STOPPING) as stop:
        with pytest.raises(Interrupted), deferred():  # noqa: PT012
            signals.adopt(signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.01)
        assert stop.exit_code == 143
        signals.adopt(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(5)
    assert acknowledged == [signal.SIGUSR1]
    assert stop.exit_code == 143


def test_a_signal_that_arrives_while_an_object_is_freed_is_not_lost():
    class Freed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.001)

    acknowledged = []
    with stop_signals(acknowledged.append), pytest.raises(KeyboardInterrupt):  # noqa: PT012
        Freed()
        time.sleep(5)
    assert acknowledged == [signal.SIGTERM]


def test_what_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals(numbers=STOPPING):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_set_no_handlers():
    entered = []

    def work() -> None:
        with stop_signals(), deferred():
            entered.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [before]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_process_that_starts_ends_at_once_without_a_traceback(number, code):
    program = (
        "import os; from xmodctl.core.signals import exit_on_signals; exit_on_signals(); "
        f"os.kill(os.getpid(), {int(number)}); import time; time.sleep(5)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, f"{signal.Signals(number).name} received, stopped\n")


def test_a_signal_while_the_command_line_is_imported_ends_without_a_traceback():
    program = (
        "import os, signal, sys\n"
        "class Sender:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'xmodctl.core.signals':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Sender())\n"
        "from xmodctl.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_the_command_line_can_be_signaled_before_anything_else_is_imported():
    program = (
        "import sys, importlib\n"
        "before = set(sys.modules)\n"
        "import xmodctl.__main__\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['xmodctl', 'xmodctl.__main__']\n"
