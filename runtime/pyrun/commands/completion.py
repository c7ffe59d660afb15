"""pyrun completion: scripts for shells, made from the command table. Cold module.

What they complete: commands, options, the values that an option or argument may have, files and folders, container ids
(by `pyrun list`, with the --root of the line), signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrun.cli_click import HELP
from pyrun.commands.kill import NAMES
from pyrun.commands.output import put
from pyrun.errors import PyrunError
from pyrun.options import COLD_FLAG, COMMANDS, FLAG, GLOBAL, HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrun.fastargs import Option

FILES = ("FILE", "SOCKET")
FOLDERS = ("DIR", "BUNDLE")


def run(arguments: list[str]) -> int:
    """Print the script for a shell."""
    if arguments[0] not in SHELLS:
        raise PyrunError(
            f'completion: there is a script for {", ".join(SHELLS)}, but none for "{arguments[0]}"'
        )
    put(SHELLS[arguments[0]]())
    return 0


def _shown() -> dict[str, tuple[tuple[str, ...], tuple[Option, ...], str]]:
    return {name: entry[:3] for name, entry in COMMANDS.items() if name not in HIDDEN}


def _choices(metavar: str) -> list[str]:
    """The values that an argument or option may have, as far as they are known when the script is made."""
    word = metavar.strip("[]")
    if word == "SIGNAL":
        return NAMES
    if word == "COMMAND":
        return list(_shown())
    return word.split("|") if "|" in word else []


def _words(table: Iterable[Option]) -> list[str]:
    return [name for names, _, _, _ in table for name in names]


def bash() -> str:
    """For bash 4 and later; its own `compgen` only, no bash-completion needed."""
    takes = []
    for scope, table in [("", GLOBAL), *((name, entry[1]) for name, entry in _shown().items())]:
        for names, kind, metavar, _ in table:
            if kind not in (FLAG, COLD_FLAG):
                pattern = "|".join(f"{scope}:{name}" for name in names)
                takes.append(f"            {pattern}) {_bash_action(metavar)} ;;")
    options = [
        f"            {name}) words='{' '.join(_words((*entry[1], HELP)))}' ;;"
        for name, entry in _shown().items()
    ]
    positions = [
        f"            {name}:{index}) {_bash_action(metavar)} ;;"
        for name, entry in _shown().items()
        for index, metavar in enumerate(entry[0])
    ]
    known = "|".join(word for word in _words(o for o in GLOBAL if o[1] != FLAG))
    local = "|".join(
        dict.fromkeys(
            word
            for entry in _shown().values()
            for word in _words(o for o in entry[1] if o[1] not in (FLAG, COLD_FLAG))
        )
    )
    return f"""# bash completion for pyrun, made by: pyrun completion bash
_pyrun_ids() {{ "${{program[@]}}" list --quiet 2>/dev/null; }}
_pyrun() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command='' words='' action='' value_of='' at=1 index=0
    local -a program=("${{COMP_WORDS[0]}}")
    COMPREPLY=()
    while ((at < COMP_CWORD)); do
        local word=${{COMP_WORDS[at]}}
        if [[ $command ]]; then
            case $word in
                {local}) value_of=$word; ((at++)) ;;
                -*) ;;
                *) ((index++)) ;;
            esac
        else
            case $word in
                --root) value_of=$word; ((at++)); ((at < COMP_CWORD)) && program+=(--root "${{COMP_WORDS[at]}}") ;;
                {known}) value_of=$word; ((at++)) ;;
                -*) ;;
                *) command=$word ;;
            esac
        fi
        ((at == COMP_CWORD)) || value_of=''
        ((at++))
    done
    if [[ $value_of ]]; then
        case $command:$value_of in
{chr(10).join(takes)}
        esac
    elif [[ $current == -* ]]; then
        case $command in
            '') words='{" ".join(_words((*GLOBAL, HELP)))}' ;;
{chr(10).join(options)}
        esac
    elif [[ ! $command ]]; then
        words='{" ".join(_shown())}'
    else
        case $command:$index in
{chr(10).join(positions)}
        esac
    fi
    mapfile -t COMPREPLY < <(
        if [[ $action ]]; then compgen -A "$action" -- "$current"; else compgen -W "$words" -- "$current"; fi
    )
    [[ $action ]] && compopt -o filenames
    return 0
}}
complete -F _pyrun pyrun
"""


def _bash_action(metavar: str) -> str:
    word = metavar.strip("[]")
    if word in FOLDERS:
        return "action=directory"
    if word in FILES:
        return "action=file"
    if word == "ID":
        return "words=$(_pyrun_ids)"
    return f"words='{' '.join(_choices(metavar))}'"


def zsh() -> str:
    """For zsh's completion system: a file _pyrun, or the output evaluated after compinit."""
    commands = "\n".join(f"        {_quoted(f'{name}:{entry[2]}')}" for name, entry in _shown().items())
    cases = []
    for name, entry in _shown().items():
        specs = [_zsh_option(option) for option in (*entry[1], HELP)]
        specs += [_quoted(f":{metavar.strip('[]')}:{_zsh_action(metavar)}") for metavar in entry[0]]
        cases.append(f"        {name}) _arguments -s -S {' '.join(specs)} ;;")
    glob = " ".join(_zsh_option(option) for option in (*GLOBAL, HELP))
    return f"""#compdef pyrun
# zsh completion for pyrun, made by: pyrun completion zsh
_pyrun_ids() {{
    local -a ids program=(pyrun)
    [[ -n ${{opt_args[--root]}} ]] && program+=(--root ${{(Q)opt_args[--root]}})
    [[ -n $pyrun_root ]] && program+=(--root $pyrun_root)
    ids=(${{(f)"$($program list --quiet 2>/dev/null)"}})
    compadd -a ids
}}
_pyrun() {{
    local curcontext=$curcontext state line pyrun_root
    local -A opt_args
    local -a commands=(
{commands}
    )
    _arguments -S -C {glob} ': :->command' '*:: :->arguments' && return
    case $state in
    command) _describe command commands ;;
    arguments)
        pyrun_root=${{(Q)opt_args[--root]}}
        case $line[1] in
{chr(10).join(cases)}
        esac ;;
    esac
}}
if [[ $funcstack[1] == _pyrun ]]; then _pyrun "$@"; else compdef _pyrun pyrun; fi
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_option(option: Option) -> str:
    names, kind, metavar, text = option
    text = text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    flag = kind in (FLAG, COLD_FLAG)
    specs = []
    for name in names:
        equals = "" if flag else "=" if name[:2] == "--" else "+"
        value = "" if flag else f":{metavar.partition('|')[0].lower()}:{_zsh_action(metavar)}"
        specs.append(_quoted(f"({' '.join(names)}){name}{equals}[{text}]{value}"))
    return " ".join(specs)


def _zsh_action(metavar: str) -> str:
    word = metavar.strip("[]")
    if word in FOLDERS:
        return "_files -/"
    if word in FILES:
        return "_files"
    if word == "ID":
        return "_pyrun_ids"
    found = _choices(metavar)
    return f"({' '.join(found)})" if found else " "


def fish() -> str:
    """For fish 3 and later: a line for each thing that can stand somewhere."""
    names = " ".join(_shown())
    lines = [
        "# fish completion for pyrun, made by: pyrun completion fish",
        "function __pyrun_ids",
        "    set -l words (commandline -opc)",
        "    set -l at (contains -i -- --root $words)",
        "    and pyrun --root $words[(math $at + 1)] list --quiet 2>/dev/null",
        "    or pyrun list --quiet 2>/dev/null",
        "end",
        "complete -c pyrun -f",
    ]
    before = f"'not __fish_seen_subcommand_from {names}'"
    lines += [f"complete -c pyrun -n {before} {_fish_option(option)}" for option in (*GLOBAL, HELP)]
    for name, (arguments, table, text) in _shown().items():
        inside = f"'__fish_seen_subcommand_from {name}'"
        lines.append(f"complete -c pyrun -n {before} -a {name} -d {_fish_quoted(text)}")
        lines += [f"complete -c pyrun -n {inside} {_fish_option(option)}" for option in (*table, HELP)]
        lines += [
            f"complete -c pyrun -n {inside} {action}" for action in map(_fish_action, arguments) if action
        ]
    return "\n".join([*lines, ""])


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_option(option: Option) -> str:
    names, kind, metavar, text = option
    parts = [f"-l {name[2:]}" if name[:2] == "--" else f"-s {name[1:]}" for name in names]
    if kind not in (FLAG, COLD_FLAG):
        parts += ["-r", _fish_action(metavar)]
    return " ".join([*filter(None, parts), f"-d {_fish_quoted(text)}"])


def _fish_action(metavar: str) -> str:
    word = metavar.strip("[]")
    if word in FOLDERS:
        return "-a '(__fish_complete_directories)'"
    if word in FILES:
        return "-F"
    if word == "ID":
        return "-a '(__pyrun_ids)'"
    found = _choices(metavar)
    return f"-a '{' '.join(found)}'" if found else ""


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
