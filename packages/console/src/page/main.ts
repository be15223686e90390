/** The page's entry: reads the address, starts a machine, and connects it with the terminal and the status around it. */

import { ConsoleError } from '../console-error.ts';
import type { FromMachine } from '../protocol.ts';
import { unmetRequirement } from '../requirements.ts';
import { readSettings, type Settings } from '../settings.ts';
import { element } from './elements.ts';
import { MachineWorker } from './machine-worker.ts';
import { Status } from './status.ts';
import { GuestTerminal } from './terminal.ts';

const status = new Status();
const problem = unmetRequirement({
  isSecureContext,
  crossOriginIsolated,
  hasSharedArrayBuffer: typeof SharedArrayBuffer !== 'undefined',
  knowsEs2024: 'withResolvers' in Promise && 'transfer' in ArrayBuffer.prototype,
  validate: typeof WebAssembly === 'undefined' ? undefined : (bytes) => WebAssembly.validate(bytes),
});
const settings = problem ?? settingsOrProblem();
if (typeof settings === 'string') status.show({ kind: 'failed', message: settings });
else run(settings);

function settingsOrProblem(): Settings | string {
  try {
    return readSettings(new URLSearchParams(location.search));
  } catch (error) {
    if (error instanceof ConsoleError) return error.message;
    throw error;
  }
}

function run(wanted: Settings): void {
  let machine: MachineWorker | undefined;
  const terminal = new GuestTerminal(element('terminal', HTMLElement), {
    keys: (bytes) => machine?.send({ kind: 'keys', bytes }),
    resized: (size) => machine?.send({ kind: 'resize', terminal: size }),
  });
  const start = (): void => {
    machine?.end();
    terminal.reset();
    status.show({ kind: 'loading' });
    const started: MachineWorker = new MachineWorker(wanted, terminal.size, (message) => {
      // What an ended worker had still under way is not the new machine's.
      if (machine === started) obey(message, started, terminal);
    });
    machine = started;
    terminal.focus();
  };
  const restart = element('restart', HTMLButtonElement);
  restart.addEventListener('click', start);
  restart.disabled = false;
  status.showSettings(wanted);
  start();
}

function obey(message: FromMachine, machine: MachineWorker, terminal: GuestTerminal): void {
  switch (message.kind) {
    case 'image':
      status.showImage(message.image);
      break;
    case 'fetching':
    case 'booting':
    case 'failed':
      status.show(message);
      break;
    case 'output': {
      const { stream, bytes } = message;
      terminal.write(stream, bytes, () => machine.send({ kind: 'shown', stream, bytes: bytes.length }));
      break;
    }
    case 'ready':
      status.show({ kind: 'running', bootMs: message.bootMs });
      break;
    case 'statistics':
      status.showStatistics(message.statistics);
      break;
    case 'ended':
      if (message.end.kind === 'panic') terminal.say(message.end.text);
      status.show({ kind: 'ended', end: message.end });
      break;
  }
}
