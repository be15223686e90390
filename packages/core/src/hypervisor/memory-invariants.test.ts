/**
 * Random sharing, dozing, packing, paging out, forking, ballooning, giving back, following of what is written and moving elsewhere, of guests in two small
 * domains, without a pool and with one: nothing is lost, nothing is another's, and every frame is owned, shared, held or free, with the right count.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { doze } from '../engine/page-reclaim.ts';
import { type Actor, MOST_GUESTS, PAGES, World } from './testing/memory-world.ts';

const ACTIONS = [
  'write',
  'write',
  'write',
  'read',
  'scan',
  'scan',
  'age',
  'reclaim',
  'reclaim',
  'reclaim shared',
  'fork',
  'remove',
  'forget',
  'forget',
  'inflate',
  'inflate',
  'deflate',
  'follow',
  'migrate',
  'migrate',
  'migrate',
  'lend',
  'tick',
  'tick',
  'may run',
  'full',
] as const;
type Kind = (typeof ACTIONS)[number];
/** What may be done with one whose memory is still on its way. */
const OF_ARRIVING = new Set<Kind>(['read', 'scan', 'age', 'reclaim', 'reclaim shared', 'tick', 'full']);

const action = fc.record({
  kind: fc.constantFrom(...ACTIONS),
  actor: fc.nat(2 * MOST_GUESTS - 1),
  page: fc.nat(PAGES - 1),
  content: fc.nat(7),
});
interface Action {
  readonly kind: Kind;
  readonly page: number;
  readonly content: number;
}

function act(world: World, other: World, actor: Actor, { kind, page, content }: Action): void {
  if (actor.isArriving && !OF_ARRIVING.has(kind)) return;
  if (kind === 'write') world.write(actor, page, content);
  else if (kind === 'read') world.read(actor, page);
  else if (kind === 'scan') world.scan();
  else if (kind === 'age')
    for (let slot = 0; slot < page; slot++) doze(world.domain, (actor.machine.guest.pageMap >>> 2) + slot);
  else if (kind === 'reclaim') world.reclaim(actor, page + 1);
  else if (kind === 'reclaim shared') world.reclaimShared(page + 1);
  else if (kind === 'fork') world.fork(actor);
  else if (kind === 'remove') world.remove(actor);
  else if (kind === 'forget') world.forget(actor, page);
  else if (kind === 'inflate') world.inflate(actor, page);
  else if (kind === 'deflate') world.deflate(actor, page);
  else if (kind === 'follow') world.follow(actor);
  else if (kind === 'migrate') world.migrate(actor, content, other);
  else if (kind === 'lend') world.lend(actor, page);
  else if (kind === 'tick') world.tick();
  else if (kind === 'may run') world.mayRun(actor);
  else world.file.isFull = !world.file.isFull;
}

describe('memory of guests that share, are packed and paged out, forked, ballooned, followed and moved', () => {
  test.each([
    ['by themselves', false],
    ['in a pool', true],
  ])(
    '%s is what was written, and every frame is accounted for',
    async (_how, isPooled) => {
      let moved = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(action, { minLength: 20, maxLength: 150, size: 'max' }), async (actions) => {
          const worlds = [await World.create(isPooled), await World.create(isPooled)] as const;
          const [here, there] = worlds;
          for (const { actor: index, ...what } of actions) {
            const all = [...here.actors, ...there.actors];
            // Half of what happens, happens to one that is moving, as long as there is one.
            const moving = index < MOST_GUESTS ? all.find(({ move }) => move !== undefined) : undefined;
            const actor = moving ?? all[index % all.length];
            if (actor === undefined) continue;
            const isHere = here.actors.includes(actor);
            const wasMoving = actor.move !== undefined;
            act(isHere ? here : there, isHere ? there : here, actor, what);
            if (what.kind === 'migrate' && wasMoving && actor.move === undefined) moved++;
            for (const world of worlds) world.check();
          }
          for (const world of worlds) {
            for (const actor of world.actors) for (let page = 0; page < PAGES; page++) world.read(actor, page);
            world.check();
          }
          for (const world of worlds) for (const actor of world.actors) world.stay(actor);
          for (const world of worlds) {
            for (const actor of world.actors.slice(1)) world.remove(actor);
            world.actors[0]?.machine.guest.release();
            world.actors[0]?.contents.fill(0);
            world.actors[0]?.lent.clear();
            world.check();
            expect(world.away.counts).toMatchObject({ packed: 0, paged: 0 });
          }
        }),
        { numRuns: 60 },
      );
      // Otherwise nothing was shown of moving.
      expect(moved).toBeGreaterThan(10);
      // A failure is made small first.
    },
    60_000,
  );
});
