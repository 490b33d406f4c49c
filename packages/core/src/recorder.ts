// The seam's other side: while a recorder is active, ops and views are told to it instead of being run.
// This file only holds who is active; what a recorder does with them is graph/record.ts.

import type { KernelOp, ViewOp } from './op.ts';
import type { Tensor } from './tensor.ts';

export interface Recorder {
  /** An op was called; `output` is the abstract tensor it gave. `module` is the path of the calling module. */
  op(op: KernelOp, inputs: readonly Tensor[], output: Tensor, module: string): void;
  view(op: ViewOp, input: Tensor, output: Tensor): void;
}

let active: Recorder | undefined;

export function activeRecorder(): Recorder | undefined {
  return active;
}

/** Whether ops are being recorded instead of run. */
export const isRecording = (): boolean => active !== undefined;

/** Runs `body` with `recorder` listening; recorders do not nest. */
export function withRecorder<T>(recorder: Recorder, body: () => T): T {
  if (active) throw new Error('trace: a trace is being recorded already');
  active = recorder;
  try {
    return body();
  } finally {
    active = undefined;
  }
}
