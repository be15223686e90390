/** The daemon's verbs on the command line, made of the contract: each operation that has words is a command. */

import type { Operation } from '@ringfence/api';
import { OPERATIONS } from '@ringfence/api/operations';
import { type Command, Option } from 'commander';
import type { CreateMachineOptions } from './commands/daemon/create.ts';
import type { HostOptions } from './commands/daemon/host.ts';
import type { Options } from './commands/daemon/verbs.ts';

/** What `create` has beside what `run` has. */
const CREATE_DETAILS = `
A --disk is a size, for an empty disk, or an image, which stays as it is behind a new one; with ",readonly" the guest
does not write to it. What the machine is lies in its folder, in vm.yaml: "ringfence inspect" tells where.`;

const HOST_DETAILS = `
Keeps virtual machines that stay: "ringfence create" makes one, "ringfence ls" lists them, and "exec", "cp",
"console" and "stop" reach them like any other. Each runs in a process of its own and runs on when the daemon ends,
however that is; the next daemon finds it. Only this user can ask it anything.

Examples:
  ringfence host
  ringfence host --state /srv/ringfence`;

export interface SharedOptions {
  /** Options that \`run\` has, too, by their names. */
  readonly create: readonly Option[];
}

export function addDaemonCommands(program: Command, shared: SharedOptions, end: (code: number) => void): void {
  program
    .command('host')
    .summary('keep virtual machines: the daemon')
    .description('Runs the daemon, which keeps virtual machines, until it is interrupted.')
    .option('--state <folder>', 'what it keeps (default: ringfence/host in the state folder of the user)')
    .option('--listen <address>', 'let trusted daemons bring machines here, like 0.0.0.0:7411')
    .option(
      '--cpu <percent>',
      'what machines may have of the processors together, in percent of one (default: all of this computer)',
    )
    .option('--memory <size>', 'what machines may have of the memory together, like 8G (default: four fifths of it)')
    .addHelpText('after', HOST_DETAILS)
    .action(async (options: HostOptions) => {
      const { host } = await import('./commands/daemon/host.ts');
      end(await host(options));
    });
  for (const [name, operation] of Object.entries<Operation>(OPERATIONS)) {
    const { verb, summary } = operation;
    if (verb === undefined) continue;
    const command = program.command(verb.words).summary(summaryOf(summary)).description(summary);
    for (const argument of verb.arguments) command.argument(argument, ARGUMENTS[argument] ?? '');
    for (const [form, description, initial] of verb.options ?? []) command.option(form, description, initial);
    command.option('--json', 'print JSON, failures too');
    const details = name === 'vm.create' ? CREATE_DETAILS : '';
    command.addHelpText(
      'after',
      `${details}\nExamples:\n${verb.examples.map((example) => `  ${example}\n`).join('')}`.trimEnd(),
    );
    if (name === 'vm.create') {
      for (const option of shared.create) command.addOption(option);
      command.action(async (image: string | undefined, options: CreateMachineOptions) => {
        const { createMachine } = await import('./commands/daemon/create.ts');
        end(await createMachine(image ?? 'tiny', options));
      });
    } else
      command.action(async (...given: unknown[]) => {
        const { VERBS } = await import('./commands/daemon/verbs.ts');
        const words = given.slice(0, verb.arguments.length) as (string | readonly string[])[];
        const options = given[verb.arguments.length] as Options;
        end((await VERBS[name]?.(words, options)) ?? 0);
      });
  }
}

const ARGUMENTS: Readonly<Record<string, string>> = {
  '[image]': 'what it is started from (default: tiny)',
  '<name>': 'the machine',
  '<name...>': 'the machines',
  '<new>': 'its new name',
  '[snapshot]': 'what it is to be called (default: the time)',
  '<snapshot>': 'the snapshot',
  '<snapshot...>': 'the snapshots',
  '<target>': 'where the other daemon listens, like host:7411',
  '[fingerprint]': 'of the other daemon; without it, those that are trusted are listed',
  '<folder>': 'the folder with its vm.yaml',
};

/** "Makes a virtual machine, which ..." in a list of commands. */
function summaryOf(summary: string): string {
  const text = summary.replace(/[,;].*$/s, '').replace(/\.$/, '');
  return text.replace(/^(\w)(\w*?)(es|s)?\b/, (_all, first: string, rest: string, ending: string | undefined) => {
    const verb = `${first.toLowerCase()}${rest}`;
    return ending === 'es' && /(?:ch|sh|ss|x|o)$/.test(rest) ? verb : `${verb}${ending === 'es' ? 'e' : ''}`;
  });
}
