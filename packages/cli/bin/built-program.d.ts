/** The types of built-program.js, for TypeScript that imports it. */

export declare const PROGRAM_FOLDER: string;
export declare const INPUTS_FILE: string;
export declare function stampOf(path: string): string | undefined;
export declare function builtProgram(file: string, repository?: string): string | undefined;
