/**
 * Moves a machine of no consequence to another one of this process, there and back: what a host makes of the code that both ends execute, when it is
 * executed for the first time, is made before somebody waits for it.
 */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { Machine } from '../../machine/machine.ts';
import { DRAM_BASE } from '../../machine/memory-map.ts';
import { beginWarmUp } from '../../machine/warm-up.ts';
import { MachineRunner, type Turns } from '../../vm/runner.ts';
import type { MigrationCodec, MigrationLink, MigrationTimers } from './ports.ts';
import { MigrationSource } from './source.ts';
import { MigrationTarget } from './target.ts';

/** Pages that hold something, behind those of the program that is executed: some messages, of a MiB each and less. */
const FILLED_PAGES = 1024;
const FIRST_FILLED = 128;
const MOVES = 4;
/** Of those pages so many are decoded, at each so manieth of their half words. */
const DECODED_PAGES = 160;
const DECODED_EVERY = 4;

export interface RehearsalHost {
  readonly clock: MigrationTimers;
  readonly codec: MigrationCodec;
  readonly turns: Turns;
}

/** Two machines of the same make that are blank; afterwards, also when it rejects, they execute nothing and are to be closed. Not of those whose harts are executed by several threads. */
export async function rehearseMigration(
  machines: readonly [Machine, Machine],
  { clock, codec, turns }: RehearsalHost,
): Promise<void> {
  let [from, to] = machines;
  const blank = to.save();
  beginWarmUp(from);
  const halves = new Uint16Array(PAGE_SIZE / 2);
  const page = new Uint8Array(halves.buffer);
  for (let index = 0, word = 1; index < FILLED_PAGES; index++) {
    for (let at = 0; at < halves.length; at++) {
      word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
      halves[at] = word >>> 16;
    }
    from.ram.write(DRAM_BASE + (FIRST_FILLED + index) * PAGE_SIZE, page);
  }
  decodeSome(from);
  const runners = [new MachineRunner(from, turns)];
  try {
    runners[0]?.start();
    for (let move = 0; move < MOVES; move++) {
      const [here, there] = linkEnds(turns);
      const machine = to;
      const runner = runners.at(-1) as MachineRunner;
      const next = new MachineRunner(machine, turns);
      runners.push(next);
      const target = new MigrationTarget({
        link: there,
        codec,
        clock,
        make: () => Promise.resolve(machine),
        run: () => next.start(),
      });
      await new MigrationSource({
        machine: from,
        runner,
        clock,
        codec,
        link: here,
        about: null,
        settle: () => target.arrived.then(() => 'target' as const),
      }).run();
      await runner.stop();
      for (let index = 0; index < from.pages.count; index++) from.pages.put(index, undefined);
      from.restore(blank);
      [from, to] = [machine, from];
    }
  } finally {
    for (const runner of runners) await runner.stop();
  }
}

/** Pages that hold anything are decoded as code that was executed elsewhere is: of each some instructions, of all kinds. */
function decodeSome({ pages }: Machine): void {
  const slots = Array.from({ length: PAGE_SIZE / 2 / DECODED_EVERY }, (_, n) => n * DECODED_EVERY);
  for (let page = FIRST_FILLED; page < FIRST_FILLED + DECODED_PAGES; page++) pages.decodeAhead([{ page, slots }]);
}

/** What each sends comes to the other in a later turn. */
function linkEnds(turns: Turns): readonly [MigrationLink, MigrationLink] {
  const hears: [Hear, Hear] = [() => undefined, () => undefined];
  const end = (own: 0 | 1): MigrationLink => ({
    send: (message, sent) => {
      const copy = message.slice();
      sent?.();
      turns.soon(() => hears[own === 0 ? 1 : 0](copy));
      return Promise.resolve();
    },
    listen: (hear) => void (hears[own] = hear),
    close: () => undefined,
  });
  return [end(0), end(1)];
}

type Hear = (message: Uint8Array) => void;
