/**
 * The process that boots an image for nobody, so that machines of the daemon go on from there (kept-boot.ts). No user's command is ever executed in it: what
 * all of them begin with cannot be something that one of them has left. It has no network, and writes in the folder of kept boots to what it keeps and nowhere
 * else; those that go on from there only read.
 *
 *     boots --> is kept, beside its place -- written --> the daemon makes that durable and puts it there -- go --> goes on from it a few times --> ends
 *
 * What is needed first of a kept boot is known when one has gone on from it (hot-pages.ts): so this does it before somebody waits.
 */

import process from 'node:process';
import { loadBootFiles } from '../machine-folder/boot-files.ts';
import { machineFolder } from '../machine-folder/layout.ts';
import type { VMOptions } from '../vm/options.ts';
import { VM } from '../vm/vm.ts';
import { failed, tell } from './daemon-link.ts';
import { goOnAndEnd } from './going-on.ts';
import { neverBoots } from './machine-run.ts';
import type { KeepMessage } from './messages.ts';
import { giveUpUnneeded } from './shared-steps.ts';

/** The second one has the pages of the first, and adds the code that it has decoded of them; a guest takes other pages each time, which the rest are for. */
const ROUNDS = 4;
/** Does it, and ends the process. */
export async function beKeeper({ folder, make: { shape, kept } }: KeepMessage): Promise<void> {
  try {
    giveUpUnneeded();
    const options: VMOptions = {
      ...shape,
      ownsProcess: true,
      reachable: false,
      boot: () => loadBootFiles(machineFolder(folder)),
      keptPlace: { ...kept, finish },
    };
    const first = await VM.start(options);
    await first.kept;
    await first.kill();
    // From here on it adds what was needed first, and no other one is kept.
    const placed = { ...kept, finish: () => Promise.resolve() };
    await goOnAndEnd({ ...options, keptPlace: placed, boot: neverBoots }, ROUNDS);
    process.exit(0);
  } catch (error) {
    await failed(error);
  }
}

/** Has the daemon put it into its place. */
async function finish(path: string): Promise<void> {
  const placed = new Promise((resolve) => void process.once('message', resolve));
  await tell({ kind: 'written', path });
  await placed;
}
