import { expect, test } from 'vitest';

import { instructions } from './instructions.ts';
import { instructionReferencePage } from './reference-page.ts';

test('docs/reference/instructions.md is up to date; `npm run docs:isa` makes it so', async () => {
  await expect(instructionReferencePage()).toMatchFileSnapshot('../../../../docs/reference/instructions.md');
});

test('the reference page has a line for every entry', () => {
  const rows = instructionReferencePage().match(/^\| `.*\|$/gm) ?? [];
  expect(rows.length).toBe(instructions.length);
});
