"""Internal. ``hl-async completion``: a shell's script to complete a command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from hl_async.cli.app import app, fail


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    eval "$(hl-async completion bash)"    # in ~/.bashrc
    eval "$(hl-async completion zsh)"     # in ~/.zshrc, below compinit
    hl-async completion fish > ~/.config/fish/completions/hl-async.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        fail(f"no completion for {shell}")
    click.echo(kind(app, {}, "hl-async", "_HL_ASYNC_COMPLETE").source())
