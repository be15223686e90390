/** What apt on this machine is set to: its sources and the few settings that matter here (sources.list(5), apt.conf(5)). */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AptConfiguration } from '../debian/apt-configuration.ts';
import { parseSourcesList, parseSourcesStanzas, type ArchiveSource } from '../debian/sources.ts';

export const APT_FOLDER = '/etc/apt';

export interface AptSettings {
  readonly sources: readonly ArchiveSource[];
  readonly configuration: AptConfiguration;
}

/** A machine without apt has no sources and no settings. */
export function readAptSettings(folder: string): AptSettings {
  const lists = [join(folder, 'sources.list'), ...namesIn(join(folder, 'sources.list.d'), /^[\w.-]+\.list$/)];
  const stanzas = namesIn(join(folder, 'sources.list.d'), /^[\w.-]+\.sources$/);
  const configuration = new AptConfiguration();
  for (const path of namesIn(join(folder, 'apt.conf.d'), /^[\w-]+(\.conf)?$/)) configuration.add(read(path));
  configuration.add(read(join(folder, 'apt.conf')));
  return {
    sources: [
      ...lists.flatMap((path) => parseSourcesList(read(path))),
      ...stanzas.flatMap((path) => parseSourcesStanzas(read(path))),
    ],
    configuration,
  };
}

/** The files in `folder` whose names apt would read, in apt's order. */
function namesIn(folder: string, pattern: RegExp): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => pattern.test(name))
      .toSorted()
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

/** A file that is not there, or that only root may read, says nothing. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
