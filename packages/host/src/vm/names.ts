/** Names of virtual machines: given by the user, or two words of ours. A name is one label of DNS (RFC 1035, 2.3.1): guests use it as theirs. */

import { MACHINE_NAME, MAXIMUM_NAME_LENGTH } from '@ringfence/api/names';
import { HostError } from '../failure.ts';
import { randomBelow } from '../random.ts';

const KINDS = [
  'amber',
  'bold',
  'brisk',
  'calm',
  'clear',
  'cosy',
  'crisp',
  'deft',
  'early',
  'fair',
  'fleet',
  'fresh',
  'gentle',
  'glad',
  'golden',
  'green',
  'hardy',
  'humble',
  'keen',
  'kind',
  'late',
  'light',
  'lively',
  'lucid',
  'mellow',
  'merry',
  'mild',
  'neat',
  'nimble',
  'noble',
  'patient',
  'plain',
  'polite',
  'proud',
  'quick',
  'quiet',
  'ready',
  'rosy',
  'round',
  'sage',
  'sharp',
  'silent',
  'silver',
  'simple',
  'smooth',
  'snug',
  'sober',
  'solid',
  'spry',
  'steady',
  'still',
  'stout',
  'sunny',
  'swift',
  'tame',
  'tidy',
  'trim',
  'true',
  'vivid',
  'warm',
  'wide',
  'wise',
  'young',
  'zesty',
] as const;
const THINGS = [
  'acorn',
  'alder',
  'aspen',
  'badger',
  'barge',
  'beech',
  'birch',
  'brook',
  'cedar',
  'cliff',
  'clover',
  'comet',
  'coral',
  'crane',
  'creek',
  'dune',
  'eagle',
  'elm',
  'falcon',
  'fern',
  'finch',
  'fjord',
  'fox',
  'grove',
  'harbor',
  'hare',
  'hazel',
  'heron',
  'hill',
  'island',
  'ivy',
  'jay',
  'lagoon',
  'lark',
  'linden',
  'lynx',
  'maple',
  'marsh',
  'meadow',
  'mole',
  'moss',
  'newt',
  'oak',
  'orchard',
  'otter',
  'owl',
  'pebble',
  'pine',
  'pond',
  'poplar',
  'quail',
  'raven',
  'reef',
  'river',
  'robin',
  'sparrow',
  'spruce',
  'stork',
  'swan',
  'thrush',
  'valley',
  'willow',
  'wren',
  'yew',
] as const;

/** The name, if it is one; throws a HostError. */
export function checkedName(name: string): string {
  if (MACHINE_NAME.test(name)) return name;
  throw new HostError(
    'bad-argument',
    `"${name}" is no name for a virtual machine; use up to ${MAXIMUM_NAME_LENGTH} small letters, digits and dashes, with no dash at either end, and nothing that looks like an id`,
  );
}

export function isName(text: string): boolean {
  return MACHINE_NAME.test(text);
}

/** One of 4096. */
export function randomName(): string {
  return `${KINDS[randomBelow(KINDS.length)]}-${THINGS[randomBelow(THINGS.length)]}`;
}

/** Names that `wanted` may have been meant for, the likeliest first. */
export function nearNames(wanted: string, names: readonly string[]): string[] {
  const farthest = Math.max(1, Math.floor(wanted.length / 3));
  return names
    .map((name) => ({ name, distance: name.startsWith(wanted) ? 0 : distance(wanted, name) }))
    .filter((each) => each.distance <= farthest)
    .toSorted((a, b) => a.distance - b.distance)
    .map(({ name }) => name);
}

/** Letters to add, drop, change, or swap with the next one (optimal string alignment). */
function distance(from: string, to: string): number {
  let before: readonly number[] = [];
  let row: readonly number[] = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let index = 0; index < from.length; index++) {
    const next = [index + 1];
    for (let at = 0; at < to.length; at++) {
      const isSwapped = at > 0 && from[index] === to[at - 1] && from[index - 1] === to[at];
      next.push(
        Math.min(
          (row[at + 1] ?? 0) + 1,
          (next[at] ?? 0) + 1,
          (row[at] ?? 0) + (to[at] === from[index] ? 0 : 1),
          isSwapped ? (before[at - 1] ?? 0) + 1 : Infinity,
        ),
      );
    }
    before = row;
    row = next;
  }
  return row[to.length] ?? 0;
}

/** Whether so many forks can be called so; throws a HostError. */
export function checkForkNames(names: readonly string[], count: number): void {
  const wrong = (problem: string): HostError => new HostError('bad-argument', problem);
  if (names.length > count)
    throw wrong(`there are ${names.length} names for ${count} ${count === 1 ? 'fork' : 'forks'}`);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw wrong(`two forks cannot be called "${twice}"`);
}
