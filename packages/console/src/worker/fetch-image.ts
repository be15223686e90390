/** Fetches the image from the server that the page came from. */

import { ConsoleError } from '../console-error.ts';
import { IMAGE_FOLDER, IMAGE_PATH, type ServedFile, type ServedImage } from '../served-image.ts';

export async function fetchDescription(): Promise<ServedImage> {
  const response = await get(IMAGE_PATH);
  return (await response.json()) as ServedImage;
}

/** The file's bytes, with `roomBytes` zeros behind them. `onBytes` hears of every chunk how long it was. */
export async function fetchFile(
  { file, sizeBytes }: ServedFile,
  roomBytes: number,
  onBytes: (count: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const { body } = await get(IMAGE_FOLDER + file);
  const content = new Uint8Array(sizeBytes + roomBytes);
  let length = 0;
  try {
    for (const reader = body?.getReader(); reader !== undefined;) {
      const { value, done } = await reader.read();
      if (done) break;
      if (length + value.length > sizeBytes) throw new RangeError('there is more than was announced');
      content.set(value, length);
      length += value.length;
      onBytes(value.length);
    }
  } catch (error) {
    throw new ConsoleError('no-image', `The download of ${file} broke off. Is the server still running?`, error);
  }
  if (length !== sizeBytes) throw new ConsoleError('no-image', `${file} is shorter than the server announced.`);
  return content;
}

async function get(path: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path);
  } catch (error) {
    throw new ConsoleError('no-image', 'The server of this page does not answer. Is it still running?', error);
  }
  if (!response.ok)
    throw new ConsoleError('no-image', `The server of this page has no ${path}: it answers ${response.status}.`);
  return response;
}
