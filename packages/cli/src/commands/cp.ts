/** `ringfence cp`: files and folders between this computer and running virtual machines, to where `docker cp` puts them. */

import { copyBetweenGuests, copyFromGuest, copyIntoGuest, type CopyOptions } from '@ringfence/host/control';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { reported } from './daemon/report.ts';
import { findMachine } from './find-machine.ts';
import { say } from './say.ts';

export interface CpOptions {
  readonly archive?: boolean | undefined;
  readonly followLink?: boolean | undefined;
  readonly user?: string | undefined;
}

/** A path, and the machine it is in; of this computer when there is none. */
interface Place {
  readonly machine: string | undefined;
  readonly path: string;
}

export function copyFiles(source: string, destination: string, options: CpOptions): Promise<number> {
  return reported({}, () => copied(source, destination, options));
}

async function copied(source: string, destination: string, options: CpOptions): Promise<void> {
  const from = placeOf(source);
  const to = placeOf(destination);
  const copyOptions: CopyOptions = {
    follow: options.followLink === true,
    keepOwners: options.archive === true,
    ...(options.user === undefined ? {} : { user: options.user }),
    onLeftOut: (path) => say(`"${path}" is no file, folder or link and was left out`),
  };
  if (from.machine !== undefined && to.machine !== undefined) {
    const [one, other] = [await machineOf(from.machine), await machineOf(to.machine)];
    await copyBetweenGuests(one, from.path, other, to.path, copyOptions);
  } else if (from.machine !== undefined)
    await copyFromGuest(await machineOf(from.machine), from.path, to.path, copyOptions);
  else if (to.machine !== undefined) await copyIntoGuest(await machineOf(to.machine), from.path, to.path, copyOptions);
  else
    throw new CliError(
      `neither "${source}" nor "${destination}" is in a virtual machine; write one of them like NAME:PATH`,
      EXIT.FAILED,
    );
}

function machineOf(name: string): ReturnType<typeof findMachine> {
  return findMachine(name, 'cp');
}

/** What is before a colon is a machine's name, unless a slash or a dot is the word's beginning: `./a:b` is a file of this computer. */
function placeOf(word: string): Place {
  const colon = word.indexOf(':');
  const isHere = colon <= 0 || /^[./]/.test(word) || word.slice(0, colon).includes('/');
  if (isHere) {
    if (word === '' || word === '-') throw new CliError(`"${word}" is no path that can be copied`, EXIT.FAILED);
    return { machine: undefined, path: word };
  }
  // As in Docker, the root of a machine need not be written.
  return { machine: word.slice(0, colon), path: word.slice(colon + 1) || '/' };
}
