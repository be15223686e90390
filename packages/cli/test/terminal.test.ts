/** `ringfence run` on a terminal, which util-linux's `script` makes. */

import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { execPath } from 'node:process';
import { describe, expect, test } from 'vitest';
import { end, LAUNCHER } from './testing/ringfence.ts';

const SCRIPT = 'script';
const noScript = spawnSync(SCRIPT, ['--version']).error !== undefined;

/** The shell says afterwards how it left the terminal. */
const AROUND = `stty rows 33 cols 101; "${execPath}" "${LAUNCHER}" run; code=$?; stty -a | tr ' ' '\\n' | grep -E '^-?(icanon|echo);?$' | tr '\\n' ' '; exit $code`;

class Screen {
  readonly child: ChildProcessWithoutNullStreams = spawn(SCRIPT, ['-qec', AROUND, '/dev/null']);
  text = '';
  #changed: () => void = () => undefined;

  constructor() {
    this.child.stdout.on('data', (bytes: Buffer) => {
      this.text += bytes.toString();
      this.#changed();
    });
  }

  async waitFor(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  type(keys: string): void {
    this.child.stdin.write(keys);
  }
}

describe.skipIf(noScript)(`a shell on a terminal${noScript ? `: there is no program ${SCRIPT}` : ''}`, () => {
  test('it knows its size, its exit code is ours, and Ctrl-C is its own', async () => {
    const screen = new Screen();
    await screen.waitFor(/root@[a-z]+-[a-z]+:.*# /);
    screen.type('echo "size $(stty size) on $(tty)"\r');
    await screen.waitFor(/size 33 101 on \/dev\/pts\/\d+\r/);
    screen.type("sh -c 'echo be''gun; sleep 1000'\r");
    await screen.waitFor(/begun\r/);
    screen.type('\u0003');
    screen.type('exit 9\r');
    const { code } = await end(screen.child);
    expect(code).toBe(9);
    expect(screen.text).toMatch(/\bicanon\b.*\becho\b/);
    expect(screen.text).not.toMatch(/-icanon|-echo/);
  });

  test('Ctrl-A X ends the machine and gives the terminal back', async () => {
    const screen = new Screen();
    await screen.waitFor(/root@[a-z]+-[a-z]+:.*# /);
    screen.type('\u0001x');
    await screen.waitFor(/ended with Ctrl-A X/);
    const { code } = await end(screen.child);
    expect(code).toBe(0);
    expect(screen.text).not.toMatch(/-icanon|-echo/);
  });
});
