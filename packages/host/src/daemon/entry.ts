/** One machine as the daemon has it, from the moment it is asked for until it is gone. */

import type { MachineEnd, ProcessorSettings, State } from '@ringfence/api';
import type { HowStarted } from '../control/operations.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import { Life } from './life.ts';
import type { MachineMemory } from './memory.ts';
import type { StoredMachine } from './store.ts';

export interface Moving {
  readonly givenUp: AbortController;
  /** Whether it runs elsewhere, and nothing of it is wanted here. */
  hasLeft: boolean;
  /** Where the machine is when its move is over; of one that was given up without an answer, what is not known. */
  readonly over: Promise<{ readonly isHere: boolean; readonly doubt?: string | undefined }>;
}

export class Entry {
  readonly id: string;
  readonly folder: MachineFolder;
  readonly owned: boolean;
  readonly mayLeadOutside: boolean;
  readonly createdAt: string;
  readonly life: Life;
  name: string;
  /** What it may have of the processors, as it was started or told. */
  processors: ProcessorSettings = {};
  /** What it is to have of the memory, of one that runs or is started. */
  memory: MachineMemory | undefined;
  startedAt: string | undefined;
  /** How its last run began. */
  began: HowStarted | undefined;
  end: MachineEnd | undefined;
  /** Its process, while there is one. */
  run: RunningMachine | undefined;
  /** Its start, while that is under way. */
  starting: Promise<void> | undefined;
  /** Its move to another daemon, while that is under way. */
  moving: Moving | undefined;
  /** The run that is being ended on purpose: its end is no event of its own. */
  ending: RunningMachine | undefined;

  constructor(stored: StoredMachine, onState: (entry: Entry, before: State | 'gone') => void) {
    this.id = stored.id;
    this.name = stored.name;
    this.folder = machineFolder(stored.folder);
    this.owned = stored.owned;
    this.mayLeadOutside = stored.mayLeadOutside;
    this.createdAt = stored.createdAt;
    this.startedAt = stored.startedAt;
    this.began = stored.began;
    this.end = stored.end;
    this.life = new Life(stored.state, (_state, before) => onState(this, before));
  }

  get vm(): { readonly id: string; readonly name: string } {
    return { id: this.id, name: this.name };
  }

  /** Whether there is a process of it that is reached by that name. */
  runsAs(name: string): boolean {
    return this.run !== undefined && this.name === name;
  }

  /** As it is remembered; undefined when it is gone. */
  get stored(): StoredMachine | undefined {
    const { state } = this.life;
    if (state === 'gone') return undefined;
    return {
      id: this.id,
      name: this.name,
      folder: this.folder.path,
      owned: this.owned,
      mayLeadOutside: this.mayLeadOutside,
      state,
      createdAt: this.createdAt,
      startedAt: this.startedAt,
      began: this.began,
      pid: this.run?.pid,
      end: this.end,
    };
  }
}
