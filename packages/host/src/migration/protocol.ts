/**
 * What two daemons say to each other over one connection (tls-link.ts), in frames as those of a machine's socket (control/frames.ts):
 *
 *     REQUEST migrate {machine, files} ----->
 *                                      <----- STEP {need}: the files that are not there
 *     DATA: those, one after the other ----->
 *                                      <----- STARTED, when its process waits for it
 *     DATA: messages of the migration  <----> DATA
 *
 *     REQUEST ask {migration}          ----->
 *                                      <----- RESULT {owner}
 *
 * ERROR {code, message} instead of any answer ends it.
 */

import * as z from 'zod/mini';
import { type Frame, FRAME, type FrameLink, jsonIn } from '../control/frames.ts';
import { FAILURE } from '../control/operations.ts';
import { errorOf } from '../control/wire.ts';
import { HostError } from '../failure.ts';

/** Both ends speak the same, or refuse each other. */
export const DAEMON_PROTOCOL = 1;
const MAXIMUM_FILES = 16;
const MAXIMUM_FILE_BYTES = 1024 * 1024 * 1024 * 1024;

const migrationId = z.uuid();

export const DAEMON_REQUEST = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('migrate'),
    protocol: z.number(),
    version: z.string(),
    migration: migrationId,
    /** Its vm.yaml. */
    yaml: z.string(),
    files: z
      .array(
        z.object({
          /** Of its image/. */
          name: z.string().check(z.regex(/^[a-z0-9][a-z0-9.-]{0,62}$/)),
          bytes: z.number().check(z.int(), z.nonnegative(), z.lte(MAXIMUM_FILE_BYTES)),
          sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
        }),
      )
      .check(z.maxLength(MAXIMUM_FILES)),
  }),
  z.object({ kind: z.literal('ask'), protocol: z.number(), migration: migrationId }),
]);

export const NEEDED = z.object({ need: z.array(z.string()) });
export const OWNER = z.object({ owner: z.enum(['source', 'target']) });

export type DaemonRequest = z.output<typeof DAEMON_REQUEST>;
export type MigrateRequest = Extract<DaemonRequest, { kind: 'migrate' }>;
export type MovedFile = MigrateRequest['files'][number];

/** The next frame, which must be of that kind; rejects with what the other daemon reports. */
export async function answerOf(link: FrameLink, kind: Frame['kind']): Promise<Frame> {
  const frame = await link.next();
  if (frame === undefined) throw new HostError('unavailable', 'the other daemon cannot be heard any more');
  if (frame.kind === FRAME.ERROR) throw errorOf(z.parse(FAILURE, jsonIn(frame)));
  if (frame.kind !== kind) throw new HostError('protocol', 'the other daemon says what makes no sense');
  return frame;
}
