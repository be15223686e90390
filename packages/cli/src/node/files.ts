/** Reads the files a machine boots. */

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
