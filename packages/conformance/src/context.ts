// The context of a case's runner (the case, its tensors, the device), and its result.

import type { AnyModule, DataArray, Device, Scope, Tensor } from '@darkroom/core';
import type { ModelFiles } from '@darkroom/diffusers';
import type { Call } from './call.ts';
import type { GoldenCase, TensorFiles } from './manifest.ts';

export interface CaseContext {
  readonly test: GoldenCase;
  readonly device: Device;
  readonly tensors: TensorFiles;
  readonly files: ModelFiles;
  /** Calls the function under test, eagerly or traced; the caller frees the result. */
  readonly call: Call;
  readonly traced: boolean;
  /** Scope of the case's tensors; wrap synchronous parts in memory.run. */
  readonly memory: Scope;
  /** An input on the device; owned by the case's scope. */
  input(name: string): Promise<Tensor>;
  inputValues(name: string): Promise<DataArray>;
  /** A model of the case's set, loaded once for all cases. */
  model(folder: string, className: string, weights: string | undefined): Promise<AnyModule>;
}

/** Results by output name, which the runner compares. 'unsupported' is counted separately, never as passed. */
export type CaseResult =
  ReadonlyMap<string, ArrayLike<number>> | { readonly failure: string } | 'unsupported' | 'passed';

export type CaseRunner = (context: CaseContext) => Promise<CaseResult>;
