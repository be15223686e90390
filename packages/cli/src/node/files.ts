/** Reads the files a machine boots. */

import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Payload } from '@ringfence/core';
import { systemReason } from '@ringfence/host';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';

const WORDS = { kernel: 'Kernel', firmware: 'Firmware', initrd: 'Initial ramdisk' } as const;

export async function readPayload(kind: Payload['kind'], path: string): Promise<Payload> {
  try {
    return { kind, name: path, bytes: await readFile(path) };
  } catch (error) {
    throw new CliError(`${WORDS[kind]} "${path}" cannot be read: ${systemReason(error)}`, EXIT.NO_MACHINE, error);
  }
}

/** A text file; `what` is what complaints call it. */
export function readText(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(`${what} "${path}" cannot be read: ${systemReason(error)}`, EXIT.NO_MACHINE, error);
  }
}
