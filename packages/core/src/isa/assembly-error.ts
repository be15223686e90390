/** The expected failure of the assembler: its input is text that a person wrote. */

export type AssemblyErrorCode =
  /** The text does not have the form of a statement, operand or expression. */
  | 'syntax'
  /** A mnemonic, directive, register or symbol that does not exist (here). */
  | 'unknown'
  /** A value that its place cannot hold, or a combination that is reserved. */
  | 'range'
  /** A symbol or label defined twice. */
  | 'duplicate';

export class AssemblyError extends Error {
  override readonly name = 'AssemblyError';
  readonly code: AssemblyErrorCode;
  /** From 1; undefined for a statement that is not part of a program. */
  readonly line: number | undefined;

  constructor(code: AssemblyErrorCode, sentence: string, line?: number) {
    super(line === undefined ? sentence : `Line ${line}: ${sentence}`);
    this.code = code;
    this.line = line;
  }

  /** The same failure, known to be on `line`. */
  onLine(line: number): AssemblyError {
    return this.line === undefined ? new AssemblyError(this.code, this.message, line) : this;
  }
}
