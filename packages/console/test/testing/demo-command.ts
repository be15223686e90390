/** `npm run demo` as a user starts it, and as Ctrl-C ends it. */

import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';

const REPOSITORY = join(import.meta.dirname, '../../../..');
/** The image may have to be fetched first. */
const LONGEST_START_MS = 240_000;

export class DemoCommand {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  private constructor(url: string, child: ChildProcess, ended: Promise<number | null>) {
    this.url = url;
    this.#child = child;
    this.#ended = ended;
  }

  /** Resolves when it has printed the page's address; rejects with what it printed instead. */
  static async start(): Promise<DemoCommand> {
    // A process group of its own, as a shell makes one: Ctrl-C reaches all of it.
    const child = spawn('npm', ['run', 'demo', '--', '--port', '0'], {
      cwd: REPOSITORY,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const ended = new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    const url = await new Promise<string>((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`npm run demo ${why}. It said:\n${output}`));
      const timer = setTimeout(() => fail('printed no address'), LONGEST_START_MS);
      const hear = (bytes: Buffer): void => {
        output += bytes.toString();
        const [, found] = /A machine in your browser: (http:\S+)\n/.exec(output) ?? [];
        if (found === undefined) return;
        clearTimeout(timer);
        resolve(found);
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      void ended.then((code) => fail(`ended with ${code}`));
    });
    return new DemoCommand(url, child, ended);
  }

  /** Types Ctrl-C, and waits until all of it has ended. */
  async interrupt(): Promise<void> {
    if (this.#child.pid !== undefined && this.#child.exitCode === null) process.kill(-this.#child.pid, 'SIGINT');
    await this.#ended;
  }
}
