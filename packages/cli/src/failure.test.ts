import { expect, test } from 'vitest';
import { CliError, describeFailure, plainJson } from './failure.ts';

class ImageError extends Error {
  override readonly name = 'ImageError';
}

const said = 'The mirror answers "500 \u001b]0;title\u0007\u009b2J\u202e":\n\tno';

test.each([new ImageError(said), new CliError(said, 1), new Error(said)])(
  'a message with words of a server in it does not steer the terminal: %o',
  (error) => {
    expect(describeFailure(error, 1).text).toContain('The mirror answers "500 ?]0;title??2J?":\n\tno');
  },
);

test('JSON with such words steers no terminal either, and says the same', () => {
  const value = { said, list: ['\u009b'] };
  const text = plainJson(value, 2);
  expect(text).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
  expect(JSON.parse(text)).toEqual(value);
});
