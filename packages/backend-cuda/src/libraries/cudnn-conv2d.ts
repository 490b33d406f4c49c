// conv2d as a cuDNN graph: the convolution, then additions and an activation in float32 before the result is stored.

import { channelsLastStrides, contiguousStrides } from '@darkroom/core/backend';
import type { Activation, Layout, MemoryFormat } from '@darkroom/core';
import type { ArgSpec, Conv2dOp } from '@darkroom/core/backend';
import { cudnnCrossCorrelation, cudnnDataType, cudnnPointwise } from '../node/cudnn.ts';
import { CudnnGraphBuilder, dataType } from './cudnn-graph.ts';
import type { CudnnGraph, Ref, Setting, TensorShape } from './cudnn-graph.ts';
import { linearEpilogue } from './epilogue.ts';
import { isPerImage } from './per-image.ts';

/**
 * cuDNN's activation modes, without relu, whose treatment of NaN is not documented. quickGelu is swish with a factor.
 */
const activationModes: Readonly<Partial<Record<Activation, readonly [mode: number, beta?: number]>>> = {
  silu: [cudnnPointwise.swish, 1],
  quickGelu: [cudnnPointwise.swish, 1.702],
  gelu: [cudnnPointwise.gelu],
  geluTanh: [cudnnPointwise.geluTanh],
};

/**
 * The graph of `op` on `args` (inputs, then the output); undefined where input, weight and output are not all
 * channels-last or all contiguous, of one float dtype, or the epilogue is more than inputs added and an activation.
 */
export function conv2dGraph(op: Conv2dOp, args: readonly ArgSpec[]): CudnnGraph | undefined {
  const [x, w] = args as [ArgSpec, ArgSpec];
  const y = args.at(-1)!;
  const epilogue = linearEpilogue(op.epilogue);
  const mode = epilogue?.activation && activationModes[epilogue.activation];
  if (!epilogue || epilogue.scale !== 1 || (epilogue.activation && !mode)) return undefined;
  if (epilogue.terms.length !== args.length - 3 || epilogue.terms.some((t) => t.factor !== 1))
    return undefined;
  // cuDNN 9.19 offers engines for it on sm_90 that step through such a term pixel by pixel: they read misaligned
  // addresses, and the context is lost (H200, 2026-11-27). cudnn-library.ts adds it in a launch of our own.
  if (args.slice(2, -1).some((a) => isPerImage(a, y))) return undefined;
  if (args.some((a) => dataType(a.dtype) === undefined || a.layout.shape.includes(0))) return undefined;
  if (x.dtype !== w.dtype || x.dtype !== y.dtype || op.padding.some((p) => p < 0)) return undefined;
  const shapes = inOneFormat([x.layout, w.layout, y.layout], args.slice(2, -1).map((a) => a.layout)); // prettier-ignore
  if (!shapes) return undefined;

  const graph = new CudnnGraphBuilder();
  const [input, weight] = [graph.argument(0, x.dtype, shapes.main[0]!), graph.argument(1, w.dtype, shapes.main[1]!)]; // prettier-ignore
  const result = shapes.main[2]!;
  const output = graph.argument(args.length - 1, y.dtype, result);
  let left = epilogue.terms.length + (mode ? 1 : 0);
  /** The result tensor of the next operation: the op's output for the last one. */
  const next = (): Ref => (left-- === 0 ? output : graph.between(result));
  let sum = next();
  convolve(graph, op, input, weight, sum);
  for (const { input: term } of epilogue.terms) {
    const to = next();
    const added = graph.argument(term + 1, args[term + 1]!.dtype, shapes.extra[term - 1]!);
    pointwise(graph, cudnnPointwise.add, [], sum, to, added);
    sum = to;
  }
  if (mode) {
    const [activation, beta] = mode;
    const settings: Setting[] = beta === undefined ? [] : [['pointwiseSwishBeta', 'double', beta]];
    pointwise(graph, activation, settings, sum, next());
  }
  return graph.build(x.dtype === 'float32' && op.precision !== 'tf32');
}

function convolve(graph: CudnnGraphBuilder, op: Conv2dOp, x: Ref, w: Ref, y: Ref): void {
  const [top, bottom, left, right] = op.padding;
  const convolution = graph.add(
    'convolution',
    ['convolutionSpatialDims', 'int64', 2],
    ['convolutionCompType', 'dataType', cudnnDataType.float32],
    ['convolutionConvMode', 'convolutionMode', cudnnCrossCorrelation],
    ['convolutionPrePaddings', 'int64', top, left],
    ['convolutionPostPaddings', 'int64', bottom, right],
    ['convolutionDilations', 'int64', ...op.dilation],
    ['convolutionFilterStrides', 'int64', ...op.stride],
  );
  graph.operation(
    'operationConvolutionForward',
    ['operationConvolutionForwardX', 'backendDescriptor', x],
    ['operationConvolutionForwardW', 'backendDescriptor', w],
    ['operationConvolutionForwardY', 'backendDescriptor', y],
    ['operationConvolutionForwardConvDesc', 'backendDescriptor', convolution],
    ['operationConvolutionForwardAlpha', 'float', 1],
    ['operationConvolutionForwardBeta', 'float', 0],
  );
}

function pointwise(
  graph: CudnnGraphBuilder,
  mode: number,
  settings: readonly Setting[],
  x: Ref,
  y: Ref,
  b?: Ref,
): void {
  const descriptor = graph.add(
    'pointwise',
    ['pointwiseMode', 'pointwiseMode', mode],
    ['pointwiseMathPrec', 'dataType', cudnnDataType.float32],
    ...settings,
  );
  graph.operation(
    'operationPointwise',
    ['operationPointwisePwDescriptor', 'backendDescriptor', descriptor],
    ['operationPointwiseXdesc', 'backendDescriptor', x],
    ...(b ? [['operationPointwiseBdesc', 'backendDescriptor', b] as const] : []),
    ['operationPointwiseYdesc', 'backendDescriptor', y],
  );
}

/** All tensors with one format's strides, which cuDNN goes by also along dimensions of size 1. */
function inOneFormat(
  main: readonly Layout[],
  extra: readonly Layout[],
): { readonly main: readonly TensorShape[]; readonly extra: readonly TensorShape[] } | undefined {
  for (const format of ['channelsLast', 'contiguous'] as const) {
    const shapes = {
      main: main.map((l) => packed(l, format)),
      extra: extra.map((l) => packed(repeatedOnce(l), format)),
    };
    const every = (list: readonly (TensorShape | undefined)[]): list is TensorShape[] => !list.includes(undefined); // prettier-ignore
    if (every(shapes.main) && every(shapes.extra)) return { main: shapes.main, extra: shapes.extra };
  }
  return undefined;
}

/** A 4-D layout with the format's strides, where those are its own. */
function packed({ shape, strides }: Layout, format: MemoryFormat): TensorShape | undefined {
  const theirs = format === 'channelsLast' ? channelsLastStrides(shape) : contiguousStrides(shape);
  if (shape.some((d, i) => d !== 1 && strides[i] !== theirs[i])) return undefined;
  return { dimensions: shape, strides: theirs };
}

/** Four dimensions; those along which one element is repeated have size 1. */
function repeatedOnce({ shape, strides, offset }: Layout): Layout {
  const lead = Array<number>(4 - shape.length).fill(1);
  const own = shape.map((d, i) => (strides[i] === 0 ? 1 : d));
  return { shape: [...lead, ...own], strides: [...lead, ...strides], offset };
}
