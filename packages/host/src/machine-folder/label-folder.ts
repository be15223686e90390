/**
 * Where machines of one trust label lie. They share a process, and what that may have of this computer is said when it is started (vm-process/permissions.ts):
 * so the folders of all that it may ever run have names that are known before, and are numbers.
 *
 *     machines/web          one without a label, by its name
 *     machines/@shop/1      one of the label "shop"; no machine is called so
 *     machines/@shop/memory      where the paging file of the label's process is made, which has no name there
 *     machines/@shop/process.log what that process says that nobody reads but people
 */

import { basename, dirname, join, relative, sep } from 'node:path';

/** Machines of one label, running or not. */
export const MAXIMUM_LABELLED = 64;
const MARK = '@';

export interface LabelFolder {
  readonly path: string;
  readonly memory: string;
  readonly processLog: string;
}

export function labelFolder(path: string): LabelFolder {
  return { path, memory: join(path, 'memory'), processLog: join(path, 'process.log') };
}

/** That of a label among the folders of machines. */
export function labelFolderIn(machines: string, label: string): LabelFolder {
  return labelFolder(join(machines, MARK + label));
}

/** All folders that machines of the label may have. */
export function machinesOf({ path }: Pick<LabelFolder, 'path'>): string[] {
  return Array.from({ length: MAXIMUM_LABELLED }, (_, index) => join(path, String(index + 1)));
}

/** The label that the machine's folder is of; undefined of one that is in none's. */
export function labelOfFolder(machines: string, folder: string): string | undefined {
  const [first = '', ...rest] = relative(machines, folder).split(sep);
  return first.startsWith(MARK) && rest.length > 0 ? first.slice(MARK.length) : undefined;
}

/** Whether the folder lies as those of machines with a label do. */
export function isLabelled(folder: string): boolean {
  return basename(dirname(folder)).startsWith(MARK);
}

/** That which a labelled machine's folder lies in. */
export function labelFolderOf(folder: string): LabelFolder {
  return labelFolder(dirname(folder));
}
