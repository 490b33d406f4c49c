// Weights into models: fused, transposed and renamed layouts, several components, and host memory without the device.

import { cpu } from '@darkroom/backend-cpu';
import { Device, hostCopyOf, isOnHost, Linear, memorySource, Module, nullBackend, randomNormal, writeSafetensors } from '@darkroom/core'; // prettier-ignore
import type { DataArray, DType, Tensor } from '@darkroom/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { transpose, splitRows } from './key-conversion.ts';
import type { KeyConversion } from './key-conversion.ts';
import { loadWeights } from './load-weights.ts';
import type { LoadWeightsOptions } from './load-weights.ts';

class Net extends Module<[], never> {
  to_q: Linear = new Linear(4, 4, { bias: false });
  to_k: Linear = new Linear(4, 4, { bias: false });
  to_v: Linear = new Linear(4, 4, { bias: false });
  out: Linear = new Linear(4, 6);
  override forward(): never {
    throw new Error('only loaded');
  }
}

let device: Device;
let file: Uint8Array;
/** A fused in_proj_weight [3d, d], a transposed product, a 1x1 convolution's bias shape, and a buffer. */
let stored: Map<string, Tensor>;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
  const shapes: Record<string, number[]> = { in_proj_weight: [12, 4], 'out.kernel': [4, 6], 'out.bias': [6], buffer: [2] };
  stored = new Map(Object.entries(shapes).map(([key, shape], seed) => [key, randomNormal(shape, { device, seed })]));
  const pieces: Uint8Array[] = [];
  for await (const piece of writeSafetensors(stored) as unknown as AsyncIterable<Uint8Array>) pieces.push(piece.slice());
  file = new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}); // prettier-ignore
afterAll(() => {
  for (const t of stored.values()) t.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

const convert: KeyConversion = (key, shape) => {
  if (key === 'buffer') return undefined;
  if (key === 'in_proj_weight') return splitRows(['to_q.weight', 'to_k.weight', 'to_v.weight'], shape);
  return key === 'out.kernel' ? { key: 'out.weight', transform: transpose } : { key };
};
const load = async (options: Partial<LoadWeightsOptions> = {}, net = new Net()): Promise<Net> => {
  await loadWeights({ net }, [memorySource(file, 'a.safetensors')], { device, convert, ...options });
  return net;
};
const values = async (net: Net): Promise<Record<string, DataArray>> => {
  await net.to({ device });
  return Object.fromEntries([...net.stateDict()].map(([key, t]) => [key, t.dataSync()]));
};

test('a fused and a transposed layout', async () => {
  using net = await load();
  const got = await values(net);
  const fused = [...stored.get('in_proj_weight')!.dataSync()];
  for (const [i, key] of ['to_q.weight', 'to_k.weight', 'to_v.weight'].entries())
    expect([...got[key]!]).toEqual(fused.slice(16 * i, 16 * (i + 1)));
  const kernel = stored.get('out.kernel')!.dataSync();
  expect([...got['out.weight']!]).toEqual(
    Array.from({ length: 24 }, (_, i) => kernel[(i % 4) * 6 + Math.floor(i / 4)]),
  );
});

test.each(['float32', 'float16', 'bfloat16'] as DType[])('host memory has the bits of the device: %s', async (dtype) => {
  using there = await load({ dtype });
  const { live } = device.memory();
  device.resetPeakMemory();
  using here = await load({ dtype, toHost: true });
  expect([device.memory().live, device.memory().peak]).toEqual([live, live]);
  for (const p of here.stateDict().values()) expect([isOnHost(p), p.dtype]).toEqual([true, dtype]);
  expect(await values(here)).toEqual(await values(there));
}); // prettier-ignore

test('on a device that computes nothing, host weights take no memory of it', async () => {
  const none = new Device(nullBackend());
  const net = await load({ device: none, dtype: 'float16', toHost: true });
  expect([none.memory().live, none.memory().peak]).toEqual([0, 0]);
  expect(hostCopyOf([...net.stateDict().values()][0]!)!.bytes).toBe(32);
  net.dispose();
});

test('several components from one file; what belongs to none of them is left out or refused', async () => {
  const [one, other] = [new Net(), new Net()];
  const both: KeyConversion = (key, shape) =>
    ['one', 'other', 'elsewhere'].flatMap((component) =>
      [convert(key, shape) ?? []].flat().map((place) => ({ ...place, component })),
    );
  const source = [memorySource(file, 'a.safetensors')];
  await loadWeights({ one, other }, source, { device, convert: both });
  expect(await values(one)).toEqual(await values(other));
  await expect(loadWeights({ one, other }, source, { device, convert })).rejects.toThrow(
    "a.safetensors: 'in_proj_weight' is given to no component",
  );
  for (const net of [one, other]) net.dispose();
});

test('keys and shapes that do not fit are named, and nothing stays loaded', async () => {
  const { live } = device.memory();
  await expect(load({ convert: (key) => ({ key }) })).rejects.toThrow(
    'a.safetensors: weights do not fit the model; 4 missing: to_q.weight, to_k.weight, to_v.weight, out.weight; 3 unexpected',
  );
  const twice: KeyConversion = (key, shape) =>
    key === 'out.bias' ? { key: 'to_q.weight' } : convert(key, shape);
  await expect(load({ convert: twice })).rejects.toThrow(
    "gives 'to_q.weight', which a.safetensors gives too",
  );
  const untransposed: KeyConversion = (key, shape) =>
    key === 'out.kernel' ? { key: 'out.weight' } : convert(key, shape);
  await expect(load({ convert: untransposed })).rejects.toThrow(
    'out.weight is [4,6] but the model has [6,4]',
  );
  const outside: KeyConversion = (key) => ({ key, slice: { axis: 3, start: 0, stop: 1 } });
  await expect(load({ convert: outside })).rejects.toThrow(
    "a.safetensors: 'buffer' [2] cannot be made 'buffer'",
  );
  expect(() => splitRows(['a', 'b'], [3, 4])).toThrow('[3,4] does not split into 2 equal parts');
  expect(device.memory().live).toBe(live);
});
