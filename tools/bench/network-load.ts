/**
 * Asks a web server without pause over several connections that stay open, in a process of its own, and writes to stdout what came of it:
 * answers, failures, seconds, and the 50th and 99th percentile of the microseconds that an answer took. In the end it asks the server to end.
 *
 *     node network-load.ts PORT CONNECTIONS SECONDS
 */

import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const [port = 0, connections = 16, seconds = 5] = process.argv.slice(2).map(Number);
const request = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: guest\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n`;
const PAGE = request('/');
/** What the end of a run waits for answers that are still to come. */
const PATIENCE_MS = 5000;

let answers = 0;
let failures = 0;
const tookUs: number[] = [];
const endMs = performance.now() + seconds * 1000;

/** Asks over one connection until time is up. */
async function client(): Promise<void> {
  const socket: Socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  await new Promise<void>((resolve) => {
    let rest = 0;
    let head = '';
    let askedMs = 0;
    let isWaiting = false;
    const ask = (): void => {
      if (performance.now() >= endMs) {
        isWaiting = false;
        socket.destroy();
        return;
      }
      isWaiting = true;
      askedMs = performance.now();
      socket.write(PAGE);
    };
    const answered = (): void => {
      answers++;
      tookUs.push((performance.now() - askedMs) * 1000);
      ask();
    };
    socket.once('connect', ask);
    socket.on('data', (bytes: Buffer) => {
      if (rest > 0) {
        rest -= bytes.length;
        if (rest <= 0) answered();
        return;
      }
      head += bytes.toString('latin1');
      const body = head.indexOf('\r\n\r\n');
      if (body < 0) return;
      const length = /content-length: (\d+)/i.exec(head)?.[1];
      if (!head.startsWith('HTTP/1.1 200') || length === undefined) failures++;
      rest = Number(length ?? 0) - (head.length - body - 4);
      head = '';
      if (rest <= 0) answered();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (isWaiting) failures++;
      resolve();
    });
  });
}

const clients = Array.from({ length: connections }, () => client());
await Promise.race([Promise.all(clients), delay(seconds * 1000 + PATIENCE_MS)]);
tookUs.sort((one, other) => one - other);
const percentile = (part: number): string => (tookUs[Math.floor(part * (tookUs.length - 1))] ?? 0).toFixed(0);
process.stdout.write(`${answers} ${failures} ${seconds} ${percentile(0.5)} ${percentile(0.99)}\n`);
const last = connect(port, '127.0.0.1', () => last.end(request('/quit')));
last.on('error', () => undefined);
last.on('close', () => process.exit(0));
setTimeout(() => process.exit(0), 1000);
