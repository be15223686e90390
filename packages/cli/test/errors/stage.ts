/** A daemon with machines of all kinds, of which much cannot be asked. */

import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import { RealDaemon } from '../testing/daemon.ts';

/** Machines of one label, all that there can be. */
export const MOST_OF_A_LABEL = 64;

/** Takes back what was changed. */
export type Undo = () => unknown;

export class Stage implements AsyncDisposable {
  readonly daemon = new RealDaemon({ listens: true });
  /** Which machines may go to, once both trust each other. */
  readonly other = new RealDaemon({ listens: true });
  /** A folder that is a machine, and nobody's. */
  readonly copy: string;
  readonly empty: string;

  private constructor() {
    this.copy = join(this.daemon.folder, 'copy');
    this.empty = join(this.daemon.folder, 'run');
  }

  /**
   * `web` runs, with a disk, snapshots `whole` and `more`, and a fork `twin`; `smp` runs with two processors; `mover` runs and may move, and has 60 of the 100 % of a processor reserved that there are; machines may have
   * 1500 MiB together; `db` and `bad` are
   * stopped, `bad` has a snapshot `whole`; there are as many of the label `full` as can be.
   */
  static async set(): Promise<Stage> {
    const stage = new Stage();
    const { daemon, other } = stage;
    await Promise.all([daemon.start('--cpu', '100', '--memory', '1500M'), other.start()]);
    await daemon.create('web', { disks: [{ size: '16M' }] });
    await daemon.create('smp', { cpus: 2 });
    for (const name of ['db', 'bad']) await daemon.create(name);
    await daemon.create('mover', { cpu: { reservation: 60 } });
    await other.create('mover');
    for (let number = 1; number <= MOST_OF_A_LABEL; number++) await daemon.create(`full-${number}`, { label: 'full' });
    const run = (vm: string): Promise<unknown> => daemon.client.run('vm.start', { vm });
    await Promise.all(['web', 'smp'].map(run));
    await Promise.all(['bad', 'mover'].map(run));
    await daemon.client.run('vm.fork', { vm: 'web', names: ['twin'] });
    await daemon.client.run('snapshot.create', { vm: 'web', name: 'whole' });
    await daemon.client.run('snapshot.create', { vm: 'web', name: 'more', parent: 'whole' });
    await daemon.client.run('snapshot.create', { vm: 'bad', name: 'whole' });
    await daemon.client.run('vm.stop', { vm: 'bad', timeoutMs: 0 });
    cpSync(stage.folderOf('db'), stage.copy, { recursive: true });
    return stage;
  }

  folderOf(name: string, ...path: readonly string[]): string {
    return join(this.daemon.machinesFolder, name, ...path);
  }

  /** Another text in a file until it is undone. */
  edit(path: string, from: string | RegExp, to: string): Undo {
    const before = readFileSync(path);
    const after = before.toString('latin1').replace(from, to);
    if (after === before.toString('latin1')) throw new Error(`${path} has nothing like ${String(from)}`);
    writeFileSync(path, after, 'latin1');
    return () => writeFileSync(path, before);
  }

  /** Another vm.yaml: of a machine, or of the copy. */
  yaml(name: string, from: string | RegExp, to: string): Undo {
    return this.edit(name === 'copy' ? join(this.copy, 'vm.yaml') : this.folderOf(name, 'vm.yaml'), from, to);
  }

  /** The machine's process stands still, and so it is in the middle of being paused until that is undone. */
  async hold(vm: 'web' | 'smp'): Promise<Undo> {
    const { client } = this.daemon;
    const { pid = 0 } = await this.daemon.machine(vm);
    process.kill(pid, 'SIGSTOP');
    const pausing = client.run('vm.pause', { vm });
    while ((await client.ask('vm.list', {})).find(({ name }) => name === vm)?.state !== 'pausing');
    return async () => {
      process.kill(pid, 'SIGCONT');
      await pausing;
      await client.run('vm.resume', { vm });
    };
  }

  /** A snapshot of a machine of another make among those of `web`: `foreign`. */
  foreignSnapshot(): Undo {
    const place = this.folderOf('web', 'snapshots/foreign');
    cpSync(this.folderOf('bad', 'snapshots/whole'), place, { recursive: true });
    return () => rmSync(place, { recursive: true });
  }

  /** Somebody else is reached by that name. */
  async takeName(name: string): Promise<Undo> {
    const server: Server = createServer((socket) => socket.destroy());
    server.listen(join(this.daemon.folder, 'run/ringfence', `${name}.sock`));
    await once(server, 'listening');
    return () => server.close();
  }

  async trustEachOther(): Promise<Undo> {
    await this.daemon.trust(this.other);
    await this.other.trust(this.daemon);
    const remove = async (daemon: RealDaemon): Promise<void> => {
      for (const fingerprint of (await daemon.client.ask('host.trust', {})).trusted)
        await daemon.client.ask('host.trust', { fingerprint, remove: true });
    };
    return () => Promise.all([this.daemon, this.other].map(remove));
  }

  /** All that there is, for who wants to know whether something was left behind: machines as they are told, their files, and the names that lead to them. */
  async everything(): Promise<object> {
    const machines = (await this.daemon.client.ask('vm.list', {})).map(
      // How a start that came to nothing ended is told.
      ({ end: _end, startedAt: _startedAt, problem: _problem, ...machine }) => machine,
    );
    const names = readdirSync(join(this.daemon.folder, 'run/ringfence')).filter((name) => name.endsWith('.sock'));
    return {
      machines,
      names: names.toSorted(),
      files: [this.daemon.machinesFolder, this.copy].flatMap(filesIn).toSorted(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    await this.other[Symbol.asyncDispose]();
  }
}

/** But for what runs write, and the folders that a start makes for them. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => !/(^|\/)(run|memory)(\/|$)|\/snapshots$|process\.log$|(^|\/)\.[^/]*$/.test(path))
    .map((path) => join(folder, path));
}
