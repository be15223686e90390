/** The whole machine in a browser: what `npm run demo` serves, in Debian's Chromium. */

import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ENGINES } from '../src/engines.ts';
import { MachinePage, noBrowser, startBrowser } from './testing/browser.ts';
import { DemoCommand } from './testing/demo-command.ts';

describe.skipIf(noBrowser !== undefined)(`npm run demo${noBrowser === undefined ? '' : `: ${noBrowser}`}`, () => {
  let demo: DemoCommand | undefined;
  let browser: Browser | undefined;
  let tab: MachinePage;
  beforeAll(async () => {
    demo = await DemoCommand.start();
    browser = await startBrowser();
  }, 300_000);
  afterAll(async () => {
    await browser?.close();
    await demo?.interrupt();
  });
  beforeEach(async () => {
    if (browser === undefined) throw new Error('there is no browser');
    tab = await MachinePage.open(browser);
  });
  afterEach(() => tab.close());
  const address = (query: string): string => `${demo?.url}${query}`;

  describe.each(ENGINES)('with the engine %s', (engine) => {
    test('Linux boots in the tab and its shell answers', async () => {
      console.log(`${engine}: ${await tab.boot(address(`?engine=${engine}`))}`);
      await tab.type('uname -m; echo $((6*7))\n');
      await tab.row(/^riscv64\s*$/);
      await tab.row(/^42\s*$/);
      expect(await tab.page.locator('#machine').innerText()).toBe(`${engine}, 256 MiB`);
      expect(tab.complaints).toEqual([]);
      expect([...tab.requestedOrigins]).toEqual([new URL(address('')).origin]);
    });
  });

  test('the guest knows how large its terminal is, also when that changes', async () => {
    await tab.boot(address(''));
    const before = await tab.rowCount();
    await tab.type('echo rows $(stty size)\n');
    await tab.row(new RegExp(`^rows ${before} \\d+`));
    await tab.page.setViewportSize({ width: 700, height: 400 });
    await tab.type('while test $(stty size | cut -d " " -f 1) = ' + before + '; do sleep 0.1; done; stty size\n');
    await tab.row(/^\d+ \d+\s*$/);
    const after = await tab.rowCount();
    expect(after).toBeLessThan(before);
    await tab.row(new RegExp(`^${after} \\d+\\s*$`));
  });

  test('a guest that writes more than can be shown waits, and nothing is lost', async () => {
    await tab.boot(address(''));
    // More than twice what may wait to be shown.
    await tab.type("head -c 600000 /dev/zero | tr '\\0' x | fold -w 500 | cat -n; echo after$?\n");
    await tab.row(/^after0\s*$/);
    await tab.row(/^\s+1200\s+x+\s*$/);
    await tab.row(/^\s+1199\s+x+\s*$/);
  });

  test('when the shell has exited the page says so, and Restart starts another machine', async () => {
    await tab.boot(address(''));
    await tab.type('echo here >/mark; exit 3\n');
    await tab.phase('ended');
    expect(await tab.state()).toBe('Ended: the shell has exited with code 3');
    await tab.page.locator('#restart').click();
    await tab.shell();
    await tab.type('cat /mark\n');
    await tab.row(/No such file/);
  });

  test('a kernel that panics is shown with its last words', async () => {
    await tab.boot(address(''));
    await tab.type('clear; echo c >/proc/sysrq-trigger\n');
    await tab.phase('ended');
    expect(await tab.state()).toContain('the kernel panicked');
    await tab.row(/Kernel panic - not syncing/);
  });

  test.each([
    ['?engine=steam', `In the address of this page, engine "steam" is no engine; there is ${ENGINES.join(', ')}`],
    ['?memory=lots', 'In the address of this page, memory "lots" is no size; write it like 512M or 2G'],
    ['?memory=8M', 'Cannot load kernel'],
  ])('an address that asks for what cannot be gets a sentence: %s', async (query, sentence) => {
    await tab.page.goto(address(query));
    expect(await tab.notice()).toContain(sentence);
    expect(await tab.state()).toBe('Failed');
  });

  test('Ctrl-C ends the server', async () => {
    const other = await DemoCommand.start();
    expect((await fetch(other.url)).status).toBe(200);
    await other.interrupt();
    await expect(fetch(other.url)).rejects.toThrow('fetch failed');
  });

  test('a page without its isolation says which headers it lacks', async () => {
    await tab.page.route('**/', async (route) => {
      const response = await route.fetch();
      const headers = Object.entries(response.headers()).filter(([name]) => !name.startsWith('cross-origin'));
      await route.fulfill({ response, headers: Object.fromEntries(headers) });
    });
    await tab.page.goto(address(''));
    expect(await tab.notice()).toContain('Cross-Origin-Opener-Policy: same-origin');
  });
});
