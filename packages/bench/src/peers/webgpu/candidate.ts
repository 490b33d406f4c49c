// What the child process asks of a candidate. A candidate may know several forms of one work (layouts, fused or
// composed ops); the parent takes the fastest.

import type { WorkId } from './work.ts';

/** A form with its inputs on the device. */
export interface Prepared {
  /** One run, submitted and waited for until the device has finished; nothing is read back. */
  run(): Promise<void>;
  /** The result of one run, in the layout of Work.outputShape. */
  result(): Promise<Float32Array>;
  /** What the candidate offers to do once before it is timed. */
  tune?(): Promise<void>;
  dispose(): void;
}

export interface Form {
  readonly name: string;
  prepare(inputs: readonly Float32Array<ArrayBuffer>[]): Promise<Prepared>;
}

export interface Candidate {
  /** Whether run() can only wait by reading the result back. */
  readonly includesReadback: boolean;
  readonly forms: Readonly<Record<WorkId, readonly Form[]>>;
}
