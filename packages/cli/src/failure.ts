/** What a person is told when something does not work: one sentence, and how the process ends. */

import { EXIT } from './exit-codes.ts';

/** An expected failure of the command line's own. `message` says what is wrong and what to do, without a dot at its end. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: number;

  constructor(message: string, exitCode: number, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.exitCode = exitCode;
  }
}

/** Errors of the other packages whose messages are made for people. Known by name, so that nothing need be loaded to tell them. */
const FOR_PEOPLE = new Set([
  'ImageError',
  'LoadError',
  'BlockStoreError',
  'ConsoleError',
  'HostError',
  'ApiError',
  'AgentError',
]);

export interface Failure {
  /** Without newline at its end. */
  readonly text: string;
  readonly exitCode: number;
}

/** Control characters but line breaks and tabs, and what turns the direction of text. */
const STEERING = /[^\P{Cc}\n\t]|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** What a terminal only shows: a server's or a guest's words may be in a message, and they must not steer the user's terminal. */
export function plainText(text: string): string {
  return text.replaceAll(STEERING, '?');
}

/** The same as JSON, in which such characters are written as numbers. */
export function plainJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replaceAll(STEERING, (character) => {
    const code = character.charCodeAt(0);
    return `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** `error` as it is shown; `exitCode` is for errors that have none of their own. */
export function describeFailure(error: unknown, exitCode: number): Failure {
  if (error instanceof CliError) return { text: plainText(error.message), exitCode: error.exitCode };
  if (error instanceof Error && FOR_PEOPLE.has(error.name)) return { text: plainText(error.message), exitCode };
  const details = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    text: `Ringfence itself failed; this is a bug, please report it with these lines:\n${plainText(details)}`,
    exitCode: EXIT.NO_MACHINE,
  };
}
