/**
 * What can be asked of the daemon: each operation once, as data. Its HTTP routes, the OpenAPI document, the typed client, the verbs of the
 * command line and, later, the names of authorization and audit are made of this table; an operation's key is that name.
 *
 * `answer` says how an operation answers:
 *
 *     value      200 with `output` as JSON
 *     long       202 with a long operation as JSON, which goes on without who asked; `operation.inspect` tells how far it is
 *     events     200 with server-sent events (HTML Standard, section 9.2), each with `output` as JSON
 *     terminal   a WebSocket (RFC 6455): binary messages are bytes of a serial line, both ways
 *     text       200 with text of another standard
 */

import * as z from 'zod/mini';
import type { ErrorCode } from './errors.ts';
import type { Operation } from './operation.ts';
import { processorChange } from './processors.ts';
import {
  creation,
  event,
  hostStatus,
  LIMITS,
  longOperation,
  machine,
  machineKey,
  machineName,
  snapshot,
  snapshotName,
  trust,
  trustChange,
  usage,
} from './schemas.ts';

const vm = { vm: machineKey };
/** Numbers of a query are text. */
const number = z.coerce.number().check(z.int(), z.nonnegative());
const flag = z.pipe(
  z.union([z.boolean(), z.enum(['true', 'false'])]),
  z.transform((value) => value === true || value === 'true'),
);
const milliseconds = z.number().check(z.int(), z.gte(0), z.lte(2 ** 31 - 1));

/** Whatever lets a machine run. */
const STARTING = [
  'not-a-machine',
  'no-memory',
  'no-processors',
  'bad-argument',
  'forbidden',
  'unsupported',
  'too-many',
  'unavailable',
  'aborted',
  'ended',
  'timeout',
] as const;

/** Whatever changes what its vm.yaml says. */
const CHANGING = ['not-found', 'wrong-state', 'not-a-machine', 'no-space', 'unavailable', 'bad-argument'] as const;

export const OPERATIONS = {
  'vm.create': {
    summary: 'Makes a virtual machine, which does not run yet.',
    method: 'POST',
    path: '/v1/vms',
    input: creation,
    output: longOperation,
    answer: 'long',
    errors: [
      'bad-argument',
      'name-taken',
      'not-found',
      'no-space',
      'no-memory',
      'no-processors',
      'image',
      'unavailable',
      'too-many',
    ],
    verb: {
      words: 'create',
      arguments: ['[image]'],
      examples: [
        'ringfence create --name web --publish 8080:80',
        'ringfence create --name shop-1 --label shop',
        'ringfence create debian --name db --memory 2G --disk 20G --packages postgresql',
      ],
    },
  },
  'vm.register': {
    summary: 'Takes in a folder that is a virtual machine, such as a copy of one.',
    method: 'POST',
    path: '/v1/register',
    input: z.strictObject({
      folder: z.string().check(z.minLength(1), z.maxLength(LIMITS.textCharacters)),
      /** Instead of the name in its vm.yaml. */
      name: z.optional(machineName),
      /** Whether its disks may be files outside of the folder, or stand on such, and links in it may lead there. */
      allowOutside: z.optional(z.boolean()),
    }),
    output: longOperation,
    answer: 'long',
    errors: [
      'bad-argument',
      'forbidden',
      'name-taken',
      'not-found',
      'not-a-machine',
      'no-space',
      'unavailable',
      'too-many',
    ],
    verb: {
      words: 'register',
      arguments: ['<folder>'],
      options: [
        ['--name <name>', 'what it is to be called (default: as its vm.yaml says)'],
        ['--outside', 'its disks may be files outside of the folder, or stand on such'],
      ],
      examples: ['cp -r web-folder copy && ringfence register copy --name web2'],
    },
  },
  'vm.list': {
    summary: 'Lists the virtual machines there are, running or not.',
    method: 'GET',
    path: '/v1/vms',
    input: z.strictObject({}),
    output: z.array(machine),
    answer: 'value',
    errors: [],
    verb: { words: 'ls', arguments: [], examples: ['ringfence ls', 'ringfence ls --json'] },
  },
  'vm.inspect': {
    summary: 'Tells what a virtual machine is and how it is getting on.',
    method: 'GET',
    path: '/v1/vms/{vm}',
    input: z.strictObject(vm),
    output: machine,
    answer: 'value',
    errors: ['not-found'],
    verb: { words: 'inspect', arguments: ['<name...>'], examples: ['ringfence inspect web'] },
  },
  'vm.start': {
    summary: 'Starts a virtual machine; it is done when the guest takes commands.',
    method: 'POST',
    path: '/v1/vms/{vm}/start',
    input: z.strictObject({
      ...vm,
      /** Whether it may go on from a machine like it that was kept when it had booted; true when it is not given. */
      snapshot: z.optional(z.boolean()),
    }),
    output: longOperation,
    answer: 'long',
    errors: ['not-found', 'wrong-state', 'name-taken', ...STARTING],
    verb: {
      words: 'start',
      arguments: ['<name...>'],
      options: [['--no-snapshot', 'boot, instead of going on from a machine like it that was kept when it had booted']],
      examples: ['ringfence start web db'],
    },
  },
  'vm.stop': {
    summary: 'Shuts a guest down, and ends the virtual machine as it is when that takes too long.',
    method: 'POST',
    path: '/v1/vms/{vm}/stop',
    input: z.strictObject({
      ...vm,
      /** 0 asks no guest: it ends the machine at once, and what is being done with it. */
      timeoutMs: z.optional(z.number().check(z.int(), z.gte(0), z.lte(LIMITS.stopMs))),
    }),
    output: longOperation,
    answer: 'long',
    errors: ['not-found', 'wrong-state', 'ended', 'timeout', 'unavailable'],
    // `ringfence stop` reaches the machines of `run`, too: the command line has it by hand.
  },
  'vm.pause': {
    summary: 'Lets a virtual machine stand still; no time passes in it.',
    method: 'POST',
    path: '/v1/vms/{vm}/pause',
    input: z.strictObject(vm),
    output: longOperation,
    answer: 'long',
    errors: ['not-found', 'wrong-state', 'timeout', 'ended', 'unavailable'],
    verb: { words: 'pause', arguments: ['<name...>'], examples: ['ringfence pause web'] },
  },
  'vm.resume': {
    summary: 'Lets a paused virtual machine go on.',
    method: 'POST',
    path: '/v1/vms/{vm}/resume',
    input: z.strictObject(vm),
    output: longOperation,
    answer: 'long',
    errors: ['not-found', 'wrong-state', 'timeout', 'ended', 'unavailable'],
    verb: { words: 'resume', arguments: ['<name...>'], examples: ['ringfence resume web'] },
  },
  'vm.reset': {
    summary: 'Pulls the plug of a virtual machine and starts it again.',
    method: 'POST',
    path: '/v1/vms/{vm}/reset',
    input: z.strictObject(vm),
    output: longOperation,
    answer: 'long',
    errors: ['not-found', 'wrong-state', ...STARTING],
    verb: { words: 'reset', arguments: ['<name...>'], examples: ['ringfence reset web'] },
  },
  'vm.migrate': {
    summary: 'Moves a virtual machine that runs to another daemon, without stopping it.',
    method: 'POST',
    path: '/v1/vms/{vm}/migrate',
    input: z.strictObject({
      ...vm,
      /** Where the other daemon listens, like host:7411. */
      target: z.string().check(z.minLength(1), z.maxLength(LIMITS.textCharacters)),
      /** How long it may stand still; 20 ms when it is not given. */
      downtimeMs: z.optional(milliseconds),
      /** Whether pages may follow when it runs there, if it writes faster than the link carries even when it is slowed down; false when it is not given. */
      postCopy: z.optional(z.boolean()),
      /** Whether disks outside of its folder are the same files there. */
      sharedDisks: z.optional(z.boolean()),
    }),
    output: longOperation,
    answer: 'long',
    errors: [
      'not-found',
      'wrong-state',
      'untrusted',
      'other-version',
      'other-machine',
      'name-taken',
      'no-memory',
      'no-space',
      'unavailable',
      'unsupported',
      'timeout',
      'protocol',
      'aborted',
      'ended',
      'too-many',
    ],
    verb: {
      words: 'migrate',
      arguments: ['<name>', '<target>'],
      options: [
        ['--downtime <time>', 'how long it may stand still, like 50ms (default: 20ms)'],
        ['--post-copy', 'it may run there before all of its memory is there: a link that is lost then ends it'],
        ['--shared-disks', 'disks outside of its folder are the same files there, and are not sent'],
      ],
      examples: ['ringfence migrate web other-host:7411'],
    },
  },
  'host.trust': {
    summary: 'Trusts another daemon, which machines may come from and go to, by its fingerprint.',
    method: 'POST',
    path: '/v1/trust',
    input: trustChange,
    output: trust,
    answer: 'value',
    errors: ['not-found', 'too-many', 'unavailable'],
    verb: {
      words: 'trust',
      arguments: ['[fingerprint]'],
      options: [
        ['--label <label...>', 'machines that come from it and have one of these trust labels keep it'],
        ['--remove', 'trust it no more; with --label, only its machines keep those labels no more'],
      ],
      examples: ['ringfence trust', 'ringfence trust 3f9c...', 'ringfence trust 3f9c... --label shop'],
    },
  },
  'vm.remove': {
    summary: 'Removes a virtual machine that does not run, and its files where the daemon made them.',
    method: 'DELETE',
    path: '/v1/vms/{vm}',
    input: z.strictObject({ ...vm, keepFiles: z.optional(flag) }),
    output: longOperation,
    answer: 'long',
    errors: ['not-found', 'wrong-state', 'unavailable', 'unsupported'],
    verb: {
      words: 'rm',
      arguments: ['<name...>'],
      options: [['--keep-files', 'leave its folder, which "ringfence register" takes in again']],
      examples: ['ringfence rm web', 'ringfence rm --keep-files db'],
    },
  },
  'vm.rename': {
    summary: 'Gives a virtual machine another name, or a fork; its guest hears of it with its next start.',
    method: 'POST',
    path: '/v1/vms/{vm}/rename',
    input: z.strictObject({ ...vm, name: machineName }),
    output: machine,
    answer: 'value',
    errors: [...CHANGING, 'name-taken', 'ended', 'timeout'],
    verb: { words: 'rename', arguments: ['<name>', '<new>'], examples: ['ringfence rename web www'] },
  },
  'snapshot.create': {
    summary:
      'Takes a snapshot of a virtual machine, or of a fork of it: memory, devices and disks at one moment, while it runs on.',
    method: 'POST',
    path: '/v1/vms/{vm}/snapshots',
    input: z.strictObject({
      ...vm,
      /** The time when it is not given. */
      name: z.optional(snapshotName),
      /** A snapshot of the machine that this one builds on: only what differs is written. */
      parent: z.optional(snapshotName),
    }),
    output: longOperation,
    answer: 'long',
    errors: [
      'not-found',
      'wrong-state',
      'name-taken',
      'too-many',
      'broken',
      'other-version',
      'other-machine',
      'no-space',
      'unavailable',
      'ended',
      'timeout',
      'unsupported',
    ],
    verb: {
      words: 'snapshot',
      arguments: ['<name>', '[snapshot]'],
      options: [['--parent <snapshot>', 'build on an earlier one: only what differs is written']],
      examples: ['ringfence snapshot web before-upgrade', 'ringfence snapshot web after --parent before-upgrade'],
    },
  },
  'snapshot.list': {
    summary: 'Lists the snapshots of a virtual machine.',
    method: 'GET',
    path: '/v1/vms/{vm}/snapshots',
    input: z.strictObject(vm),
    output: z.array(snapshot),
    answer: 'value',
    errors: ['not-found', 'unsupported'],
    verb: { words: 'snapshots', arguments: ['<name>'], examples: ['ringfence snapshots web'] },
  },
  'snapshot.remove': {
    summary: 'Removes a snapshot that nothing builds on.',
    method: 'DELETE',
    path: '/v1/vms/{vm}/snapshots/{snapshot}',
    input: z.strictObject({ ...vm, snapshot: snapshotName }),
    output: longOperation,
    answer: 'long',
    errors: ['not-found', 'wrong-state', 'in-use', 'not-a-machine', 'unavailable', 'unsupported'],
    verb: {
      words: 'rm-snapshot',
      arguments: ['<name>', '<snapshot...>'],
      examples: ['ringfence rm-snapshot web before-upgrade'],
    },
  },
  'snapshot.restore': {
    summary: 'Lets a virtual machine go on from one of its snapshots, or a new one.',
    method: 'POST',
    path: '/v1/vms/{vm}/restore',
    input: z.strictObject({
      ...vm,
      snapshot: snapshotName,
      /** The name of a new machine that goes on from it; the one that it is of stays as it is. */
      as: z.optional(machineName),
    }),
    output: longOperation,
    answer: 'long',
    errors: [
      'not-found',
      'wrong-state',
      'name-taken',
      'broken',
      'other-version',
      'other-machine',
      'no-space',
      ...STARTING,
    ],
    verb: {
      words: 'restore',
      arguments: ['<name>', '<snapshot>'],
      options: [['--as <new>', 'a new machine goes on from it, and this one stays as it is']],
      examples: ['ringfence restore web before-upgrade', 'ringfence restore web before-upgrade --as web2'],
    },
  },
  'vm.cpu': {
    summary: 'Changes what a virtual machine may have of the processors, also while it runs.',
    method: 'POST',
    path: '/v1/vms/{vm}/cpu',
    input: z.extend(processorChange, vm),
    output: machine,
    answer: 'value',
    errors: [...CHANGING, 'no-processors', 'unsupported'],
    verb: {
      words: 'cpu',
      arguments: ['<name>'],
      options: [
        [
          '--shares <number>',
          'its weight beside others where there is not enough for all (1000 where nothing is said)',
        ],
        ['--reservation <percent>', 'what it has whenever it wants it, in percent of one processor'],
        ['--limit <percent>', 'what it never has more than; "none" lifts it'],
        [
          '--bucket <fill/interval/burst>',
          'milliseconds of processor time that come each interval, and are kept at most; or "none"',
        ],
      ],
      examples: [
        'ringfence cpu web --shares 2000',
        'ringfence cpu batch --limit 50 --bucket 20/100/5000',
        'ringfence cpu batch --limit none',
      ],
    },
  },
  'vm.fork': {
    summary:
      'Makes machines that go on from where one is that runs; they share its memory and its process, and end with it.',
    method: 'POST',
    path: '/v1/vms/{vm}/fork',
    input: z.strictObject({
      ...vm,
      /** As many as there are names, or one. */
      count: z.optional(z.number().check(z.int(), z.gte(1), z.lte(LIMITS.forksAtOnce))),
      /** Of the first ones; the others are called like the machine, with a number. */
      names: z.optional(z.array(machineName).check(z.maxLength(LIMITS.forksAtOnce))),
    }),
    output: longOperation,
    answer: 'long',
    errors: [
      'not-found',
      'wrong-state',
      'name-taken',
      'too-many',
      'no-memory',
      'unsupported',
      'unavailable',
      'ended',
      'timeout',
    ],
    // `ringfence fork` forks the machines of `run`, too: the command line has it by hand.
  },
  'vm.usage': {
    summary: 'Tells what the virtual machines that run take of this computer.',
    method: 'GET',
    path: '/v1/usage',
    input: z.strictObject({}),
    output: z.array(usage),
    answer: 'value',
    errors: [],
    verb: {
      words: 'top',
      arguments: [],
      options: [['--every <time>', 'again and again, like 2s, until it is interrupted']],
      examples: ['ringfence top', 'ringfence top --every 2s'],
    },
  },
  'vm.console': {
    summary: 'Connects with the serial console of a virtual machine that runs.',
    method: 'GET',
    path: '/v1/vms/{vm}/console',
    input: z.strictObject(vm),
    output: z.any(),
    answer: 'terminal',
    errors: ['not-found', 'wrong-state', 'too-many', 'unavailable'],
  },
  'event.list': {
    summary: 'Tells what happens to virtual machines, and what has happened.',
    method: 'GET',
    path: '/v1/events',
    input: z.strictObject({
      /** Events after the one with this number; only what is to come when it is not given. */
      after: z.optional(number),
      /** Ends after what is known when false. */
      follow: z.optional(flag),
    }),
    output: event,
    answer: 'events',
    errors: ['too-many'],
    verb: {
      words: 'events',
      arguments: [],
      options: [
        ['--after <number>', 'those after the event with this number; 0 for all that are remembered'],
        ['--no-follow', 'end after what has happened'],
      ],
      examples: ['ringfence events', 'ringfence events --after 0 --no-follow --json'],
    },
  },
  'operation.inspect': {
    summary: 'Tells how far a long operation is; waits for a change when it is told to.',
    method: 'GET',
    path: '/v1/operations/{operation}',
    input: z.strictObject({
      operation: z.string().check(z.minLength(1), z.maxLength(64)),
      /** Answers when its revision is another one, or it is over, or `waitMs` have passed. */
      revision: z.optional(number),
      waitMs: z.optional(z.coerce.number().check(z.int(), z.gte(0), z.lte(LIMITS.waitMs))),
    }),
    output: longOperation,
    answer: 'value',
    errors: ['not-found'],
  },
  'host.inspect': {
    summary: 'Tells what the daemon is and how many virtual machines are in which state.',
    method: 'GET',
    path: '/v1/host',
    input: z.strictObject({}),
    output: hostStatus,
    answer: 'value',
    errors: [],
  },
  'host.metrics': {
    summary: "Counters and gauges in Prometheus's text format.",
    method: 'GET',
    path: '/metrics',
    input: z.strictObject({}),
    output: z.string(),
    answer: 'text',
    errors: [],
  },
  'host.openapi': {
    summary: 'This contract, as OpenAPI 3.1.',
    method: 'GET',
    path: '/v1/openapi.json',
    input: z.strictObject({}),
    output: z.record(z.string(), z.unknown()),
    answer: 'value',
    errors: [],
  },
} as const satisfies Readonly<Record<string, Operation>>;

/** Errors that any operation may give. */
export const COMMON_ERRORS: readonly ErrorCode[] = ['bad-argument', 'forbidden', 'bug'];

export type OperationName = keyof typeof OPERATIONS;
export type Input<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]['input']>;
/** As a client gives it, before the daemon has read it. */
export type Given<Name extends OperationName> = z.input<(typeof OPERATIONS)[Name]['input']>;
export type Output<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]['output']>;
export type NameOf<Answer extends Operation['answer']> = {
  [Name in OperationName]: (typeof OPERATIONS)[Name]['answer'] extends Answer ? Name : never;
}[OperationName];
