/** The contract of the daemon, as data. */

export { ApiError, ERROR_CODES, type ErrorCode, ERRORS, isErrorCode } from './errors.ts';
export { complainedPath, complaint, problemOf } from './complaint.ts';
export { openApiDocument } from './openapi.ts';
export {
  COMMON_ERRORS,
  type Given,
  type Input,
  type NameOf,
  type OperationName,
  OPERATIONS,
  type Output,
} from './operations.ts';
export { type Operation, pathFields, type Verb } from './operation.ts';
export {
  type Creation,
  type Failure,
  type HostEvent,
  type HostStatus,
  LIMITS,
  type LongOperation,
  type MachineEnd,
  type MachineView,
  type NewDisk,
  type SnapshotView,
  trustLabel,
  type UsageView,
} from './schemas.ts';
export {
  type Asked,
  FORK_OPERATIONS,
  HAPPENINGS,
  isAllowed,
  isBrokenOff,
  LIVE_STATES,
  refusal,
  type State,
  STATES,
  STEADY,
  type TransitionName,
  TRANSITIONS,
} from './states.ts';
export { type HostMemory, type IoUsage, type MemoryUsage, MEMORY_SHARES, type OvercommitSettings } from './memory.ts';
export {
  changedProcessors,
  DEFAULT_PROCESSOR_SHARES,
  impossibleProcessors,
  type ProcessorChange,
  type ProcessorSettings,
} from './processors.ts';
