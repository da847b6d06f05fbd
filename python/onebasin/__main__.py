"""The program ``onebasin``: ``python -m onebasin`` does the same."""

import os
import signal
import sys

from ._onebasin import program


def main() -> None:
    """Runs the program with the arguments of this process, and ends the process with its exit code."""
    # The program watches for signals itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = program(["onebasin", *sys.argv[1:]])
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
