/** Where a machine is going, as it is written down in its folder (leaving.json) before it can have been handed over. */

import { rename, writeFile } from 'node:fs/promises';
import * as z from 'zod/mini';
import { HostError } from '../failure.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { isAbsent, readRegularSync } from '../regular-file.ts';
import { syncFolder } from '../sync-folder.ts';

/**
 * Without the fingerprint another daemon that answers there, and has not heard of the machine, would be taken for the one that has it. Where it was not moved
 * with `postCopy` its process here keeps nothing that is missing there.
 */
export const LEAVING = z.object({
  migration: z.string(),
  host: z.string(),
  port: z.number(),
  fingerprint: z.string(),
  postCopy: z.exactOptional(z.boolean()),
});
export type Leaving = z.output<typeof LEAVING>;

/** Undefined where nothing says that it was going anywhere; throws where that cannot be read. */
export function readLeaving({ leaving }: MachineFolder): Leaving | undefined {
  try {
    return z.parse(LEAVING, JSON.parse(readRegularSync(leaving)));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw new HostError('unavailable', `it cannot be read in ${leaving} where it was going`, error);
  }
}

/** Durable, and there as a whole or not at all. */
export async function writeLeaving(folder: MachineFolder, leaving: Leaving): Promise<void> {
  const writing = `${folder.leaving}.new`;
  await writeFile(writing, JSON.stringify(leaving), { mode: 0o600, flush: true });
  await rename(writing, folder.leaving);
  await syncFolder(folder.path);
}
