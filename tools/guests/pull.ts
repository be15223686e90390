/** Brings an image up to date, with a line now and then of how it gets on. */

import { buildMachine } from '@ringfence/host';
import { loadDebian } from '@ringfence/images';

const EVERY_MS = 20_000;

export async function pullImage(packages: readonly string[], suite: string | undefined): Promise<void> {
  let saidAt = performance.now();
  await loadDebian({
    suite,
    packages,
    machine: buildMachine,
    onProgress: (step) => {
      if (performance.now() - saidAt < EVERY_MS) return;
      saidAt = performance.now();
      console.log(step.kind === 'waiting' ? '  waiting for another process' : `  ${step.kind} ${step.item}`);
    },
  });
}
