/** Memory that many share: each has a share of it, says what it holds, and sees what is left. */

export class ByteBudget {
  readonly #bytes: number;
  #left: number;

  constructor(bytes: number) {
    this.#bytes = this.#left = bytes;
  }

  /** Half of it is held: the other half is for what cannot wait. */
  get isScarce(): boolean {
    return this.#left <= this.#bytes / 2;
  }

  /** Less than 0 when more is held than there should be: what is on its way already cannot be refused. */
  get left(): number {
    return this.#left;
  }

  /** For one of those who share it: gives a function that says how many bytes that one holds now. */
  share(): (bytes: number) => void {
    let held = 0;
    return (bytes) => {
      this.#left += held - bytes;
      held = bytes;
    };
  }
}
