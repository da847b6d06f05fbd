"""Who hears how work goes: nobody, a bar, a function of the caller's."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

LOG = logging.getLogger("onebasin")
LOG.addHandler(logging.NullHandler())

#: What ``progress=`` takes: None for a bar where one can be seen, True or False, or a function of step, done, total and a few words.
Progress = Callable[[str, int, int, str], None] | bool | None


class Note(UserWarning):
    """What one should know before trusting a result, such as that statistics of BatchNorms were averaged."""


class Tell:
    """Passes progress and remarks on. Notes are warnings, findings go to the log ``onebasin``; they are kept in ``notes``."""

    def __init__(self, progress: Progress, what: str) -> None:
        self.what = what
        self.notes: list[str] = []
        self._bar: Any = None
        self._step = ""
        self._seen = progress if callable(progress) else None
        self._shows = progress is True or (progress is None and _is_watched())

    def progress(self, step: str, done: int, total: int, how: str) -> None:
        if self._seen is not None:
            self._seen(step, done, total, how)
        elif self._shows:
            self._draw(step, done, total, how)

    def remark(self, level: str, text: str) -> None:
        if level == "note":
            self.note(text)
        else:
            LOG.log(logging.INFO if level == "finding" else logging.DEBUG, text)

    def note(self, text: str) -> None:
        """Says what the user should know, once."""
        if text not in self.notes:
            self.notes.append(text)
            warnings.warn(text, Note, stacklevel=4)

    def _draw(self, step: str, done: int, total: int, how: str) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return
        if self._bar is None or self._step != step:
            self.close()
            self._bar, self._step = tqdm(total=total, desc=step, leave=False, file=sys.stderr), step
        self._bar.total = total
        self._bar.set_postfix_str(how, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Tell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_watched() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    in_notebook = getattr(shell, "kernel", None) is not None
    return in_notebook or bool(sys.stderr is not None and sys.stderr.isatty())
