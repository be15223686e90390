/** Opens the disks of a machine, all or none. */

import { BlockStoreError, type MachineDisk } from '@ringfence/core';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { FileBlockStore } from './file-block-store.ts';

export interface OpenDisks {
  readonly disks: readonly MachineDisk[];
  /** What the user should know of them. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/** The guest finds them as /dev/vda, /dev/vdb ... in this order, with the serial numbers disk0, disk1 ... */
export async function openDisks(paths: readonly string[]): Promise<OpenDisks> {
  const stores: FileBlockStore[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(stores.map((store) => store.close()));
  };
  try {
    for (const path of paths) stores.push(await FileBlockStore.open(path, { readOnly: false }));
  } catch (error) {
    await close();
    throw error instanceof BlockStoreError ? withAdvice(error) : error;
  }
  return {
    disks: stores.map((store, index) => ({ store, serial: `disk${index}` })),
    notes: stores.flatMap(({ note }) => note ?? []),
    close,
  };
}

/** Says what can be done about it. */
function withAdvice(error: BlockStoreError): CliError {
  const { message } = error;
  const advice = message.endsWith('does not exist')
    ? '; an empty one of 1 GiB is made by: truncate -s 1G FILE'
    : message.endsWith('is read-only')
      ? ', and the guest writes to its disks; make it writable, or make a copy of it that is'
      : '';
  return new CliError(message + advice, EXIT.NO_MACHINE, error);
}
