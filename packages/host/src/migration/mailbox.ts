/**
 * The second way to the process of a machine that came while some of its pages did not: its daemon is gone with which it was connected, and the next one carries
 * the rest. A guest that waits for a page stands in the middle of a call, where its process can take no connection; what it can do there is read and write files.
 * So the daemon makes two FIFOs (fifo(7)) in the machine's folder, and the process looks for them when its connection is lost.
 *
 *     run/pages.in    daemon --> process     frames as over the connection, STARTED first (following-link.ts)
 *     run/pages.out   process --> daemon     and RESULT when nothing is missing any more
 *     run/came-from   the fingerprint of the daemon that the machine came from: until all of its pages are here
 */

import { execFile } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import { FrameLink } from '../control/frames.ts';
import { errnoOf, HostError, systemReason } from '../failure.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { isAbsent, readRegularSync } from '../regular-file.ts';

/** Whoever opens one waits for nobody, and follows no link that is there instead. */
const { O_NONBLOCK, O_NOFOLLOW, O_RDONLY, O_RDWR, O_WRONLY } = constants;

type Place = Pick<MachineFolder, 'pagesIn' | 'pagesOut'>;

/** Makes the FIFOs anew and opens them; what is sent waits until the process looks. Nothing says when that ends: who opens them knows otherwise. */
export async function openMailbox(place: Place): Promise<FrameLink> {
  removeMailbox(place);
  const { pagesIn, pagesOut } = place;
  try {
    // The process opens the first one when the other one is there.
    await promisify(execFile)('mkfifo', ['-m', '600', pagesOut, pagesIn]);
    const readable = new Socket({ fd: openFifo(pagesOut), readable: true, writable: false });
    const writable = new Socket({ fd: openFifo(pagesIn), readable: false, writable: true });
    // Node's types know of such a pair only where it is of the web's streams.
    return new FrameLink(Duplex.from({ readable, writable } as unknown as AsyncIterable<Buffer>));
  } catch (error) {
    throw new HostError(
      'unavailable',
      `the machine's process cannot be reached by its folder: ${systemReason(error)}`,
      error,
    );
  }
}

export function removeMailbox({ pagesIn, pagesOut }: Place): void {
  for (const path of [pagesIn, pagesOut]) rmSync(path, { force: true });
}

/** Both ends of it are this process's, so that it neither ends nor has to wait for the other one. */
function openFifo(path: string): number {
  const fd = openSync(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW);
  if (fstatSync(fd).isFIFO()) return fd;
  closeSync(fd);
  throw new HostError('unavailable', `${path} is something else by now`);
}

/** The fingerprint of the daemon that the machine came from; undefined where all of its pages are here, and empty where they never will be. */
export function cameFrom({ cameFrom: path }: Pick<MachineFolder, 'cameFrom'>): string | undefined {
  try {
    return readRegularSync(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw new HostError(
      'unavailable',
      `it cannot be read in ${path} whether all of the machine is here: ${systemReason(error)}`,
      error,
    );
  }
}

/** All of its pages are here. */
export function allHere(folder: Pick<MachineFolder, 'cameFrom' | 'pagesIn' | 'pagesOut'>): void {
  rmSync(folder.cameFrom, { force: true });
  removeMailbox(folder);
}

/** The machine begins again, and what it missed before is nothing to it. */
export function missesNothing({ cameFrom: path }: Pick<MachineFolder, 'cameFrom'>): void {
  if (existsSync(path)) writeFileSync(path, '');
}

/** The process's end of it, without the event loop. */
export class Mailbox {
  readonly #place: Place;
  #in: number | undefined;
  #out: number | undefined;
  /** Somebody has said something since it was opened. */
  #isHeard = false;

  constructor(place: Place) {
    this.#place = place;
  }

  /** How many bytes have come; undefined when none have, and 0 when who spoke is gone: another one may come. */
  read(into: Uint8Array): number | undefined {
    this.#in ??= opened(this.#place.pagesIn, O_RDONLY);
    if (this.#in === undefined) return undefined;
    const bytes = ready(() => readSync(this.#in!, into));
    if (bytes !== 0) {
      this.#isHeard ||= bytes !== undefined;
      return bytes;
    }
    const wasHeard = this.#isHeard;
    this.close();
    return wasHeard ? 0 : undefined;
  }

  /** How many bytes from `at` on were written; undefined when there is no room now. Throws when nobody reads. */
  write(bytes: Uint8Array, at: number): number | undefined {
    this.#out ??= openSync(this.#place.pagesOut, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
    return ready(() => writeSync(this.#out!, bytes, at));
  }

  close(): void {
    for (const fd of [this.#in, this.#out]) if (fd !== undefined) closeSync(fd);
    [this.#in, this.#out, this.#isHeard] = [undefined, undefined, false];
  }
}

function opened(path: string, how: number): number | undefined {
  try {
    return openSync(path, how | O_NONBLOCK | O_NOFOLLOW);
  } catch {
    // It is not there yet.
    return undefined;
  }
}

/** undefined when it cannot be done at once. */
export function ready(work: () => number): number | undefined {
  try {
    return work();
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return undefined;
    throw error;
  }
}
