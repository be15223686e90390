/** Debian's Chromium without a screen, and the page in it as a user sees it. */

import { existsSync } from 'node:fs';
import process from 'node:process';
import { chromium, type Browser, type Page } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
/** Nothing that talks to anybody but the page's server. */
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** A boot on a machine that has much else to do. */
const LONGEST_WAIT_MS = 200_000;

/** Why a test in a browser cannot run here, as the end of its name; undefined when it can or must. */
export const noBrowser =
  process.env['CI'] === undefined && !existsSync(CHROMIUM) ? "needs Debian's chromium" : undefined;

/** With a profile of its own, which is gone afterwards. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args: ARGUMENTS });
}

export class MachinePage {
  readonly page: Page;
  /** What the page, its worker or the browser complained of. */
  readonly complaints: string[] = [];
  readonly requestedOrigins = new Set<string>();

  private constructor(page: Page) {
    this.page = page;
    page.setDefaultTimeout(LONGEST_WAIT_MS);
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text());
    });
    page.on('request', (request) => this.requestedOrigins.add(new URL(request.url()).origin));
  }

  static async open(browser: Browser): Promise<MachinePage> {
    return new MachinePage(await browser.newPage({ viewport: { width: 1000, height: 600 } }));
  }

  /** Loads the page and waits for the shell's prompt; gives what the page then says of itself. */
  async boot(url: string): Promise<string> {
    await this.page.goto(url);
    return this.shell();
  }

  async shell(): Promise<string> {
    await this.phase('running');
    await this.row(/^root@tiny:.*#/);
    return this.state();
  }

  /** Waits until the machine has got there; a machine that failed shows why. */
  async phase(name: string): Promise<void> {
    await this.page.locator(`#state:is([data-phase="${name}"], [data-phase="failed"])`).waitFor();
    const reached = await this.page.locator('#state').getAttribute('data-phase');
    if (reached !== name) throw new Error(`The page says: ${await this.notice()}`);
  }

  async state(): Promise<string> {
    return this.page.locator('#state').innerText();
  }

  async notice(): Promise<string> {
    const notice = this.page.locator('#notice');
    await notice.waitFor();
    return notice.innerText();
  }

  async type(text: string): Promise<void> {
    await this.page.keyboard.type(text);
  }

  /** Waits for a row of the terminal that reads so. */
  async row(pattern: RegExp): Promise<void> {
    await this.page.locator('.xterm-rows > div', { hasText: pattern }).first().waitFor();
  }

  /** Rows of the terminal. */
  async rowCount(): Promise<number> {
    return this.page.locator('.xterm-rows > div').count();
  }

  async close(): Promise<void> {
    await this.page.close();
  }
}
