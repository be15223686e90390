/** What is known of a migration by the end that the machine leaves: meanwhile, and when it is over. */

export interface MigrationProgress {
  readonly phase: 'disks' | 'rounds' | 'handing over' | 'sending the rest';
  readonly round: number;
  readonly pagesSent: number;
  readonly pagesLeft: number;
  readonly diskBytesSent: number;
  readonly diskBytesLeft: number;
}

export interface MigrationReport {
  readonly rounds: number;
  readonly pagesSent: number;
  readonly bytesSent: number;
  /** Of those, content of disks. */
  readonly diskBytesSent: number;
  /** Pages that followed when the machine ran there. */
  readonly pagesAfter: number;
  /** From standing still here until it was heard to run there, in ns. */
  readonly downtimeNs: number;
  readonly totalNs: number;
  /** False when the link was lost while pages followed, and none came after it: the target may have run into one that it never gets. */
  readonly isComplete: boolean;
}
