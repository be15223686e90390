/** Two daemons without guests, between which machines move: what carries them is pretended, what both daemons write down of it is not. */

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostError } from '../../failure.ts';
import type { MachineFolder } from '../../machine-folder/layout.ts';
import { readMachine } from '../../machine-folder/machine-files.ts';
import { Departures } from '../../migration/departures.ts';
import { type Identity, identityIn } from '../../migration/identity.ts';
import { writeLeaving } from '../../migration/leaving.ts';
import { Trust } from '../../migration/trust.ts';
import { PretendDaemon } from './pretend.ts';

/** Where the other daemon is said to listen; nobody does. */
export const THERE = { host: '127.0.0.1', port: 9 };

class PretendDepartures extends Departures {
  handOver: (folder: MachineFolder) => Promise<void> = () => Promise.reject(new Error('there is no other daemon'));
  /** The other daemon does not take the next one. */
  isRefused = false;
  /** Whose the other daemon says that a machine is of which this one does not know. */
  whose: 'source' | 'target' = 'source';

  override async move(...[folder, run]: Parameters<Departures['move']>): Promise<undefined> {
    if (this.isRefused) {
      this.isRefused = false;
      throw new HostError('unavailable', 'the other daemon does not take it');
    }
    await noteLeaving(folder);
    await this.handOver(folder);
    await run.kill();
  }

  override recover(): Promise<'source' | 'target'> {
    return Promise.resolve(this.whose);
  }

  override settled(): Promise<void> {
    return Promise.resolve();
  }
}

function noteLeaving(folder: MachineFolder): Promise<void> {
  return writeLeaving(folder, { migration: 'm', ...THERE, fingerprint: 'none' });
}

/** Who both are to each other takes long to make. */
let identity: Identity | undefined;

export class PretendWorld {
  readonly daemons: readonly [PretendDaemon, PretendDaemon];
  readonly #departures: readonly [PretendDepartures, PretendDepartures];
  readonly #folder: string;

  private constructor(
    daemons: PretendWorld['daemons'],
    departures: [PretendDepartures, PretendDepartures],
    folder: string,
  ) {
    this.daemons = daemons;
    this.#departures = departures;
    this.#folder = folder;
  }

  static async begin(): Promise<PretendWorld> {
    const folder = mkdtempSync(join(tmpdir(), 'ringfence-world-'));
    identity ??= identityIn(folder);
    const options = { identity, trust: new Trust(folder), version: '1' };
    const departures: [PretendDepartures, PretendDepartures] = [
      new PretendDepartures(options),
      new PretendDepartures(options),
    ];
    const more = departures.map((each) => ({ freeMemoryBytes: () => 2 ** 40, departures: each }));
    const [here, there] = await Promise.all([PretendDaemon.begin(more[0]), PretendDaemon.begin(more[1])]);
    const world = new PretendWorld([here, there], departures, folder);
    departures[0].handOver = (leaving) => handOver(leaving, there);
    departures[1].handOver = (leaving) => handOver(leaving, here);
    return world;
  }

  /** The next machine that leaves the daemon is not taken by the other one. */
  refuseNext(at: 0 | 1): void {
    this.#departures[at].isRefused = true;
  }

  /** The daemon is killed while a machine leaves it, before or after the other one has that, and begins anew. */
  async killedAsItLeaves(at: 0 | 1, id: string, isThere: boolean): Promise<void> {
    const daemon = this.daemons[at];
    const { stored, folder, run } = daemon.machines.find(id);
    if (stored === undefined || run === undefined) throw new Error(`${id} does not run`);
    await daemon.store.putMachine({ ...stored, state: 'migrating' });
    await noteLeaving(folder);
    if (isThere) {
      await this.#departures[at].handOver(folder);
      daemon.processes.runs.delete(id);
    }
    this.#departures[at].whose = isThere ? 'target' : 'source';
    await daemon.again();
  }

  async end(): Promise<void> {
    for (const departures of this.#departures) departures.close();
    for (const daemon of this.daemons) await daemon.end();
    rmSync(this.#folder, { recursive: true });
  }
}

/** As arrivals.ts does, when all is sent. */
async function handOver(from: MachineFolder, to: PretendDaemon): Promise<void> {
  const config = await readMachine(from);
  const entry = await to.machines.moves.expect(config);
  cpSync(from.path, entry.folder.path, { recursive: true, filter: (path) => path !== from.leaving });
  const { place } = await to.machines.moves.room(entry, config);
  const { id, name, folder } = entry;
  const disks = { specs: [], readable: [], writable: [] };
  const run =
    place === undefined
      ? await to.processes.start(name, id)
      : await to.processes.join(place, { name, id, folder, disks, hasNetwork: false, from: undefined });
  await to.machines.moves.arrived(entry, run);
}
