/** The command line in this process: what it writes, and its exit code. Much faster than one of its own; one at a time. */

import process from 'node:process';
import { vi } from 'vitest';
import { runCommandLine } from '../../src/program.ts';
import type { Ended } from './ringfence.ts';

/** With the variables of a daemon's environment (XDG Base Directory Specification). */
export async function ringfenceHere(env: NodeJS.ProcessEnv, ...words: readonly string[]): Promise<Ended> {
  const said = { stdout: '', stderr: '' };
  const taken = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => ((said[name] += String(text)), true)),
  );
  for (const name of ['XDG_RUNTIME_DIR', 'XDG_STATE_HOME']) vi.stubEnv(name, env[name]);
  try {
    const code = await runCommandLine(words, {
      stdout: (text) => void (said.stdout += text),
      stderr: (text) => void (said.stderr += text),
    });
    return { code, stdout: Buffer.from(said.stdout), stderr: said.stderr };
  } finally {
    for (const each of taken) each.mockRestore();
    vi.unstubAllEnvs();
  }
}
