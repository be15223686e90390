/** The entry of the package: serves the page, with a whole machine in it, from Node. */

export { serveConsole, type ConsoleServer, type ConsoleServerOptions } from './serve.ts';
