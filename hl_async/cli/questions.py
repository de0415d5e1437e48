"""Internal. Questions to a person, or the option that answers without a terminal."""

from __future__ import annotations

import sys

import click

from hl_async.cli.app import fail


def confirmed(question: str, *, option: str = "--yes") -> bool:
    """Ask for a yes or no; without a terminal, name the option that answers."""
    if not sys.stdin.isatty():
        fail(f"not a terminal: give {option}")
    return click.confirm(question, err=True)


def secret_line(prompt: str, *, otherwise: str) -> str:
    """Ask for a secret without showing it; without a terminal, read a line of stdin.

    Args:
        prompt: What the terminal shows.
        otherwise: What to do when stdin is empty.
    """
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, err=True)).strip()
    found = sys.stdin.readline().strip()
    if not found:
        fail(f"not a terminal, and stdin is empty: {otherwise}")
    return found
