/**
 * The server of the page: the page's files and the image, to this computer only.
 *
 *     /                    the page               revalidated each time
 *     /assets/NAME-HASH    its scripts and styles  kept for good
 *     /image/tiny.json     what the image is       revalidated each time
 *     /image/NAME-HASH     kernel and initrd       kept for good, in parts where wanted
 */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';
import type { TinyImage } from '@ringfence/images';
import { ConsoleError } from '../console-error.ts';
import { IMAGE_FOLDER, IMAGE_PATH, type ServedImage } from '../served-image.ts';
import { answer } from './answer.ts';
import { PAGE_FOLDER, pageResources } from './page.ts';
import { bytesResource, fileResource, type Resource } from './resource.ts';

const HOST = '127.0.0.1';
/** Browsers open six at a time. */
const MAXIMUM_CONNECTIONS = 64;

export interface ConsoleServerOptions {
  readonly image: TinyImage;
  /** 0 for any that is free. */
  readonly port: number;
  /** Where the built page lies, when it is not where the build puts it. */
  readonly pageFolder?: string | undefined;
}

export interface ConsoleServer {
  /** The page's address. */
  readonly url: string;
  /** Ends it, requests under way included. */
  close(): Promise<void>;
}

/** Serves the page and the image until `close`. Rejects with a ConsoleError when the page is not built or the port is taken. */
export async function serveConsole({ image, port, pageFolder }: ConsoleServerOptions): Promise<ConsoleServer> {
  const resources: Map<string, Resource> = await pageResources(pageFolder ?? PAGE_FOLDER);
  const { manifest } = image;
  const kernel = await fileResource(image.kernelPath, manifest.kernel.size, manifest.kernel.sha256);
  const initrd = await fileResource(image.initrdPath, manifest.initrd.size, manifest.initrd.sha256);
  const description = Buffer.from(JSON.stringify(describe(image)));
  resources.set(IMAGE_PATH, bytesResource(IMAGE_PATH, description, false));
  resources.set(IMAGE_FOLDER + basename(image.kernelPath), kernel);
  resources.set(IMAGE_FOLDER + basename(image.initrdPath), initrd);

  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    void answer(request, response, resources.get(path));
  });
  server.maxConnections = MAXIMUM_CONNECTIONS;
  const closeFiles = async (): Promise<void> => {
    await Promise.all([kernel.close(), initrd.close()]);
  };
  try {
    await listen(server, port);
  } catch (error) {
    await closeFiles();
    throw error;
  }
  return {
    url: `http://${HOST}:${(server.address() as AddressInfo).port}/`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      await closeFiles();
    },
  };
}

function describe({ name, kernelVersion, kernelPath, initrdPath, kernelParameters, manifest }: TinyImage): ServedImage {
  const { version, codename } = manifest.release;
  return {
    name,
    kernelVersion,
    distribution: `Debian ${version ?? codename}`,
    kernel: { file: basename(kernelPath), sizeBytes: manifest.kernel.size },
    initrd: { file: basename(initrdPath), sizeBytes: manifest.initrd.size },
    kernelParameters,
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(portError(port, error)));
    server.listen(port, HOST, resolve);
  });
}

function portError(port: number, error: NodeJS.ErrnoException): ConsoleError {
  switch (error.code) {
    case 'EADDRINUSE':
      return new ConsoleError(
        'port',
        `Port ${port} is taken by another program; choose another one with --port`,
        error,
      );
    case 'EACCES':
      return new ConsoleError('port', `Port ${port} is not for everybody; choose one from 1024 on with --port`, error);
    default:
      return new ConsoleError('port', `Port ${port} cannot be listened to: ${error.message}`, error);
  }
}
