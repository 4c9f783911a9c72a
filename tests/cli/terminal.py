"""A real terminal, by tmux: what is typed, and what is seen."""

import contextlib
import os
import subprocess

from stack import find_or_build, wait_until


class Terminal:
    """A shell in a terminal of so many columns; a context manager.

    Args:
        folder: The shell's, and of the socket.
        columns: Wide.
        env: On top of an environment without any ``OTEL_`` variable.
    """

    def __init__(self, folder, columns, env=None):
        self._argv = [find_or_build("tmux"), "-u", "-S", str(folder / "tmux"), "-f", os.devnull]
        self._size = ["-x", str(columns), "-y", "40"]
        self._folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        quiet = {"LC_ALL": "C.UTF-8", "PS1": "$ ", "OTEL_PYTHON_STREAMING_STATE_DIR": "off", "TMUX": ""}
        self._env = clean | quiet | (env or {})

    def __enter__(self):
        self._tmux("new-session", "-d", *self._size, "env", "-u", "TMUX", "sh")
        with contextlib.ExitStack() as undo:
            undo.push(self)
            self.wait_for("$")
            undo.pop_all()
        return self

    def __exit__(self, *_):
        self._tmux("kill-server")

    def type(self, line):
        """Type a line, and Enter."""
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def press(self, *keys):
        """Press keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def resize(self, columns):
        """Make the terminal wider or narrower."""
        self._tmux("resize-window", "-x", str(columns))

    def screen(self):
        """Return what is on the screen, line by line."""
        return self._tmux("capture-pane", "-p").splitlines()

    def everything(self, *, joined=False, coloured=False):
        """Return all lines since the beginning; ``joined`` where the terminal had to wrap them."""
        options = [*(["-J"] if joined else []), *(["-e"] if coloured else [])]
        return [line.rstrip() for line in self._tmux("capture-pane", "-p", "-S", "-", *options).splitlines()]

    def wait_for(self, *texts):
        """Wait until all these are on the screen at once; returns it."""

        def there():
            screen = self.screen()
            return screen if all(any(text in line for line in screen) for text in texts) else None

        try:
            return wait_until(there, f"{texts} on the screen")
        except Exception as error:
            error.add_note("\n".join(self.everything()))
            raise

    def _tmux(self, *words):
        command = [*self._argv, *words]
        done = subprocess.run(
            command, cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout
