/**
 * What can go wrong, each kind once: a code that stays, the HTTP status it travels with, and what it means. The codes are the same in the
 * API, in what `--json` prints and in what people are told.
 */

/** Status codes as RFC 9110 section 15 has them. */
interface ErrorKind {
  readonly status: 400 | 403 | 404 | 409 | 410 | 413 | 422 | 500 | 501 | 502 | 503 | 504 | 507;
  readonly meaning: string;
}

export const ERRORS = {
  'bad-argument': { status: 400, meaning: 'What was asked for makes no sense.' },
  untrusted: { status: 403, meaning: 'A daemon is not trusted by the other one.' },
  forbidden: { status: 403, meaning: 'Who asks may not.' },
  'not-found': { status: 404, meaning: 'There is no virtual machine, snapshot, image or file of that name.' },
  'name-taken': { status: 409, meaning: 'Another virtual machine, or another snapshot of this one, has the name.' },
  'wrong-state': { status: 409, meaning: "The virtual machine's state does not allow it." },
  'not-a-machine': {
    status: 400,
    meaning: 'The folder is not that of a virtual machine, or its vm.yaml cannot be understood.',
  },
  broken: { status: 422, meaning: 'The snapshot is not what was written, or something that it needs is not there.' },
  'other-version': { status: 409, meaning: 'Another version of Ringfence made it, or is at the other side.' },
  'other-machine': { status: 409, meaning: 'It is of a virtual machine of another make.' },
  'in-use': { status: 409, meaning: 'Something else needs it: another snapshot, or the disks of the virtual machine.' },
  'no-space': { status: 507, meaning: 'No space is left for it on this computer.' },
  'no-memory': { status: 503, meaning: 'This computer has too little memory for it.' },
  'no-processors': { status: 503, meaning: 'This computer has too few processors left for what is reserved.' },
  unavailable: {
    status: 503,
    meaning: 'A disk, folder, port or file of this computer cannot be had, or nobody answers.',
  },
  'too-many': { status: 503, meaning: 'There is no more room: a limit that has a name was reached.' },
  unsupported: { status: 501, meaning: 'This Ringfence cannot do that.' },
  ended: { status: 410, meaning: 'The virtual machine ended before it was done.' },
  timeout: { status: 504, meaning: 'The virtual machine, or who runs it, did not answer in time.' },
  protocol: { status: 502, meaning: 'What the other side said cannot be right, or is of another version.' },
  aborted: { status: 409, meaning: 'Somebody asked for it to be stopped.' },
  interrupted: { status: 503, meaning: 'The daemon ended before it was done.' },
  image: { status: 502, meaning: 'The image cannot be had, or is damaged.' },
  bug: { status: 500, meaning: 'Ringfence itself failed.' },
} as const satisfies Readonly<Record<string, ErrorKind>>;

export type ErrorCode = keyof typeof ERRORS;

export const ERROR_CODES = Object.keys(ERRORS) as readonly ErrorCode[];

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}

/** What the daemon answers: `code` for programs, `message` a sentence for people, without a dot at its end. */
export class ApiError extends Error {
  override readonly name: string = 'ApiError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
