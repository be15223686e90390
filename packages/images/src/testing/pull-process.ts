/** Pulls `tiny` in a process of its own: `node pull-process.ts JSON`, where JSON are the options. Prints the initrd's path, or the error's code. */

import { pullTiny, type PullOptions } from '../index.ts';
import { ImageError } from '../image-error.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as PullOptions & { readonly announce?: boolean };
try {
  const image = await pullTiny({
    ...options,
    onProgress: ({ kind }) => {
      if (options.announce === true) process.stdout.write(`${kind}\n`);
    },
  });
  process.stdout.write(`${image.initrdPath}\n`);
} catch (error) {
  process.stdout.write(`${error instanceof ImageError ? `${error.code}: ${error.message}` : String(error)}\n`);
  process.exitCode = 1;
}
