/// <reference lib="esnext.disposable" preserve="true" />
// @darkroom/core, for programs: tensors, ops, modules, traces, files. @darkroom/core/backend has the parts of backends,
// @darkroom/core/graph graphs, passes and plans. No device code, no platform APIs, no effects on import.

export type { MemoryStats } from './allocator.ts';
export { tensor, tensorFromBytes, to, toAsync } from './create.ts';
export type { ToOptions } from './create.ts';
export { debug, log } from './debug.ts';
export { describe } from './describe.ts';
export { Device } from './device.ts';
export type { DeviceOptions } from './device.ts';
export { dtypes, isDType, isFloat, promote } from './dtype.ts';
export type { DataArray, DType, FloatDType } from './dtype.ts';
export {
  ArgumentError,
  DarkroomError,
  DeviceError,
  DTypeError,
  FormatError,
  formatShape,
  OutOfMemoryError,
  ShapeError,
  shorten,
  shortJson,
  UnsupportedOpError,
  UseAfterDisposeError,
} from './errors.ts';
export type { Expr } from './expr.ts';
export { loadTraced, parseTraced, trace, TracedModule } from './graph/traced.ts';
export type { LoadTracedOptions, Traceable } from './graph/traced.ts';
export { traceOptionNames } from './graph/traced-call.ts';
export type { TraceOptions } from './graph/traced-call.ts';
export { jsonSize } from './io/json-size.ts';
export type { JsonSize } from './io/json-size.ts';
export { memorySource } from './io/source.ts';
export type { ByteSource } from './io/source.ts';
export { openSafetensors } from './io/safetensors.ts';
export { SafetensorsFile } from './io/safetensors.ts';
export type { SafetensorsEntry } from './io/safetensors.ts';
export { writeSafetensors } from './io/safetensors-write.ts';
export type { Layout, MemoryFormat } from './layout.ts';
export { CallState, currentCallState } from './nn/call-state.ts';
export type { Hook } from './nn/hooks.ts';
export { HostCopy, hostCopyOf, isOnHost, toHost } from './nn/host-weights.ts';
export { nn, plainLayers, withLayers } from './nn/layer-factory.ts';
export type { LayerFactory } from './nn/layer-factory.ts';
export { AdaptableLayer, Conv2d, Embedding, GroupNorm, LayerNorm, Linear } from './nn/layers.ts';
export type { Adapter, ConvLayerOptions, Fuse, LinearOptions } from './nn/layers.ts';
export { checkStateDict, Module, parameter } from './nn/module.ts';
export type { AnyModule, Which } from './nn/module.ts';
export { denseWeight, EncodedWeight } from './nn/weight.ts';
export type { Weight } from './nn/weight.ts';
export { nullBackend } from './backends/null.ts';
export type { NullBackend } from './backends/null.ts';
export { checkOptions, hint, nearest } from './options.ts';
export type { OptionNames } from './options.ts';
export { attention } from './ops/attention.ts';
export type { AttentionOptions } from './ops/attention.ts';
export { conv2d } from './ops/conv2d.ts';
export type { Conv2dOptions } from './ops/conv2d.ts';
export { cast, concat, contiguous, copy, pad, reshape, toFormat } from './ops/copy.ts';
export { custom } from './ops/custom.ts';
export { full, ones, zeros } from './ops/fill.ts';
export type { CreateOptions } from './ops/fill.ts';
export { embedding, gather } from './ops/gather.ts';
export { map } from './ops/map.ts';
export type { MapOptions } from './ops/map.ts';
export { linear, matmul } from './ops/matmul.ts';
export type { Epilogue } from './ops/matmul.ts';
export { groupNorm, layerNorm, rmsNorm } from './ops/norm.ts';
export {
  abs,
  activations,
  add,
  arange,
  clamp,
  cos,
  div,
  equal,
  exp,
  geglu,
  gelu,
  geluTanh,
  less,
  linearCombination,
  log as ln,
  maximum,
  minimum,
  mul,
  neg,
  pow,
  quickGelu,
  rsqrt,
  sigmoid,
  silu,
  sin,
  sqrt,
  sub,
  tanh,
  where,
} from './ops/pointwise.ts';
export type { Activation, Operand } from './ops/pointwise.ts';
export { randomNormal, randomUniform } from './ops/random.ts';
export type { RandomOptions } from './ops/random.ts';
export { argmax, max, mean, min, sum } from './ops/reduce.ts';
export type { ReduceOptions } from './ops/reduce.ts';
export { resize } from './ops/resize.ts';
export { softmax } from './ops/softmax.ts';
export { keep, Scope, scope } from './scope.ts';
export { Tensor } from './tensor.ts';
export type { TuneDecision, TuneMode, TuneOptions, TuneStore } from './tune/tuner.ts';
