/**
 * The code blocks of the README that are run, so that they cannot lie. A block is marked by a comment on the line before it:
 * `<!-- run: test -->`. `node tools/readme.ts test` prints that block.
 */

import { readFileSync } from 'node:fs';

/** The content of the fenced block marked `name`; an Error that says what to write when there is none. */
export function markedBlock(markdown: string, name: string): string {
  const marker = `<!-- run: ${name} -->`;
  const after = markdown.split(`${marker}\n`)[1];
  const block = after === undefined ? null : /^\n?```\w*\n(?<code>[^]*?)\n```$/m.exec(after);
  if (block?.groups?.['code'] === undefined || block.index !== 0) {
    throw new Error(`The README has no code block right after a line "${marker}"`);
  }
  return block.groups['code'];
}

if (import.meta.main) {
  try {
    console.log(markedBlock(readFileSync('README.md', 'utf8'), process.argv[2] ?? ''));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
