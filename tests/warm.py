"""``hl-async`` that starts within milliseconds: a fork of a process that has the package imported already.

Arguments, folder, environment, standard streams and exit code are those of a program of its own; only the imports are
done before. As a script, this file is the small client that stands in the place of the command.
"""

import marshal
import os
import signal
import socket
import sys
from functools import cache

MODULES = ("app", "call", "doctor", "export", "migrate", "reports", "runs", "status", "watch")
SLOW = {"dbos": "hl_async.bulk.workers.dbos", "worker": "hl_async.bulk.workers.dbos"}
"""What is imported as soon as an argument asks for it the first time."""


def _client(path: str, arguments: list[str]) -> int:
    """Hand the streams over, pass signals on, and end as the command ends."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    socket.send_fds(link, [b"."], [0, 1, 2])
    link.sendall(marshal.dumps((arguments, os.getcwd(), dict(os.environ))))
    link.shutdown(socket.SHUT_WR)
    answers = link.makefile("rb")
    process = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(process, number))
    return int(answers.readline() or 255)  # killed


def _command(
    link: socket.socket, streams: list[int], arguments: list[str], folder: str, env: dict[str, str]
) -> None:
    """Become the command; does not return."""
    import random

    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(env)
        random.seed()
        sys.argv = ["hl-async", *arguments]
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
        link.sendall(b"%d\n" % os.getpid())
        from hl_async.cli import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        link.sendall(b"%d\n" % code)
        os._exit(code)


def _serve(path: str) -> None:
    """Fork a command for each client, until the standard input ends."""
    import gc
    import importlib
    import select

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in MODULES:
        importlib.import_module(f"hl_async.cli.{name}")
    for name in ("hl_async.client", "hl_async.sandbox.server", "duckdb", "rich.progress"):
        importlib.import_module(name)
    gc.freeze()  # or the forks copy all that they look at
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        print("ready", flush=True)
        running = 0
        while True:
            if 0 in select.select([0, listener], [], [])[0]:
                return
            link, _ = listener.accept()
            with link:
                streams = socket.recv_fds(link, 1, 3)[1]
                arguments, folder, env = marshal.load(link.makefile("rb"))
                for argument in arguments:
                    if argument in SLOW:
                        importlib.import_module(SLOW[argument])
                if os.fork() == 0:
                    listener.close()
                    _command(link, streams, arguments, folder, env)
                for stream in streams:
                    os.close(stream)
                running += 1
                while running and os.waitpid(-1, os.WNOHANG)[0]:
                    running -= 1


@cache
def warm_command() -> list[str]:
    """Return the words to start ``hl-async`` with; the first call starts the process that is forked."""
    import atexit
    import subprocess
    import tempfile
    from pathlib import Path

    folder = tempfile.TemporaryDirectory(prefix="hl-warm-")
    path = f"{folder.name}/socket"
    env = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), env.get("PYTHONPATH", "")])
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", path], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdin is not None and server.stdout is not None

    def end() -> None:
        server.communicate()  # closes its input
        folder.cleanup()

    atexit.register(end)
    assert server.stdout.readline() == b"ready\n"
    return [sys.executable, "-S", "-E", __file__, path]


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        _serve(sys.argv[2])
    else:
        sys.exit(_client(sys.argv[1], sys.argv[2:]))
