/** What `npm run soak` was asked for. */

import { parseArgs } from 'node:util';
import { enginesOf, type EngineChoice } from '../bench/engines.ts';
import { LEAST_SAMPLES, WARM_UP_SHARE } from './flatness.ts';

export interface Settings {
  readonly minutes: number;
  readonly everySeconds: number;
  readonly engine: EngineChoice;
  readonly suite: string;
  readonly jsonPath: string;
}

/** A week: what is kept of a run stays small. */
const MOST_MINUTES = 7 * 24 * 60;
const DEFAULT_MINUTES = 120;
const DEFAULT_EVERY_SECONDS = 60;

export const HELP = `npm run soak -- [OPTIONS]: mixed work in a guest for a long time; fails when memory is not flat after a warm-up.

  --minutes N      how long (${DEFAULT_MINUTES})
  --every SECONDS  how often memory is looked at (${DEFAULT_EVERY_SECONDS})
  --engine NAME    Ringfence's engine: interpreter or jit (what Ringfence takes by itself)
  --suite NAME     Debian's suite that the image is made of (stable)
  --json FILE      where the samples go (bench-results/soak.json)
  --help           this text
`;

/** Undefined when only help was asked for. An Error when the words are wrong. */
export function readSettings(words: readonly string[]): Settings | undefined {
  const { values } = parseArgs({
    args: [...words],
    options: {
      minutes: { type: 'string', default: String(DEFAULT_MINUTES) },
      every: { type: 'string', default: String(DEFAULT_EVERY_SECONDS) },
      engine: { type: 'string', default: 'default' },
      suite: { type: 'string', default: 'stable' },
      json: { type: 'string', default: 'bench-results/soak.json' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const minutes = numberOf('--minutes', values.minutes, MOST_MINUTES);
  const everySeconds = numberOf('--every', values.every, MOST_MINUTES * 60);
  const judged = Math.floor((minutes * 60 * (1 - WARM_UP_SHARE)) / everySeconds);
  if (judged < LEAST_SAMPLES) {
    throw new Error(
      `${minutes} minutes with a look every ${everySeconds} s leave ${judged} looks after the warm-up, and ${LEAST_SAMPLES} are needed.`,
    );
  }
  const [engine, ...more] = enginesOf(values.engine);
  if (engine === undefined || more.length > 0) throw new Error('A soak is of one engine: interpreter or jit.');
  return { minutes, everySeconds, engine, suite: values.suite, jsonPath: values.json };
}

function numberOf(option: string, text: string, most: number): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value <= most)) {
    throw new Error(`${option} takes a number above 0 and up to ${most}, not ${text}.`);
  }
  return value;
}
