/// <reference lib="esnext.disposable" preserve="true" />
// @darkroom/core: tensors, ops, modules, traces and the interface that backends implement. No device code, no
// platform APIs, no effects on import.

export type { MemoryStats } from './allocator.ts';
export type {
  ArgSpec, Backend, Buffer, Caps, Choice, CompiledSteps, Json, Kernel, PreparedStep, Queue, Rewrite, Slice,
} from './backend.ts'; // prettier-ignore
export { tensor, tensorFromBytes, to, toAsync } from './create.ts';
export type { ToOptions } from './create.ts';
export { debug, log } from './debug.ts';
export { describe } from './describe.ts';
export { Device } from './device.ts';
export type { DeviceOptions } from './device.ts';
export { assign, dispatch, dispatchAll } from './dispatch.ts';
export type { AnyDefinition, DispatchOptions, OpDefinition } from './dispatch.ts';
export { decode, dtypeNames, dtypes, encode, isDType, isFloat, promote, roundTo } from './dtype.ts';
export type { DataArray, DType, FloatDType } from './dtype.ts';
export {
  ArgumentError, DarkroomError, DeviceError, DTypeError, FormatError, formatShape, invariant, OutOfMemoryError,
  ShapeError, shorten, shortJson, UnsupportedOpError, UseAfterDisposeError,
} from './errors.ts'; // prettier-ignore
export {
  binaryFns, children, compose, erf, evaluate, exprKey, inputCount, mapLeaves, nullaryFns, opCount, scalarCount,
  unaryFns, validateExpr,
} from './expr.ts'; // prettier-ignore
export type { BinaryFn, Expr, ExprScope, NullaryFn, UnaryFn } from './expr.ts';
export { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './float16.ts';
export { compileAhead } from './graph/compile-ahead.ts';
export type { Graph, GraphNode, NamedValue, ValueId, ValueInfo } from './graph/graph.ts';
export {
  channelsLast,
  eliminateDead,
  fuseSharedMatmuls,
  optimize,
  outputsAdjacent,
  passes,
  passesFor,
  sliceAttention,
  winograd,
} from './graph/passes/index.ts';
export type { Pass, SliceAttentionOptions, WinogradOptions } from './graph/passes/index.ts';
export { liftScalars } from './graph/lift-scalars.ts';
export type { Lifted } from './graph/lift-scalars.ts';
export { planGraph } from './graph/plan.ts';
export type { Named, Plan, PlanArg, PlanBase, PlanPort, PlanSegment, PlanStep } from './graph/plan-data.ts';
export { maxLiveBytes, planMemory } from './graph/plan-memory.ts';
export type { Lifetime, Placement, Place } from './graph/plan-memory.ts';
export { printPlan, printSummary, summarizePlan } from './graph/print-plan.ts';
export type { PlanSummary } from './graph/print-plan.ts';
export { Replay } from './graph/replay.ts';
export { printGraph } from './graph/print.ts';
export { runGraph } from './graph/run.ts';
export { recordGraph } from './graph/record.ts';
export type { Recording } from './graph/record.ts';
export { loadTraced, parseTraced, trace, TracedModule } from './graph/traced.ts';
export type { LoadTracedOptions, Traceable } from './graph/traced.ts';
export { traceOptionNames } from './graph/traced-call.ts';
export type { TraceOptions } from './graph/traced-call.ts';
export { parseGraph, serializeGraph } from './graph/serialize.ts';
export { jsonSize } from './io/json-size.ts';
export type { JsonSize } from './io/json-size.ts';
export { memorySource } from './io/source.ts';
export type { ByteSource } from './io/source.ts';
export { openSafetensors } from './io/safetensors.ts';
export { SafetensorsFile } from './io/safetensors.ts';
export type { SafetensorsEntry } from './io/safetensors.ts';
export { writeSafetensors } from './io/safetensors-write.ts';
export {
  broadcastShapes, channelsLastStrides, contiguousStrides, elementCount, isChannelsLast, isContiguous, isDense,
  layoutOf, memoryFormatOf, normalizeAxis, reshapeLayout, span,
} from './layout.ts'; // prettier-ignore
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
export { opSchemaVersion } from './op.ts';
export type { AnyRules, Leaves, OpRules, WeightRule } from './op-rules.ts';
export { OpTable } from './op-table.ts';
export { boolean, dtype, expression, integer, list, number, oneOf, optional, size } from './attributes.ts';
export type { Attribute } from './attributes.ts';
export type * from './op.ts';
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
  abs, activations, add, arange, clamp, cos, div, equal, exp, geglu, gelu, geluTanh, less, linearCombination, log as ln,
  maximum, minimum, mul, neg, pow, quickGelu, rsqrt, sigmoid, silu, sin, sqrt, sub, tanh, where,
} from './ops/pointwise.ts'; // prettier-ignore
export type { Activation, Operand } from './ops/pointwise.ts';
export { philox, randomNormal, randomUniform } from './ops/random.ts';
export type { RandomOptions } from './ops/random.ts';
export { winogradInput, winogradOutput, winogradTiles } from './ops/winograd.ts';
export type { AttentionOp } from './ops/attention.ts';
export type { Conv2dOp } from './ops/conv2d.ts';
export type { CopyOp } from './ops/copy-rules.ts';
export type { CustomOp } from './ops/custom.ts';
export type { FillOp } from './ops/fill.ts';
export type { GatherOp } from './ops/gather.ts';
export type { MapOp } from './ops/map.ts';
export type { MatmulOp } from './ops/matmul.ts';
export type { GroupNormOp, LayerNormOp, RmsNormOp } from './ops/norm.ts';
export type { RandomOp } from './ops/random.ts';
export type { ReduceOp } from './ops/reduce.ts';
export type { ResizeOp } from './ops/resize.ts';
export type { SoftmaxOp } from './ops/softmax.ts';
export type { WinogradOp } from './ops/winograd.ts';
export { isRecording } from './recorder.ts';
export { argmax, max, mean, min, sum } from './ops/reduce.ts';
export type { ReduceOptions } from './ops/reduce.ts';
export { resize } from './ops/resize.ts';
export { softmax } from './ops/softmax.ts';
export { anyDefinitionOf, definitionOf, opKey, opKinds, opScalars, registerOp } from './ops/table.ts';
export type { KernelOp, Op } from './ops/table.ts';
export { currentScope, keep, Scope, scope } from './scope.ts';
export { Storage } from './storage.ts';
export { Tensor } from './tensor.ts';
export { measureRates } from './tune/rates.ts';
export type { Rates } from './tune/rates.ts';
export { Tuner, tuneKey } from './tune/tuner.ts';
export type { TuneDecision, TuneMode, TuneStore } from './tune/tuner.ts';
