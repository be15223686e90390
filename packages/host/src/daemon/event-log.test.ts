import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EventLog, MAXIMUM_FOLLOWERS } from './event-log.ts';
import { Store } from './store.ts';

test('who follows is counted at once, and no more when that is over, however far it came', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-events-'));
  const store = await Store.open(join(folder, 'state.db'));
  const events = await EventLog.open(store, (error) => {
    throw error;
  });
  try {
    const leaving = new AbortController();
    const { signal } = new AbortController();
    const followers = Array.from({ length: MAXIMUM_FOLLOWERS }, (_, index) =>
      events.list(0, true, index === 0 ? leaving.signal : signal),
    );
    const tooMany = expect.objectContaining({ code: 'too-many' }) as Error;
    expect(() => events.list(0, true, signal)).toThrow(tooMany);
    // It was never asked for an event.
    leaving.abort();
    const next = events.list(0, false, signal);
    expect(() => events.list(0, true, signal)).toThrow(tooMany);
    expect(await next.next()).toEqual({ done: true, value: undefined });
    const last = events.list(0, true, signal);
    expect(() => events.list(0, true, signal)).toThrow(tooMany);
    await Promise.all([...followers, last].map((each) => each.return()));
  } finally {
    await events.close();
    await store.close();
    rmSync(folder, { recursive: true });
  }
});
