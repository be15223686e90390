/** The built page: what `npm run build -w packages/console` left in dist/page, as resources. */

import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConsoleError } from '../console-error.ts';
import { bytesResource, type Resource } from './resource.ts';

/** Where the build puts it. */
export const PAGE_FOLDER = fileURLToPath(new URL('../../dist/page', import.meta.url));
/** Files there have a hash of their content in their names. */
const HASHED = '/assets/';
const INDEX = '/index.html';

/** The page's files by the paths that they are served under. They are read at once, so that a new build does not change them under way. */
export async function pageResources(folder: string): Promise<Map<string, Resource>> {
  const resources = new Map<string, Resource>();
  for (const path of await filesIn(folder)) {
    const served = `/${relative(folder, path).split(sep).join('/')}`;
    const resource = bytesResource(path, await readFile(path), served.startsWith(HASHED));
    resources.set(served === INDEX ? '/' : served, resource);
  }
  if (!resources.has('/'))
    throw new ConsoleError('not-built', 'The page is not built yet; "npm run demo" builds it and starts it');
  return resources;
}

async function filesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}
