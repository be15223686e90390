import { expect, test } from 'vitest';
import { markedBlock } from './readme.ts';

const readme = `# Ringfence

<!-- run: test -->

\`\`\`sh
npm test
\`\`\`

Text. \`\`\`inline\`\`\`

<!-- run: example -->
\`\`\`ts
first();

second();
\`\`\`
<!-- run: nothing -->
text
\`\`\`sh
rm -rf .
\`\`\`
`;

test('a marked block is found with or without an empty line before it', () => {
  expect(markedBlock(readme, 'test')).toBe('npm test');
  expect(markedBlock(readme, 'example')).toBe('first();\n\nsecond();');
});

test.each(['nothing', 'tes', 'absent'])('without a block of that name there is a sentence: %s', (name) => {
  expect(() => markedBlock(readme, name)).toThrow(
    `The README has no code block right after a line "<!-- run: ${name} -->"`,
  );
});
