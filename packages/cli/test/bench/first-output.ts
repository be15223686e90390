/** A command's first output in a machine of a daemon, as a client has it that runs already; and how times are told. */

import process from 'node:process';
import { RemoteVM } from '@ringfence/host/control';

/** Runs `echo` in the machine; resolves when it has ended, with when its first octet was there. */
export async function firstOutputMs(name: string, sockets: string): Promise<number> {
  const program = await RemoteVM.at(name, sockets).exec({ argv: ['echo', 'first'], stdin: 'empty' });
  program.stderr.discard();
  let atMs: number | undefined;
  for await (const bytes of program.stdout) if (bytes.length > 0) atMs ??= performance.now();
  await program.exited;
  if (atMs === undefined) throw new Error(`the machine "${name}" said nothing`);
  return atMs;
}

export function say(what: string, times: readonly number[], wanted = ''): void {
  const ordered = times.toSorted((a, b) => a - b);
  const at = (share: number): string => `${ordered[Math.floor((ordered.length - 1) * share)]?.toFixed(1) ?? '?'} ms`;
  process.stdout.write(`${what.padEnd(48)} median ${at(0.5)}, least ${at(0)}, most ${at(1)}${wanted}\n`);
}
