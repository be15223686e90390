/** The agent's header, packages/images/agent/protocol.h, made of protocol.ts. */

import * as protocol from '../protocol.ts';

/** The text of the header. */
export function protocolHeader(): string {
  const lines = Object.entries(protocol).flatMap(([name, value]: [string, unknown]) => definitions(name, value));
  return [
    '/* The numbers of the protocol. Made of packages/core/src/vm/agent/protocol.ts, where they are explained. */',
    '',
    '#pragma once',
    '',
    ...lines.toSorted(),
    '',
  ].join('\n');
}

function definitions(name: string, value: unknown): string[] {
  if (typeof value === 'number') return [`#define ${name} ${value}`];
  if (typeof value === 'string') return [`#define ${name} ${JSON.stringify(value)}`];
  if (typeof value !== 'object' || value === null)
    throw new Error(`protocol.ts exports ${name}, which has no form in C`);
  return Object.entries(value).map(([key, number]) => `#define ${name}_${key} ${String(number)}`);
}
