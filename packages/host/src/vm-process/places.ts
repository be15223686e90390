/**
 * Places: where a process reaches the folder of its machine that was started before anybody knew whose it would be. What a process may open is said when it
 * is started, as a path, and does not change: so it is told of a place that is not there yet, and that is a link to the machine's folder from when it is the
 * machine's until the machine's run is over. The process can neither make such a link nor change it (Node 26, "Permissions": `symlink` needs all of the file
 * system), and it opens nothing by any other path.
 *
 *     PLACES/1f2e3d4c -> the machine's folder       the process:  --allow-fs-read=PLACES/1f2e3d4c/*  --allow-fs-write=PLACES/1f2e3d4c/run/*  ...
 */

import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { join, sep } from 'node:path';
import { errnoOf } from '../failure.ts';

/** Where there are none yet. */
export function placesIn(folder: string): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/** Lets the place lead to the folder. */
export function openPlace(place: string, folder: string): void {
  symlinkSync(folder, place);
}

/** Where it leads to; undefined of what is no place. */
export function folderAt(place: string): string | undefined {
  try {
    return readlinkSync(place);
  } catch {
    return undefined;
  }
}

/** The machine in the folder has no process any more. */
export function closePlaces(places: string, folder: string): void {
  for (const place of all(places)) if (folderAt(place) === folder) rmSync(place, { force: true });
}

/** Removes those that nobody uses: a daemon that was killed has left them. */
export function sweepPlaces(places: string, isUsed: (place: string) => boolean): void {
  // A link is removed, and not what it leads to.
  for (const place of all(places)) if (!isUsed(place)) rmSync(place, { recursive: true, force: true });
}

function all(places: string): string[] {
  try {
    return readdirSync(places).map((name) => join(places, name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** A path in the folder `from`, as it is from `to`. */
export function moved(path: string, from: string, to: string): string {
  return path === from || path.startsWith(`${from}${sep}`) ? `${to}${path.slice(from.length)}` : path;
}
