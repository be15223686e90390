/**
 * The second way to the process of a machine that came while some of its pages did not: its daemon is gone with which it was connected, and the next one carries
 * the rest. A guest that waits for a page stands in the middle of a call, where its process can take no connection; what it can do there is read and write files.
 * So the daemon makes two FIFOs (fifo(7)) in the machine's folder, and the process looks for them when its connection is lost.
 *
 *     run/pages.in    daemon --> process     frames as over the connection, STARTED first (following-link.ts)
 *     run/pages.out   process --> daemon     and RESULT when nothing is missing any more
 *     run/came-from   the fingerprint of the daemon that the machine came from: until all of its pages are here; nothing when the rest never comes
 */

import { execFile } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
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
  const fds: number[] = [];
  try {
    // The process opens the first one when the other one is there.
    await promisify(execFile)('mkfifo', ['-m', '600', pagesOut, pagesIn]);
    for (const path of [pagesOut, pagesIn]) fds.push(openFifo(path));
    const [from, to] = fds;
    const readable = new Socket({ fd: from, readable: true, writable: false });
    const writable = new Socket({ fd: to, readable: false, writable: true });
    // Node's types know of such a pair only where it is of the web's streams.
    return new FrameLink(Duplex.from({ readable, writable } as unknown as AsyncIterable<Buffer>));
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    removeMailbox(place);
    const why = systemReason(error);
    throw new HostError('unavailable', `the machine's process cannot be reached by its folder: ${why}`, error);
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

/** No page that is missing will come. Written anew, because a process may write here: it is not followed to where it leads. */
export function missesForEver({ cameFrom: path }: Pick<MachineFolder, 'cameFrom'>): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  rmSync(`${path}.new`, { force: true });
  writeFileSync(`${path}.new`, '', { flag: 'wx', mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** The process's end of it, without the event loop. */
export class Mailbox {
  readonly #place: Place & Pick<MachineFolder, 'cameFrom'>;
  #in: number | undefined;
  #out: number | undefined;
  /** Somebody has said something since it was opened. */
  #isHeard = false;

  constructor(place: Place & Pick<MachineFolder, 'cameFrom'>) {
    this.#place = place;
  }

  /** How many bytes have come; undefined when none have, and 0 when who spoke is gone: another one may come. Throws `ended` when none will. */
  read(into: Uint8Array): number | undefined {
    const fd = (this.#in ??= this.#opened());
    if (fd === undefined) return undefined;
    const bytes = atOnce(() => readSync(fd, into));
    if (bytes !== 0) {
      this.#isHeard ||= bytes !== undefined;
      return bytes;
    }
    const wasHeard = this.#isHeard;
    this.close();
    return wasHeard ? 0 : undefined;
  }

  /** How many bytes from `at` on were written, 0 when nobody reads; undefined when there is no room now. */
  write(bytes: Uint8Array, at: number): number | undefined {
    return atOnce(() => {
      this.#out ??= openSync(this.#place.pagesOut, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
      return writeSync(this.#out, bytes, at);
    });
  }

  /** All pages are here: this says so to whoever looks. */
  allHere(): void {
    rmSync(this.#place.cameFrom, { force: true });
    removeMailbox(this.#place);
  }

  close(): void {
    for (const fd of [this.#in, this.#out]) if (fd !== undefined) closeSync(fd);
    [this.#in, this.#out, this.#isHeard] = [undefined, undefined, false];
  }

  #opened(): number | undefined {
    try {
      return openSync(this.#place.pagesIn, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    } catch {
      // It is not there yet, and may never be.
      if (statSync(this.#place.cameFrom, { throwIfNoEntry: false })?.size !== 0) return undefined;
      throw new HostError('ended', 'who had the missing pages has them no more');
    }
  }
}

/** How many bytes it is, 0 where nobody is at the other end; undefined when it cannot be done at once. */
export function atOnce(work: () => number): number | undefined {
  try {
    return work();
  } catch (error) {
    return errnoOf(error) === 'EAGAIN' ? undefined : 0;
  }
}
