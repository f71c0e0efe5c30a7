"""Run the command line as a user does, in this process: exit code, stdout, stderr."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest.mock import patch

from gate.cli import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def last_error(self) -> str:
        """The last line on stderr: the one that says what went wrong."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


def gate(*arguments) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with patch("sys.argv", ["gate", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
    return Ran(code, out.getvalue(), err.getvalue())
