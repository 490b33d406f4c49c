// Processors put into single layers: with weights of their own, reading what an adapter added, and the plain one's bits.

import { cpu } from '@darkroom/backend-cpu';
import {
  add,
  cast,
  concat,
  isOnHost,
  keep,
  mul,
  nn,
  Module,
  randomNormal,
  scope,
  Scope,
  trace,
} from '@darkroom/core';
import type { Device, Linear, Tensor } from '@darkroom/core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { emojiConfig, randomWeights } from '../node/testing.ts';
import { ModelOffload } from '../offload/model.ts';
import { SequentialOffload } from '../offload/sequential.ts';
import { mergeHeads, plainProcessor, splitHeads } from './attention-processor.ts';
import type { AttentionCall, AttentionProcessor } from './attention-processor.ts';
import { slicedAttention } from './attention-strategies.ts';
import type { Attention } from './attention.ts';
import { ConditioningKey } from './conditioning.ts';
import type { Conditioning } from './conditioning.ts';
import { UNet2DConditionModel } from './unet2d-condition.ts';

const imageEmbeds = new ConditioningKey<Tensor>('imageEmbeds');

/** As IP-Adapter's: the layer's queries also attend to an image. */
class ImageProcessor extends Module<[AttentionCall], Tensor> {
  to_k_ip: Linear;
  to_v_ip: Linear;

  constructor(width: number, inner: number) {
    super();
    this.to_k_ip = nn.linear(width, inner, { bias: false });
    this.to_v_ip = nn.linear(width, inner, { bias: false });
  }

  override forward({
    attn,
    hiddenStates,
    encoderHiddenStates,
    conditioning,
    strategy,
  }: AttentionCall): Tensor {
    const options = { scale: attn.scale };
    const q = splitHeads(attn, attn.to_q.call(hiddenStates));
    const seen = (from: Tensor, k: Linear, v: Linear): Tensor =>
      mergeHeads(
        attn,
        strategy.run(q, splitHeads(attn, k.call(from)), splitHeads(attn, v.call(from)), options),
      );
    const text = seen(encoderHiddenStates, attn.to_k, attn.to_v);
    const image = imageEmbeds.of(conditioning);
    const merged = image ? add(text, mul(seen(image, this.to_k_ip, this.to_v_ip), 0.5)) : text;
    return attn.to_out[0].call(cast(merged, hiddenStates.dtype));
  }
}

/** Queries, keys and values of self-attention by one product. */
class FusedProcessor extends Module<[AttentionCall], Tensor> {
  to_qkv: Linear;

  constructor(attn: Attention) {
    super();
    const weights = [attn.to_q, attn.to_k, attn.to_v].map(({ weight }) => weight as Tensor);
    const [out, width] = weights[0]!.shape as [number, number];
    this.to_qkv = nn.linear(width, 3 * out, { bias: false });
    this.to_qkv.setParameter('weight', keep(concat(weights, 0)));
  }

  override forward({ attn, hiddenStates, strategy }: AttentionCall): Tensor {
    const parts = this.to_qkv.call(hiddenStates).chunk(3, 2);
    const [q, k, v] = parts.map((part) => splitHeads(attn, part)) as [Tensor, Tensor, Tensor];
    return attn.to_out[0].call(mergeHeads(attn, strategy.run(q, k, v, { scale: attn.scale })));
  }
}

const config = { block_out_channels: [16, 16, 32], cross_attention_dim: 24, layers_per_block: 1 };
let device: Device;
let unet: UNet2DConditionModel;
let memory: Scope;
let args: [Tensor, number, Conditioning];
beforeAll(async () => {
  device = await cpu({ threads: 1 });
});
beforeEach(() => {
  unet = randomWeights(UNet2DConditionModel.fromConfig(emojiConfig('unet', config)), device, 3);
  memory = new Scope();
  args = memory.run(() => {
    const [sample, text] = [
      [2, 4, 8, 8],
      [2, 7, 24],
    ].map((shape, seed) => randomNormal(shape, { device, seed }));
    return [sample!, 321, { encoderHiddenStates: text! }];
  });
  return () => {
    memory.dispose();
    unet.dispose();
    expect(device.memory().live).toBe(0);
  };
});
afterAll(() => device[Symbol.dispose]());

const layersOf = (kind: 'attn1' | 'attn2'): [string, Attention][] =>
  [...unet.namedModules()].filter(([path]) => path.endsWith(`.${kind}`)) as never;
const draw = (conditioning = args[2]): unknown =>
  memory.run(() => scope(() => unet.call(args[0], args[1], conditioning).sample)).dataSync();
/** The conditioning with an image. */
const withImage = (): Conditioning =>
  imageEmbeds.with(
    args[2],
    memory.run(() => randomNormal([2, 3, 20], { device, seed: 9 })),
  );
/** An ImageProcessor in the first cross-attention. */
function putIn(): string {
  const [path, attn] = layersOf('attn2')[0]!;
  const processor = randomWeights(new ImageProcessor(20, attn.heads * attn.headDim), device, 5);
  unet.setAttnProcessor({ [path]: processor });
  expect(unet.attnProcessors[path]).toBe(processor);
  return path;
}

test('a processor sees the layer, its input, all conditions and the strategy, in self-attention too', () => {
  const want = draw();
  const seen: AttentionCall[] = [];
  const watching: AttentionProcessor = {
    call(call) {
      seen.push(call);
      return plainProcessor.call(call);
    },
  };
  unet.setAttnProcessor(watching);
  unet.setAttentionSlice(1);
  expect(draw()).toEqual(want);
  const layers = new Set([...layersOf('attn1'), ...layersOf('attn2')].map(([, attn]) => attn));
  expect(new Set(seen.map((call) => call.attn))).toEqual(layers);
  for (const { attn, hiddenStates, encoderHiddenStates, conditioning, strategy } of seen) {
    expect(conditioning).toBe(args[2]);
    expect(encoderHiddenStates).toBe(attn.isCross ? args[2].encoderHiddenStates : hiddenStates);
    expect(strategy).toBe(attn.strategy);
  }
  unet.setAttnProcessor(slicedAttention(1)); // a strategy brings the plain processor back
  expect(Object.values(unet.attnProcessors).every((p) => p !== watching)).toBe(true);
});

test('a processor with weights: no keys of the checkpoint, but found by traces, to() and dispose()', async () => {
  const keys = [...unet.stateDict().keys()];
  const want = draw();
  const path = putIn();
  expect([...unet.stateDict().keys()]).toEqual(keys);
  expect([...unet.parameters().keys()].filter((key) => !keys.includes(key))).toEqual([
    `${path}.processor.to_k_ip.weight`,
    `${path}.processor.to_v_ip.weight`,
  ]);
  expect(draw()).toEqual(want);
  const conditioning = withImage();
  const drawn = draw(conditioning);
  expect(drawn).not.toEqual(want);

  const traced = await trace(unet, [args[0], args[1], conditioning], { passes: [] });
  expect(traced.plans[0]!.inputs.map((input) => input.name)).toContain('arg2.adapters.imageEmbeds');
  expect(memory.run(() => traced.call(args[0], args[1], conditioning).sample).dataSync()).toEqual(drawn);
  traced.release();

  await unet.to({ dtype: 'float16' });
  expect(new Set([...unet.parameters().values()].map((p) => p.dtype))).toEqual(new Set(['float16']));
});

test.each([
  ['model', (given: object) => new ModelOffload(given)],
  ['sequential', (given: object) => new SequentialOffload(given)],
])('a processor with weights under %s offload', async (_, policy) => {
  putIn();
  const conditioning = withImage();
  const want = draw(conditioning);
  const allOnHost = (): boolean => [...unet.parameters().values()].every(isOnHost);
  await unet.toHost();
  expect(allOnHost()).toBe(true);
  const offload = policy({ unet });
  await offload.begin(offload, { unet });
  expect(draw(conditioning)).toEqual(want);
  offload.finish();
  expect(allOnHost()).toBe(true);
  offload.leave();
});

test('fused projections give the bits of the plain ones', () => {
  const want = draw();
  const fused = memory.run(() =>
    Object.fromEntries(layersOf('attn1').map(([path, attn]) => [path, new FusedProcessor(attn)])),
  );
  unet.setAttnProcessor(fused);
  expect(draw()).toEqual(want);
  unet.setAttnProcessor(plainProcessor);
  for (const processor of Object.values(fused)) processor.dispose(); // they are the caller's again
  expect(draw()).toEqual(want);
});

test('a processor with weights is of one layer', () => {
  const [[first], [second]] = layersOf('attn2') as [[string, Attention], [string, Attention]];
  const shared = new ImageProcessor(20, 16);
  const rule = 'a processor with weights is for one layer';
  expect(() => unet.setAttnProcessor(shared)).toThrow(rule);
  expect(() => unet.setAttnProcessor({ [first]: shared, [second]: shared })).toThrow(rule);
  unet.setAttnProcessor({ [first]: shared });
  expect(() => unet.setAttnProcessor({ [second]: shared })).toThrow('belongs to another module');
  unet.setAttnProcessor(plainProcessor);
  unet.setAttnProcessor({ [second]: shared });
  unet.setAttnProcessor(plainProcessor);
  shared.dispose();
});
