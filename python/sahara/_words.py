"""Advice of the SDK in Python's words: it knows the command line's, where people type commands and options."""

from __future__ import annotations

import re
import shlex

# Commands that are functions here; the others are for a shell in any case.
FUNCTIONS = {
    ("model", "pull"): "sahara.models.pull",
    ("model", "ls"): "sahara.models.ls",
    ("model", "rm"): "sahara.models.rm",
    ("model", "shared"): "sahara.models.shared",
    ("model", "get"): "sahara.connect",
    ("whoami",): "sahara.whoami",
}
ARGUMENTS = {"from": "source", "plain": "sahara.local", "float": "sahara.local"}
PHRASES = [
    (r"leave out --plain and --float", "use sahara.connect"),
    (r"choose (.*) with --home\b", r"choose \1 with home=FOLDER"),
    (r"--home DIR\b", "home=FOLDER"),
    (r"--force\b", "force=True"),
    (r"with --name$", "with name=NAME"),
    (r"under another --name", "under another name=NAME"),
    (r"leave out --([a-z]+)", r"leave out \1"),
]


def in_python(text: str) -> str:
    """The same advice as functions and arguments."""
    text = re.sub(r"`sahara ([^`]+)`", _function, text)
    for pattern, words in PHRASES:
        text = re.sub(pattern, words, text)
    return re.sub(r"--([a-z][a-z-]*) ([\w/.-]+)", _argument, text)


def _function(command: re.Match[str]) -> str:
    """A command as the function of the same purpose; as it is, in a shell, if there is none."""
    try:
        words = shlex.split(command[1])
    except ValueError:
        return command[0]
    for name, function in FUNCTIONS.items():
        if tuple(words[: len(name)]) == name:
            return f"{function}({', '.join(_arguments(words[len(name) :]))})"
    return f"`sahara {command[1]}` (in a shell)"


def _arguments(words: list[str]) -> list[str]:
    given, words = [], list(words)
    while words:
        word = words.pop(0)
        if word == "--force":
            given.append("force=True")
        elif word.startswith("--"):
            value = _quoted(words.pop(0)) if words else "…"
            given.append(f"{ARGUMENTS.get(word[2:], word[2:])}={value}")
        else:
            given.append(_quoted(word))
    return given


def _argument(option: re.Match[str]) -> str:
    return f"{ARGUMENTS.get(option[1], option[1])}={_quoted(option[2])}"


def _quoted(word: str) -> str:
    """Placeholders in capitals are left for the reader to fill."""
    return word if re.fullmatch(r"[A-Z_/]+", word) else f'"{word}"'
