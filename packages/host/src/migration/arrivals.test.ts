/** Machines that come from another daemon, which is only pretended, as is the process that takes them. */

import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { duplexPair } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FRAME, FrameLink, jsonIn } from '../control/frames.ts';
import { PretendDaemon, PretendProcesses } from '../daemon/testing/pretend.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import { Arrivals } from './arrivals.ts';
import { answerOf, DAEMON_PROTOCOL } from './protocol.ts';
import { Trust } from './trust.ts';

/** Machines arrive at once. */
class ArrivingProcesses extends PretendProcesses {
  override async start(name: string, id: string): Promise<RunningMachine> {
    const run = await super.start(name, id);
    run.arrive = async () => {
      const [ours, theirs] = linked();
      await ours.sendJson(FRAME.STARTED, {});
      void ours.end();
      return theirs;
    };
    return run;
  }
}

function linked(): [FrameLink, FrameLink] {
  const [one, other] = duplexPair();
  return [new FrameLink(one), new FrameLink(other)];
}

test('a machine that has arrived is here, although that cannot be written down', async () => {
  const from = await PretendDaemon.begin();
  const to = await PretendDaemon.begin();
  const state = mkdtempSync(join(tmpdir(), 'ringfence-arrivals-'));
  try {
    await from.create('web');
    const yaml = readFileSync(from.machines.find('web').folder.yaml, 'utf8');
    const failures: unknown[] = [];
    const arrivals = new Arrivals({
      trust: new Trust(state),
      version: '1',
      processes: new ArrivingProcesses(),
      machines: join(to.folder, 'machines'),
      freeMemoryBytes: () => 2 ** 40,
      expect: ({ id, name }) => to.machines.moves.expect(id, name),
      arrived: ({ id }, run) => to.machines.moves.arrived(to.machines.find(id), run),
      failed: ({ id }) => to.machines.moves.notArrived(to.machines.find(id)),
      folders: () => [],
      onFailure: (error) => void failures.push(error),
    });
    // As if the disk were full.
    rmSync(state, { recursive: true });
    const migration = randomUUID();
    const [there, here] = linked();
    const serving = arrivals.serve(here);
    const files: never[] = [];
    const { id } = from.machines.find('web');
    const request = { kind: 'migrate', protocol: DAEMON_PROTOCOL, version: '1', migration, yaml, files, disks: [] };
    await there.sendJson(FRAME.REQUEST, request);
    await answerOf(there, FRAME.STEP);
    await answerOf(there, FRAME.STARTED);
    void there.end();
    await serving;
    expect([to.state(id), failures]).toMatchObject(['running', [{ code: 'unavailable' }]]);

    const [asks, asked] = linked();
    void arrivals.serve(asked);
    await asks.sendJson(FRAME.REQUEST, { kind: 'ask', protocol: DAEMON_PROTOCOL, migration });
    expect(jsonIn(await answerOf(asks, FRAME.RESULT))).toEqual({ owner: 'target' });
    asks.destroy();
  } finally {
    await Promise.all([from.end(), to.end()]);
  }
});
