import { open } from 'node:fs/promises';

/** What is in a folder now, by its names, will be there after a power failure. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
