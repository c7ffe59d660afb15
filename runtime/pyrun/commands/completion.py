"""pyrun completion: scripts for shells, made from the command table. Cold module.

What they complete: commands, options, the values that an option or argument may have, files and folders, container ids
(by `pyrun list`, with the --root of the line), signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrun.base.errors import PyrunError
from pyrun.base.output import put
from pyrun.commandline.click_ import HELP
from pyrun.commandline.table import COLD_FLAG, COMMANDS, FLAG, GLOBAL, HIDDEN
from pyrun.commands.kill import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrun.commandline.parse import Option, Values

FILES = ("FILE", "SOCKET")
FOLDERS = ("DIR", "BUNDLE")


def run(root: str, values: Values, arguments: list[str]) -> int:
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
    """Return the values that an argument or option may have, as far as we know them when the script is made."""
    word = metavar.strip("[]")
    if word == "SIGNAL":
        return NAMES
    if word == "COMMAND":
        return list(_shown())
    return word.split("|") if "|" in word else []


def _words(table: Iterable[Option]) -> list[str]:
    return [name for names, _, _, _ in table for name in names]


BASH = r"""# bash completion for pyrun, made by: pyrun completion bash
_pyrun_ids() { "${program[@]}" list --quiet 2>/dev/null; }
_pyrun() {
    local command='' words='' action='' value_of='' current word at index=0
    local -a line=() program=("${COMP_WORDS[0]}")
    COMPREPLY=()
    for ((at = 1; at <= COMP_CWORD; at++)); do # readline makes words of --option=value: three
        [[ ${COMP_WORDS[at]} == '=' ]] || line+=("${COMP_WORDS[at]}")
    done
    [[ ${COMP_WORDS[COMP_CWORD]} == '=' ]] && line+=('')
    current=${line[-1]}
    for ((at = 0; at < ${#line[@]} - 1; at++)); do
        word=${line[at]}
        case $command:$word in
            @VALUED@)
                value_of=$word
                ((++at < ${#line[@]} - 1)) || break
                value_of=''
                [[ $command:$word == ':--root' ]] && program+=(--root "${line[at]}") ;;
            *:-*) ;;
            :*) command=$word ;;
            *) ((index++)) ;;
        esac
    done
    if [[ $value_of ]]; then
        case $command:$value_of in
@VALUES@
        esac
    elif [[ $current == -* ]]; then
        case $command in
@OPTIONS@
        esac
    elif [[ ! $command ]]; then
        words='@COMMANDS@'
    else
        case $command:$index in
@ARGUMENTS@
        esac
    fi
    if [[ $action ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -A "$action" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}
complete -F _pyrun pyrun
"""


def bash() -> str:
    """Return the script for bash 4.3 and later; it needs nothing of bash-completion."""
    scopes = [("", (*GLOBAL, HELP)), *((name, (*entry[1], HELP)) for name, entry in _shown().items())]
    valued, values, options, arguments = [], [], [], []
    for scope, table in scopes:
        options.append(f"'{scope}') words='{' '.join(_words(table))}' ;;")
        for names, kind, metavar, _ in table:
            if kind not in (FLAG, COLD_FLAG):
                patterns = [f"{scope}:{name}" for name in names]
                valued += patterns
                values.append(f"{'|'.join(patterns)}) {_bash_action(metavar)} ;;")
    for name, entry in _shown().items():
        arguments += [f"{name}:{index}) {_bash_action(metavar)} ;;" for index, metavar in enumerate(entry[0])]
    script = BASH.replace("@VALUED@", "|".join(valued)).replace("@COMMANDS@", " ".join(_shown()))
    for mark, lines in (("@VALUES@", values), ("@OPTIONS@", options), ("@ARGUMENTS@", arguments)):
        script = script.replace(mark, "\n".join(f"            {line}" for line in lines))
    return script


def _bash_action(metavar: str) -> str:
    word = metavar.strip("[]")
    if word in FOLDERS:
        return "action='directory'"
    if word in FILES:
        return "action='file'"
    if word == "ID":
        return "words=$(_pyrun_ids)"
    return f"words='{' '.join(_choices(metavar))}'"


def zsh() -> str:
    """Return the script for zsh's completion system: a file _pyrun, or evaluated after compinit."""
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
    """Return the script for fish 3 and later: a line for each thing that can stand somewhere."""
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
        action = _fish_action(metavar)
        parts += ["-r", action] if action == "-F" else ["-x", action]
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
