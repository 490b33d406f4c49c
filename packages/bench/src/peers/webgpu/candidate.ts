// The interface of a candidate. It may have several forms of one work (layouts, fused or composed ops); the parent
// times the fastest.

import type { WorkId } from './work.ts';

/** A form with its inputs on the device. */
export interface Prepared {
  /** One run, submitted and waited for until the device has finished; nothing is read back. */
  run(): Promise<void>;
  /** The result of one run, in the layout of Work.outputShape. */
  result(): Promise<Float32Array>;
  /** The candidate's own tuning, once before it is timed. */
  tune?(): Promise<void>;
  dispose(): void;
}

export interface Form {
  readonly name: string;
  prepare(inputs: readonly Float32Array<ArrayBuffer>[]): Promise<Prepared>;
}

export interface Candidate {
  /** True if run() can wait only by reading the result back. */
  readonly includesReadback: boolean;
  readonly forms: Readonly<Record<WorkId, readonly Form[]>>;
}
