/** An entry and its operands' values to the instruction word: the inverse of decoding, checked by it. */

import { hex } from '../base/numbers.ts';
import { decode } from './decode.ts';
import { withField } from './encoding.ts';
import type { Instruction } from './instruction.ts';

/** Why operands cannot be encoded, as a sentence. */
export interface EncodingRefusal {
  readonly refused: string;
}

/** The word of `entry` with the fields in `values`; fields not given are zero. */
export function encode(entry: Instruction, values: Readonly<Record<string, number>>): number | EncodingRefusal {
  let word = entry.encoding.match;
  for (const [name, field] of entry.encoding.fields) {
    const value = values[name];
    if (value === undefined) continue;
    const next = withField(field, word, value);
    if (next === undefined) return { refused: `${entry.name} cannot hold ${value} as its ${name}` };
    word = next;
  }
  const written = decode(word)?.written;
  if (written === undefined)
    return { refused: `${entry.name} with these operands is ${hex(word)}, a reserved encoding` };
  if (written !== entry)
    return { refused: `${entry.name} with these operands is ${hex(word)}, the encoding of ${written.name}` };
  return word;
}
