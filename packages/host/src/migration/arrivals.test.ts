/** Machines that come from another daemon, which is only pretended, as is the process that takes them. */

import { hash, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { duplexPair } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { imageFileName } from '@ringfence/images/cache-folder';
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

interface PretendTarget {
  readonly from: PretendDaemon;
  readonly to: PretendDaemon;
  readonly state: string;
  readonly arrivals: Arrivals;
  readonly failures: unknown[];
  readonly request: Record<string, unknown>;
}

/** Two daemons, a machine at one of them, and what the other one is asked to take it with. */
async function withTarget(work: (target: PretendTarget) => Promise<void>): Promise<void> {
  const from = await PretendDaemon.begin();
  const to = await PretendDaemon.begin();
  const state = mkdtempSync(join(tmpdir(), 'ringfence-arrivals-'));
  try {
    await from.create('web');
    const { folder } = from.machines.find('web');
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
      folders: () => [folder],
      cache: join(state, 'cache'),
      onFailure: (error) => void failures.push(error),
    });
    const yaml = readFileSync(folder.yaml, 'utf8');
    const migration = randomUUID();
    const request = {
      kind: 'migrate',
      protocol: DAEMON_PROTOCOL,
      version: '1',
      migration,
      yaml,
      files: [],
      disks: [],
    };
    await work({ from, to, state, arrivals, failures, request });
  } finally {
    rmSync(state, { recursive: true, force: true });
    await Promise.all([from.end(), to.end()]);
  }
}

test('a machine that has arrived is here, although that cannot be written down', () =>
  withTarget(async ({ from, to, state, arrivals, failures, request }) => {
    // As if the disk were full.
    rmSync(state, { recursive: true });
    const [there, here] = linked();
    const serving = arrivals.serve(here);
    const { id } = from.machines.find('web');
    await there.sendJson(FRAME.REQUEST, request);
    await answerOf(there, FRAME.STEP);
    await answerOf(there, FRAME.STARTED);
    void there.end();
    await serving;
    expect([to.state(id), failures]).toMatchObject(['running', [{ code: 'unavailable' }]]);

    const [asks, asked] = linked();
    void arrivals.serve(asked);
    const { migration } = request;
    await asks.sendJson(FRAME.REQUEST, { kind: 'ask', protocol: DAEMON_PROTOCOL, migration });
    expect(jsonIn(await answerOf(asks, FRAME.RESULT))).toEqual({ owner: 'target' });
    asks.destroy();
  }));

test('what another daemon sends is not written into a file that a machine here has', () =>
  withTarget(async ({ from, arrivals, request }) => {
    const { image } = from.machines.find('web').folder;
    const [name = ''] = readdirSync(image);
    const own = readFileSync(join(image, name));
    const file = { folder: 'image', name, bytes: own.length, sha256: hash('sha256', own) };
    const evil = Buffer.alloc(own.length, 'evil');
    const files = [file, { ...file, sha256: hash('sha256', evil) }];
    const [there, here] = linked();
    const serving = arrivals.serve(here);
    await there.sendJson(FRAME.REQUEST, { ...request, files });
    await expect(answerOf(there, FRAME.STEP)).rejects.toMatchObject({ code: 'protocol' });
    await there.send(FRAME.DATA, evil);
    await there.end();
    await serving;
    expect(readFileSync(join(image, name))).toEqual(own);
  }));

test('a file that the cache of images has is not sent', () =>
  withTarget(async ({ state, arrivals, request }) => {
    const kernel = Buffer.from('a kernel that no machine here has');
    const file = { folder: 'image', name: 'kernel', bytes: kernel.length, sha256: hash('sha256', kernel) };
    const changed = { ...file, name: 'initrd', sha256: hash('sha256', 'another') };
    const cached = join(state, 'cache/images/tiny-stable');
    mkdirSync(cached, { recursive: true });
    writeFileSync(join(cached, imageFileName('kernel', file.sha256)), kernel);
    writeFileSync(join(cached, imageFileName('initrd', changed.sha256)), kernel);
    const [there, here] = linked();
    const serving = arrivals.serve(here);
    await there.sendJson(FRAME.REQUEST, { ...request, files: [file, changed] });
    expect(jsonIn(await answerOf(there, FRAME.STEP))).toMatchObject({ need: ['image/initrd'] });
    there.destroy();
    await serving;
  }));
