/** `--env` as it is typed: NAME=VALUE, or NAME for what it is here, as Docker has it. */

import { EXIT } from './exit-codes.ts';
import { CliError } from './failure.ts';

/** The variables that the words stand for; one that is not set here is left out. */
export function variables(
  words: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const found = words.flatMap((word): [string, string][] => {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    if (name === '') throw new CliError(`--env "${word}" has no name; write it like NAME=VALUE`, EXIT.NO_MACHINE);
    const value = equals < 0 ? env[name] : word.slice(equals + 1);
    return value === undefined ? [] : [[name, value]];
  });
  return Object.fromEntries(found);
}
