/**
 * The code blocks of the README and of other pages that are run, so that they cannot lie. A block is marked by a comment on the line before it:
 * `<!-- run: test -->`. `node tools/readme.ts test` prints that block; `node tools/readme.ts debian docs/library.md` one of another page.
 */

import { readFileSync } from 'node:fs';

/** The content of the fenced block marked `name`; an Error that says what to write when there is none. */
export function markedBlock(markdown: string, name: string, page = 'The README'): string {
  const marker = `<!-- run: ${name} -->`;
  const after = markdown.split(`${marker}\n`)[1];
  const block = after === undefined ? null : /^\n?```\w*\n(?<code>[^]*?)\n```$/m.exec(after);
  if (block?.groups?.['code'] === undefined || block.index !== 0) {
    throw new Error(`${page} has no code block right after a line "${marker}"`);
  }
  return block.groups['code'];
}

if (import.meta.main) {
  try {
    const [, , name = '', page = 'README.md'] = process.argv;
    console.log(markedBlock(readFileSync(page, 'utf8'), name, page));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
