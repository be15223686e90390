/**
 * Options of a script that people run, a benchmark say, said once: what it is asked for, `--help`, and a sentence for what makes no sense are made of the same
 * table.
 */

import process from 'node:process';
import { parseArgs } from 'node:util';

/** A wrong word on the command line, as shells have it. */
const USAGE = 2;

export interface ScriptOption {
  /** What counts when nothing is said. Its type is the option's: a number is a whole one, and a boolean is also said as `--no-NAME`. */
  readonly default?: number | string | boolean;
  /** For whom to read, with what it is of. */
  readonly says: string;
  /** What its value is called; N of a number. */
  readonly word?: string;
  /** All that it can be. */
  readonly choices?: readonly string[];
  /** It may be several of its choices, separated by commas. */
  readonly several?: true;
}

type ValueOf<T extends ScriptOption> = T extends { readonly default: infer D }
  ? D extends number
    ? number
    : D extends boolean
      ? boolean
      : string
  : string | undefined;

export type ScriptValues<T extends Record<string, ScriptOption>> = { readonly [Name in keyof T]: ValueOf<T[Name]> };

/** What it was asked for. Says its options and ends the process where it was asked for these, or for what there is not. */
export function scriptOptions<const T extends Record<string, ScriptOption>>(
  command: string,
  about: string,
  options: T,
): ScriptValues<T> {
  const read = readOptions(command, about, options, process.argv.slice(2));
  if ('values' in read) return read.values;
  if ('help' in read) process.stdout.write(read.help);
  else process.stderr.write(`${read.problem}\n`);
  process.exit('help' in read ? 0 : USAGE);
}

/** The same of these words, and ends nothing. */
export function readOptions<const T extends Record<string, ScriptOption>>(
  command: string,
  about: string,
  options: T,
  words: readonly string[],
): { readonly values: ScriptValues<T> } | { readonly help: string } | { readonly problem: string } {
  const all = Object.entries<ScriptOption>(options);
  let given: Record<string, unknown>;
  try {
    const kinds = all.map(([name, { default: value }]) => [
      name,
      { type: typeof value === 'boolean' ? 'boolean' : 'string' } as const,
    ]);
    const table = { ...Object.fromEntries(kinds), help: { type: 'boolean', short: 'h' } as const };
    given = parseArgs({ args: [...words], allowNegative: true, options: table }).values;
  } catch (error) {
    const [sentence = ''] = (error instanceof Error ? error.message : String(error)).split('. ');
    return { problem: `${sentence}; "${command} --help" says what there is` };
  }
  if (given['help'] === true) return { help: helpOf(command, about, all) };
  const values: Record<string, unknown> = {};
  for (const [name, option] of all) {
    const text = given[name];
    const problem = typeof text === 'string' ? problemOf(text, option) : undefined;
    if (problem !== undefined) return { problem: `--${name} wants ${problem}` };
    const said = text ?? option.default;
    values[name] = typeof option.default === 'number' ? Number(said) : said;
  }
  return { values: values as ScriptValues<T> };
}

/** What it should have been; undefined where it is that. */
function problemOf(said: string, { default: value, choices, several }: ScriptOption): string | undefined {
  if (typeof value === 'number') return /^\d{1,9}$/.test(said) ? undefined : `a whole number from 0 on, not "${said}"`;
  if (choices === undefined || (several ? said.split(',') : [said]).every((each) => choices.includes(each)))
    return undefined;
  return `${several ? `some of ${choices.join(', ')}` : choices.join(' or ')}, not "${said}"`;
}

function helpOf(command: string, about: string, options: readonly (readonly [string, ScriptOption])[]): string {
  const lines = options.map(([name, { default: value, says, word, choices, several }]): readonly [string, string] => {
    if (typeof value === 'boolean') return [`--${value ? 'no-' : ''}${name}`, says];
    const called = word ?? (typeof value === 'number' ? 'N' : 'NAME');
    const notes = [choices?.join(several ? ', ' : ' or '), value === undefined ? undefined : String(value)].filter(
      Boolean,
    );
    return [`--${name} ${called}`, notes.length === 0 ? says : `${says} (${notes.join('; ')})`];
  });
  const all = [...lines, ['--help', 'this text'] as const];
  const width = Math.max(...all.map(([name]) => name.length));
  return `${command} [OPTIONS]: ${about}\n\n${all.map(([name, says]) => `  ${name.padEnd(width)}  ${says}\n`).join('')}`;
}
