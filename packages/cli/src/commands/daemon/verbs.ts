/** The verbs that ask the daemon: what is done for each operation of the contract that has one. */

import process from 'node:process';
import type { HostEvent, LongOperation, MachineView, NameOf } from '@ringfence/api';
import type { ApiClient } from '@ringfence/api/client';
import { formatSize } from '@ringfence/core/sizes';
import { connectDaemon } from '@ringfence/host/daemon-client';
import { resolve } from 'node:path';
import { timeLimit } from '../../durations.ts';
import { EXIT } from '../../exit-codes.ts';
import { CliError, plainJson, plainText } from '../../failure.ts';
import { listenForSignals } from '../../node/interruption.ts';
import { textTable } from '../../text-table.ts';
import { processorChange, processorText } from '../processor-options.ts';
import { say } from '../say.ts';
import { overcommitText } from '../memory-options.ts';
import { printJson, reported, type Shape, showProgress, toEach } from './report.ts';
import { top } from './top.ts';

export type Options = Shape & Readonly<Record<string, unknown>>;
type Simple = 'vm.start' | 'vm.pause' | 'vm.resume' | 'vm.reset' | 'vm.remove';

/** By the operation's name in the contract. */
export const VERBS: Readonly<
  Record<string, (words: readonly (string | readonly string[])[], options: Options) => Promise<number>>
> = {
  'vm.start': ([names], options) =>
    simply('vm.start', names, options, options['snapshot'] === false ? { snapshot: false } : {}),
  'vm.pause': ([names], options) => simply('vm.pause', names, options),
  'vm.resume': ([names], options) => simply('vm.resume', names, options),
  'vm.reset': ([names], options) => simply('vm.reset', names, options),
  'vm.remove': ([names], options) =>
    simply('vm.remove', names, options, options['keepFiles'] === true ? { keepFiles: true } : {}),
  'vm.register': ([folder], options) =>
    reported(options, async () => {
      const name = options['name'];
      await done(connectDaemon(), 'vm.register', options, {
        folder: resolve(String(folder)),
        ...(typeof name === 'string' ? { name } : {}),
        ...(options['outside'] === true ? { allowOutside: true } : {}),
      });
    }),
  'vm.migrate': ([name, target], options) =>
    reported(options, async () => {
      const { downtime, postCopy, sharedDisks } = options as {
        readonly downtime?: string;
        readonly postCopy?: boolean;
        readonly sharedDisks?: boolean;
      };
      const downtimeMs = downtime === undefined ? undefined : timeLimit(downtime);
      if (typeof downtimeMs === 'string') throw new CliError(`--downtime "${downtime}" ${downtimeMs}`, EXIT.FAILED);
      await done(connectDaemon(), 'vm.migrate', options, {
        vm: String(name),
        target: String(target),
        ...(downtimeMs === undefined ? {} : { downtimeMs }),
        ...(postCopy === true ? { postCopy } : {}),
        ...(sharedDisks === true ? { sharedDisks } : {}),
      });
    }),
  'host.trust': ([fingerprint], options) =>
    reported(options, async () => {
      const known = await connectDaemon().ask('host.trust', {
        ...(typeof fingerprint === 'string' ? { fingerprint } : {}),
        ...(options['remove'] === true ? { remove: true } : {}),
        ...(Array.isArray(options['label']) ? { labels: options['label'].map(String) } : {}),
      });
      if (options.json === true) printJson(known);
      else {
        const trusted = known.trusted.map((each) => {
          const labels = known.labels[each] ?? [];
          return `trusted:     ${each}${labels.length === 0 ? '' : `, whose machines keep the labels ${labels.join(', ')}`}\n`;
        });
        process.stdout.write(`this daemon: ${known.own}\n${trusted.join('')}`);
      }
    }),
  'vm.rename': ([name, to], options) =>
    reported(options, async () => {
      const machine = await connectDaemon().ask('vm.rename', { vm: String(name), name: String(to) });
      if (options.json === true) printJson(machine);
      else process.stdout.write(`${machine.name}\n`);
    }),
  'vm.list': (_words, options) =>
    reported(options, async () => {
      const machines = await connectDaemon().ask('vm.list', {});
      if (options.json === true) printJson(machines);
      else if (machines.length === 0) say('there is no virtual machine; "ringfence create" makes one');
      else
        process.stdout.write(
          textTable(
            ['NAME', 'STATE', 'IMAGE', 'CPUS', 'MEMORY', 'LABEL', 'PORTS', 'PID'],
            machines.flatMap((machine) => [row(machine), ...forkRows(machine)]),
          ),
        );
      for (const { name, problem } of machines) if (problem !== undefined) say(`"${name}": ${problem}`);
    }),
  'vm.inspect': ([names], options) =>
    reported(options, async () => {
      const client = connectDaemon();
      const machines = await Promise.all([names ?? []].flat().map((vm) => client.ask('vm.inspect', { vm })));
      if (options.json === true) printJson(machines);
      else process.stdout.write(machines.map(described).join('\n'));
    }),
  'snapshot.create': ([name, snapshot], options) =>
    reported(options, async () => {
      const { parent } = options as { readonly parent?: string };
      await done(connectDaemon(), 'snapshot.create', options, {
        vm: String(name),
        ...(snapshot === undefined ? {} : { name: String(snapshot) }),
        ...(parent === undefined ? {} : { parent }),
      });
    }),
  'snapshot.list': ([name], options) =>
    reported(options, async () => {
      const snapshots = await connectDaemon().ask('snapshot.list', { vm: String(name) });
      if (options.json === true) printJson(snapshots);
      else if (snapshots.length === 0) say(`"${String(name)}" has no snapshot; "ringfence snapshot" takes one`);
      else
        process.stdout.write(
          textTable(
            ['NAME', 'TAKEN', 'ON', 'CPUS', 'MEMORY', 'SIZE'],
            snapshots.map(({ name: each, createdAt, parent, cpus, memoryBytes, bytes }) => [
              each,
              createdAt,
              parent ?? '-',
              String(cpus),
              formatSize(memoryBytes),
              formatSize(bytes),
            ]),
          ),
        );
      for (const { problem } of snapshots) if (problem !== undefined) say(problem);
    }),
  'snapshot.remove': ([name, snapshots], options) => {
    return reported(options, async () => {
      // One after the other: a machine's snapshots are changed one at a time.
      for (const snapshot of [snapshots ?? []].flat())
        await done(connectDaemon(), 'snapshot.remove', options, { vm: String(name), snapshot });
    });
  },
  'snapshot.restore': ([name, snapshot], options) =>
    reported(options, async () => {
      const { as } = options as { readonly as?: string };
      await done(connectDaemon(), 'snapshot.restore', options, {
        vm: String(name),
        snapshot: String(snapshot),
        ...(as === undefined ? {} : { as }),
      });
    }),
  'vm.cpu': ([name], options) =>
    reported(options, async () => {
      const machine = await connectDaemon().ask('vm.cpu', { vm: String(name), ...processorChange(options) });
      if (options.json === true) printJson(machine);
      else process.stdout.write(`${machine.name}\n`);
    }),
  'vm.usage': (_words, options) => reported(options, () => top(options)),
  'event.list': (_words, options) => reported(options, () => events(options)),
};

async function simply(
  operation: Simple,
  names: string | readonly string[] | undefined,
  options: Options,
  more: { readonly keepFiles?: true; readonly snapshot?: false } = {},
): Promise<number> {
  const client = connectDaemon();
  return toEach([names ?? []].flat(), options, (vm) => done(client, operation, options, { vm, ...more }));
}

/** Waits for the end of a long operation and says its machine's name. */
export async function done(
  client: ApiClient,
  operation: NameOf<'long'>,
  options: Shape,
  input: Parameters<ApiClient['run']>[1],
): Promise<LongOperation> {
  const onProgress = options.json === true ? () => undefined : showProgress();
  const ended = await client.run(operation, input, { onProgress });
  if (options.json === true) printJson(ended);
  else process.stdout.write(`${ended.vm.name}\n`);
  for (const note of ended.notes ?? []) say(note);
  return ended;
}

function row({ name, state, image, cpus, memoryBytes, label, networks, pid }: MachineView): string[] {
  const ports = networks.flatMap(({ publish }) => publish).join(', ');
  return [
    name,
    state,
    image || '-',
    String(cpus),
    formatSize(memoryBytes),
    label ?? '-',
    ports || '-',
    pid === undefined ? '-' : String(pid),
  ];
}

/** They run in its process, and end with it. */
function forkRows({ name, forks = [], image, cpus, memoryBytes, label, pid }: MachineView): string[][] {
  return forks.map((fork) => [
    fork.name,
    `${fork.state}, fork of ${name}`,
    image || '-',
    String(cpus),
    formatSize(memoryBytes),
    label ?? '-',
    '-',
    pid === undefined ? '-' : String(pid),
  ]);
}

function described(machine: MachineView): string {
  const { disks, networks, end, memoryBytes, cpu, overcommit, forks, start, ...rest } = machine;
  const lines = Object.entries(rest).map(([field, value]) => [`${field}:`, String(value)]);
  lines.push(['memory:', formatSize(memoryBytes)]);
  if (overcommit !== undefined) lines.push(['overcommit:', overcommitText(overcommit)]);
  if (cpu !== undefined) lines.push(['cpu:', processorText(cpu)]);
  for (const { file, readOnly } of disks) lines.push(['disk:', `${file}${readOnly ? ' (read only)' : ''}`]);
  for (const { mode, mac, publish } of networks) lines.push(['network:', [mode, mac, ...publish].join(' ')]);
  if (start !== undefined) lines.push(['began by:', startText(start)]);
  for (const { name, state } of forks ?? []) lines.push(['fork:', `${name} ${state}`]);
  if (end !== undefined) lines.push(['last run:', `${end.kind} at ${end.at} ${end.detail ?? ''}`.trimEnd()]);
  return lines
    .map(([field = '', value = '']) => `${field.padEnd(12)}${plainText(value).replaceAll('\n', ' ')}\n`)
    .join('');
}

/** How the present run of a machine began. */
function startText({ from, reason }: NonNullable<MachineView['start']>): string {
  return from === 'kept-boot' ? 'going on from a kept boot' : `booting${reason === undefined ? '' : `: ${reason}`}`;
}

async function events(options: Options): Promise<number> {
  const { after, follow } = options as { readonly after?: string; readonly follow?: boolean };
  if (after !== undefined && !/^\d{1,15}$/.test(after))
    throw new CliError(`--after "${after}" is no number of an event`, EXIT.FAILED);
  const { signal } = listenForSignals();
  const input = { ...(after === undefined ? {} : { after: Number(after) }), follow: follow !== false };
  for await (const event of connectDaemon().events(input, signal)) {
    process.stdout.write(options.json === true ? `${plainJson(event)}\n` : `${line(event)}\n`);
  }
  return EXIT.OK;
}

function line({ seq, at, kind, vm, detail }: HostEvent): string {
  const rest = Object.entries(detail).map(([field, value]) => `${field}=${value.replaceAll(/\s+/g, ' ')}`);
  return plainText([String(seq), at, kind, vm.name, ...rest].join(' '));
}
