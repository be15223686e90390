/**
 * What the process of a machine that comes is connected with: one link of this daemon with the other one, and, when that is lost while pages follow, another
 * one after it. Its connection with this daemon stays the same, for a guest that waits for a page can take no
 * other; where the daemon was another one then, it is one by the machine's folder (mailbox.ts).
 *
 *     lost:    INPUT_END --> process     what it still says goes nowhere
 *     another: STARTED   --> process
 *              EVENT     <-- process     it has read that; what it says from now on goes over the new one
 */

import { FRAME, type Frame, type FrameLink } from '../control/frames.ts';
import { HostError } from '../failure.ts';
import { carry, type CarriedTo } from './carry.ts';
import { QUIET_MS } from './protocol.ts';
import { limitSilence } from './tls-link.ts';

/** How long the process may take to read that there is another link: a guest's turn is short. */
const READ_MS = 10_000;

export class FollowingLink implements CarriedTo {
  readonly #process: FrameLink;
  /** The one over which messages go, or are about to. */
  #link: FrameLink | undefined;
  /** Where the process's messages go. */
  #to: FrameLink | undefined;
  #over: Promise<void> = Promise.resolve();
  /** Links that the process was told of and has not answered for yet, and who waits for that. */
  #unread = 0;
  #onRead: (() => void) | undefined;

  /** Of a process that had its first one from another daemon there is none yet. */
  constructor(process: FrameLink, first?: FrameLink) {
    this.#process = process;
    this.#link = first;
  }

  /** Carries what comes over the first link. */
  begin(): void {
    this.#to = this.#link;
    if (this.#link !== undefined) this.#over = this.#carry(this.#link);
  }

  /** Goes on over that one; the one before is given up. Resolves when it is over, and rejects when the process does not take it. */
  async join(link: FrameLink): Promise<void> {
    const before = this.#link;
    this.#link = link;
    before?.destroy();
    const over = this.#over.then(() => this.#joined(link));
    this.#over = over.catch(() => undefined);
    await over;
  }

  /** What the process says of the link: that it has read what it was told of another one, or hears nothing more over this one. */
  hear({ kind }: Pick<Frame, 'kind'>): void {
    if (kind === FRAME.EVENT) {
      this.#unread--;
      if (this.#unread === 0) this.#onRead?.();
    } else if (kind === FRAME.INPUT_END && this.#to?.stream.writableEnded === false) this.#to.stream.end();
  }

  destroy(): void {
    this.#link?.destroy();
  }

  sendFrames(frames: Uint8Array, sent: () => void): void {
    if (this.#to === undefined) sent();
    else this.#to.sendFrames(frames, sent);
  }

  async #joined(link: FrameLink): Promise<void> {
    const { promise: read, resolve, reject } = Promise.withResolvers<void>();
    const fail = (): void => reject(new HostError('unavailable', 'the machine there does not take the link'));
    this.#onRead = resolve;
    this.#unread++;
    const patience = setTimeout(fail, READ_MS);
    for (const gone of [link.gone, this.#process.gone]) void gone.then(fail);
    try {
      await Promise.all([read, this.#process.send(FRAME.STARTED)]);
      this.#to = link;
      await link.send(FRAME.STARTED);
    } catch (error) {
      await this.#process.send(FRAME.INPUT_END);
      throw error;
    } finally {
      clearTimeout(patience);
      this.#onRead = undefined;
    }
    await this.#carry(link);
  }

  async #carry(link: FrameLink): Promise<void> {
    limitSilence(link, QUIET_MS);
    await carry(link, this.#process, () => undefined);
    this.#to = undefined;
    await this.#process.send(FRAME.INPUT_END);
  }
}
