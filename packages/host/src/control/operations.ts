/**
 * What can be asked of a running virtual machine from outside its process: each operation once, as data. The server, the client, its
 * types and what is refused come from here.
 *
 * `streams` says what else travels on the connection while the operation runs (frames.ts):
 *
 *     none      nothing
 *     process   INPUT and EVENT to a program; STARTED, OUTPUT and ERROR_OUTPUT from it
 *     terminal  INPUT to a serial line; STARTED, OUTPUT from it
 *     tree-out  STEP and DATA to the client
 *     tree-in   STEP and DATA to the machine, then INPUT_END
 *     messages  DATA both ways, each a message of a migration; STEP from the machine that leaves
 *     go        STEP from the process when a machine is ready to go on from a snapshot; EVENT to it when it may
 */

import { ioUsage, memoryUsage } from '@ringfence/api/memory';
import { processorSettings } from '@ringfence/api/processors';
import * as z from 'zod/mini';

/** Both sides must speak the same; told in each request. */
export const PROTOCOL_VERSION = 1;

const id = z.number().check(z.int(), z.nonnegative());
const milliseconds = z.number().check(z.nonnegative(), z.lte(2 ** 31 - 1));
const side = z.number().check(z.int(), z.gte(0), z.lte(0xffff));
/** Bytes in base64, for what need not be text. */
const bytes = z.string().check(z.regex(/^[A-Za-z0-9+/]*={0,2}$/));
/** Whole numbers beyond what JSON has. */
const bigNumber = z.string().check(z.regex(/^-?\d{1,20}$/));
const environment = z.record(z.string(), z.string());

const publishedPort = z.object({
  address: z.string(),
  hostPort: id,
  guestPort: id,
  protocol: z.enum(['tcp', 'udp']),
});

const machineState = z.enum(['booting', 'running', 'paused', 'stopping']);

const status = z.object({
  /** Of a machine that is a folder. */
  id: z.exactOptional(z.string()),
  name: z.string(),
  image: z.string(),
  suite: z.string(),
  /** Of a fork of such a machine: the id of that. */
  forkOf: z.exactOptional(z.string()),
  /** Forks of it that its process runs, too. */
  forks: z.exactOptional(z.array(z.string())),
  /** How those of them are that do not simply run; nothing of a process of an earlier Ringfence, whose forks do. */
  forkStates: z.exactOptional(
    z.record(z.string(), z.object({ state: machineState, isChanging: z.exactOptional(z.boolean()) })),
  ),
  /** Forks that have ended: their names may lead to the process still. */
  endedForks: z.exactOptional(z.array(z.string())),
  /** Of the process that runs it. */
  pid: id,
  state: machineState,
  /** ISO 8601. */
  startedAt: z.string(),
  cpus: id,
  memoryBytes: id,
  network: z.string(),
  /** Hardware addresses of its cards; none of a process of an earlier Ringfence. */
  macs: z.exactOptional(z.array(z.string())),
  ports: z.array(publishedPort),
  /** What it was started for; empty when for nothing of its own. */
  command: z.array(z.string()),
  /** It stands still and waits to be told whether it was moved (`settle`). */
  isInDoubt: z.exactOptional(z.boolean()),
  /** The machine's folder, of one that has one. */
  folder: z.exactOptional(z.string()),
  /** With which machines its process is shared: those of this trust label. */
  label: z.exactOptional(z.string()),
  /** It runs elsewhere, and closes what it had here. */
  isMoved: z.exactOptional(z.boolean()),
  /** It runs elsewhere, and keeps pages that are missing there: so many that were not sent, when it was looked last. */
  pagesLeft: z.exactOptional(id),
  /** It is about to stand still, or to go on, or does so for a while by itself: `state` may not be the last word. */
  isChanging: z.exactOptional(z.boolean()),
});

const usage = z.object({
  /** Processor time that its process has had. */
  cpuMs: id,
  /** Memory of its process. */
  residentBytes: id,
  /** Of that, memory that the guest has touched. */
  guestResidentBytes: id,
  /** That its harts have executed. */
  instructions: id,
  /** None of a machine of an earlier Ringfence. */
  memory: z.exactOptional(memoryUsage),
  io: z.exactOptional(ioUsage),
});

const processorFigures = z.object({
  /** Processor time of its process, and what its harts had of it less than they could have used, since it runs: in microseconds. */
  usedUs: id,
  /** Held back by what it is granted, and by its own bucket. */
  heldUs: id,
  bucketUs: id,
  /** Behind its other harts. */
  waitedUs: id,
  /** Because the host was busy. */
  stolenUs: id,
});

const endReport = z.object({
  kind: z.enum(['poweroff', 'reboot', 'failure', 'panic', 'stopped', 'killed', 'moved']),
  detail: z.exactOptional(z.string()),
});

const exit = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('exited'), code: id }),
  z.object({ kind: z.literal('signaled'), signal: id }),
]);

const fileStatus = z.object({
  kind: z.enum(['folder', 'file', 'symlink', 'fifo', 'socket', 'character-device', 'block-device']),
  mode: id,
  uid: id,
  gid: id,
  mtimeNs: bigNumber,
  sizeBytes: id,
  device: z.object({ major: id, minor: id }),
  target: bytes,
});

const nothing = z.object({});

/** Of a message while the operation runs. */
export const PROCESS_EVENT = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('signal'), signal: z.number().check(z.int(), z.gte(1), z.lte(64)) }),
  z.object({ kind: z.literal('resize'), columns: side, rows: side }),
]);

/** Of a STEP: of a copy, as AgentTreeStep has it, but for its data. */
export const TREE_STEP = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('entry'), path: z.array(bytes), status: fileStatus }),
  z.object({ kind: z.literal('hard-link'), path: z.array(bytes), to: z.array(bytes) }),
]);

/** Of ERROR: a HostError, or an AgentError. */
export const FAILURE = z.object({
  from: z.enum(['host', 'agent', 'bug']),
  code: z.string(),
  message: z.string(),
  errno: z.exactOptional(z.string()),
});

/** Of a STEP: how far a migration is, or that COMMIT was said and nothing was heard since. */
export const MIGRATION_STEP = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('progress'),
    phase: z.string(),
    round: id,
    pagesSent: id,
    pagesLeft: id,
    diskBytesSent: id,
    diskBytesLeft: id,
  }),
  z.object({ kind: z.literal('in-doubt') }),
  /** The link is lost over which pages follow: it waits for another one (`rejoin`). */
  z.object({ kind: z.literal('cut'), pagesLeft: id }),
  /** It waits for a disk that the other side has, to go on here. */
  z.object({ kind: z.literal('waiting'), reason: z.string() }),
]);

const openedDisk = z.object({
  readOnly: z.boolean(),
  sizeBytes: id,
  discardBytes: z.exactOptional(id),
  /** What is written is gone when the machine has ended. */
  isTemporary: z.boolean(),
  /** The image in front first. */
  chain: z.array(z.object({ path: z.string(), format: z.enum(['raw', 'qcow2']) })),
});

const migrationReport = z.object({
  rounds: id,
  pagesSent: id,
  bytesSent: id,
  diskBytesSent: id,
  /** Pages that followed when it ran there. */
  pagesAfter: id,
  downtimeNs: z.number(),
  totalNs: z.number(),
  isComplete: z.boolean(),
});

export const PROCESS_STARTED = z.object({ pid: id });

export const OPERATIONS = {
  inspect: {
    summary: 'tells what the virtual machine is and how it is getting on',
    input: nothing,
    output: status,
    streams: 'none',
    errors: [],
  },
  exec: {
    summary: 'runs a program in the guest',
    input: z.object({
      argv: z.array(bytes).check(z.minLength(1)),
      env: z.exactOptional(environment),
      user: z.exactOptional(z.string()),
      workdir: z.exactOptional(z.string()),
      terminal: z.exactOptional(z.object({ columns: side, rows: side, term: z.exactOptional(z.string()) })),
      stdin: z.exactOptional(z.enum(['open', 'empty'])),
      timeoutMs: z.exactOptional(milliseconds),
    }),
    output: exit,
    streams: 'process',
    errors: ['no-agent', 'lost', 'refused', 'bad-argument', 'limit', 'ended', 'wrong-state'],
  },
  stat: {
    summary: 'tells what a path of the guest is',
    input: z.object({ path: bytes, user: z.exactOptional(z.string()), follow: z.exactOptional(z.boolean()) }),
    output: fileStatus,
    streams: 'none',
    errors: ['no-agent', 'lost', 'refused', 'bad-argument', 'ended', 'wrong-state'],
  },
  'copy-out': {
    summary: 'reads a file or folder of the guest',
    input: z.object({ path: bytes, user: z.exactOptional(z.string()), follow: z.exactOptional(z.boolean()) }),
    output: nothing,
    streams: 'tree-out',
    errors: ['no-agent', 'lost', 'refused', 'bad-argument', 'limit', 'ended', 'wrong-state'],
  },
  'copy-in': {
    summary: 'writes files and folders in the guest',
    input: z.object({
      path: bytes,
      user: z.exactOptional(z.string()),
      keepOwners: z.exactOptional(z.boolean()),
      makeParents: z.exactOptional(z.boolean()),
    }),
    output: nothing,
    streams: 'tree-in',
    errors: ['no-agent', 'lost', 'refused', 'bad-argument', 'limit', 'ended', 'wrong-state'],
  },
  console: {
    summary: "connects with the machine's serial console",
    input: nothing,
    output: nothing,
    streams: 'terminal',
    errors: ['too-many', 'ended'],
  },
  pause: {
    summary: 'lets the machine stand still',
    input: nothing,
    output: nothing,
    streams: 'none',
    errors: ['ended'],
  },
  resume: {
    summary: 'lets a paused machine go on',
    input: nothing,
    output: nothing,
    streams: 'none',
    errors: [],
  },
  ready: {
    summary: 'is answered when the guest takes commands',
    input: nothing,
    output: nothing,
    streams: 'none',
    errors: ['ended', 'timeout', 'unavailable'],
  },
  wait: {
    summary: 'is answered when the machine has ended, with how',
    input: nothing,
    output: endReport,
    streams: 'none',
    errors: [],
  },
  fork: {
    summary: 'makes machines that go on from where this one is, and says what they are called',
    input: z.object({ count: z.number().check(z.int(), z.gte(1)), names: z.array(z.string()) }),
    output: z.object({ names: z.array(z.string()) }),
    streams: 'none',
    errors: ['bad-argument', 'name-taken', 'too-many', 'unsupported', 'unavailable', 'ended'],
  },
  snapshot: {
    summary: 'writes a snapshot beside its place in a store, for who asks to put it there',
    input: z.object({ store: z.string(), name: z.string(), parent: z.exactOptional(z.string()) }),
    output: z.object({ path: z.string(), pausedMs: z.number() }),
    streams: 'none',
    errors: [
      'not-found',
      'name-taken',
      'broken',
      'other-version',
      'other-machine',
      'wrong-state',
      'too-many',
      'no-space',
      'unavailable',
      'ended',
    ],
  },
  migrate: {
    summary: 'moves the machine to whoever is at the other end of the connection',
    input: z.object({
      downtimeMs: z.exactOptional(milliseconds),
      postCopy: z.exactOptional(z.boolean()),
      /**
       * Of each disk how many of its images are sent, from the front, whether nothing stands behind them there, and whether the other end opens the same
       * files.
       */
      disks: z.array(z.object({ layers: id, isBlank: z.boolean(), isShared: z.boolean() })),
    }),
    output: migrationReport,
    streams: 'messages',
    errors: ['ended', 'unsupported', 'wrong-state', 'unavailable', 'timeout', 'other-version', 'no-memory', 'aborted'],
  },
  domain: {
    summary: 'tells of a process that machines of one trust label share what it is, and which machines it runs',
    input: nothing,
    output: z.object({
      label: z.string(),
      /** Where its machines lie. */
      folder: z.string(),
      pid: id,
      cpus: id,
      engine: z.exactOptional(z.enum(['interpreter', 'jit'])),
      hasNetwork: z.boolean(),
      hasPool: z.boolean(),
      /** Whether machines come to it from other daemons; it began with an earlier version where it does not say so. */
      takesArrivals: z.exactOptional(z.boolean()),
      /** Their ids, with those that are about to run. */
      machines: z.array(z.string()),
      /** By which they and their forks are asked. */
      names: z.array(z.string()),
    }),
    streams: 'none',
    errors: ['unsupported', 'ended'],
  },
  join: {
    summary:
      'starts a machine in the process that those of its label share; is answered when it runs, or when it waits for one that comes (arrive)',
    input: z.object({
      id: z.string(),
      name: z.string(),
      folder: z.string(),
      disks: z.array(z.string()),
      /** One of its own that it goes on from, instead of booting. */
      snapshot: z.exactOptional(z.string()),
      /** Of one that comes from another process, instead of booting: disks whose files that process has until it comes, by their number. */
      absentDisks: z.exactOptional(
        z.record(z.string(), z.object({ sizeBytes: id, discardBytes: z.exactOptional(id) })),
      ),
      /** What all of them were promised together, with this one. */
      poolBytes: z.exactOptional(id),
    }),
    output: nothing,
    streams: 'go',
    errors: ['unsupported', 'ended', 'bad-argument', 'not-a-machine', 'too-many', 'unavailable', 'no-space', 'broken'],
  },
  evict: {
    summary: 'ends one machine of a process that several share, also one that is about to run',
    input: z.object({ id: z.string() }),
    output: nothing,
    streams: 'none',
    errors: ['unsupported'],
  },
  rename: {
    summary: 'lets a machine of a process that several share, or a fork, be asked by another name',
    input: z.object({ name: z.string() }),
    output: nothing,
    streams: 'none',
    errors: ['unsupported', 'name-taken', 'ended'],
  },
  settle: {
    summary: 'tells a machine that stands in doubt whose it is',
    input: z.object({ owner: z.enum(['source', 'target']) }),
    output: nothing,
    streams: 'none',
    errors: ['wrong-state'],
  },
  rejoin: {
    summary:
      'gives a machine that keeps pages for another daemon another link, or tells it that they are not wanted any more',
    input: z.object({ with: z.enum(['link', 'complete', 'never']) }),
    output: nothing,
    streams: 'messages',
    errors: ['wrong-state'],
  },
  arrive: {
    summary: 'takes over a machine, of which this process has nothing yet but its make',
    input: z.object({ migration: z.string() }),
    output: nothing,
    streams: 'messages',
    errors: ['wrong-state', 'unavailable', 'other-version'],
  },
  usage: {
    summary: 'tells what the machine takes of this computer',
    input: nothing,
    output: usage,
    streams: 'none',
    errors: [],
  },
  disks: {
    summary: 'tells which images its disks are made of',
    input: nothing,
    output: z.object({ disks: z.array(openedDisk) }),
    streams: 'none',
    errors: [],
  },
  processors: {
    summary: 'tells what the machine has had of the processors, says what it may have now, and changes its settings',
    input: z.object({
      /** So many processors' time, for GRANT_MS; as much as its settings allow when neither is given. */
      grant: z.exactOptional(z.number().check(z.nonnegative())),
      settings: z.exactOptional(processorSettings),
    }),
    output: processorFigures,
    streams: 'none',
    errors: ['bad-argument'],
  },
  memory: {
    summary:
      'tells what has become of the memory of a machine that may be given less than it has, and says how much that is now',
    input: z.object({ poolBytes: z.exactOptional(id) }),
    output: memoryUsage,
    streams: 'none',
    errors: ['unsupported'],
  },
  stop: {
    summary: 'shuts the guest down, and ends the machine when that takes longer than timeoutMs',
    input: z.object({ timeoutMs: milliseconds }),
    output: z.object({ how: z.enum(['shutdown', 'forced']) }),
    streams: 'none',
    errors: [],
  },
} as const;

export type OperationName = keyof typeof OPERATIONS;
export type OperationInput<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]['input']>;
export type OperationOutput<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]['output']>;
/** Whether a machine booted, and why it had to, or went on from one like it that was kept when it had booted. */
export interface HowStarted {
  readonly from: 'boot' | 'kept-boot';
  readonly reason?: string;
}
export type VMStatus = z.output<typeof status>;
export type MachineEndReport = z.output<typeof endReport>;
export type MigrationOutcome = z.output<typeof migrationReport>;
export type ProcessorFigures = z.output<typeof processorFigures>;
export type OpenedDiskView = z.output<typeof openedDisk>;
export type VMUsage = z.output<typeof usage>;
export type VMMemoryUsage = z.output<typeof memoryUsage>;
export type ProcessEvent = z.output<typeof PROCESS_EVENT>;
export type WireTreeStep = z.output<typeof TREE_STEP>;
export type WireFileStatus = z.output<typeof fileStatus>;
export type WireFailure = z.output<typeof FAILURE>;

/** What a client says first. */
export const REQUEST = z.object({
  protocol: z.number(),
  operation: z.string(),
  input: z.unknown(),
  /** The name that the machine was found by: where a process runs several, it says which. */
  vm: z.exactOptional(z.string()),
});
