// While a recorder is active, dispatch records ops and views instead of running them. This file holds the active
// recorder; graph/record.ts has the one that makes graphs.

import type { AnyOp, Spec, ViewOp } from './op.ts';

/**
 * Receives ops and views. The arguments are tensors; their type here is Spec, so that tensor.ts can import this file.
 */
export interface Recorder {
  /** An op was called; `outputs` are the abstract tensors it gave. `module` is the path of the calling module. */
  op(op: AnyOp, inputs: readonly Spec[], outputs: readonly Spec[], module: string): void;
  /** A view `op` of `input` was made. */
  view(op: ViewOp, input: Spec, output: Spec): void;
}

let active: Recorder | undefined;

/** The active recorder. */
export function activeRecorder(): Recorder | undefined {
  return active;
}

/** True while ops are recorded instead of run. */
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
