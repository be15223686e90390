/**
 * Machines that have a trust label: those of one label share a process, in which equal pages have one frame, and nothing with any other machine. Their folders lie in
 * a folder of their label's own (machine-folder/label-folder.ts), which is all of machines that their process may reach: so a label is given when a machine is
 * made, and its vm.yaml cannot say another one than its folder.
 */

import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { MOST_POOL_BYTES } from '@ringfence/core';
import { formatSize } from '@ringfence/core/sizes';
import { hasCard, type MachineConfig } from '../machine-folder/config.ts';
import { HostError } from '../failure.ts';
import {
  labelFolderIn,
  labelFolderOf,
  labelOfFolder,
  machinesOf,
  MAXIMUM_LABELLED,
} from '../machine-folder/label-folder.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import type { DomainPlace } from '../vm-process/domains.ts';
import type { Entry } from './entry.ts';

type Make = Pick<MachineConfig, 'cpus' | 'engine' | 'overcommit' | 'networks'>;

export class Labels {
  readonly #entries: () => Iterable<Entry>;
  readonly #machines: string;

  /** `machines` is where the folders of new machines are made. */
  constructor(entries: () => Iterable<Entry>, machines: string) {
    this.#entries = entries;
    this.#machines = machines;
  }

  of({ folder }: Pick<Entry, 'folder'>): string | undefined {
    return labelOfFolder(this.#machines, folder.path);
  }

  /** Machines that share a process with that one, itself among them. */
  beside(entry: Entry): Entry[] {
    const label = this.of(entry);
    return label === undefined ? [entry] : [...this.#entries()].filter((other) => this.of(other) === label);
  }

  /** Throws `no-memory` when machines of its label, would have more together than there is in one process. */
  checkRoom(entry: Entry, bytes: number, others: readonly number[]): void {
    const label = this.of(entry);
    const theirs = others.reduce((sum, each) => sum + each, 0);
    if (label === undefined || theirs + bytes <= MOST_POOL_BYTES) return;
    throw new HostError(
      'no-memory',
      `the virtual machine "${entry.name}" and its forks are to have ${formatSize(bytes)} of memory in any case, and of the ${formatSize(MOST_POOL_BYTES)} that machines of one label can have together the others of "${label}" have ${formatSize(theirs)}`,
    );
  }

  /** A folder for another machine of the label; throws `too-many`. To be taken in the same turn. */
  freeFolder(label: string): string {
    const used = new Set([...this.#entries()].map(({ folder }) => folder.path));
    const all = labelFolderIn(this.#machines, label);
    const unused = machinesOf(all).filter((path) => !used.has(path));
    const free = unused.find((path) => !existsSync(path));
    if (free !== undefined) return free;
    throw new HostError(
      'too-many',
      unused.length === 0
        ? `there are ${MAXIMUM_LABELLED} virtual machines of the label "${label}" already, which is the most`
        : `all ${MAXIMUM_LABELLED} folders that virtual machines of the label "${label}" can have are there, ${unused.length} of them without a machine, as "rm --keep-files" leaves them: remove such a one from ${all.path}, or move it elsewhere`,
    );
  }

  /** Throws `bad-argument` when a new machine is not like the others of its label. */
  async checkNew(name: string, config: MachineConfig): Promise<void> {
    const { label } = config;
    if (label === undefined) return;
    for (const other of this.#entries()) {
      if (this.of(other) !== label) continue;
      const its = await readMachine(other.folder).catch(() => undefined);
      if (its === undefined) continue;
      checkAlike(label, { name, make: config }, { name: other.name, make: its });
      return;
    }
  }

  /** Throws `forbidden` when the folder is not one that such a machine may have. */
  checkPlace(name: string, folder: MachineFolder, { label }: Pick<MachineConfig, 'label'>): void {
    const place = labelOfFolder(this.#machines, folder.path);
    if (place !== undefined && !machinesOf(labelFolderIn(this.#machines, place)).includes(folder.path))
      throw new HostError(
        'forbidden',
        `${folder.path} lies among the files of machines of the label "${place}", which can write there: register a copy of the folder that lies elsewhere`,
      );
    if (place === label) return;
    throw new HostError(
      'forbidden',
      place === undefined
        ? `the vm.yaml of the virtual machine "${name}" says that its label is "${label}", and its folder is none of that label: whom a machine trusts is said with "ringfence create --label"`
        : `the folder of the virtual machine "${name}" is of the label "${place}", and its vm.yaml says ${label === undefined ? 'none' : `"${label}"`}: put the label back, or register a copy of the folder that lies elsewhere`,
    );
  }

  /** Removes the folder of a label whose last machine is gone, but for what somebody keeps there. In one turn: the next one may be made in the next. */
  clear({ folder }: Pick<Entry, 'folder'>): void {
    const label = labelOfFolder(this.#machines, folder.path);
    if (label === undefined || [...this.#entries()].some((other) => this.of(other) === label)) return;
    const { path, memory, processLog } = labelFolderOf(folder.path);
    try {
      const ours = [basename(memory), basename(processLog)];
      // Something is kept there, or of a machine that is not known yet.
      if (readdirSync(path).some((each) => !ours.includes(each))) return;
      rmSync(processLog, { force: true });
      for (const each of [memory, path]) if (existsSync(each)) rmdirSync(each);
    } catch {
      // It is gone, or is not to be had now.
    }
  }

  /** Where a machine runs that has a label; undefined of one that has none. Throws `forbidden`. */
  async place(entry: Entry, config: MachineConfig, poolBytes: number | undefined): Promise<DomainPlace | undefined> {
    this.checkPlace(entry.name, entry.folder, config);
    const { label, cpus, engine } = config;
    if (label === undefined) return undefined;
    const all = await Promise.all(this.beside(entry).map((other) => readMachine(other.folder).catch(() => undefined)));
    // Of one that is about to come its own is not there yet.
    const hasNetwork = hasCard(config) || all.some((each) => hasCard(each));
    return { label, folder: labelFolderOf(entry.folder.path), cpus, engine, hasNetwork, poolBytes };
  }
}

interface Named {
  readonly name: string;
  readonly make: Make;
}

function checkAlike(label: string, made: Named, other: Named): void {
  const differs = (what: string, its: string | number, others: string | number): void => {
    if (its !== others)
      throw new HostError(
        'bad-argument',
        `the virtual machine "${made.name}" is to have ${what} ${its}, and "${other.name}" has ${others}: all of the label "${label}" have the same`,
      );
  };
  differs('cpus', made.make.cpus, other.make.cpus);
  differs('engine', made.make.engine ?? 'none', other.make.engine ?? 'none');
  const has = ({ overcommit }: Make): string => (overcommit === undefined ? 'none' : 'one');
  differs('overcommit', has(made.make), has(other.make));
}
