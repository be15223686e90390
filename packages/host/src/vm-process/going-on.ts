/**
 * Going on from a kept boot with nobody's machine, which then ends: what is needed first becomes known, or compiled in this process, before somebody waits.
 */

import { HostError } from '../failure.ts';
import type { VMOptions } from '../vm/options.ts';
import { ParkedVM } from '../vm/parked.ts';
import { VM } from '../vm/vm.ts';

/** What a machine's first command needs of any: a shell, and a program. */
const COMMAND = ['sh', '-c', 'echo ready; true | cat'];

/** Another one than was kept, as each machine has: the guest's card gets it first of all. */
const CARD = '52:54:00:ff:ff:fe';

/** `options` name the kept boot. Rejects when that cannot be gone on from. */
export async function goOnAndEnd(options: VMOptions, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const parked = await ParkedVM.make(options);
    const mac = options.network === 'none' ? {} : { mac: CARD };
    const vm = await VM.ofParked(parked, { ...options, ...mac, name: 'nobody', reachable: false });
    try {
      vm.start();
      const { code } = await vm.exec(COMMAND);
      if (code !== 0) throw new HostError('ended', `a command in a machine that goes on ended with ${code}`);
    } finally {
      await vm.kill();
    }
  }
}
