/** Machines that write to their memory move while the link between the daemons breaks. */

import { expect, test } from 'vitest';
import { Between } from './testing/between.ts';
import { RealDaemon } from './testing/daemon.ts';
import { canWriteMemory, checkMemory, startWritingMemory, writtenPages } from './testing/memory-writer.ts';

const MIB = 32;

test.skipIf(!canWriteMemory)(
  'pages that follow come over other links when one is cut, and then another one',
  async () => {
    await using one = new RealDaemon({ listens: true });
    await using two = new RealDaemon({ listens: true });
    await Promise.all([one.start(), two.start()]);
    await one.trust(two);
    await two.trust(one);
    await one.create('web', { memory: '192M' });
    await one.client.run('vm.start', { vm: 'web' });
    await startWritingMemory(one, 'web', MIB);
    const before = await writtenPages(one, 'web');
    await using link = await Between.open(two.listens);
    const steps: string[] = [];
    let cuts = 0;
    const { notes = [] } = await one.client.run(
      'vm.migrate',
      { vm: 'web', target: link.address, postCopy: true, downtimeMs: 0 },
      {
        onProgress({ step }) {
          if (step === steps.at(-1)) return;
          steps.push(step);
          if (!step.startsWith('sending the rest') || cuts === 2) return;
          cuts++;
          // Not all of it is there before it is cut again.
          link.slow(1500);
          link.cut();
        },
      },
    );
    expect(steps.filter((step) => step.startsWith('the rest waits for a connection with')).length).toBeGreaterThan(0);
    expect([cuts, notes.join()]).toEqual([2, expect.stringMatching(/pages followed/)]);
    expect(notes.join()).not.toMatch(/was lost/);
    await checkMemory(two, 'web', before, MIB);

    // And back, over a slow link: a snapshot is taken of a machine that has all of its memory.
    const over: string[] = [];
    let asked: Promise<unknown> | undefined;
    await using back = await Between.open(one.listens);
    await two.client
      .run(
        'vm.migrate',
        { vm: 'web', target: back.address, postCopy: true, downtimeMs: 0 },
        {
          onProgress({ step }) {
            if (asked !== undefined || !step.startsWith('sending the rest')) return;
            back.slow(1000);
            asked = one.client
              .run('snapshot.create', { vm: 'web', name: 'there' })
              .then(() => over.push('the snapshot'));
            asked.catch(() => undefined);
          },
        },
      )
      .then(() => over.push('the move'));
    await asked;
    expect(over).toEqual(['the move', 'the snapshot']);
    await checkMemory(one, 'web', before, MIB);
  },
);
