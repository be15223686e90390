/** A daemon as a user starts it, with folders of its own, and what it is asked; and it can be killed. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process, { execPath } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LongOperation, MachineView } from '@ringfence/api';
import type { ApiClient } from '@ringfence/api/client';
import { check, hasQemuImg } from '@ringfence/core/testing/qemu-img';
import { RemoteVM } from '@ringfence/host/control';
import { connectDaemon } from '@ringfence/host/daemon-client';
import { type Ended, LAUNCHER } from './ringfence.ts';

const START_TIMEOUT_MS = 120_000;

export class RealDaemon implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'rf-d-'));
  readonly env: NodeJS.ProcessEnv;
  readonly client: ApiClient;
  /** What is started: another version of it, for once. */
  launcher = LAUNCHER;
  /** Where it listens for other daemons; a free port the first time. */
  #listen: string | undefined;
  #process: ChildProcess | undefined;

  constructor({ listens = false }: { readonly listens?: boolean } = {}) {
    this.#listen = listens ? '127.0.0.1:0' : undefined;
    const runtime = join(this.folder, 'run');
    mkdirSync(runtime, { mode: 0o700 });
    this.env = { ...process.env, XDG_RUNTIME_DIR: runtime, XDG_STATE_HOME: join(this.folder, 'state') };
    this.client = connectDaemon(join(runtime, 'ringfence/host/api.sock'));
  }

  get machinesFolder(): string {
    return join(this.folder, 'state/ringfence/host/machines');
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts it, with options of `ringfence host`, and waits until it answers. */
  async start(...options: readonly string[]): Promise<void> {
    const listen = this.#listen ? ['--listen', this.#listen] : [];
    const child = spawn(execPath, [this.launcher, 'host', ...listen, ...options], {
      env: this.env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    let said = '';
    child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
    for (const until = performance.now() + START_TIMEOUT_MS; !said.includes('listens on');) {
      if (child.exitCode !== null || performance.now() > until) throw new Error(`no daemon is there: ${said}`);
      await sleep(20);
    }
    if (this.#listen !== undefined) this.#listen = (await this.client.ask('host.inspect', {})).listens;
  }

  get listens(): string {
    return this.#listen ?? '';
  }

  /** Lets machines come from the other one, keep those labels, and go there. */
  async trust(other: RealDaemon, labels: string[] = []): Promise<void> {
    const { own: fingerprint } = await other.client.ask('host.trust', {});
    await this.client.ask('host.trust', labels.length === 0 ? { fingerprint } : { fingerprint, labels });
  }

  /** As the system does when memory runs out. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => void child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  async machine(vm: string): Promise<MachineView> {
    return this.client.ask('vm.inspect', { vm });
  }

  create(name: string, more: Parameters<ApiClient['ask']>[1] = {}): Promise<LongOperation> {
    return this.client.run('vm.create', { name, memory: '128M', network: 'none', ...more });
  }

  /** The guest's answer to a command, asked past the daemon. */
  async exec(name: string, ...argv: string[]): Promise<string> {
    const program = await RemoteVM.at(name, join(this.folder, 'run/ringfence')).exec({ argv, stdin: 'empty' });
    program.stderr.discard();
    let said = '';
    for await (const bytes of program.stdout) said += Buffer.from(bytes).toString();
    await program.exited;
    return said.trim();
  }

  /** The command line, with this daemon. */
  ringfence(...words: readonly string[]): Promise<Ended> {
    const child = spawn(execPath, [LAUNCHER, ...words], { env: this.env });
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
    child.stderr.on('data', (bytes: Buffer) => stderr.push(bytes));
    child.stdin.end();
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) =>
        resolve({ code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
      );
    });
  }

  /** The disks of machines in which QEMU finds damage. Clusters that leaked are no harm. */
  damagedDisks(): string[] {
    const files = hasQemuImg ? readdirSync(this.machinesFolder, { recursive: true, encoding: 'utf8' }) : [];
    return files.filter((name) => {
      if (!/\/disks\/.*\.qcow2$/.test(name)) return false;
      const { corruptions, errors } = check(join(this.machinesFolder, name));
      return corruptions + errors > 0;
    });
  }

  /** Ends everything, and removes the folders. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    for (const { pid } of (await RemoteVM.list(join(this.folder, 'run/ringfence'))).flatMap(
      ({ status }) => status ?? [],
    ))
      process.kill(pid, 'SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
