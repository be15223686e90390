/**
 * Random sharing, dozing, packing, paging out, forking, giving back and following of what is written, of guests in one small domain: nothing is lost, nothing
 * is another's, and every frame is owned, shared, held or free, with the right count.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Domain } from '../engine/domain.ts';
import type { Engine } from '../engine/engine.ts';
import { doze } from '../engine/page-reclaim.ts';
import { pageWorkOf } from '../engine/page-work.ts';
import { MOST_GUESTS, PAGES, REGIONS, World } from './testing/memory-world.ts';

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
  'follow',
  'lend',
  'full',
] as const;

const action = fc.record({
  kind: fc.constantFrom(...ACTIONS),
  actor: fc.nat(MOST_GUESTS - 1),
  page: fc.nat(PAGES - 1),
  content: fc.nat(7),
});

describe('memory of guests that share, are packed and paged out, forked and followed', () => {
  async function newWorld(): Promise<World> {
    const domain = new Domain(REGIONS, { codePages: 2, totalBytes: 24 << 20 });
    // Nobody executes anything: there are no TLBs.
    const engine = { domain, flushResident: () => {} } as unknown as Engine;
    return new World(engine, await pageWorkOf(domain));
  }

  test('is what was written, and every frame is accounted for', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 120 }), async (actions) => {
        const world = await newWorld();
        for (const { kind, actor: index, page, content } of actions) {
          const actor = world.actors[index % world.actors.length];
          if (actor === undefined) continue;
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
          else if (kind === 'follow') world.follow(actor);
          else if (kind === 'lend') world.lend(actor, page);
          else world.file.isFull = !world.file.isFull;
          world.check();
        }
        for (const actor of world.actors) for (let page = 0; page < PAGES; page++) world.read(actor, page);
        for (const actor of world.actors.slice(1)) world.remove(actor);
        world.actors[0]?.machine.guest.release();
        world.actors[0]?.contents.fill(0);
        world.actors[0]?.lent.clear();
        world.check();
        expect(world.away.counts).toMatchObject({ packed: 0, paged: 0 });
      }),
      { numRuns: 200 },
    );
  });
});
