"""The console script; `python -m xmodctl` is the same."""


def main() -> None:
    """Run the command line."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the next lines import ends without a traceback

    import sys

    from xmodctl.core.environment import ExitCode
    from xmodctl.core.signals import STOPPED, end_process, exit_on_signals

    exit_on_signals()
    from typer.main import get_command

    from xmodctl.cli.app import app
    from xmodctl.cli.launching import leave
    from xmodctl.cli.screening import print_exception

    sys.excepthook = print_exception
    try:
        get_command(app)()  # calling the app itself would replace the hook
    except OSError as error:  # outside of a command: the output of --version
        from xmodctl.cli.group import fail_system

        sys.exit(fail_system(error))
    except SystemExit as error:
        leave(error.code if isinstance(error.code, int) else ExitCode.SUCCESS)
        if error.code in (
            ExitCode.FIXABLE,
            *STOPPED,
        ):  # where memory is scarce, Python's own end may wait for threads endlessly
            end_process(error.code)
        raise


if __name__ == "__main__":
    main()
