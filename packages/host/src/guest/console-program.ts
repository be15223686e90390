/** The program that somebody sees who looks at a machine's console. */

import type { GuestCalls } from './calls.ts';

/** Resolves when it has ended, or cannot be run: then the console is only looked at. */
export async function runConsoleProgram(agent: GuestCalls, argv: readonly string[]): Promise<void> {
  try {
    const program = await agent.exec({ argv, stdin: 'empty', env: { TERM: 'xterm-256color' } });
    program.stdout.discard();
    program.stderr.discard();
    await program.exited;
  } catch {
    // See above.
  }
}
