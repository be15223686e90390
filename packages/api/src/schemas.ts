/** What travels: a virtual machine, a long operation, an event, a failure. */

import * as z from 'zod/mini';
import { ERROR_CODES } from './errors.ts';
import { MACHINE_NAME, MAXIMUM_NAME_LENGTH } from './names.ts';
import { hostMemory, ioUsage, memoryUsage, overcommitSettings } from './memory.ts';
import { processorSettings } from './processors.ts';
import { STATES } from './states.ts';

/** Bounds of what a request may say, so that nothing grows with who asks. */
export const LIMITS = {
  /** Bytes of a request's body; user data of cloud-init is the largest part. */
  bodyBytes: 1024 * 1024,
  nameCharacters: MAXIMUM_NAME_LENGTH,
  textCharacters: 4096,
  listEntries: 64,
  packages: 200,
  userDataCharacters: 256 * 1024,
  /** How long a question may wait for an answer to change. */
  waitMs: 60_000,
  /** How long a guest may be given to shut down: a day. */
  stopMs: 24 * 60 * 60 * 1000,
  eventsAtOnce: 1000,
  forksAtOnce: 256,
} as const;

const text = z.string().check(z.minLength(1), z.maxLength(LIMITS.textCharacters));
const words = z.array(text).check(z.maxLength(LIMITS.listEntries));
const whole = z.number().check(z.int(), z.nonnegative());
/** ISO 8601 in UTC. */
const time = z.string();

export const machineName = z.string().check(z.regex(MACHINE_NAME), z.maxLength(LIMITS.nameCharacters));

/** Of machines that trust each other: as a name is. */
export const trustLabel = z.string().check(z.regex(MACHINE_NAME), z.maxLength(LIMITS.nameCharacters));

export const snapshotName = z.string().check(z.regex(/^[a-z0-9][a-z0-9_.-]*$/i), z.maxLength(LIMITS.nameCharacters));

/** A machine's name, or its id. */
export const machineKey = z.string().check(z.minLength(1), z.maxLength(LIMITS.nameCharacters));

export const newDisk = z.strictObject({
  /** Like 10G. With `backing` its size is that of the image behind it, unless it is said. */
  size: z.optional(text),
  /** An absolute path of an image that stays as it is and stands behind the new one. */
  backing: z.optional(text),
  readOnly: z.optional(z.boolean()),
});

const dataText = z.optional(z.string().check(z.maxLength(LIMITS.userDataCharacters)));

export const creation = z.strictObject({
  /** Two words of ours when it is not given. */
  name: z.optional(machineName),
  image: z.optional(text),
  suite: z.optional(text),
  mirror: z.optional(text),
  packages: z.optional(z.array(text).check(z.maxLength(LIMITS.packages))),
  /** Of cloud-init's data source NoCloud: its files, as text. */
  userData: dataText,
  metaData: dataText,
  networkConfig: dataText,
  cpus: z.optional(whole),
  cpu: z.optional(processorSettings),
  /** Like 512M; as much as the image wants when it is not given. */
  memory: z.optional(text),
  overcommit: z.optional(overcommitSettings),
  /** Machines of one label share a process and pages that are equal, and may learn by timing which these are; nobody when it is not given. */
  label: z.optional(trustLabel),
  disks: z.optional(z.array(newDisk).check(z.maxLength(LIMITS.listEntries))),
  network: z.optional(z.enum(['user', 'none'])),
  publish: z.optional(words),
  kernelArguments: z.optional(words),
  engine: z.optional(z.enum(['interpreter', 'jit'])),
  env: z.optional(z.record(z.string(), z.string())),
  user: z.optional(text),
  workdir: z.optional(text),
});

export const end = z.object({
  /** `lost`: its process was killed, or this computer went down. */
  kind: z.enum(['poweroff', 'reboot', 'failure', 'panic', 'stopped', 'killed', 'lost', 'moved']),
  at: time,
  detail: z.optional(z.string()),
});

export const machine = z.object({
  /** Of a fork, its machine's. */
  id: z.string(),
  name: z.string(),
  state: z.enum(STATES),
  /** Of a fork: the name of its machine, whose folder, disks, networks and process are told. */
  forkOf: z.optional(z.string()),
  /** Its files: vm.yaml, disks, logs. */
  folder: z.string(),
  image: z.string(),
  suite: z.string(),
  cpus: whole,
  cpu: z.optional(processorSettings),
  memoryBytes: whole,
  overcommit: z.optional(overcommitSettings),
  /** With whom it shares its process, and pages that are equal. */
  label: z.optional(z.string()),
  disks: z.array(z.object({ file: z.string(), readOnly: z.boolean() })),
  networks: z.array(z.object({ mode: z.string(), mac: z.string(), publish: z.array(z.string()) })),
  createdAt: time,
  /** When its present run began. */
  startedAt: z.optional(time),
  /** How its present run began: by a boot, and why it had to, or from a machine like it that was kept when it had booted. None of one restored, or that came. */
  start: z.optional(z.object({ from: z.enum(['boot', 'kept-boot']), reason: z.optional(z.string()) })),
  /** Of its process. */
  pid: z.optional(whole),
  /** Its forks, also those that were made of forks: its process runs them, too. */
  forks: z.optional(z.array(z.object({ name: z.string(), state: z.enum(STATES) }))),
  /** How its last run ended. */
  end: z.optional(end),
  /** Why its folder cannot be used now. */
  problem: z.optional(z.string()),
});

export const usage = z.object({
  id: z.string(),
  name: z.string(),
  state: z.enum(STATES),
  at: time,
  /** With whom it shares its process: then its part of that is told. */
  label: z.optional(z.string()),
  /** Processor time that its process has had. */
  cpuMs: whole,
  /** Memory of its process. */
  residentBytes: whole,
  /** Memory that its guest has touched. */
  guestResidentBytes: whole,
  memoryBytes: whole,
  instructions: whole,
  memory: z.optional(memoryUsage),
  io: z.optional(ioUsage),
  /** Of the host's processors, in percent of one, lately; where the daemon knows. */
  cpu: z.optional(
    z.object({
      /** What it would have used if it had had it. */
      demand: z.number(),
      used: z.number(),
      /** What it was kept from: by its limit or bucket, by its share beside others, or because the host was busy. */
      steal: z.number(),
      /** What its harts waited for each other. */
      wait: z.number(),
      /** What it may have now, where that is limited. */
      granted: z.optional(z.number()),
    }),
  ),
});

export const snapshot = z.object({
  name: z.string(),
  /** Stands for it, whatever it is called. */
  id: z.string(),
  /** The name of the one that it builds on, or its id where that is not there. */
  parent: z.optional(z.string()),
  createdAt: time,
  cpus: whole,
  memoryBytes: whole,
  /** What its own files take, without those of others that it builds on. */
  bytes: whole,
  /** Why it cannot be used. */
  problem: z.optional(z.string()),
});

export const failure = z.object({ code: z.enum(ERROR_CODES), message: z.string() });

export const longOperation = z.object({
  id: z.string(),
  /** The operation's name in the contract. */
  kind: z.string(),
  /** Of what is done with a fork, the id of its machine and its own name. */
  vm: z.object({ id: z.string(), name: z.string() }),
  state: z.enum(['running', 'done', 'failed']),
  /** What is being done, for people. */
  step: z.string(),
  /** How far it is, where that is known, in units of its own. */
  done: z.optional(whole),
  total: z.optional(whole),
  /** Grows with every change. */
  revision: whole,
  startedAt: time,
  endedAt: z.optional(time),
  error: z.optional(failure),
  /** Names of the virtual machines that it made beside `vm`. */
  made: z.optional(z.array(z.string())),
  /** What a person should know, of one that is done. */
  notes: z.optional(z.array(z.string())),
});

/** SHA-256 of a daemon's certificate. */
export const fingerprint = z.string().check(z.regex(/^[0-9a-f]{64}$/));

export const trustChange = z.strictObject({
  fingerprint: z.optional(fingerprint),
  /** It is trusted no more; with labels it is, and its machines keep those no more. */
  remove: z.optional(z.boolean()),
  /** Machines that come from there and have one of these trust labels keep it. */
  labels: z.optional(z.array(trustLabel).check(z.minLength(1), z.maxLength(LIMITS.listEntries))),
});

export const trust = z.object({
  /** Of this daemon. */
  own: fingerprint,
  /** Those that machines may come from and go to. */
  trusted: z.array(fingerprint),
  /** Trust labels that machines which come from one of them have here, too, where they had them there. */
  labels: z.record(fingerprint, z.array(trustLabel)),
});

export const event = z.object({
  /** Grows by one; a stream goes on after it (`after`, or the header Last-Event-ID). */
  seq: whole,
  at: time,
  /** Like `vm.started`. */
  kind: z.string(),
  vm: z.object({ id: z.string(), name: z.string() }),
  detail: z.record(z.string(), z.string()),
});

export const hostStatus = z.object({
  version: z.string(),
  pid: whole,
  startedAt: time,
  stateFolder: z.string(),
  /** What other daemons know it by: SHA-256 of its certificate. */
  fingerprint: z.string(),
  /** Where it listens for other daemons. */
  listens: z.optional(z.string()),
  machines: z.record(z.string(), whole),
  /** Processors that machines may have together, in percent of one; and what is reserved of that by those that run. */
  cpu: z.object({ capacity: z.number(), reserved: z.number() }),
  memory: hostMemory,
});

export type Creation = z.output<typeof creation>;
export type NewDisk = z.output<typeof newDisk>;
export type MachineView = z.output<typeof machine>;
export type MachineEnd = z.output<typeof end>;
export type UsageView = z.output<typeof usage>;
export type LongOperation = z.output<typeof longOperation>;
export type HostEvent = z.output<typeof event>;
export type HostStatus = z.output<typeof hostStatus>;
export type SnapshotView = z.output<typeof snapshot>;
export type Failure = z.output<typeof failure>;
