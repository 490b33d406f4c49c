// Development switches. All off by default; nothing here changes results.

/** Switches for finding mistakes; all off by default. */
export interface DebugOptions {
  /** Record where each tensor was made, warn about tensors that were collected without dispose. */
  leaks: boolean;
  /** Throw when a tensor is disposed twice. */
  strictDispose: boolean;
  /** After every op, read its output and throw at the first NaN or infinity (slow; needs caps.syncRead). */
  checkFinite: boolean;
}

/** The switches of this process. */
export const debug: DebugOptions = { leaks: false, strictDispose: false, checkFinite: false };

/** Receives warnings; a program may replace `warn` by its own logger. */
export const log: { warn: (message: string) => void } = {
  warn: (message) => console.warn(message),
};
