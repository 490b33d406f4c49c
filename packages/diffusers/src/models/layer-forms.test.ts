// Layers whose weight is an encoding, and layers with adapters: what they compute, and that traces, offload, to() and
// dispose() find their tensors.

import { cpu } from '@darkroom/backend-cpu';
import {
  conv2d,
  Conv2d,
  EncodedWeight,
  isOnHost,
  keep,
  Linear,
  linear,
  map,
  Module,
  mul,
  nn,
  parameter,
  plainLayers,
  randomNormal,
  scope,
  Scope,
  tensor,
  trace,
  withLayers,
} from '@darkroom/core';
import { recordGraph } from '@darkroom/core/graph'; // prettier-ignore
import type { Device, Tensor } from '@darkroom/core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { relativeL2 } from '@darkroom/core/testing';
import { emojiConfig, randomWeights } from '../node/testing.ts';
import { ModelOffload } from '../offload/model.ts';
import { SequentialOffload } from '../offload/sequential.ts';
import { UNet2DConditionModel } from './unet2d-condition.ts';

/** Eight bits a weight, with a scale for each row: w = (q - 128) · scale. */
class Rows8 extends EncodedWeight {
  values: Tensor;
  scale: Tensor;

  constructor(shape: readonly number[]) {
    super(shape);
    this.values = parameter(shape, 'uint8');
    this.scale = parameter([shape[0]!, ...shape.slice(1).map(() => 1)]);
  }

  override forward(): Tensor {
    return map(['mul', ['sub', ['in', 0], 128], ['in', 1]], [this.values, this.scale], {
      dtype: this.scale.dtype,
    });
  }

  /** The encoding of a dense weight. */
  static encode(weight: ArrayLike<number>, shape: readonly number[], device: Device): Map<string, Tensor> {
    const rows = shape[0]!;
    const width = weight.length / rows;
    const scales = Array.from({ length: rows }, (_, r) => {
      let most = 1e-9;
      for (let i = 0; i < width; i++) most = Math.max(most, Math.abs(weight[r * width + i]!));
      return most / 127;
    });
    const values = Array.from(weight, (w, i) => 128 + Math.round(w / scales[Math.floor(i / width)]!));
    const scaleShape = [rows, ...shape.slice(1).map(() => 1)];
    return new Map([
      ['values', keep(tensor(values, { shape, dtype: 'uint8', device }))],
      ['scale', keep(tensor(scales, { shape: scaleShape, device }))],
    ]);
  }
}

/** LoRA on a Linear: up · (down · x), times a factor. */
class LowRank extends Module<[x: Tensor], Tensor> {
  down: Linear;
  up: Linear;
  constructor(inFeatures: number, rank: number, outFeatures: number) {
    super();
    this.down = new Linear(inFeatures, rank, { bias: false });
    this.up = new Linear(rank, outFeatures, { bias: false });
  }
  override forward(x: Tensor): Tensor {
    return mul(this.up.call(this.down.call(x)), 0.5);
  }
}
/** LoRA on a Conv2d: `down` has its geometry, `up` is 1x1. */
class LowRankConv extends Module<[x: Tensor], Tensor> {
  down: Conv2d;
  up: Conv2d;
  constructor(inChannels: number, rank: number, outChannels: number, of: Conv2d, kernel: number) {
    super();
    this.down = new Conv2d(inChannels, rank, kernel, { ...of.options, hasBias: false });
    this.up = new Conv2d(rank, outChannels, 1, { hasBias: false });
  }
  override forward(x: Tensor): Tensor {
    return mul(this.up.call(this.down.call(x)), 0.5);
  }
}

/** A convolution with a fused residual, then a product with a fused activation. */
class Net extends Module<[x: Tensor], Tensor> {
  conv: Conv2d = nn.conv2d(4, 4, 3, { padding: 1 });
  proj: Linear = nn.linear(6, 5);
  override forward(x: Tensor): Tensor {
    return this.proj.call(this.conv.call(x, { residual: x }), { activation: 'silu' });
  }
}

let device: Device;
let memory: Scope;
let x: Tensor;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
});
beforeEach(() => {
  memory = new Scope();
  x = memory.run(() => randomNormal([2, 4, 6, 6], { device, seed: 1 }));
  return () => {
    memory.dispose();
    expect(device.memory().live).toBe(0);
  };
});
afterAll(() => device[Symbol.dispose]());

const valuesOf = (f: () => Tensor): ArrayLike<number> => memory.run(() => scope(f)).dataSync();
const outOf = (net: Net): ArrayLike<number> => valuesOf(() => net.call(x));

/** Checks that traces, offload, conversion and freeing handle all tensors of `net`. */
async function checkWeights(net: Net): Promise<void> {
  const want = outOf(net);
  const keys = [...net.stateDict().keys()];
  const traced = await trace(net, [x], { passes: [] });
  expect(valuesOf(() => traced.call(x))).toEqual(want);
  const { graph, constants } = recordGraph((given) => net.call(given['x']!), { x }, net.parameters());
  expect(new Set(graph.params.map((p) => p.name))).toEqual(new Set(net.parameters().keys()));
  expect(constants.size).toBe(0);
  traced.release();
  for (const policy of [ModelOffload, SequentialOffload]) {
    await net.toHost();
    expect([...net.parameters().values()].every(isOnHost)).toBe(true);
    const offload = new policy({ net });
    await offload.begin(offload, { net });
    expect(outOf(net)).toEqual(want);
    offload.finish();
    expect([...net.parameters().values()].every(isOnHost)).toBe(true);
    offload.leave();
    await net.to({ device });
  }
  await net.to({ dtype: 'float16' });
  for (const p of net.parameters().values()) expect(['float16', 'uint8']).toContain(p.dtype);
  expect([...net.stateDict().keys()]).toEqual(keys);
  net.dispose();
  expect([...net.parameters().values()].every((p) => p.isDisposed)).toBe(true);
}

test('an encoded weight computes what its dense form does, and its tensors are parameters', async () => {
  const plain = randomWeights(new Net(), device);
  const encoding = {
    linear: (...[i, o, options]: Parameters<typeof nn.linear>) =>
      new Linear(i, o, { ...options, weight: new Rows8([o, i]) }),
    conv2d: (...[i, o, k, options]: Parameters<typeof nn.conv2d>) =>
      new Conv2d(i, o, k, { ...options, weight: new Rows8([o, i, k, k]) }),
  };
  const net = withLayers(encoding, () => new Net());
  expect([...net.stateDict().keys()]).toEqual([
    'conv.bias',
    'conv.weight.values',
    'conv.weight.scale',
    'proj.bias',
    'proj.weight.values',
    'proj.weight.scale',
  ]);
  const weights = new Map<string, Tensor>();
  for (const [key, p] of plain.stateDict()) {
    if (key.endsWith('bias')) weights.set(key, keep(p.alias()));
    else
      for (const [part, t] of Rows8.encode(p.dataSync(), p.shape, device)) weights.set(`${key}.${part}`, t);
  }
  net.loadStateDict(weights);
  const error = relativeL2(outOf(net), outOf(plain));
  expect(error > 0 && error < 0.01).toBe(true);
  // The same numbers as with the dense form of the same encoding.
  plain.dispose();
  const bare = new Net();
  for (const layer of ['conv', 'proj'] as const) {
    bare[layer].setParameter('weight', keep((net[layer].weight as Rows8).call()));
    bare[layer].setParameter('bias', keep(net[layer].bias!.alias()));
  }
  expect(outOf(net)).toEqual(outOf(bare));
  bare.dispose();
  await checkWeights(net);
});

test('adapters add their product before the activation; weights and keys of the layer stay', async () => {
  const net = randomWeights(new Net(), device);
  const before = new Map(net.stateDict());
  const plain = outOf(net);
  const ofConv = randomWeights(new LowRankConv(4, 2, 4, net.conv, 3), device, 7);
  const ofProj = [8, 9].map((seed) => randomWeights(new LowRank(6, 2, 5), device, seed));
  net.conv.addAdapter('style', ofConv);
  net.proj.addAdapter('style', ofProj[0]!);
  net.proj.addAdapter('person', ofProj[1]!);
  expect([...net.proj.adapters.keys()]).toEqual(['style', 'person']);
  expect(net.stateDict()).toEqual(before);
  expect([...net.parameters().keys()].filter((key) => !before.has(key))).toEqual([
    'conv.adapters.style.down.weight',
    'conv.adapters.style.up.weight',
    'proj.adapters.style.down.weight',
    'proj.adapters.style.up.weight',
    'proj.adapters.person.down.weight',
    'proj.adapters.person.up.weight',
  ]);
  const sum = valuesOf(() => {
    const { weight, bias } = net.conv as { weight: Tensor; bias: Tensor };
    const extra = map(['add', ['in', 0], ['in', 1]], [x, ofConv.call(x)]);
    const h = conv2d(x, weight, { padding: 1, bias, residual: extra });
    const [a, b] = ofProj.map((adapter) => adapter.call(h)) as [Tensor, Tensor];
    const residual = map(['add', ['in', 0], ['in', 1]], [a, b]);
    return linear(h, net.proj.weight as Tensor, { bias: net.proj.bias, residual, activation: 'silu' });
  });
  expect(outOf(net)).toEqual(sum);
  expect(outOf(net)).not.toEqual(plain);

  expect(net.proj.removeAdapter('style')).toBe(ofProj[0]);
  expect(net.proj.removeAdapter('style')).toBeUndefined();
  expect(() => net.proj.addAdapter('person', ofProj[0]!)).toThrow("'adapters.person' is taken already");
  expect(() => net.proj.addAdapter('again', ofProj[1]!)).toThrow('belongs to another module');
  ofProj[0]!.dispose();
  await checkWeights(net);
});

test('a whole model is built with the layers of a factory, without an edit of it', () => {
  const made: string[] = [];
  const config = emojiConfig('unet', { block_out_channels: [16, 16, 32], layers_per_block: 1 });
  const counting = {
    linear: (...args: Parameters<typeof nn.linear>) => (made.push('linear'), plainLayers.linear(...args)),
    conv2d: (...args: Parameters<typeof nn.conv2d>) => (made.push('conv2d'), plainLayers.conv2d(...args)),
  };
  const unet = withLayers(counting, () => UNet2DConditionModel.fromConfig(config));
  const layers = [...unet.namedModules()]
    .map(([, m]) => m)
    .filter((m) => m instanceof Linear || m instanceof Conv2d);
  expect(made).toHaveLength(layers.length);
  expect([...UNet2DConditionModel.fromConfig(config).stateDict().keys()]).toEqual([
    ...unet.stateDict().keys(),
  ]);
  expect(made).toHaveLength(layers.length); // the factory is out of use again
});
