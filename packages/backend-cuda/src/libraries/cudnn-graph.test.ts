// The cuDNN graphs of ops, as data: no library is needed.

import { describe, expect, test } from 'vitest';
import { activations } from '@darkroom/core';
import { layoutOf } from '@darkroom/core/backend';
import type { DType, Expr, Layout } from '@darkroom/core';
import type { ArgSpec, AttentionOp, Conv2dOp } from '@darkroom/core/backend';
import { attentionGraph } from './cudnn-attention.ts';
import { conv2dGraph } from './cudnn-conv2d.ts';
import type { CudnnGraph, Ref } from './cudnn-graph.ts';
import { linearEpilogue } from './epilogue.ts';

const op: Conv2dOp = { kind: 'conv2d', stride: [1, 2], padding: [0, 1, 2, 3], dilation: [1, 3], groups: 2 };
const image = (shape: number[], dtype: DType = 'float16'): ArgSpec => ({ dtype, layout: layoutOf(shape, 'channelsLast') }); // prettier-ignore
const plain = (shape: number[], dtype: DType = 'float16'): ArgSpec => ({ dtype, layout: layoutOf(shape) });
const [x, w, y] = [image([2, 16, 9, 8]), image([32, 8, 3, 1]), image([2, 32, 8, 7])];
const sum: Expr = ['add', ['in', 0], ['in', 1]];

/** A tensor's or a convolution's attributes. */
function settings(graph: CudnnGraph, { node }: Ref): Record<string, readonly (number | Ref)[]> {
  return Object.fromEntries(graph.nodes[node]!.settings.map(([name, , ...values]) => [name, values]));
}
const shapeOf = (graph: CudnnGraph, ref: number | Ref): unknown[] => {
  const { tensorDimensions, tensorStrides } = settings(graph, ref as Ref);
  return [tensorDimensions, tensorStrides];
};

describe('conv2dGraph', () => {
  test('is the convolution with both sides of its padding', () => {
    const graph = conv2dGraph(op, [x, w, y])!;
    expect(graph.operations.length).toBe(1);
    const operation = settings(graph, graph.operations[0]!);
    expect(settings(graph, operation['operationConvolutionForwardConvDesc']![0] as Ref)).toMatchObject({
      convolutionPrePaddings: [0, 2],
      convolutionPostPaddings: [1, 3],
      convolutionFilterStrides: [1, 2],
      convolutionDilations: [1, 3],
    });
    const tensors = ['X', 'W', 'Y'].map((t) => operation[`operationConvolutionForward${t}`]![0]!);
    expect(tensors.map((t) => shapeOf(graph, t))).toEqual([
      [[2, 16, 9, 8], [1152, 1, 128, 16]],
      [[32, 8, 3, 1], [24, 1, 8, 8]],
      [[2, 32, 8, 7], [1792, 1, 224, 32]],
    ]); // prettier-ignore
    const ids = tensors.map((t) => settings(graph, t as Ref)['tensorUniqueId']![0]);
    expect(graph.bindings.map((b) => ('arg' in b ? [b.id, b.arg] : []))).toEqual([
      [ids[0], 0],
      [ids[1], 1],
      [ids[2], 2],
    ]);
  });

  test('sizes of 1 get the strides of the format that all are in', () => {
    const pointwise = { ...op, stride: [1, 1], padding: [0, 0, 0, 0], groups: 1 } as const;
    const of = (graph: CudnnGraph): unknown[] => graph.bindings.map(({ id }) => {
      const tensor = graph.nodes.findIndex((n) => n.settings.some(([a, , v]) => a === 'tensorUniqueId' && v === id));
      return shapeOf(graph, { node: tensor })[1];
    }); // prettier-ignore
    // A 1x1 weight is in both formats, whichever strides it has.
    expect(of(conv2dGraph(pointwise, [x, plain([4, 16, 1, 1]), image([2, 4, 9, 8])])!)[1]).toEqual([16, 1, 16, 16]); // prettier-ignore
    expect(of(conv2dGraph(pointwise, [plain([2, 16, 9, 8]), image([4, 16, 1, 1]), plain([2, 4, 9, 8])])!)[1]).toEqual([16, 1, 1, 1]); // prettier-ignore
  });

  test('adds, then activates, in float32, and only the last result is stored', () => {
    const epilogue = activations.silu(['add', sum, ['in', 2]]);
    const graph = conv2dGraph({ ...op, epilogue }, [x, w, plain([32, 1, 1], 'float32'), y, y])!;
    expect(graph.operations.length).toBe(4);
    const steps = graph.operations.slice(1).map((o) => settings(graph, o));
    const results = [settings(graph, graph.operations[0]!)['operationConvolutionForwardY'], ...steps.map((s) => s['operationPointwiseYdesc'])]; // prettier-ignore
    const modes = steps.map((s) => settings(graph, s['operationPointwisePwDescriptor']![0] as Ref)['pointwiseMode']); // prettier-ignore
    expect(modes).toEqual([[0], [0], [106]]);
    expect(steps.map((s) => s['operationPointwiseXdesc'])).toEqual(results.slice(0, 3));
    const tensors = results.map((r) => settings(graph, r![0] as Ref));
    expect(tensors.map((t) => [t['tensorIsVirtual'], t['tensorDataType']])).toEqual([
      [[1], [0]],
      [[1], [0]],
      [[1], [0]],
      [undefined, [2]],
    ]);
    const bias = steps[0]!['operationPointwiseBdesc']![0] as Ref;
    expect(shapeOf(graph, bias)).toEqual([
      [1, 32, 1, 1],
      [32, 1, 32, 32],
    ]);
    expect(settings(graph, bias)['tensorDataType']).toEqual([0]);
    const arg = (ref: Ref): unknown => graph.bindings.find((b) => b.id === settings(graph, ref)['tensorUniqueId']![0]); // prettier-ignore
    expect(arg(bias)).toMatchObject({ arg: 2 });
    expect(arg(steps[1]!['operationPointwiseBdesc']![0] as Ref)).toMatchObject({ arg: 3 });
    expect(arg(results[3]![0] as Ref)).toMatchObject({ arg: 4 });
  });

  test('refuses what it cannot say', () => {
    const bias = plain([32, 1, 1]);
    const given = (more: Partial<Conv2dOp>, ...args: ArgSpec[]): unknown =>
      conv2dGraph({ ...op, ...more }, args);
    expect(given({ epilogue: sum }, x, w, bias, y)).toBeDefined();
    expect(given({ epilogue: activations.relu(sum) }, x, w, bias, y)).toBeUndefined();
    expect(given({ epilogue: ['mul', 2, sum] }, x, w, bias, y)).toBeUndefined();
    expect(given({ epilogue: ['mul', ['in', 0], ['in', 1]] }, x, w, bias, y)).toBeUndefined();
    expect(given({ epilogue: ['exp', ['in', 0]] }, x, w, y)).toBeUndefined();
    expect(given({ epilogue: sum }, x, w, plain([2, 32, 8, 7]), y)).toBeUndefined(); // a residual of another format
    expect(given({}, x, plain([32, 8, 3, 1]), y)).toBeUndefined();
    expect(given({}, image([2, 16, 9, 8], 'float32'), w, y)).toBeUndefined();
    expect(given({}, image([0, 16, 9, 8]), w, image([0, 32, 8, 7]))).toBeUndefined();
    expect(given({ padding: [-1, 1, 2, 3] }, x, w, y)).toBeUndefined();
    const part: Layout = { ...x.layout, strides: [4608, 1, 512, 64] }; // 16 of 64 channels
    expect(given({}, { ...x, layout: part }, w, y)).toBeUndefined();
  });

  test('only tf32 or half precision may be rounded for tensor cores', () => {
    const exact = (dtype: DType, more: Partial<Conv2dOp> = {}): boolean =>
      conv2dGraph({ ...op, ...more }, [image([2, 16, 9, 8], dtype), image([32, 8, 3, 1], dtype), image([2, 32, 8, 7], dtype)])!.exact; // prettier-ignore
    expect(exact('float32')).toBe(true);
    expect(exact('float32', { precision: 'tf32' })).toBe(false);
    expect(exact('bfloat16')).toBe(false);
  });
});

describe('attentionGraph', () => {
  const attention: AttentionOp = { kind: 'attention', scale: 0.25, mask: 'none' };
  const heads = (l: number, d = 16): ArgSpec => ({
    dtype: 'float16',
    layout: { shape: [2, 3, l, d], strides: [l * 3 * d, d, 3 * d, 1], offset: 0 },
  });

  test('takes heads as views of rows, and the scale by value', () => {
    const graph = attentionGraph(attention, [heads(10), heads(7), heads(7), heads(10)])!;
    const operation = settings(graph, graph.operations[0]!);
    const shapes = ['Q', 'K', 'V', 'O'].map((t) =>
      shapeOf(graph, operation[`operationSdpaFwd${t}desc`]![0]!),
    );
    expect(shapes).toEqual([10, 7, 7, 10].map((l) => [[2, 3, l, 16], [48 * l, 16, 48, 1]])); // prettier-ignore
    const scale = settings(graph, operation['operationSdpaFwdScaledesc']![0] as Ref);
    expect(scale).toMatchObject({ tensorIsByValue: [1], tensorDimensions: [1, 1, 1, 1] });
    expect(graph.bindings).toEqual([
      ...[0, 1, 2, 3].map((arg) => ({ id: arg + 1, arg })),
      { id: 5, value: 0.25 },
    ]);
  });
  test('strides along one element do not matter', () => {
    const of = (strides: number[]): unknown => {
      const one: ArgSpec = { dtype: 'float16', layout: { shape: [1, 1, 10, 16], strides, offset: 0 } };
      return attentionGraph(attention, [one, one, one, one]);
    };
    expect(of([0, 7, 16, 1])).toEqual(of([160, 160, 16, 1]));
  });
  test('refuses masks, float32, and heads that are not whole vectors', () => {
    const of = (more: Partial<AttentionOp>, ...args: ArgSpec[]): unknown => attentionGraph({ ...attention, ...more }, args);
    const [q, k] = [heads(10), heads(7)];
    expect(of({}, q, k, k, q)).toBeDefined();
    expect(of({ mask: 'causal' }, q, k, k, q)).toBeUndefined();
    expect(of({ mask: 'additive' }, q, k, k, plain([2, 3, 10, 7]), q)).toBeUndefined();
    expect(of({}, ...[q, k, k, q].map((a): ArgSpec => ({ ...a, dtype: 'float32' })))).toBeUndefined();
    expect(of({}, q, { ...k, dtype: 'bfloat16' }, k, q)).toBeUndefined();
    expect(of({}, heads(10, 12), heads(7, 12), heads(7, 12), heads(10, 12))).toBeUndefined();
    const transposed: Layout = { shape: [2, 3, 7, 16], strides: [336, 112, 1, 7], offset: 0 };
    expect(of({}, q, { ...k, layout: transposed }, k, q)).toBeUndefined();
    const odd: Layout = { shape: [2, 3, 7, 16], strides: [364, 16, 52, 1], offset: 0 };
    expect(of({}, q, { ...k, layout: odd }, k, q)).toBeUndefined();
  }); // prettier-ignore
});

describe('linearEpilogue', () => {
  test.each([
    [undefined, { scale: 1, terms: [] }],
    [['mul', ['in', 0], 3] as Expr, { scale: 3, terms: [] }],
    [['add', ['mul', 2, ['add', ['in', 2], ['in', 0]]], ['in', 1]] as Expr,
      { scale: 2, terms: [{ input: 2, factor: 2 }, { input: 1, factor: 1 }] }],
    [activations.gelu(sum), { scale: 1, terms: [{ input: 1, factor: 1 }], activation: 'gelu' }],
    [activations.geluTanh(['in', 0]), { scale: 1, terms: [], activation: 'geluTanh' }],
    [activations.quickGelu(['in', 0]), { scale: 1, terms: [], activation: 'quickGelu' }],
    [activations.silu(activations.silu(sum)), undefined],
    [['mul', ['in', 0], ['sigmoid', sum]] as Expr, undefined],
    [['add', ['in', 0], ['in', 0]] as Expr, undefined],
    [['add', sum, ['in', 1]] as Expr, undefined],
    [['add', ['in', 0], 1] as Expr, undefined],
    [['in', 1] as Expr, undefined],
  ])('%j', (expr, want) => expect(linearEpilogue(expr)).toEqual(want)); // prettier-ignore
});
