// Options of loading a model or a pipeline, and their check.

import { ArgumentError, checkOptions, describe, Device, isDType, isFloat } from '@darkroom/core';
import type { DType, LayerFactory, OptionNames } from '@darkroom/core';
import type { HubOptions } from './hub-options.ts';

/** Options of loading a model or a pipeline. */
export interface LoadOptions extends HubOptions {
  readonly device: Device;
  /** dtype of weights and activations. Default: weights as stored, activations in float32. */
  readonly dtype?: DType;
  /** 'host' leaves weights in host memory, for offload; default 'device'. */
  readonly weights?: 'device' | 'host';
  /** 'fp16' picks *.fp16.safetensors; falls back to the plain file, with a warning, when no variant file exists. */
  readonly variant?: string;
  /** Makes layers of models in place of the plain ones: with adapters, with encoded weights. */
  readonly layers?: Partial<LayerFactory>;
  /** Called after each tensor, with the bytes of a component's weights loaded so far. */
  readonly onLoad?: (component: string, loadedBytes: number, totalBytes: number) => void;
}

/** All names; `components` is an option of the pipelines' fromPretrained. */
const loadOptionNames: OptionNames<LoadOptions & { readonly components: unknown }> = {
  device: true,
  dtype: true,
  weights: true,
  variant: true,
  layers: true,
  onLoad: true,
  components: true,
  revision: true,
  cacheDir: true,
  cacheBytes: true,
  localFilesOnly: true,
  token: true,
  endpoint: true,
  etagTimeout: true,
  downloadTimeout: true,
  onDownload: true,
};

/** @throws ArgumentError for unknown names and bad values. */
export function checkLoadOptions(options: LoadOptions): void {
  checkOptions('fromPretrained', options, loadOptionNames);
  const { device } = (options as LoadOptions | undefined) ?? {};
  if (!(device instanceof Device))
    throw new ArgumentError(
      `fromPretrained: needs a device, as in { device: await cpu() }, got ${describe(device)}`,
    );
  const { dtype, weights = 'device' } = options;
  if (dtype !== undefined && !(isDType(dtype) && isFloat(dtype))) {
    throw new ArgumentError(
      `fromPretrained: dtype must be float32, float16 or bfloat16, got '${String(dtype)}'`,
    );
  }
  if (weights !== 'device' && weights !== 'host')
    throw new ArgumentError(`fromPretrained: weights must be 'device' or 'host', got '${String(weights)}'`);
}
