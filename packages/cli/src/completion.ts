// darkroom completion: scripts for shells, made from the commands and their options.

import { Argument, Command } from 'commander';
import type { Option } from 'commander';
import { schedulerAliases } from '@darkroom/diffusers';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

export function completionCommand(): Command {
  return new Command('completion')
    .description('print the completion script of a shell')
    .addArgument(new Argument('<shell>', 'which').choices(shells))
    .addHelpText(
      'after',
      `
Install:
  darkroom completion bash > ~/.local/share/bash-completion/completions/darkroom
  darkroom completion zsh > "\${fpath[1]}/_darkroom"
  darkroom completion fish > ~/.config/fish/completions/darkroom.fish`,
    )
    .action((shell: Shell, _: object, command: Command) => {
      process.stdout.write(scripts[shell](command.parent!.commands));
    });
}

/** Values that an option can have; undefined: a file, or anything. */
function valuesOf(option: Option): readonly string[] | undefined {
  if (option.long === '--scheduler') return Object.keys(schedulerAliases);
  return option.argChoices;
}

const flagsOf = (option: Option): string[] =>
  [option.short, option.long].filter((flag) => flag !== undefined);
const takesFile = (option: Option): boolean => /<(file|picture|dir-or-id)>/.test(option.flags);
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

function bash(commands: readonly Command[]): string {
  const names = commands.map((c) => c.name()).join(' ');
  const values = (command: Command): string[] =>
    command.options.flatMap((option) => {
      const list = valuesOf(option);
      const words = list
        ? `compgen -W ${quoted(list.join(' '))} -- "$word"`
        : takesFile(option)
          ? 'compgen -f -- "$word"'
          : ':';
      return option.required
        ? [
            `      ${command.name()}:${flagsOf(option).join(`|${command.name()}:`)}) mapfile -t COMPREPLY < <(${words}); return ;;`,
          ]
        : [];
    });
  const flags = commands.map(
    (c) =>
      `      ${c.name()}) mapfile -t COMPREPLY < <(compgen -W ${quoted(c.options.flatMap(flagsOf).join(' '))} -- "$word") ;;`,
  );
  return `# bash completion of darkroom
_darkroom() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" command="\${COMP_WORDS[1]}"
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -W ${quoted(names)} -- "$word")
    return
  fi
  case "$command:$before" in
${commands.flatMap(values).join('\n')}
      completion:completion) mapfile -t COMPREPLY < <(compgen -W '${shells.join(' ')}' -- "$word"); return ;;
  esac
  if [[ $word == -* ]]; then
    case "$command" in
${flags.join('\n')}
    esac
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  fi
}
complete -o filenames -F _darkroom darkroom
`;
}

function zsh(commands: readonly Command[]): string {
  const escape = (text: string): string => text.replace(/[[\]:\\]/g, '\\$&');
  const spec = (option: Option): string => {
    const list = valuesOf(option);
    const action = list
      ? `:value:(${list.join(' ')})`
      : takesFile(option)
        ? ':file:_files'
        : option.required
          ? ':value:'
          : '';
    const flags = flagsOf(option);
    const head = flags.length > 1 ? `'(${flags.join(' ')})'{${flags.join(',')}}` : flags[0]!;
    return `        ${head}${quoted(`[${escape(option.description)}]${action}`)} \\`;
  };
  const cases = commands.map((c) => {
    const rest = c.name() === 'completion' ? `'1:shell:(${shells.join(' ')})'` : "'*:file:_files'";
    return `      ${c.name()})\n        _arguments \\\n${[...c.options.map(spec), `        ${rest}`].join('\n')} ;;`;
  });
  const list = commands.map((c) => `    ${quoted(`${c.name()}:${c.description()}`)}`);
  return `#compdef darkroom
_darkroom() {
  local -a commands
  commands=(
${list.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
compdef _darkroom darkroom
if [[ $funcstack[1] == _darkroom ]]; then _darkroom "$@"; fi
`;
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((c) => [
    `complete -c darkroom -n __fish_use_subcommand -f -a ${c.name()} -d ${quoted(c.description())}`,
    ...c.options.map((option) => {
      const list = valuesOf(option);
      const value = list
        ? ` -x -a ${quoted(list.join(' '))}`
        : takesFile(option)
          ? ' -r -F'
          : option.required
            ? ' -x'
            : '';
      const short = option.short ? ` -s ${option.short.slice(1)}` : '';
      const long = option.long ? ` -l ${option.long.slice(2)}` : '';
      return `complete -c darkroom -n '__fish_seen_subcommand_from ${c.name()}'${short}${long}${value} -d ${quoted(option.description)}`;
    }),
  ]);
  return `# fish completion of darkroom
${lines.join('\n')}
complete -c darkroom -n '__fish_seen_subcommand_from completion' -f -a '${shells.join(' ')}'
`;
}

const scripts: Readonly<Record<Shell, (commands: readonly Command[]) => string>> = { bash, zsh, fish };
