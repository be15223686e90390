/**
 * What two daemons say to each other over one connection (tls-link.ts), in frames as those of a machine's socket (control/frames.ts):
 *
 *     REQUEST migrate {machine, files, disks} ----->
 *                                      <----- STEP {need, behind, label}: the files that are not there, of each disk how many of the images behind it, and the
 *                                             trust label that it keeps, if it does: then no page may follow
 *     DATA: those, one after the other ----->
 *                                      <----- STARTED, when its process waits for it
 *     DATA: messages of the migration  <----> DATA
 *
 *     REQUEST ask {migration}          ----->
 *                                      <----- RESULT {owner}
 *
 *     REQUEST resume {migration}       ----->  the link was lost while pages followed: they go on over this one
 *                                      <----- STARTED, or RESULT {isComplete}: nothing is missing there, or the machine is not there to be given it
 *     DATA: messages of the migration  <----> DATA
 *
 *     REQUEST settled {migration}      ----->  nothing of the machine is here any more, and nobody will ask
 *                                      <----- RESULT {}
 *
 * ERROR {code, message} instead of any answer ends it. EVENT says that the answer is being worked on: it comes again and again before STEP and STARTED.
 */

import { join } from 'node:path';
import { trustLabel } from '@ringfence/api';
import * as z from 'zod/mini';
import { type Frame, FRAME, type FrameLink, jsonIn } from '../control/frames.ts';
import { FAILURE } from '../control/operations.ts';
import { errorOf } from '../control/wire.ts';
import { HostError } from '../failure.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { MAXIMUM_BYTES as MAXIMUM_YAML_BYTES } from '../machine-folder/vm-yaml.ts';

/** Both ends speak the same, or refuse each other. */
export const DAEMON_PROTOCOL = 6;
/** No daemon waits for longer than that for another one that says nothing, but for its first message. */
export const QUIET_MS = 30_000;
/** Who works on an answer says so that often. */
const WORKING_MS = 5000;
const MAXIMUM_FILES = 64;
const MAXIMUM_DISKS = 32;
const MAXIMUM_BEHIND = 64;
/** Of a disk, or an image. */
export const MAXIMUM_FILE_BYTES = 1024 * 1024 * 1024 * 1024;

const migrationId = z.uuid();
const size = z.number().check(z.int(), z.nonnegative(), z.lte(MAXIMUM_FILE_BYTES));
const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/));
const text = z.string().check(z.minLength(1), z.maxLength(4096));
const format = z.enum(['raw', 'qcow2']);

export const DAEMON_REQUEST = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('migrate'),
    protocol: z.number(),
    version: text,
    migration: migrationId,
    /** Its vm.yaml. */
    yaml: z.string().check(z.maxLength(MAXIMUM_YAML_BYTES)),
    files: z
      .array(
        z.object({
          /** Of its folder; in disks/ are those that are only read. */
          folder: z.enum(['image', 'disks']),
          name: z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._~-]{0,126}$/)),
          bytes: size,
          sha256,
        }),
      )
      .check(z.maxLength(MAXIMUM_FILES)),
    /** Those of its vm.yaml, in their order. */
    disks: z
      .array(
        z.object({
          format,
          /** As its guest sees it. */
          sizeBytes: size,
          discardBytes: z.exactOptional(size),
          /** Room that its own file takes. */
          bytes: size,
          /** The file that is the same there, and one beside it that is there as long as it is asked for. */
          shared: z.exactOptional(z.object({ path: text, mark: text })),
          /** The images behind it, the next one first; a path is from the machine's folder, or absolute. */
          behind: z.array(z.object({ path: text, format, bytes: size, sha256 })).check(z.maxLength(MAXIMUM_BEHIND)),
        }),
      )
      .check(z.maxLength(MAXIMUM_DISKS)),
  }),
  z.object({ kind: z.literal('ask'), protocol: z.number(), migration: migrationId }),
  z.object({ kind: z.literal('resume'), protocol: z.number(), migration: migrationId }),
  z.object({ kind: z.literal('settled'), protocol: z.number(), migration: migrationId }),
]);

export const NEEDED = z.object({
  need: z.array(z.string()),
  behind: z.array(z.number()),
  label: z.exactOptional(trustLabel),
});
export const RESUMED = z.object({ isComplete: z.boolean() });
export const OWNER = z.object({ owner: z.enum(['source', 'target']) });

export type DaemonRequest = z.output<typeof DAEMON_REQUEST>;
export type MigrateRequest = Extract<DaemonRequest, { kind: 'migrate' }>;
export type MovedFile = MigrateRequest['files'][number];
export type MovedDisk = MigrateRequest['disks'][number];

/** From the machine's folder. */
export function nameOf({ folder, name }: MovedFile): string {
  return `${folder}/${name}`;
}

export function placeOf(machine: MachineFolder, { folder, name }: MovedFile): string {
  return join(machine[folder], name);
}

/** Says that the next answer is being worked on, until that is disposed. */
export function sayWorking(link: FrameLink, everyMs = WORKING_MS): Disposable {
  const timer = setInterval(() => void link.send(FRAME.EVENT), everyMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** The next answer, which must be of that kind; rejects with what the other daemon reports. */
export async function answerOf(link: FrameLink, kind: Frame['kind']): Promise<Frame> {
  let frame = await link.next();
  while (frame?.kind === FRAME.EVENT) frame = await link.next();
  if (frame === undefined) throw new HostError('unavailable', 'the other daemon cannot be heard any more');
  if (frame.kind === FRAME.ERROR) throw errorOf(z.parse(FAILURE, jsonIn(frame)));
  if (frame.kind !== kind) throw new HostError('protocol', 'the other daemon says what makes no sense');
  return frame;
}
