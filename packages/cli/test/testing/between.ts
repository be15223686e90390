/** A link between two daemons that is cut, slow, or silent for a while. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Of a slow link. */
const SLOW_BYTES_PER_MS = 2000;

/** What lies between two daemons. */
export class Between implements AsyncDisposable {
  readonly address: string;
  readonly #server;
  readonly #sockets = new Set<Socket>();
  #slowUntilMs = 0;
  #silentUntilMs = 0;
  #isCut = false;
  #isClosed = false;
  #lateMs = 0;
  #lateAfterBytes = 0;
  /** Resolves when all answers that are late have come. */
  #late = Promise.resolve();
  /** What the one that connects has said. */
  carriedBytes = 0;

  static async open(to: string): Promise<Between> {
    const server = createServer({ pauseOnConnect: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Between(server, to);
  }

  private constructor(server: ReturnType<typeof createServer>, to: string) {
    this.#server = server;
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const [host, port] = to.split(':');
    server.on('connection', (near) => {
      if (this.#isClosed) return void near.destroy();
      const far = connect(Number(port), host);
      for (const [a, b] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(a);
        a.on('error', () => undefined);
        a.on('close', () => void this.heardAgain().then(() => b.destroy()));
        a.on('data', (bytes: Buffer) => void this.#carry(a, b, bytes, a === far));
      }
      near.resume();
    });
  }

  /** What is on its way is lost; whoever comes afterwards gets through. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
    this.#isCut = false;
  }

  /** As `cut`, and nobody gets through from now on, or they do again. */
  close(isClosed = true): void {
    this.#isClosed = isClosed;
    if (isClosed) this.cut();
  }

  /** What the one says that is connected to comes so much later, or even later, as soon as so much has been said to it. */
  answerLate(ms: number, afterBytes = 0): void {
    [this.#lateMs, this.#lateAfterBytes] = [ms, afterBytes];
  }

  slow(forMs: number): void {
    this.#slowUntilMs = performance.now() + forMs;
  }

  /** Nothing comes through, and nobody hears that anybody has gone; what was said is heard afterwards. */
  silence(forMs: number): void {
    this.#silentUntilMs = performance.now() + forMs;
  }

  /** Resolves when it is silent no more. */
  async heardAgain(): Promise<void> {
    for (let left = 1; left > 0;) {
      left = this.#silentUntilMs - performance.now();
      if (left > 0) await sleep(left);
    }
  }

  async #carry(from: Socket, to: Socket, bytes: Buffer, isAnswer: boolean): Promise<void> {
    if (this.#isCut) return;
    from.pause();
    await this.heardAgain();
    if (!isAnswer) this.carriedBytes += bytes.length;
    else if (this.#lateMs > 0 && this.carriedBytes >= this.#lateAfterBytes) return this.#carryLate(from, to, bytes);
    else await this.#late;
    if (performance.now() < this.#slowUntilMs) await sleep(bytes.length / SLOW_BYTES_PER_MS);
    await new Promise<void>((resolve) => void to.write(bytes, () => resolve()));
    from.resume();
  }

  /** What comes behind it is on its way meanwhile, and not late because of it. */
  #carryLate(from: Socket, to: Socket, bytes: Buffer): void {
    const [before, dueMs] = [this.#late, performance.now() + this.#lateMs];
    this.#late = (async () => {
      await before;
      await sleep(Math.max(0, dueMs - performance.now()));
      to.write(bytes);
    })();
    from.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => void this.#server.close(resolve));
  }
}
