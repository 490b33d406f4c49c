import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { nullBackend } from '../backends/null.ts';
import { log } from '../debug.ts';
import { Device } from '../device.ts';
import { FormatError } from '../errors.ts';
import { Conv2d, GroupNorm, Linear } from '../nn/layers.ts';
import { Module } from '../nn/module.ts';
import { attention } from '../ops/attention.ts';
import { assign } from '../dispatch.ts';
import { concat } from '../ops/copy.ts';
import { full } from '../ops/fill.ts';
import { add } from '../ops/pointwise.ts';
import { mean } from '../ops/reduce.ts';
import { resize } from '../ops/resize.ts';
import { softmax } from '../ops/softmax.ts';
import { Tensor } from '../tensor.ts';
import { printGraph } from './print.ts';
import { recordGraph } from './record.ts';
import { runGraph } from './run.ts';
import { parseGraph, serializeGraph } from './serialize.ts';

class Block extends Module<[x: Tensor], Tensor> {
  norm: GroupNorm = new GroupNorm(4, 8);
  conv: Conv2d = new Conv2d(8, 8, 3, { padding: 1 });
  to_q: Linear = new Linear(8, 8, { bias: false });

  override forward(x: Tensor): Tensor {
    const y = this.conv.call(this.norm.call(x, 'silu'), { residual: x });
    const [n, c, h, w] = y.shape as [number, number, number, number];
    const tokens = y.permute(0, 2, 3, 1).view([n, h * w, c]);
    const q = this.to_q
      .call(tokens)
      .view([n, h * w, 2, 4])
      .permute(0, 2, 1, 3);
    return attention(q, q, q)
      .permute(0, 2, 1, 3)
      .view([n, h * w, c]);
  }
}

test('a block traces without a device or weights, and prints', () => {
  const block = new Block();
  const { graph } = recordGraph(
    ({ x }) => block.call(x!),
    { x: Tensor.abstract('float32', [2, 8, 4, 4]) },
    block.stateDict(),
  );
  expect(printGraph(graph)).toMatchInlineSnapshot(`
    "inputs %0 x: f32[2,8,4,4]
    %3: f32[2,8,4,4] = groupNorm(%0, p:norm.weight, p:norm.bias) groups=4 eps=0.00001 activation="silu"
    %6: f32[8,1,1] = reshape(p:conv.bias) shape=[8,1,1]
    %7: f32[2,8,4,4] = conv2d(%3, p:conv.weight, %6, %0) padding=[1,1,1,1] epilogue=["add",["add",["in",0],["in",1]],["in",2]]
    %8: f32[2,4,4,8]strided = permute(%7) axes=[0,2,3,1]
    %9: f32[2,16,8]strided = reshape(%8) shape=[2,16,8]
    %11: f32[8,8]strided = permute(p:to_q.weight) axes=[1,0]
    %12: f32[2,16,8] = matmul(%9, %11)
    %13: f32[2,16,2,4] = reshape(%12) shape=[2,16,2,4]
    %14: f32[2,2,16,4]strided = permute(%13) axes=[0,2,1,3]
    %15: f32[2,2,16,4]strided = attention(%14, %14, %14) scale=0.5
    %16: f32[2,16,2,4] = permute(%15) axes=[0,2,1,3]
    %17: f32[2,16,8] = reshape(%16) shape=[2,16,8]
    outputs output: %17"
  `);
});

test('in channels last a transformer block has no copy', () => {
  const block = new Block();
  const x = Tensor.abstract('float32', [2, 4, 4, 8]).permute(0, 3, 1, 2);
  expect(x.memoryFormat).toBe('channelsLast');
  const { graph } = recordGraph(({ x: input }) => block.call(input!), { x }, block.stateDict());
  expect(graph.nodes.filter((n) => n.op.kind === 'copy')).toEqual([]);
  expect(graph.nodes.at(-1)!.module).toBe('');
  expect(graph.nodes.find((n) => n.op.kind === 'conv2d')!.module).toBe('conv');
});

test('writing through a slice gives a new value that earlier views see', () => {
  const base = Tensor.abstract('float32', [2, 4]);
  const { graph } = recordGraph(
    ({ b, x }) => {
      const whole = add(b!, 0);
      const half = whole.slice(1, 2, 4);
      assign(x!, half);
      return add(whole, 1);
    },
    { b: base, x: Tensor.abstract('float32', [2, 2]) },
  );
  const copies = graph.nodes.filter((n) => n.op.kind === 'copy');
  expect(copies.length).toBe(2); // the assignment itself, then its placement in the base
  expect(graph.nodes.at(-1)!.inputs).toEqual([copies[1]!.id]);
});

test('a captured tensor is a constant, with a warning', () => {
  const device = new Device(nullBackend());
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  const stray = Tensor.abstract('float32', [3], device);
  const { graph, constants } = recordGraph(({ x }) => add(x!, stray), { x: Tensor.abstract('float32', [3]) });
  expect(graph.constants.map((c) => c.name)).toEqual(['constant.0']);
  expect(constants.get('constant.0')!.spec).toEqual(stray.spec);
  expect(warn.mock.calls[0]![0]).toContain('captured as constant.0');
  warn.mockRestore();
});

test('replay checks names, dtypes and shapes', () => {
  const device = new Device(nullBackend());
  const { graph } = recordGraph(({ x }) => add(x!, 1), { x: Tensor.abstract('float32', [3]) });
  expect(() => runGraph(graph, {}, { device })).toThrow("input 'x' is missing");
  const wrong = Tensor.abstract('float32', [4]);
  expect(() => runGraph(graph, { x: wrong }, { device })).toThrow(
    "input 'x' was traced as float32[3], got float32[4]",
  );
});

function sample(): string {
  const block = new Block();
  const input = { x: Tensor.abstract('float32', [1, 8, 2, 2]) };
  const body = ({ x }: Readonly<Record<string, Tensor>>): Tensor => {
    const joined = concat([block.call(x!), block.call(x!)], 1);
    const weights = softmax(add(joined.slice(1, 0, 8), full([1], 2, { device: undefined })));
    return mean(resize(weights.view([1, 1, 8, 8]), [4, 4]), { axes: [1], keepDims: true });
  };
  return serializeGraph(recordGraph(body, input, block.stateDict()).graph);
}

test('a graph survives its file', () => {
  const text = sample();
  expect(serializeGraph(parseGraph(text, 'a.graph.json'))).toBe(text);
});

test('a damaged file is refused with a FormatError, whatever was changed', () => {
  const text = sample();
  const json = JSON.parse(text) as unknown;
  const paths: (string | number)[][] = [];
  const walk = (v: unknown, path: (string | number)[]): void => {
    if (path.length > 0) paths.push(path);
    if (typeof v === 'object' && v !== null)
      for (const [k, child] of Object.entries(v)) walk(child, [...path, k]);
  };
  walk(json, []);
  const junk = fc.constantFrom<unknown>(null, -1, 1e9, 0.5, 'x', [], {}, [1e9, 1e9, 1e9], ['exec', 1], true);
  fc.assert(
    fc.property(fc.nat(paths.length - 1), junk, (at, value) => {
      const copy = JSON.parse(text) as Record<string, unknown>;
      const path = paths[at]!;
      let target = copy as Record<string | number, unknown>;
      for (const key of path.slice(0, -1)) target = target[key] as Record<string | number, unknown>;
      target[path.at(-1)!] = value;
      try {
        const graph = parseGraph(JSON.stringify(copy), 'f');
        expect(graph.schema).toBe(1); // a harmless change: a name, a module path, an equal value
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        expect((error as Error).message.startsWith('f:')).toBe(true);
      }
    }),
    { numRuns: 1500 },
  );
  expect(() => parseGraph(text.slice(0, 100), 'f')).toThrow('f: is not JSON');
});

/** The sample with one op changed. */
function edited(
  kind: string,
  edit: (node: { op: Record<string, unknown>; inputs: number[] }) => void,
): string {
  const json = JSON.parse(sample()) as { nodes: { op: Record<string, unknown>; inputs: number[] }[] };
  edit(json.nodes.find((n) => n.op['kind'] === kind)!);
  return JSON.stringify(json);
}

test.each<[string, string, Parameters<typeof edited>[1], string]>([
  [
    'a program of a stranger',
    'map',
    (n) => (n.op = { kind: 'custom', name: 'x', sources: {} }),
    'custom ops are not read',
  ],
  [
    'an input beyond',
    'conv2d',
    (n) => (n.op['epilogue'] = ['in', 7]),
    'an expression of conv2d reads ["in",7]',
  ],
  ['a number an epilogue has not', 'conv2d', (n) => (n.op['epilogue'] = ['scalar', 0]), 'reads ["scalar",0]'],
  [
    'a coordinate beyond',
    'map',
    (n) => (n.op['expr'] = ['index', 3]),
    'an expression of map reads ["index",3]',
  ],
  ['too many inputs', 'softmax', (n) => n.inputs.push(n.inputs[0]!), 'softmax takes 1 to 1 inputs, not 2'],
  ['half a group', 'groupNorm', (n) => (n.op['groups'] = 0.5), "'groups' of groupNorm may not be 0.5"],
  ['a step of nothing', 'conv2d', (n) => (n.op['stride'] = [0, 0]), "'stride' of conv2d may not be [0,0]"],
  [
    'an unknown attribute',
    'resize',
    (n) => (n.op['antialias'] = true),
    "resize has an unknown attribute 'antialias'",
  ],
  ['a missing attribute', 'attention', (n) => delete n.op['scale'], "attention has no 'scale'"],
  [
    'strides that lie',
    'permute',
    (n) => Object.assign(n, { strides: [0, 0, 0, 0] }),
    'with strides [0,0,0,0] but its inputs give',
  ],
  ['a prototype key', 'map', (n) => (n.op['kind'] = 'constructor'), "unknown op kind 'constructor'"],
])('%s is refused', (_, kind, edit, message) => {
  expect(() => parseGraph(edited(kind, edit), 'f')).toThrow(message);
});
