/** `ringfence fork`: makes machines that go on from where one is that runs. */

import process from 'node:process';
import { HostError } from '@ringfence/host/control';
import { connectDaemon } from '@ringfence/host/daemon-client';
import { printJson, reported, type Shape } from './daemon/report.ts';
import { findMachine } from './find-machine.ts';

export interface ForkOptions extends Shape {
  /** As they were typed. */
  readonly count?: string;
  readonly name?: readonly string[];
}

/** Writes the forks' names, a line each. */
export function forkMachine(name: string, { count, name: names = [], ...shape }: ForkOptions): Promise<number> {
  return reported(shape, async () => {
    const wanted = count === undefined ? Math.max(names.length, 1) : Number(count);
    if (!Number.isInteger(wanted) || wanted < 1)
      throw new HostError('bad-argument', `--count "${count}" is no number of forks; write one from 1 on`);
    const vm = await findMachine(name, 'fork');
    // One with an id is the daemon's, as are forks of such.
    const { id, forkOf } = await vm.inspect();
    const key = forkOf === undefined ? id : name;
    const done =
      key === undefined
        ? { kind: 'vm.fork', vm: { name }, state: 'done', made: await vm.fork({ count: wanted, names }) }
        : await connectDaemon().run('vm.fork', { vm: key, count: wanted, names: [...names] });
    if (shape.json === true) printJson(done);
    else for (const made of done.made ?? []) process.stdout.write(`${made}\n`);
  });
}
