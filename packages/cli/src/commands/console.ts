/** `ringfence console`: this terminal on the serial console of a running virtual machine, beside whoever else looks at it. */

import process from 'node:process';
import { EXIT, exitCodeOfSignal, SIGPIPE } from '../exit-codes.ts';
import { listenForSignals } from '../node/interruption.ts';
import { drainAll, Output } from '../node/output.ts';
import { takeTerminal } from '../node/terminal.ts';
import { TypedInput } from '../process-streams.ts';
import { reported } from './daemon/report.ts';
import { findMachine } from './find-machine.ts';
import { say } from './say.ts';

/** Looks and types until Ctrl-A X, the end of the machine, or a signal. Without a terminal what is piped in is typed. */
export function attachConsole(name: string): Promise<number> {
  return reported({}, () => attached(name));
}

async function attached(name: string): Promise<number> {
  const vm = await findMachine(name, 'console');
  const interruption = listenForSignals();
  const viewer = await vm.openConsole();
  const { stdin } = process;
  const output = new Output(process.stdout);
  const { promise: left, resolve: leave } = Promise.withResolvers<'quit' | 'broken' | 'signal'>();
  output.onBroken = () => leave('broken');
  interruption.signal.addEventListener('abort', () => leave('signal'), { once: true });
  if (process.stderr.isTTY)
    say(`connected with the console of "${name}"; Ctrl-A X leaves it, Enter may bring a prompt`);
  const keys = new TypedInput();
  keys.connect(viewer);
  const terminal = stdin.isTTY
    ? takeTerminal(stdin, process.stdout, { keys: (bytes) => keys.push(bytes), quit: () => leave('quit') })
    : undefined;
  if (terminal === undefined) {
    stdin.on('data', (bytes: Buffer) => keys.push(bytes));
    stdin.on('error', () => undefined);
  }
  const shown = (async () => {
    for await (const bytes of viewer.output) {
      output.write(bytes);
      if (output.isFull) await new Promise<void>((resolve) => output.whenRoom(resolve));
    }
    return 'ended' as const;
  })();
  try {
    const why = await Promise.race([shown, left]);
    await drainAll([output], why !== 'ended', interruption.signal);
    terminal?.restore();
    if (process.stderr.isTTY) process.stderr.write('\r\n');
    if (why === 'ended') say(`the virtual machine "${name}" has ended`);
    if (why === 'broken') return exitCodeOfSignal(SIGPIPE);
    return why === 'signal' ? exitCodeOfSignal(interruption.number ?? 0) : EXIT.OK;
  } finally {
    terminal?.restore();
    viewer.close();
  }
}
