/** What a machine that has ended leaves for the next one that goes on from where it did: its first pages and their code (hot-pages.ts). */

import { keepHotPagesIfPossible } from '../snapshot/hot-pages.ts';
import type { VMParts } from './assemble.ts';

/** `isBroken`: it could not go on, because what it went on from is not what was written. */
export async function leaveBehind({ start, machine }: VMParts, isBroken: boolean): Promise<void> {
  if (start.kind === 'resume' && isBroken) await start.boots.remove(start.kept.key);
  else if (start.kind === 'resume' && !start.boots.isReadOnly) start.kept.keepHotPages(machine);
  else if (start.kind === 'restore' && !isBroken) keepHotPagesIfPossible(machine, start.snapshot, start.placed);
}
