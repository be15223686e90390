/** The worker's entry: makes one machine as the page asks, runs it to its end, and is then done. */

import type { FromMachine, TerminalSize, ToMachine } from '../protocol.ts';
import type { Settings } from '../settings.ts';
import { fetchDescription } from './fetch-image.ts';
import { TinyMachine } from './tiny-machine.ts';

/** Between two reports, in milliseconds. */
const STATISTICS_MS = 500;
/** Errors whose messages are made for people. */
const FOR_PEOPLE = new Set(['ConsoleError', 'LoadError', 'ImageError']);

let machine: TinyMachine | undefined;
let terminal: TerminalSize = { columns: 0, rows: 0 };

self.addEventListener('message', ({ data }: MessageEvent<ToMachine>) => {
  switch (data.kind) {
    case 'start':
      ({ terminal } = data);
      void start(data.settings);
      break;
    case 'keys':
      machine?.type(data.bytes);
      break;
    case 'resize':
      ({ terminal } = data);
      machine?.resize(terminal);
      break;
    case 'shown':
      machine?.shown(data.stream, data.bytes);
      break;
  }
});

async function start(settings: Settings): Promise<void> {
  const startedMs = performance.now();
  let reporting: number | undefined;
  try {
    const image = await fetchDescription();
    post({ kind: 'image', image });
    const onReady = (): void => post({ kind: 'ready', bootMs: performance.now() - startedMs });
    const made = await TinyMachine.create(image, settings, post, onReady);
    machine = made;
    machine.resize(terminal);
    reporting = setInterval(() => post({ kind: 'statistics', statistics: made.statistics }), STATISTICS_MS);
    const end = await made.run();
    post({ kind: 'ended', end });
  } catch (error) {
    post({ kind: 'failed', message: failureText(error) });
  } finally {
    clearInterval(reporting);
  }
}

function post(message: FromMachine, transfer: ArrayBuffer[] = []): void {
  self.postMessage(message, { transfer });
}

function failureText(error: unknown): string {
  if (error instanceof Error && FOR_PEOPLE.has(error.name)) return error.message;
  const details = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `Ringfence itself failed; this is a bug, please report it with these lines:\n${details}`;
}
