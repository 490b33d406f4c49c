// @darkroom/core/backend, for authors of backends: the driver's interface, ops as data with their rules, layouts,
// expressions, number formats, tuning.

export type {
  ArgSpec,
  Backend,
  Buffer,
  Caps,
  Choice,
  CompiledLaunches,
  Json,
  Kernel,
  PreparedLaunch,
  Queue,
  Rewrite,
  Slice,
} from './backend.ts';
export { assign, dispatch, dispatchAll } from './dispatch.ts';
export type { AnyDefinition, DispatchOptions, OpDefinition } from './dispatch.ts';
export { decode, dtypeNames, encode, roundTo } from './dtype.ts';
export { invariant } from './errors.ts';
export {
  binaryFns,
  children,
  compose,
  erf,
  evaluate,
  exprKey,
  inputCount,
  mapLeaves,
  nullaryFns,
  opCount,
  scalarCount,
  unaryFns,
  validateExpr,
} from './expr.ts';
export type { BinaryFn, ExprScope, NullaryFn, UnaryFn } from './expr.ts';
export { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './float16.ts';
export {
  broadcastShapes,
  channelsLastStrides,
  contiguousStrides,
  elementCount,
  isChannelsLast,
  isContiguous,
  isDense,
  layoutOf,
  memoryFormatOf,
  normalizeAxis,
  reshapeLayout,
  span,
} from './layout.ts';
export { opSchemaVersion } from './op.ts';
export type { AnyRules, Leaves, OpRules, WeightRule } from './op-rules.ts';
export { OpTable } from './op-table.ts';
export { boolean, dtype, expression, integer, list, number, oneOf, optional, size } from './attributes.ts';
export type { Attribute } from './attributes.ts';
export type * from './op.ts';
export { philox } from './ops/random.ts';
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
export { anyDefinitionOf, definitionOf, opKey, opKinds, opScalars, registerOp } from './ops/table.ts';
export type { KernelOp, Op } from './ops/table.ts';
export { currentScope } from './scope.ts';
export { Storage } from './storage.ts';
export { measureRates } from './tune/rates.ts';
export type { Rates } from './tune/rates.ts';
export { Tuner, tuneKey } from './tune/tuner.ts';
