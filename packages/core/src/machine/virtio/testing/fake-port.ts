/** A socket of a network with nothing behind it: remembers what a card sent, and gives it frames. */

import type { Frame, FrameEndpoint, FramePort } from '../../../base/frames.ts';

export class FakeFramePort implements FramePort {
  card: FrameEndpoint | undefined;
  readonly sent: Frame[] = [];
  bursts = 0;
  rooms = 0;

  attach(card: FrameEndpoint): void {
    this.card = card;
  }

  transmit(frame: Frame): boolean {
    this.sent.push({ ...frame, bytes: frame.bytes.slice() });
    return true;
  }

  transmitted(): void {
    this.bursts++;
  }

  roomAgain(): void {
    this.rooms++;
  }
}
